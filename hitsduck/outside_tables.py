"""Catalogues from elsewhere as positions: files, tables and frames of many kinds."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from hitsduck.errors import MatchError
from hitsduck.limits import shown

Floats = npt.NDArray[np.float64]

#: Names of the columns of right ascension and declination, the likeliest pair first;
#: compared in lower case, without punctuation.
POSITION_NAMES = (
    ("ra", "dec"),
    ("ra", "decl"),
    ("raicrs", "deicrs"),
    ("raicrs", "decicrs"),
    ("raj2000", "dej2000"),
    ("raj2000", "decj2000"),
    ("ra2000", "dec2000"),
    ("ramean", "decmean"),
    ("meanra", "meandec"),
    ("ramedian", "decmedian"),
    ("medianra", "mediandec"),
    ("radeg", "decdeg"),
    ("radeg", "dedeg"),
    ("coordra", "coorddec"),
    ("rightascension", "declination"),
    ("alphaj2000", "deltaj2000"),
    ("alpha", "delta"),
)
_UNITS = ("deg", "rad", "hourangle")
_ASTROPY_FORMATS = {
    ".fits": "fits",
    ".fit": "fits",
    ".fits.gz": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".ecsv": "ascii.ecsv",
}
_POLARS_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": pl.read_csv,
    ".csv.gz": pl.read_csv,
    ".parquet": pl.read_parquet,
    ".pq": pl.read_parquet,
}
_MOST_NAMES_SHOWN = 30


@dataclass(frozen=True, eq=False)
class Positions:
    """Where the rows of a catalogue lie.

    Attributes
    ----------
    name : str
        The file, or the kind of table.
    ra_column, dec_column : str
        Where the positions came from.
    frame : polars.DataFrame
        One row per row of the catalogue: ``catalog_row`` (from 0), ``catalog_ra_deg``,
        ``catalog_dec_deg`` (NULL where there is none), and the columns kept.
    """

    name: str
    ra_column: str
    dec_column: str
    frame: pl.DataFrame


def read_positions(
    table: Any,
    *,
    ra: str | None = None,
    dec: str | None = None,
    unit: str | tuple[str, str] | None = None,
    keep: Sequence[str] = (),
) -> Positions:
    """Read the positions of a catalogue.

    Parameters
    ----------
    table : path, astropy Table, pandas or Polars frame, Arrow table
        A path ends in .fits, .vot, .ecsv, .csv or .parquet (and variants of these).
    ra, dec : str, optional
        The columns of right ascension and declination; guessed from their names
        (`POSITION_NAMES`) where neither is given.
    unit : {"deg", "rad", "hourangle"} or a pair of these, optional
        Of both, or of each; goes before the table's own units. Without either,
        numbers are degrees, and text such as ``10:00:28.1`` is hours and degrees.
    keep : sequence of str
        Further columns to carry along.

    Returns
    -------
    Positions

    Raises
    ------
    MatchError
        The file cannot be read, columns are missing, or values are no positions.
    """
    name, source = _opened(table)
    columns = _column_names(source)
    pair = _position_columns(columns, ra, dec, name)
    missing = [column for column in keep if column not in columns]
    if missing:
        raise MatchError(f"{name} has no column {', '.join(missing)}; {_listed(columns)}")
    units = (unit, unit) if isinstance(unit, str) or unit is None else unit
    is_pair = isinstance(units, Sequence) and len(units) == 2
    if not is_pair or any(given not in (None, *_UNITS) for given in units):
        raise MatchError(
            f"unit is {shown(unit)}; it is one of {', '.join(_UNITS)}, or a pair of these"
        )
    values = [
        _degrees(source[column], stated, is_ra, f"{name}: column {column}")
        for column, stated, is_ra in zip(pair, units, (True, False), strict=True)
    ]
    frame = pl.DataFrame(
        {
            "catalog_row": np.arange(values[0].size),
            "catalog_ra_deg": values[0],
            "catalog_dec_deg": values[1],
        }
    ).with_columns(pl.col("catalog_ra_deg", "catalog_dec_deg").fill_nan(None))
    own = [column for column in keep if column in frame.columns]
    if own:
        raise MatchError(
            f"{name}: column {', '.join(own)} cannot be kept: the result has its own of this name; "
            "rename it in the catalogue"
        )
    kept = [_series(source[column], column) for column in keep]
    return Positions(name, *pair, frame.with_columns(kept))


def _opened(table: Any) -> tuple[str, Any]:
    """Return a name for messages, and an astropy Table or a Polars frame."""
    if isinstance(table, str | os.PathLike):
        path = Path(table)
        return str(path), _read_file(path)
    if isinstance(table, pl.DataFrame):
        return "the frame", table
    if isinstance(table, pl.LazyFrame):
        return "the frame", table.collect()
    if type(table).__module__.split(".")[0] == "pandas":
        return "the frame", pl.DataFrame(
            [pl.Series(str(column), table[column].to_numpy()) for column in table.columns]
        )
    if type(table).__module__.split(".")[0] == "pyarrow":
        return "the Arrow table", pl.from_arrow(table)
    if hasattr(table, "colnames"):
        return "the table", table
    if hasattr(table, "polars"):
        return "the result", table.polars()
    raise MatchError(
        f"a catalogue is a file, an astropy Table, a pandas or Polars frame, not "
        f"{type(table).__name__}"
    )


def _read_file(path: Path) -> Any:
    lower = path.name.lower()
    if not path.is_file():
        raise MatchError(f"{path}: no such file")
    if lower.endswith((".csv", ".txt")) and _begins_as_ecsv(path):
        lower = f"{lower}.ecsv"
    readers: dict[str, Callable[[Path], Any]] = dict(_POLARS_READERS)
    readers |= {suffix: _astropy_reader(form) for suffix, form in _ASTROPY_FORMATS.items()}
    suffix = next((suffix for suffix in readers if lower.endswith(suffix)), None)
    if suffix is None:
        raise MatchError(
            f"{path}: what kind of file is it? known endings: {', '.join(sorted(readers))}"
        )
    try:
        return readers[suffix](path)
    except Exception as error:  # every reader has errors of its own
        reason = " ".join(str(error).split())
        raise MatchError(f"{path}: cannot be read as {suffix[1:]}: {reason}") from error


def _begins_as_ecsv(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) == b"# %ECS"


def _astropy_reader(form: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        from astropy.table import Table

        return Table.read(path, format=form)

    return read


def _column_names(source: Any) -> list[str]:
    return list(source.columns if isinstance(source, pl.DataFrame) else source.colnames)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:_MOST_NAMES_SHOWN])
    more = (
        f" and {len(columns) - _MOST_NAMES_SHOWN} more" if len(columns) > _MOST_NAMES_SHOWN else ""
    )
    return f"it has: {shown}{more}"


def _position_columns(
    columns: Sequence[str], ra: str | None, dec: str | None, name: str
) -> tuple[str, str]:
    wrong = [column for column in (ra, dec) if column is not None and not isinstance(column, str)]
    if wrong:
        raise MatchError(f"{name}: {shown(wrong[0])} is no name of a column; {_listed(columns)}")
    if ra is not None and dec is not None:
        missing = [column for column in (ra, dec) if column not in columns]
        if missing:
            raise MatchError(f"{name} has no column {', '.join(missing)}; {_listed(columns)}")
        return ra, dec
    if ra is not None or dec is not None:
        raise MatchError(f"{name}: give both ra= and dec=, or neither; {_listed(columns)}")
    plain: dict[str, str] = {}
    for column in columns:
        plain.setdefault(re.sub(r"[^a-z0-9]", "", column.lower()), column)
    for pair in POSITION_NAMES:
        if pair[0] in plain and pair[1] in plain:
            return plain[pair[0]], plain[pair[1]]
    raise MatchError(
        f"{name}: which columns hold right ascension and declination? name them with ra= and "
        f"dec=; {_listed(columns)}"
    )


def _degrees(column: Any, stated: str | None, is_ra: bool, where: str) -> Floats:
    """Return a column of angles in degrees, NaN where there is no value."""
    own_unit = getattr(column, "unit", None)
    plain = _plain(column)
    if plain.ndim != 1 or plain.dtype.kind == "b":
        reason = "it is True or False" if plain.ndim == 1 else "it has several values a row"
        raise MatchError(f"{where} holds no angles: {reason}")
    try:
        if plain.dtype.kind in "OUS":
            return _parsed(plain, stated or (str(own_unit) if own_unit else None), is_ra)
        values = plain.astype(np.float64)
        factor = _degrees_per(stated if stated is not None else own_unit)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MatchError(f"{where} holds no angles: {reason}") from error
    scaled: Floats = values * factor
    return scaled


def _plain(column: Any) -> npt.NDArray[Any]:
    """Return a column as a plain array, NaN (or an empty text) where it has no value."""
    if isinstance(column, pl.Series):
        return np.asarray(column.to_numpy())
    if hasattr(column, "filled"):
        is_number = np.asarray(column).dtype.kind in "fiu"
        column = column.astype(np.float64).filled(np.nan) if is_number else column.filled("")
    return np.asarray(getattr(column, "value", column))


def _degrees_per(unit: Any) -> float:
    if unit is None or str(unit) == "":
        return 1.0
    from astropy import units

    kind = units.Unit(unit)
    if kind == units.hour:  # right ascension in hours of time
        kind = units.hourangle
    return float(kind.to(units.deg))


def _parsed(texts: npt.NDArray[Any], unit: str | None, is_ra: bool) -> Floats:
    """Return texts as degrees: sexagesimal, or plain numbers."""
    from astropy.coordinates import Angle

    degrees = np.full(texts.size, np.nan)
    for number, text in enumerate(texts):
        word = text.decode() if isinstance(text, bytes) else str(text if text is not None else "")
        word = word.strip()
        if not word or word.lower() in ("nan", "none", "null"):
            continue
        is_sexagesimal = re.search(r"[:\shdm]", word) is not None
        if unit in _UNITS:
            degrees[number] = Angle(word, unit=unit).degree
        elif is_sexagesimal:
            degrees[number] = Angle(word, unit="hourangle" if is_ra else "deg").degree
        else:
            degrees[number] = float(word)
    return degrees


def _series(column: Any, name: str) -> pl.Series:
    if isinstance(column, pl.Series):
        return column.alias(name)
    values = column.tolist() if hasattr(column, "tolist") else list(column)
    texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    return pl.Series(name, texts, strict=False)
