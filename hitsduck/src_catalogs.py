"""Rows of the calexp ``src`` catalogues of reruns, from FITS headers alone.

A DECam catalogue of a 2020 rerun lies at ``VISIT/src/src-VISIT_CC.fits`` under the
rerun's folder, an afw binary table in HDU 1, whose header says how many rows it has.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from hitsduck.errors import QueryError, SameFileWarning
from hitsduck.limits import shown
from hitsduck.lookup import whole_number
from hitsduck.results import frame_html

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

Image = tuple[int, int]

_NAME = re.compile(r"src-(\d{7,})_(\d{2,})\.fits")
_PATTERN = "*/src/src-*_*.fits"
_BLOCK = 2880
OK, MISSING, DAMAGED = "ok", "missing", "damaged"


@dataclass(frozen=True)
class SrcFile:
    """One catalogue of one rerun.

    Attributes
    ----------
    path : Path
    n_rows : int or None
        None where the file is missing or damaged.
    status : str
        ``ok``, ``missing`` or ``damaged``.
    problem : str or None
        What is wrong with it.
    identity : tuple or None
        Device and inode: equal for one file under two names.
    """

    path: Path
    n_rows: int | None
    status: str
    problem: str | None
    identity: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class SrcCounts:
    """Rows of ``src`` of every (visit, detector) of some reruns.

    Attributes
    ----------
    names : tuple of str
        The reruns; differences are to the first of them.
    folders : dict of str to Path
        Where the catalogues of each were looked for.
    files : dict
        (visit, detector) -> {rerun: SrcFile}, sorted.
    """

    names: tuple[str, ...]
    folders: dict[str, Path]
    files: dict[Image, dict[str, SrcFile]]

    def rows(self) -> list[dict[str, Any]]:
        """Return the counts side by side, one dict per image, sorted.

        Returns
        -------
        list of dict
            ``visit``, ``detector``, ``n_rows``, ``difference`` (to the first rerun;
            None where one of the two is not known), ``path``, ``status`` and
            ``problem``, each of them a dict by rerun; ``same_file``: at least two of
            the reruns have the same file there.
        """
        return [self._row(image, files) for image, files in self.files.items()]

    def _row(self, image: Image, files: dict[str, SrcFile]) -> dict[str, Any]:
        first = files[self.names[0]].n_rows
        return {
            "visit": image[0],
            "detector": image[1],
            "n_rows": {name: files[name].n_rows for name in self.names},
            "difference": {name: _difference(files[name].n_rows, first) for name in self.names[1:]},
            "path": {name: str(files[name].path) for name in self.names},
            "status": {name: files[name].status for name in self.names},
            "problem": {name: files[name].problem for name in self.names},
            "same_file": _has_same(files.values()),
        }

    def polars(self) -> pl.DataFrame:
        """Return the counts in long form.

        Returns
        -------
        polars.DataFrame
            One row per image and rerun, sorted: ``visit``, ``detector``, ``rerun``,
            ``n_rows``, ``difference`` (to the first rerun), ``status``, ``problem``,
            ``path``, ``same_file``.
        """
        kinds = {
            "visit": pl.Int64,
            "detector": pl.Int64,
            "rerun": pl.String,
            "n_rows": pl.Int64,
            "difference": pl.Int64,
            "status": pl.String,
            "problem": pl.String,
            "path": pl.String,
            "same_file": pl.Boolean,
        }
        long = [
            {
                "visit": row["visit"],
                "detector": row["detector"],
                "rerun": name,
                "difference": row["difference"].get(
                    name, _difference(row["n_rows"][name], row["n_rows"][name])
                ),
                "same_file": row["same_file"],
                **{key: row[key][name] for key in ("n_rows", "status", "problem", "path")},
            }
            for row in self.rows()
            for name in self.names
        ]
        return pl.DataFrame(long, schema=kinds)

    def changed(self) -> list[dict[str, Any]]:
        """Return the rows of the images whose number of rows is not the same everywhere."""
        return [row for row in self.rows() if len(set(row["n_rows"].values())) > 1]

    def verdict(self) -> str:
        """Say in one line whether the catalogues changed; of one rerun what it has.

        Returns
        -------
        str
            Such as ``3 of 3 src catalogues have the same number of rows``.
        """
        rows = self.rows()
        if not rows:
            places = ", ".join(str(folder) for folder in self.folders.values())
            return f"no src catalogue was found (VISIT/src/src-VISIT_CC.fits under {places})"
        known = [row for row in rows if None not in row["n_rows"].values()]
        if len(self.names) == 1:
            n_rows = sum(sum(row["n_rows"].values()) for row in known)
            catalogues = "src catalogue" if len(known) == 1 else "src catalogues"
            line = f"{len(known)} {catalogues} with {n_rows:,} rows in all"
            n_lost = len(rows) - len(known)
            return line + (f"; missing or damaged: {n_lost}" if n_lost else "")
        n_same = sum(len(set(row["n_rows"].values())) == 1 for row in known)
        line = f"{n_same} of {len(known)} src catalogues have the same number of rows"
        if len(known) < len(rows):
            line += f"; {len(rows) - len(known)} more are missing or damaged in a rerun"
        if n_one := sum(row["same_file"] for row in rows):
            line += f"; {n_one} are the same file under several names"
        return line

    def __repr__(self) -> str:
        """Return the verdict."""
        return f"<SrcCounts of {', '.join(self.names)}: {self.verdict()}>"

    def _repr_html_(self) -> str:
        return frame_html(self.polars(), self.verdict())


def _difference(number: int | None, first: int | None) -> int | None:
    return None if number is None or first is None else number - first


def _has_same(files: Iterable[SrcFile]) -> bool:
    identities = [file.identity for file in files if file.identity is not None]
    return len(set(identities)) < len(identities)


def src_counts(reruns: Reruns, *, images: Sequence[Image] | None = None) -> SrcCounts:
    """Count the rows of the calexp ``src`` catalogues of all opened reruns.

    Parameters
    ----------
    reruns : Reruns
    images : sequence of (visit, detector), optional
        Only these, at least one; by default every image of which a rerun has a catalogue.

    Returns
    -------
    SrcCounts
        A file that is missing or damaged is in it with its status.

    Raises
    ------
    QueryError
        `images` is empty, or no list of pairs of whole numbers.

    Warns
    -----
    SameFileWarning
        Reruns have the same file (one path, a link) under several names, so that
        their numbers cannot differ.
    """
    folders = {name: _folder(reruns.attached(name).file.folder_of_origin) for name in reruns}
    return count_src_files(folders, images=images)


def _folder(beside: Path) -> Path:
    """Return the folder of a rerun's catalogues: its APDB's, or the one below that has any.

    ap_verify leaves the APDB one folder above the rerun.
    """
    if next(beside.glob(_PATTERN), None) is not None:
        return beside
    below = {path.parents[2] for path in beside.glob(f"*/{_PATTERN}")}
    return below.pop() if len(below) == 1 else beside


def count_src_files(
    folders: dict[str, Path], *, images: Sequence[Image] | None = None
) -> SrcCounts:
    """Count the rows of the ``src`` catalogues below some folders; see `src_counts`."""
    found = {name: _find(folder) for name, folder in folders.items()}
    wanted = sorted({image for paths in found.values() for image in paths})
    if images is not None:
        wanted = _wanted(images)
    files = {
        image: {
            name: read_src_file(found[name].get(image, _expected(folders[name], image)))
            for name in folders
        }
        for image in wanted
    }
    counts = SrcCounts(tuple(folders), folders, files)
    _warn_of_same_files(counts)
    return counts


def _wanted(images: Sequence[Image]) -> list[Image]:
    """Return the images that are asked for, sorted."""
    pairs = "give pairs of visit and detector, images=[(410985, 47)]"
    try:
        wanted = sorted(
            {
                (whole_number(visit, "visit"), whole_number(detector, "detector"))
                for visit, detector in images
            }
        )
    except (TypeError, ValueError, QueryError) as error:
        raise QueryError(f"images is {shown(images)}; {pairs}") from error
    if not wanted:
        raise QueryError(f"the list of images is empty; {pairs}, or leave it out for every image")
    return wanted


def _find(folder: Path) -> dict[Image, Path]:
    """Return the catalogues below a folder."""
    found: dict[Image, Path] = {}
    for path in sorted(folder.glob(_PATTERN)):
        name = _NAME.fullmatch(path.name)
        if name is not None and path.parent.parent.name == name[1]:
            found[int(name[1]), int(name[2])] = path
    return found


def _expected(folder: Path, image: Image) -> Path:
    visit, detector = image
    return folder / f"{visit:07d}" / "src" / f"src-{visit:07d}_{detector:02d}.fits"


def _warn_of_same_files(counts: SrcCounts) -> None:
    same = [row for row in counts.rows() if row["same_file"]]
    if same:
        first = next(iter(same[0]["path"].values()))
        warnings.warn(
            f"{len(same)} of {len(counts.files)} src catalogues are the same file under "
            f"several of the names {', '.join(counts.names)} ({first} is the first), so that "
            "their numbers cannot differ",
            SameFileWarning,
            stacklevel=4,
        )


def read_src_file(path: Path) -> SrcFile:
    """Read how many rows one catalogue has, from its headers.

    Parameters
    ----------
    path : Path
        A FITS file whose HDU 1 is a binary table.

    Returns
    -------
    SrcFile
        Never an error: what is wrong is in ``status`` and ``problem``.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        return SrcFile(path, None, MISSING, "no such file", None)
    except OSError as error:
        return SrcFile(path, None, DAMAGED, f"cannot be read: {error.strerror}", None)
    identity = (stat.st_dev, stat.st_ino)
    try:
        n_rows = _table_rows(path, stat.st_size)
    except (OSError, ValueError, KeyError, EOFError) as error:
        return SrcFile(path, None, DAMAGED, " ".join(str(error).split()), identity)
    return SrcFile(path, n_rows, OK, None, identity)


def _table_rows(path: Path, size: int) -> int:
    from astropy.io import fits

    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        try:
            primary = fits.Header.fromfile(file, endcard=True, padding=True)
            file.seek(_padded(_data_bytes(primary)), os.SEEK_CUR)
            header = fits.Header.fromfile(file, endcard=True, padding=True)
        except (OSError, EOFError, ValueError, fits.VerifyError) as error:
            raise ValueError(f"is no FITS file with a table in HDU 1 ({error})") from error
        data_at = file.tell()
    if str(header.get("XTENSION", "")).strip() != "BINTABLE":
        raise ValueError(f"HDU 1 is {header.get('XTENSION', 'no extension')!r}, not a BINTABLE")
    n_rows = header["NAXIS2"]
    if not isinstance(n_rows, int) or n_rows < 0:
        raise ValueError(f"NAXIS2 of HDU 1 is {n_rows!r}, not a number of rows")
    needed = data_at + _data_bytes(header)
    if size < needed:
        raise ValueError(f"is cut off: {size} bytes where its headers say at least {needed}")
    return n_rows


def _data_bytes(header: Any) -> int:
    """Return the bytes of the data that belong to a header, without padding."""
    n_axes = int(header.get("NAXIS", 0))
    if not n_axes:
        return 0
    n_values = 1
    for axis in range(1, n_axes + 1):
        n_values *= int(header[f"NAXIS{axis}"])
    bits = abs(int(header["BITPIX"])) * int(header.get("GCOUNT", 1))
    return bits * (int(header.get("PCOUNT", 0)) + n_values) // 8


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // _BLOCK) * _BLOCK
