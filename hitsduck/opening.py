"""Opening reruns: their paths, their names, and the camera that the user states."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hitsduck import attaching, columnar, inspection, schema, storing
from hitsduck.cameras import Camera, get_camera, read_camera
from hitsduck.columnar import Door
from hitsduck.connection import Settings, Tracer
from hitsduck.definitions import definition_rows
from hitsduck.errors import (
    CacheWarning,
    HitsduckError,
    NotAnApdbError,
    OutputError,
    QueryError,
    RerunNameError,
)
from hitsduck.inspection import WatchedFile
from hitsduck.reruns import PathLike, Reruns
from hitsduck.storing import Progress
from hitsduck.views import OWN_PREFIX

#: Names that DuckDB keeps for itself, and the one of the views over all reruns.
RESERVED_NAMES = frozenset(
    {attaching.ALL_RERUNS, "system", "temp", "memory", "information_schema", "pg_catalog"}
)
MOMENT_UNITS = ("px2", "arcsec2")


def open_reruns(
    reruns: Mapping[str, PathLike] | Sequence[PathLike] | PathLike,
    *,
    instrument: str | None = None,
    camera: str | os.PathLike[str] | Camera | None = None,
    moments: str | None = None,
    bad_flags: str | Sequence[str] = schema.DEFAULT_FLAG_SET,
    threads: int | None = None,
    memory_limit: str | None = None,
    temp_directory: PathLike | None = None,
    cache: PathLike | bool = True,
    tracer: Tracer | None = None,
) -> Reruns:
    """Open the APDBs of some reruns, read-only.

    Parameters
    ----------
    reruns : mapping of str to path, or sequence of paths
        Name -> SQLite file, folder that holds one APDB, folder of Parquet files as
        `Reruns.export` writes it, or ``WORKSPACE:RERUN``. Of a path alone the name is
        the folder's, or the file's stem; a workspace alone stands for all its reruns.
    instrument : str, optional
        DECam, HSC, LSSTCam, LSSTComCam or LSSTCam-imSim; goes before what the
        files say.
    camera : path or Camera, optional
        A camera of your own, as a CSV of one row per detector.
    moments : {"px2", "arcsec2"}, optional
        Unit of ixxPSF and its like; else told from the PSF sizes.
    bad_flags : str or sequence of str
        A good source has none of these: ``dm25125``, ``analysis_ap``, or flag names.
    threads, memory_limit, temp_directory
        DuckDB's settings.
    cache : bool or path-like
        A folder: each APDB is read once into a workspace there, which later openings
        use as long as the APDB is what it was. True: what several questions of a chart
        or report need is read once into memory. False: every question reads the APDB.
    tracer : callable, optional
        Called with every SQL statement and its parameters.

    Warns
    -----
    CacheWarning
        An APDB is read into the cache, which takes some seconds, once.

    Returns
    -------
    Reruns
        A context manager; close it, or use ``with``.

    Raises
    ------
    HitsduckError
        One of its subclasses, in one line: what, where, what to do.

    Examples
    --------
    >>> with open_reruns({"May2020": "cw_2020_05"}) as reruns:  # doctest: +SKIP
    ...     reruns.counts().polars()
    """
    if moments is not None and moments not in MOMENT_UNITS:
        raise QueryError(
            f"moments is {moments!r}; it is one of {', '.join(MOMENT_UNITS)} (--moments)"
        )
    if not isinstance(cache, bool | str | os.PathLike):
        raise QueryError(f"cache is {cache!r}; it is True, False or a folder (--cache)")
    if tracer is not None and not callable(tracer):
        raise QueryError(f"tracer is {tracer!r}; a function of two arguments is wanted")
    stated = _stated_camera(instrument, camera)
    flag_set, flags = schema.resolve_flags(bad_flags)
    settings: Settings = {
        "threads": threads,
        "memory_limit": memory_limit,
        "temp_directory": temp_directory,
    }
    sources: dict[str, WatchedFile] = {}
    door = Door(lambda: attaching.connect(tracer, **settings))
    try:
        named = _named(reruns, door)
        if tracer is None:  # which is called in the user's thread alone
            door.begin()
        if not isinstance(cache, bool):
            # It holds what is in the file, whatever camera or flags are asked for.
            folder = Path(cache)
            asked = {
                "instrument": stated if isinstance(stated, str) else None,
                "camera": stated if isinstance(stated, Camera) else None,
                "bad_flags": bad_flags if isinstance(bad_flags, str) else flags,
                "moments": moments,
                **settings,
            }
            found = [(name, *_cached(name, path, folder, asked, door)) for name, path in named]
            named = [(name, path) for name, path, _ in found]
            sources = {name: source for name, _, source in found if source is not None}
        return Reruns(
            named,
            sources=sources,
            door=door,
            stated=stated,
            moments=moments,
            flag_set=flag_set,
            flags=flags,
            **settings,
            keeps=cache is not False,
        )
    except BaseException:
        door.close()
        raise


def _cached(
    name: str,
    path: PathLike,
    folder: Path,
    asked: Mapping[str, Any],
    door: Door,
) -> tuple[PathLike, WatchedFile | None]:
    """Return the workspace of one APDB in a cache; it is made where it is not there, or damaged.

    Parameters
    ----------
    asked : mapping
        How `open_reruns` is to open the APDB.

    Returns
    -------
    path : path-like
    source : WatchedFile or None
        The APDB; None where `path` is what was named, a store already.
    """
    if columnar.find(path, door) is not None:
        return path, None
    file = inspection.find_apdb(path).absolute()
    import hashlib

    source = WatchedFile.of(file)
    told = repr((str(file), source.state.parts, source.change_counter, columnar.LAYOUT))
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    target = folder / f"{file.parent.name}-{file.stem}-{digest}.duckdb"
    if not _is_whole(target, door):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{folder}: no cache can be kept there: {error.strerror or error}"
            ) from error
        if not os.access(folder, os.W_OK):
            raise OutputError(f"{folder}: no cache can be kept there: Permission denied")
        warnings.warn(
            f"rerun {name!r}: {file} is read into the cache {target}", CacheWarning, stacklevel=3
        )
        with (
            open_reruns({name: path}, cache=False, **asked) as reruns,
            storing.partial_of(folder / digest) as own,
        ):
            reruns.materialize(own)
            _publish(own, target, door)
        _forget_earlier(file, target)
    return target, source


def _forget_earlier(file: Path, target: Path) -> None:
    """Remove what the cache holds of an APDB as it was before."""
    prefix = glob.escape(target.name[: -len("0123456789abcdef.duckdb")])
    for earlier in target.parent.glob(f"{prefix}*.duckdb"):
        with suppress(HitsduckError, OSError):
            found = columnar.manifests(earlier).values()
            if earlier != target and all(m.origin and m.origin.path == str(file) for m in found):
                earlier.unlink()


def _publish(own: Path, target: Path, door: Door) -> None:
    """Give a workspace its name in the cache, unless another process was the first.

    What somebody may be reading is not replaced; what is damaged is.
    """
    try:
        os.link(own, target)
    except FileExistsError:
        if not _is_whole(target, door):
            os.replace(own, target)
    except OSError:  # a file system without links
        os.replace(own, target)


def _is_whole(workspace: Path, door: Door) -> bool:
    """Return whether a workspace of the cache is there and can be read."""
    try:
        columnar.manifests(workspace, door)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except NotAnApdbError:
        door.leave(workspace)
        return False
    return True


def refresh_workspace(
    path: PathLike, *, progress: Progress | None = None, **options: Any
) -> list[str]:
    """Read again those reruns of a workspace whose APDB has changed, and only those.

    Where views were computed by an earlier hitsduck, they are computed anew. Bad flags,
    instrument and unit of the moments stay what they were: where they were stated when the
    workspace was made, they are to be stated again.

    Parameters
    ----------
    path : path-like
        The workspace.
    progress : callable, optional
        As for `Reruns.materialize`.
    **options
        As for `open_reruns`.

    Returns
    -------
    list of str
        The reruns that were read again; the others, and those whose APDB is gone, were
        taken over as they are.

    Raises
    ------
    HitsduckError
        As `open_reruns` and `Reruns.materialize` raise.
    """
    found = storing.status(path)
    changed = [stored for stored in found if stored.state == "changed"]
    if not changed and all(stored.views != "earlier" for stored in found):
        return []
    kept = {s.rerun: f"{os.fspath(path)}:{s.rerun}" for s in found if s.state != "changed"}
    columns = {stored.rerun: stored.columns for stored in found}
    sources = {stored.rerun: stored.path for stored in changed} | kept
    made_by = storing.definitions_stored(path)
    try:
        with open_reruns(sources, **options) as reruns:
            for name, before in made_by.items():
                _check_defined_alike(reruns, name, before)
            reruns.rewrite_workspace(
                path, order=[stored.rerun for stored in found], columns=columns, progress=progress
            )
    except HitsduckError as error:
        raise type(error)(f"{os.fspath(path)}: nothing was refreshed: {error}") from error
    return [stored.rerun for stored in changed]


def _check_defined_alike(reruns: Reruns, name: str, before: Mapping[str, Any]) -> None:
    """Refuse to make the views of a stored rerun by anything else than they were made by."""
    rows = definition_rows(reruns.attached(name))
    (rerun,) = rows["rerun"]
    now = {
        "instrument": rerun["instrument"],
        "moments": rerun["moments_unit"],
        "bad_flags": sorted(row["flag"] for row in rows["good_definition"]),
    }
    options = {
        "instrument": "instrument=, --instrument, or camera=, --camera",
        "moments": "moments=, --moments",
        "bad_flags": "bad_flags=, --bad-flags",
    }
    for what, option in options.items():
        # What was not known, and now is, changes no answer that there was.
        if before[what] not in (None, now[what]):
            stored, told = (
                ", ".join(value) if isinstance(value, list) else value or "unknown"
                for value in (before[what], now[what])
            )
            raise QueryError(
                f"rerun {name!r} is stored with {what.replace('_', ' ')} {stored}, which would now "
                f"be {told}; state again what it was made by ({option}), or make a new workspace"
            )


def rerun_name(path: PathLike) -> str:
    """Return the name of a rerun given by path alone.

    The folder's name, or the file's stem; of a file called ``association.db`` the
    name of its folder; of ``WORKSPACE:RERUN`` the rerun.
    """
    if not isinstance(path, str | os.PathLike):
        raise RerunNameError(f"{path!r} is no path; give {{name: path}} or a list of paths")
    store, of_workspace = columnar.parted(path)
    if of_workspace is not None:
        return of_workspace
    place = store.absolute()
    if place.is_dir():
        return place.name
    return place.parent.name if place.name == "association.db" else place.stem


def expanded(path: PathLike, door: Door | None = None) -> list[tuple[str, PathLike]]:
    """Return name and path of every rerun that a path stands for.

    A workspace stands for all its reruns, the simulator's note and a report beside it (which
    ``SIMULATED/*`` names too) for none, any other path for one.

    Parameters
    ----------
    path : path-like
    door : Door, optional
        Through which the reruns are read after that.
    """
    name = rerun_name(path)
    if inspection.lies_beside_simulated(path):
        return []
    if Path(path).exists() and columnar.is_workspace(path):
        found = columnar.manifests(Path(path), door)
        return [(rerun, f"{os.fspath(path)}:{rerun}") for rerun in found]
    return [(name, path)]


def _named(
    reruns: Mapping[str, PathLike] | Sequence[PathLike] | PathLike, door: Door
) -> list[tuple[str, PathLike]]:
    if isinstance(reruns, Mapping):
        pairs = list(reruns.items())
    elif isinstance(reruns, str | os.PathLike):
        pairs = expanded(reruns, door)
    elif isinstance(reruns, Iterable):
        reruns = list(reruns)
        pairs = [pair for path in reruns for pair in expanded(path, door)]
    else:
        raise RerunNameError(
            f"{reruns!r} names no rerun; give {{name: path}}, a list of paths, or one path"
        )
    check_names(pairs, asked=[reruns] if isinstance(reruns, str | os.PathLike) else [*reruns])
    return pairs


def check_names(pairs: Sequence[tuple[str, PathLike]], *, asked: Sequence[PathLike] = ()) -> None:
    """Check the names of reruns: filled, distinct (but for case), not reserved.

    Parameters
    ----------
    pairs : sequence of tuple
        Name and path.
    asked : sequence of path-like
        What `expanded` made them of.

    Raises
    ------
    RerunNameError
    """
    if asked and not pairs:
        raise RerunNameError(
            f"{os.fspath(asked[0])} is no rerun, but lies beside simulated ones; name their folders"
        )
    if not pairs:
        raise RerunNameError("no rerun is given; name at least one APDB")
    seen: dict[str, tuple[str, PathLike]] = {}
    for name, path in pairs:
        if not isinstance(name, str) or not name.strip() or "\x00" in name:
            raise RerunNameError(f"{path}: {name!r} cannot be the name of a rerun")
        if not isinstance(path, str | os.PathLike):
            raise RerunNameError(f"{path!r} is no path, which rerun {name!r} needs")
        key = name.casefold()
        if key in RESERVED_NAMES or key.startswith(OWN_PREFIX):
            raise RerunNameError(f"{path}: the name {name!r} is reserved; give NAME={path}")
        if key in seen:
            other, other_path = seen[key]
            called = repr(name) if name == other else f"{other!r} and {name!r}"
            rule = "" if name == other else "names must differ in more than case: "
            raise RerunNameError(
                f"two reruns are called {called} ({other_path} and {path}); {rule}give NAME=PATH"
            )
        seen[key] = (name, path)


def _stated_camera(
    instrument: str | None, camera: str | os.PathLike[str] | Camera | None
) -> str | Camera | None:
    if camera is None:
        return get_camera(instrument).name if instrument else None
    if isinstance(camera, Camera):
        return camera
    return read_camera(camera, name=instrument)
