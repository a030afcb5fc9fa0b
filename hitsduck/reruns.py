"""Opens reruns and answers questions about them: the library's front door."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import duckdb

from hitsduck import attaching, guard, inspection, schema, views
from hitsduck.attaching import AttachedRerun
from hitsduck.cameras import Camera, get_camera, read_camera
from hitsduck.connection import Connection, Parameters, Tracer, translated
from hitsduck.errors import (
    BadValueError,
    HitsduckError,
    NotAnApdbError,
    QueryError,
    RerunLockedError,
    RerunNameError,
)
from hitsduck.inspection import offending_cells
from hitsduck.lookup import Lookup
from hitsduck.quoting import quote_identifier, quote_text
from hitsduck.results import Result
from hitsduck.views import ViewMaker

if TYPE_CHECKING:
    from hitsduck.comparison import Comparison
    from hitsduck.crossmatch import How
    from hitsduck.outside import CatalogMatch
    from hitsduck.series import Series
    from hitsduck.src_catalogs import SrcCounts
    from hitsduck.turnover import ObjectMatch

PathLike = str | os.PathLike[str]

#: The schema of the views over all reruns, and names that DuckDB keeps for itself.
ALL_RERUNS = "all_reruns"
RESERVED_NAMES = frozenset(
    {ALL_RERUNS, "system", "temp", "memory", "information_schema", "pg_catalog"}
)
_OWN_PREFIX = "hitsduck_"
#: What `Comparison.register` makes in a schema of its own.
COMPARISON_TABLES = ("matched", "left_only", "right_only")
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
    tracer: Tracer | None = None,
) -> Reruns:
    """Open the APDBs of some reruns, read-only.

    Parameters
    ----------
    reruns : mapping of str to path, or sequence of paths
        Name -> SQLite file, or folder that holds one APDB. Of a path alone the
        name is the folder's, or the file's stem.
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
    tracer : callable, optional
        Called with every SQL statement and its parameters.

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
    named = _named(reruns)
    if moments is not None and moments not in MOMENT_UNITS:
        raise QueryError(f"moments is {moments!r}; it is one of {', '.join(MOMENT_UNITS)}")
    stated = _stated_camera(instrument, camera)
    flag_set, flags = schema.resolve_flags(bad_flags)
    return Reruns(
        named,
        stated=stated,
        moments=moments,
        flag_set=flag_set,
        flags=flags,
        threads=threads,
        memory_limit=memory_limit,
        temp_directory=temp_directory,
        tracer=tracer,
    )


def rerun_name(path: PathLike) -> str:
    """Return the name of a rerun given by path alone.

    The folder's name, or the file's stem; of a file called ``association.db`` the
    name of its folder.
    """
    place = Path(path).absolute()
    if place.is_dir():
        return place.name
    return place.parent.name if place.name == "association.db" else place.stem


def _named(
    reruns: Mapping[str, PathLike] | Sequence[PathLike] | PathLike,
) -> list[tuple[str, PathLike]]:
    if isinstance(reruns, Mapping):
        pairs = list(reruns.items())
    elif isinstance(reruns, str | os.PathLike):
        pairs = [(rerun_name(reruns), reruns)]
    else:
        pairs = [(rerun_name(path), path) for path in reruns]
    check_names(pairs)
    return pairs


def check_names(pairs: Sequence[tuple[str, PathLike]]) -> None:
    """Check the names of reruns: filled, distinct (but for case), not reserved.

    Raises
    ------
    RerunNameError
    """
    if not pairs:
        raise RerunNameError("no rerun is given; name at least one APDB")
    seen: dict[str, tuple[str, PathLike]] = {}
    for name, path in pairs:
        if not isinstance(name, str) or not name.strip() or "\x00" in name:
            raise RerunNameError(f"{path}: {name!r} cannot be the name of a rerun")
        key = name.casefold()
        if key in RESERVED_NAMES or key.startswith(_OWN_PREFIX):
            raise RerunNameError(f"{path}: the name {name!r} is reserved; give NAME={path}")
        if key in seen:
            other, other_path = seen[key]
            raise RerunNameError(
                f"two reruns are called {other!r} and {name!r} ({other_path} and {path}); names "
                "must differ in more than case: give NAME=PATH"
            )
        seen[key] = (name, path)


def _stated_camera(
    instrument: str | None, camera: str | os.PathLike[str] | Camera | None
) -> str | Camera | None:
    if camera is None:
        return get_camera(instrument).name if instrument else None
    return camera if isinstance(camera, Camera) else read_camera(Path(camera))


class Reruns:
    """Some reruns, opened together; made by `open_reruns`.

    Use it as a context manager. ``reruns[name]`` is one rerun; iterating gives
    the names in the order of opening.
    """

    def __init__(
        self,
        named: Sequence[tuple[str, PathLike]],
        *,
        stated: str | Camera | None,
        moments: str | None,
        flag_set: str,
        flags: Sequence[str],
        threads: int | None = None,
        memory_limit: str | None = None,
        temp_directory: PathLike | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="hitsduck-"))
        # Private copies are large: they go even where nobody calls close().
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._connection: Connection | None = None
        self._scopes: dict[tuple[str, str], tuple[str, ViewMaker]] = {}
        self._lookups: dict[str, Lookup] = {}
        self._makers: dict[str, ViewMaker] = {}
        self._unions: set[str] = set()
        self._lock = threading.RLock()
        self.flag_set = flag_set
        self.bad_flags = tuple(flags)
        try:
            self._attached = {
                name: attaching.examine(
                    name,
                    f"{_OWN_PREFIX}apdb_{number}",
                    inspection.inspect(path, copy_folder=self._folder / "copies"),
                    instrument=stated,
                    moments=moments,
                    flag_set=flag_set,
                    flags=flags,
                )
                for number, (name, path) in enumerate(named)
            }
            self._connection = Connection(
                threads=threads,
                memory_limit=memory_limit,
                temp_directory=temp_directory,
                tracer=tracer,
            )
            self._create_views(self._connection)
        except BaseException:
            self.close()
            raise

    def _create_views(self, connection: Connection) -> None:
        for statement in views.macros():
            connection.execute(statement)
        for rerun in self._attached.values():
            attaching.attach(connection, rerun, self._folder)
        connection.execute(f"create schema {ALL_RERUNS}")
        connection.use_schema(ALL_RERUNS)
        for table in attaching.DEFINITION_TABLES:
            connection.execute(f"create view {table} as {views.union_sql(table, self._attached)}")
        connection.execute("set enable_external_access = false")
        for name, rerun in self._attached.items():
            relations = attaching.physical_relations(rerun)
            staged = {
                view: attaching.staged_sql(rerun, table, relations[table])
                for view, table in attaching.STAGED.items()
            }
            self._makers[name] = ViewMaker(connection, name, staged)

    def _ensure_union(self, view: str) -> None:
        """Create a view over all reruns, and under it the view of each rerun."""
        with self._lock:
            if view in self._unions:
                return
            for maker in self._makers.values():
                maker.ensure(view)
            of_all = views.view_named(view)
            name = f"{ALL_RERUNS}.{quote_identifier(view)}"
            self.connection.execute(
                f"create view {name} as {views.union_sql(view, self._attached)}"
            )
            comment = f"{of_all.purpose} Grain: {of_all.grain}, of every opened rerun."
            self.connection.execute(f"comment on view {name} is {quote_text(comment)}")
            self._unions.add(view)

    def _ensure_for(self, query: str) -> None:
        """Create the views that a user's query names; all where it looks at the catalogue."""
        named, ctes = guard.table_names(self.connection, query)
        known = set(views.view_names())
        if not named <= known | ctes | {*attaching.DEFINITION_TABLES, *COMPARISON_TABLES}:
            named = known
        for view in views.view_names():
            if view in named:
                self._ensure_union(view)

    # -- as a collection and a context manager ---------------------------------

    def __enter__(self) -> Self:
        """Return the reruns themselves."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the database and remove private copies; twice does no harm."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def __iter__(self) -> Iterator[str]:
        """Go through the names, in the order of opening."""
        return iter(self._attached)

    def __len__(self) -> int:
        """Return how many reruns are open."""
        return len(self._attached)

    def __contains__(self, name: object) -> bool:
        """Return whether a rerun of this name is open."""
        return name in self._attached

    @property
    def names(self) -> list[str]:
        """Names, in the order of opening."""
        return list(self._attached)

    def __getitem__(self, name: str) -> Rerun:
        """Return one rerun.

        Raises
        ------
        RerunNameError
            No rerun of this name is open.
        """
        return Rerun(self, self.attached(name))

    def attached(self, name: str) -> AttachedRerun:
        """Return what was found out about one rerun at opening.

        Raises
        ------
        RerunNameError
        """
        if name not in self._attached:
            raise RerunNameError(f"no rerun is called {name!r}; open: {', '.join(self._attached)}")
        return self._attached[name]

    def __repr__(self) -> str:
        """Return the names and the flag set."""
        return f"<Reruns: {', '.join(self._attached)}; good: {self.flag_set}>"

    def _repr_html_(self) -> str:
        return self.counts()._repr_html_()

    # -- asking ----------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """The door to DuckDB.

        Raises
        ------
        QueryError
            The reruns are closed.
        """
        if self._connection is None:
            raise QueryError("these reruns are closed; open them again")
        return self._connection

    def query(self, sql: str, parameters: Parameters = None) -> Result:
        """Run a statement of ours; engine errors become the user's, files are watched."""
        with self.watching():
            return Result(self.connection.execute(sql, parameters).to_arrow_table())

    def sql(self, query: str, /, **parameters: Any) -> Result:
        """Run one SELECT over the views of all reruns.

        Parameters
        ----------
        query : str
            One SELECT. Unqualified views hold all reruns, with a column
            ``rerun``; ``"May2020".dia_source`` is one rerun's.
        **parameters
            Values for ``$name`` in the query.

        Returns
        -------
        Result
            Every row: no limit is added.

        Raises
        ------
        QueryError
            Not one SELECT, or it cannot be bound.

        Examples
        --------
        >>> reruns.sql(  # doctest: +SKIP
        ...     "select rerun, count(*) from good_dia_source where visit = $visit group by all",
        ...     visit=410985,
        ... ).polars()
        """
        guard.check_select(self.connection, query)
        with self.watching():
            self._ensure_for(query)
        values = {name: _plain(value) for name, value in parameters.items()}
        result = self.query(query, values or None)
        twice = sorted({name for name in result.columns if result.columns.count(name) > 1})
        if twice:
            raise QueryError(f"two columns are called {', '.join(twice)}; name each with `as`")
        return result

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Refuse files that change meanwhile, and say which file a complaint is about."""
        self.connection  # noqa: B018  (raises where they are closed)
        self._check_unchanged()
        try:
            yield
        except HitsduckError as error:
            self._check_unchanged()
            explained = self._explained(error)
            if explained is error:
                raise
            raise explained from error
        except (duckdb.Error, RuntimeError, ValueError) as error:  # while rows are fetched
            self._check_unchanged()
            raise self._explained(translated(error)) from error
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        for name, rerun in self._attached.items():
            if rerun.file.readable_path == rerun.file.path:
                rerun.file.check_unchanged(name)

    def _explained(self, error: HitsduckError) -> HitsduckError:
        """Name the file, and the cells, that the engine's complaint is about."""
        if isinstance(error, BadValueError):
            return self._located(error)
        if isinstance(error, NotAnApdbError | RerunLockedError):
            for rerun in self._attached.values():
                try:
                    rerun.file.check_readable()
                except HitsduckError as found:
                    return found
        for name, rerun in self._attached.items():  # views know the name alone
            plain = f"rerun {name}: "
            if str(error).startswith(plain):
                where = f"rerun {name!r} ({rerun.file.path}): "
                return type(error)(where + str(error).removeprefix(plain))
        return error

    def _located(self, error: BadValueError) -> HitsduckError:
        """Say in which file, table, column and rows the unreadable cells are."""
        column = re.search(r'column "([^"]+)"', str(error))
        stamp = re.search(r'timestamp field [^:]*: "([^"]*)"', str(error))
        for name, rerun in self._attached.items():
            with rerun.file.reading() as connection:
                for table in attaching.STAGED.values():
                    found = _unreadable_cells(
                        connection,
                        rerun.file.table_name(table),
                        rerun.file.tables.get(table, {}),
                        column[1] if column else None,
                        stamp[1] if stamp else None,
                    )
                    if found:
                        return BadValueError(f"rerun {name!r} ({rerun.file.path}): {found}")
        if "Conversion Error" in str(error):  # a cast in the query itself
            return QueryError(str(error))
        files = ", ".join(str(rerun.file.path) for rerun in self._attached.values())
        return BadValueError(f"{error} (in one of {files})")

    # -- conditions ------------------------------------------------------------

    def scope(self, name: str, view: str, where: str | None = None) -> str:
        """Return one rerun's view as SQL, under a condition; it is created when needed.

        Parameters
        ----------
        name : str
            Of the rerun.
        view : str
        where : str, optional
            One expression on ``dia_source``: the view then sees only the sources
            that fulfil it, and the objects with at least one such source; images
            and forced sources stay as they are.

        Raises
        ------
        RerunNameError, QueryError
        """
        self.attached(name)
        if where is None:
            with self.watching():
                self._makers[name].ensure(view)
            return f"{quote_identifier(name)}.{quote_identifier(view)}"
        with self._lock, self.watching():
            if (name, where) not in self._scopes:
                self._scopes[name, where] = self._create_scope(name, where)
            schema_name, maker = self._scopes[name, where]
            maker.ensure(view)
            return f"{quote_identifier(schema_name)}.{quote_identifier(view)}"

    def _create_scope(self, name: str, where: str) -> tuple[str, ViewMaker]:
        connection = self.connection
        guard.check_condition(connection, where)
        # A condition on sources does not undo images: densities stay over all of them.
        unchanged = ("dia_forced_source", "processing_summary", "image")
        for view in ("dia_source", "dia_object_history", *unchanged):
            self._makers[name].ensure(view)
        base = quote_identifier(name)
        # Binds the condition, so that an unknown column is told before anything else.
        connection.execute(f"select 1 from {base}.dia_source where (\n{where}\n) limit 0")
        kind = connection.execute(f"select (\n{where}\n) from {base}.dia_source limit 0")
        found = [str(column[1]) for column in kind.description or ()]
        if found != ["BOOLEAN"]:
            raise QueryError(f"the condition {where!r} is neither true nor false, but {found[0]}")
        new = f"{_OWN_PREFIX}where_{len(self._scopes)}"
        connection.execute(f"create schema {quote_identifier(new)}")
        for table in attaching.DEFINITION_TABLES:
            connection.execute(
                f"create view {quote_identifier(new)}.{table} as select * from {base}.{table}"
            )
        given = {view: f"select * from {base}.{view}" for view in unchanged}
        given["dia_source"] = f"select * from {base}.dia_source where (\n{where}\n)"
        given["dia_object_history"] = (
            f"select * from {base}.dia_object_history where diaObjectId in (select diaObjectId "
            f"from {base}.dia_source where diaObjectId is not null and (\n{where}\n))"
        )
        return new, ViewMaker(connection, new, given)

    # -- answers ---------------------------------------------------------------

    def counts(self, *, where: str | None = None) -> Result:
        """Count sources and objects, all and good, of every rerun.

        Parameters
        ----------
        where : str, optional
            One expression on ``dia_source``: sources that fulfil it are counted,
            and objects with at least one such source.

        Returns
        -------
        Result
            One row per rerun, in the order of opening: ``rerun``,
            ``n_dia_sources``, ``n_good_dia_sources``, ``n_dia_objects`` (current),
            ``n_good_dia_objects`` (current, with at least one good source).
        """
        selects = [
            f"select * from {self.scope(name, 'rerun_counts', where)}" for name in self._attached
        ]
        return Result.concatenated([self.query(select) for select in selects])

    def summary(self, view: str, *, where: str | None = None) -> Result:
        """Return a summary view (``visit_summary``, ``flag_summary``...) of every rerun.

        Raises
        ------
        QueryError
            There is no such view.
        """
        if view not in views.view_names():
            raise QueryError(
                f"no view is called {view!r}; there are: {', '.join(views.view_names())}"
            )
        selects = [f"select * from {self.scope(name, view, where)}" for name in self._attached]
        return self.query(f"{' union all by name '.join(selects)} order by all")

    def info(self) -> list[dict[str, Any]]:
        """Say what each rerun is and how that is known.

        Returns
        -------
        list of dict
            One per rerun: ``rerun``, ``path``, ``prefix``, ``generation`` (of
            DiaSource, told from its columns) and ``generations`` of each table,
            ``schema_version`` (recorded), ``instrument``, ``instrument_found_by``,
            ``instrument_candidates``, ``flag_encoding``, ``flag_set``,
            ``bad_flags``, ``skipped_flags``, ``n_rows`` per table, ``visits``,
            ``detectors``, ``bands``, ``first_mjd_tai``, ``last_mjd_tai``,
            ``moments_unit``, ``moments_found_by``, ``psf_moments``,
            ``median_seeing_arcsec``, ``mean_seeing_arcsec``, ``n_null_flags``, ``n_bad_positions``,
            ``n_null_visits``, ``n_without_object``, ``unread_columns`` and
            ``is_private_copy``.
        """
        return [self._info_of(rerun) for rerun in self._attached.values()]

    def _info_of(self, rerun: AttachedRerun) -> dict[str, Any]:
        file = rerun.file
        found = rerun.instrument
        open_columns = ["visits", "detectors", "n_null_visits"] if found.id_problem else []
        if attaching.seeing_problem(rerun):
            open_columns += ["median_seeing_arcsec", "mean_seeing_arcsec"]
        left_out = f" exclude ({', '.join(open_columns)})" if open_columns else ""
        view = self.scope(rerun.name, "rerun_summary")
        summary = dict.fromkeys(open_columns)
        summary |= self.query(f"select *{left_out} from {view}").rows()[0]
        with file.reading() as connection:
            n_rows = {
                table: int(
                    connection.execute(
                        f"select count(*) from {quote_identifier(file.table_name(table))}"
                    ).fetchone()[0]
                )
                for table in file.tables
            }
        return {
            "rerun": rerun.name,
            "path": str(file.path),
            "prefix": file.prefix,
            "generation": rerun.generations["DiaSource"],
            "generations": rerun.generations,
            "schema_version": file.metadata.get("version:schema"),
            "instrument": found.name,
            "instrument_found_by": found.found_by,
            "instrument_candidates": [camera.name for camera in found.candidates],
            "flag_encoding": rerun.flag_encoding,
            "flag_set": rerun.flag_set,
            "bad_flags": list(rerun.bad_flags),
            "skipped_flags": list(rerun.skipped_flags),
            "n_rows": n_rows,
            "visits": None if found.id_problem else summary["visits"] or [],
            "detectors": None if found.id_problem else summary["detectors"] or [],
            "bands": summary["bands"] or [],
            "first_mjd_tai": summary["first_mjd_tai"],
            "last_mjd_tai": summary["last_mjd_tai"],
            "moments_unit": rerun.moments.unit,
            "moments_found_by": rerun.moments.found_by,
            "psf_moments": rerun.moments.psf_moments,
            "median_seeing_arcsec": summary["median_seeing_arcsec"],
            "mean_seeing_arcsec": summary["mean_seeing_arcsec"],
            "n_null_flags": summary["n_null_flags"],
            "n_bad_positions": summary["n_bad_positions"],
            "n_null_visits": summary["n_null_visits"],
            "n_without_object": summary["n_without_object"],
            "unread_columns": {
                table: unread
                for table in attaching.STAGED.values()
                if (unread := schema.unread_columns(table, file.tables.get(table, {})))
            },
            "is_private_copy": file.readable_path != file.path,
        }

    def compare(
        self,
        left: str,
        right: str,
        *,
        radius_arcsec: float = 0.5,
        radius_px: float | None = None,
        good: bool = True,
        how: How = "mutual",
        where: str | None = None,
    ) -> Comparison:
        """Compare two reruns source by source.

        See `hitsduck.comparison.compare_sources`, which does it.
        """
        from hitsduck.comparison import compare_sources

        return compare_sources(
            self,
            left,
            right,
            radius_arcsec=radius_arcsec,
            radius_px=radius_px,
            good=good,
            how=how,
            where=where,
        )

    def compare_all(self, *, baseline: str | None = None, **options: Any) -> Series:
        """Compare every rerun with one baseline; see `hitsduck.series.compare_all`."""
        from hitsduck.series import compare_all

        return compare_all(self, baseline=baseline, **options)

    def series(self, *, order: str | Sequence[str] = "opening", **options: Any) -> Series:
        """Compare every rerun with the next one; see `hitsduck.series.series`."""
        from hitsduck.series import series

        return series(self, order=order, **options)

    def compare_objects(self, left: str, right: str, **options: Any) -> ObjectMatch:
        """Match objects on the sky; see `hitsduck.turnover.match_objects`."""
        from hitsduck.turnover import match_objects

        return match_objects(self, left, right, **options)

    def integrity(self, names: Sequence[str] | None = None) -> Result:
        """Look for what contradicts itself; see `hitsduck.integrity.check_integrity`."""
        from hitsduck.integrity import check_integrity

        return check_integrity(self, names)

    def src_counts(self, *, images: Sequence[tuple[int, int]] | None = None) -> SrcCounts:
        """Count the rows of calexp catalogues; see `hitsduck.src_catalogs.src_counts`."""
        from hitsduck.src_catalogs import src_counts

        return src_counts(self, images=images)

    def match_catalog(self, table: Any, **options: Any) -> CatalogMatch:
        """Match an outside catalogue; see `hitsduck.outside.match_catalog`."""
        from hitsduck.outside import match_catalog

        return match_catalog(self, table, **options)

    def lookup(self, name: str) -> Lookup:
        """Return the door to one rerun's rows by id, through SQLite's own indexes."""
        with self._lock:
            if name not in self._lookups:
                self._lookups[name] = Lookup(self.connection, self.attached(name))
            return self._lookups[name]


def _unreadable_cells(
    connection: sqlite3.Connection,
    table: str,
    columns: Mapping[str, str],
    column: str | None,
    stamp: str | None,
) -> str | None:
    """Describe the cells of one table that their column's declared type cannot hold.

    Parameters
    ----------
    columns : mapping
        {column: declared type} of the table.
    column : str or None
        Look at this one alone.
    stamp : str or None
        A text in a TIMESTAMP column that the engine could not read.
    """
    for name, declared in columns.items():
        if column is not None and name != column:
            continue
        is_stamp = _is_timestamp(declared)
        n_cells, examples = offending_cells(
            connection, table, name, _storage_classes(declared), stamp if is_stamp else None
        )
        if n_cells:
            rows = ", ".join(f"rowid {i}: {value!r}" for i, value in examples)
            cells = "1 cell that is" if n_cells == 1 else f"{n_cells} cells that are"
            return (
                f"{table}.{name} is declared {declared} and holds {cells} nothing of the kind "
                f"({rows}); mend them in a copy of the file"
            )
    return None


def _is_timestamp(declared: str) -> bool:
    return "TIME" in declared.upper() or "DATE" in declared.upper()


def _storage_classes(declared: str) -> tuple[str, ...]:
    """Return SQLite's storage classes that DuckDB reads from a declared type."""
    kind = declared.upper()
    if _is_timestamp(kind):
        return ("text",)
    if any(word in kind for word in ("FLOA", "REAL", "DOUB")):
        return ("integer", "real")
    if "INT" in kind or "BOOL" in kind:
        return ("integer",)
    if "BLOB" in kind:
        return ("integer", "real", "text", "blob")
    return ("integer", "real", "text")


class Rerun:
    """One opened rerun; made by ``reruns[name]``."""

    def __init__(self, reruns: Reruns, attached: AttachedRerun) -> None:
        self._reruns = reruns
        self._attached = attached
        self.name = attached.name
        self.path = attached.file.path

    def __repr__(self) -> str:
        """Return name, path and instrument."""
        camera = self._attached.instrument.name or "instrument not known"
        return f"<Rerun {self.name}: {self.path}, {camera}>"

    @property
    def camera(self) -> Camera | None:
        """The camera, None where it is not known."""
        return self._attached.instrument.camera

    def sources(
        self,
        columns: Sequence[str] | None = None,
        *,
        visit: int | Sequence[int] | None = None,
        detector: int | Sequence[int] | None = None,
        band: str | Sequence[str] | None = None,
        good: bool = False,
        where: str | None = None,
    ) -> Result:
        """Return DIA sources, every one that is asked for.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns of ``dia_source``; all by default.
        visit, detector, band : value or sequence, optional
            Only these.
        good : bool
            Only good sources.
        where : str, optional
            One expression on ``dia_source``.

        Returns
        -------
        Result
            One row per diaSource; row order is not guaranteed.

        Raises
        ------
        QueryError
            A column does not exist.
        """
        filters = {"visit": visit, "detector": detector, "band": band}
        return self._select("dia_source", columns, filters, good, where)

    def objects(
        self,
        columns: Sequence[str] | None = None,
        *,
        good: bool = False,
        where: str | None = None,
    ) -> Result:
        """Return current DIA objects.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns of ``dia_object``; all by default.
        good : bool
            Only objects with at least one good source.
        where : str, optional
            One expression on ``dia_source``: only objects with such a source.

        Returns
        -------
        Result
            One row per diaObject; row order is not guaranteed.
        """
        view = "good_dia_object" if good else "dia_object"
        return self._select(view, columns, {}, False, where)

    def source(self, source_id: int) -> dict[str, Any]:
        """Return the DIA source of this id, by SQLite's index.

        Raises
        ------
        ResultNotFoundError
            There is none.
        """
        with self._reruns.watching():
            return self._reruns.lookup(self.name).one("dia_source", "diaSourceId", source_id)

    def object(self, object_id: int) -> dict[str, Any]:
        """Return the current version of the DIA object of this id, by SQLite's index.

        Raises
        ------
        ResultNotFoundError
            There is none.
        """
        with self._reruns.watching():
            return self._reruns.lookup(self.name).one("dia_object", "diaObjectId", object_id)

    def sources_for_object(
        self, object_id: int, columns: Sequence[str] | None = None, *, good: bool = False
    ) -> Result:
        """Return the DIA sources of one object in order of time, by SQLite's index.

        Returns
        -------
        Result
            One row per diaSource; none where the object has no source.
        """
        with self._reruns.watching():
            rows = self._reruns.lookup(self.name)
            return rows.many("dia_source", "diaObjectId", object_id, columns, good=good)

    def forced_sources_for_object(
        self, object_id: int, columns: Sequence[str] | None = None
    ) -> Result:
        """Return the forced photometry of one object in order of time, by SQLite's index.

        Returns
        -------
        Result
            One row per visit and detector.
        """
        with self._reruns.watching():
            rows = self._reruns.lookup(self.name)
            return rows.many("dia_forced_source", "diaObjectId", object_id, columns)

    def _select(
        self,
        view: str,
        columns: Sequence[str] | None,
        filters: Mapping[str, Any],
        good: bool,
        where: str | None,
    ) -> Result:
        conditions = ["is_good"] if good else []
        parameters: dict[str, Any] = {}
        for column, wanted in filters.items():
            if wanted is None:
                continue
            value = _plain(wanted)
            many = [value] if isinstance(value, int | str) else [_plain(v) for v in value]
            conditions.append(f"list_contains(${column}, {column})")
            parameters[column] = many
        selected = ", ".join(quote_identifier(c) for c in columns) if columns else "*"
        relation = self._reruns.scope(self.name, view, where)
        kept = f" where {' and '.join(conditions)}" if conditions else ""
        return self._reruns.query(f"select {selected} from {relation}{kept}", parameters or None)


def _plain(value: Any) -> Any:
    """Return a numpy scalar or array as Python values."""
    return value.tolist() if hasattr(value, "tolist") else value
