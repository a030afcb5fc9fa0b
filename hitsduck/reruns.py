"""The opened reruns, and what can be asked of them all: the library's front door."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import duckdb

from hitsduck import (
    attaching,
    columnar,
    exporting,
    guard,
    inspection,
    leftout,
    storing,
    suggestions,
    views,
)
from hitsduck.attaching import AttachedRerun
from hitsduck.cameras import Camera
from hitsduck.columnar import ColumnarRerun, Door, RerunFile
from hitsduck.complaints import explained
from hitsduck.connection import Connection, Parameters, Settings, translated
from hitsduck.definitions import DEFINITION_TABLES, Definitions
from hitsduck.errors import (
    HitsduckError,
    MatchError,
    QueryError,
    RerunNameError,
)
from hitsduck.information import Information, info_of
from hitsduck.inspection import WatchedFile
from hitsduck.lookup import Lookup
from hitsduck.quoting import quote_text
from hitsduck.rerun import Rerun
from hitsduck.results import Result, plain_value, readable
from hitsduck.scopes import NARROW, Scopes, narrow_vocabulary
from hitsduck.storing import Progress

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from numpy.typing import NDArray

    from hitsduck.charts.theme import AnyChart
    from hitsduck.comparison import Comparison
    from hitsduck.crossmatch import How
    from hitsduck.outside import CatalogMatch
    from hitsduck.series import Series
    from hitsduck.src_catalogs import SrcCounts
    from hitsduck.turnover import ObjectMatch

PathLike = str | os.PathLike[str]

#: What `Comparison.register` makes in a schema of its own.
COMPARISON_TABLES = ("matched", "left_only", "right_only")
#: Rows that `Reruns.stream` hands over at once.
_STREAMED_ROWS = 65_536
#: Such sources are on no image.
_NO_VISIT = "visit is null"


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
        keeps: bool = True,
        sources: Mapping[str, WatchedFile] | None = None,
        door: Door,
    ) -> None:
        #: Whether what several questions need is read once into memory.
        self.keeps = keeps
        self._folder = Path(tempfile.mkdtemp(prefix="hitsduck-"))
        # Private copies are large: they go even where nobody calls close().
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._connection: Connection | None = None
        self._lookups: dict[str, Lookup] = {}
        self._lock = threading.RLock()
        #: The engine's settings as the user gave them.
        self.settings: Settings = {
            "threads": threads,
            "memory_limit": memory_limit,
            "temp_directory": temp_directory,
        }
        self.flag_set = flag_set
        self.bad_flags = tuple(flags)
        try:
            files = {
                name: columnar.find(path, door)
                or inspection.inspect(path, copy_folder=self._folder / "copies")
                for name, path in named
            }
            self._attached = {
                name: attaching.examine(
                    name,
                    number,
                    file,
                    door,
                    instrument=stated,
                    moments=moments,
                    flag_set=flag_set,
                    flags=flags,
                )
                for number, (name, file) in enumerate(files.items())
            }
            self._connection = door.connection
            for rerun in self._attached.values():
                attaching.attach(door, rerun)
            # What a cache stands for is watched as well: its rows are asked for by that name.
            self._watched = [*_watched(self._attached), *(sources or {}).items()]
            self._prepare(self._connection)
            self.definitions = Definitions(self._connection, self._attached.values())
            self._scopes = Scopes(self._connection, self._attached, self.definitions)
        except BaseException:
            self.close()
            raise

    def _prepare(self, connection: Connection) -> None:
        """Set what hangs on the files, and lock the door."""
        if all(rerun.file.can_be_sliced for rerun in self._attached.values()):
            connection.share_scans()
        folders = [rerun.file.folder for rerun in self._attached.values() if rerun.file.folder]
        listed = ", ".join(quote_text(folder.absolute()) for folder in (self._folder, *folders))
        connection.execute(f"set allowed_directories = [{listed}]")
        connection.execute("set enable_external_access = false")

    def _ensure_for(self, query: str) -> list[str]:
        """Create the views that a user's query names; all where it looks at the catalogue.

        Returns
        -------
        list of str
            What the query reads of what it can be asked to describe.
        """
        named, ctes = guard.table_names(self.connection, query)
        known = set(views.view_names())
        read = sorted((named - ctes) & known | named & set(DEFINITION_TABLES))
        if not named <= known | ctes | {*DEFINITION_TABLES, *COMPARISON_TABLES}:
            named = known | set(DEFINITION_TABLES)
        self._scopes.ensure_unions(named)
        return read

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
        for lookup in self._lookups.values():
            lookup.close()
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

    def materialize(
        self,
        path: PathLike,
        *,
        columns: str | Sequence[str] = "all",
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Path:
        """Read every rerun once into a workspace: one file of columns, fast ever after.

        Parameters
        ----------
        path : path-like
            Of the workspace, ``FILE.duckdb``. Nothing bears this name before all is there.
        columns : str or sequence of str
            ``all``, ``notebook`` (what the analysis of 2020 reads), or columns of
            DiaSource and DiaObject; beside them those that views, comparisons and pictures
            ask for, and the flags, are always stored. Who names one that was left out gets
            an error.
        overwrite : bool
            Whether a file of this name may be replaced.
        progress : callable, optional
            Called after each table with rerun, table, rows done and rows in all.

        Returns
        -------
        Path
            Open it with `open_reruns`, whole or as ``FILE.duckdb:RERUN``.

        Raises
        ------
        OutputError, RerunChangedError
        """
        with self._explaining():
            return storing.create_workspace(
                path,
                list(self._attached.values()),
                columns=columns,
                overwrite=overwrite,
                progress=progress,
                **self.settings,
            )

    def rewrite_workspace(
        self,
        path: PathLike,
        *,
        order: Sequence[str],
        columns: Mapping[str, str],
        progress: Progress | None = None,
    ) -> Path:
        """Write a workspace anew; what is open from a workspace is taken over as it is.

        Parameters
        ----------
        path : path-like
        order : sequence of str
            Names of the reruns, in the order of the workspace.
        columns : mapping of str to str
            Rerun -> what is stored of it.
        progress : callable, optional

        Raises
        ------
        RerunNameError, OutputError, RerunChangedError
        """
        attached = [self.attached(name) for name in order]
        with self._explaining():
            return storing.create_workspace(
                path,
                attached,
                columns=columns,
                overwrite=True,
                progress=progress,
                **self.settings,
            )

    def export(
        self,
        name: str,
        folder: PathLike,
        *,
        columns: str | Sequence[str] = "all",
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Path:
        """Write one rerun as a folder of Parquet files, which can be opened as a rerun.

        Parameters
        ----------
        name : str
            Of the rerun.
        folder : path-like
            New or empty.
        columns, progress
            As for `materialize`.
        overwrite : bool
            Whether an earlier export there may be replaced; nothing else ever is.

        Raises
        ------
        RerunNameError, OutputError, RerunChangedError
        """
        rerun = self.attached(name)
        with self._explaining():
            return exporting.export_parquet(
                rerun,
                folder,
                columns=columns,
                overwrite=overwrite,
                progress=progress,
                **self.settings,
            )

    @property
    def original(self) -> Reruns:
        """These reruns; those that a stand-in stands for."""
        return self

    @property
    def memory_limit_bytes(self) -> int | None:
        """The limit of memory that the user has set; None without one."""
        limited = self.settings["memory_limit"] is not None
        return self.connection.memory_limit_bytes() if limited else None

    def attached(self, name: str) -> AttachedRerun:
        """Return what was found out about one rerun at opening.

        Raises
        ------
        RerunNameError
        """
        if not isinstance(name, str) or name not in self._attached:
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

    def query(self, sql: str, parameters: Parameters = None, *, read: Sequence[str] = ()) -> Result:
        """Run a statement of ours; engine errors become the user's, files are watched.

        An error names `read`, the views that the user asked for columns of.
        """
        with self.watching(read):
            return Result(readable(self.connection.execute(sql, parameters).to_arrow_table()))

    def stream(
        self,
        sql: str,
        take: Callable[[dict[str, NDArray[Any]]], None],
        parameters: dict[str, Any] | None = None,
    ) -> int:
        """Run a statement of ours and hand its rows over in parts, so that few are held.

        Parameters
        ----------
        sql : str
            Of numbers alone.
        take : callable
            Called with {column: values} of each part; a NULL is NaN.
        parameters : dict, optional
            Values for ``$name``.

        Returns
        -------
        int
            The number of rows.
        """
        n_rows = 0
        for batch in self._batches(sql, parameters):
            n_rows += batch.num_rows
            take(
                {
                    name: column.to_numpy(zero_copy_only=False)
                    for name, column in zip(batch.schema.names, batch.columns, strict=True)
                }
            )
        return n_rows

    def _batches(self, sql: str, parameters: dict[str, Any] | None) -> Iterator[pa.RecordBatch]:
        with self.watching():  # what fails in `take` is not the engine's
            yield from self.connection.execute(sql, parameters).to_arrow_reader(_STREAMED_ROWS)

    def few_rows(self, sql: str) -> list[dict[str, Any]]:
        """Run a statement of ours whose few rows are wanted at once, as `query` does."""
        with self.watching():
            cursor = self.connection.execute(sql)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

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
        values = {name: plain_value(value) for name, value in parameters.items()}
        result = self._narrow_answer(query, values)
        if result is None:
            with self.watching():
                read = self._ensure_for(query)
            result = leftout.answered(
                self.connection,
                lambda: self.query(query, values or None, read=read),
                asks_for_all=guard.has_star(self.connection, query),
            )
        twice = sorted({name for name in result.columns if result.columns.count(name) > 1})
        if twice:
            raise QueryError(f"two columns are called {', '.join(twice)}; name each with `as`")
        return result

    def _narrow_answer(self, query: str, values: dict[str, Any]) -> Result | None:
        """Answer a user's query from views over few columns; None where it may need others.

        The same answer sooner: to bind the views over all columns takes longer than many a
        query.
        """
        tables, columns, hidden = narrow_vocabulary()
        connection = self.connection
        if not guard.names_only(connection, query, tables=tables, columns=columns, hidden=hidden):
            return None
        named, _ = guard.table_names(connection, query)
        with self.watching():
            self._scopes.ensure_narrow_unions(named)
        try:
            with connection.within(NARROW):
                return self.query(query, values or None, read=sorted(named))
        except QueryError:
            return None  # the whole views tell better what there is

    @contextmanager
    def watching(self, read: Sequence[str] = ()) -> Iterator[None]:
        """Refuse files that change meanwhile, and say which file a complaint is about."""
        self.connection  # noqa: B018  (raises where they are closed)
        self._check_unchanged()
        try:
            yield
        except HitsduckError as error:
            self._check_unchanged()
            ours = explained(self._attached, error, read)
            if ours is error:
                raise
            raise ours from error
        except (duckdb.Error, RuntimeError, ValueError) as error:  # while rows are fetched
            self._check_unchanged()
            raise explained(self._attached, translated(error), read) from error
        self._check_unchanged()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Say which file a complaint is about, of who watches the files himself."""
        try:
            yield
        except HitsduckError as error:
            ours = explained(self._attached, error, ())
            if ours is error:
                raise
            raise ours from error

    def _check_unchanged(self) -> None:
        for name, file in self._watched:
            file.check_unchanged(name)

    # -- conditions ------------------------------------------------------------

    def scope(
        self,
        name: str,
        view: str,
        where: str | None = None,
        *,
        visits: tuple[int, int] | None = None,
        is_narrow: bool = False,
    ) -> str:
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
        visits : tuple of int, optional
            First and last visit: only their sources are read. Where the rows of the
            store are in order of visit, no others are touched. `leave_visits` when done.
        is_narrow : bool
            No other columns are wanted than `views.documented_columns` of narrow views
            gives, so that the view may lack the others, which makes it faster.

        Raises
        ------
        RerunNameError, QueryError
        """
        self._check_scope(name, where)
        with self.watching():
            return self._scopes.relation(name, view, where, visits=visits, is_narrow=is_narrow)

    def select(self, name: str, view: str, where: str | None = None) -> str:
        """Return the SELECT of one rerun's view, to be asked once: nothing is created for it.

        Parameters
        ----------
        name, view, where
            As for `scope`.

        Raises
        ------
        RerunNameError, QueryError
        """
        self._check_scope(name, where)
        with self.watching():
            return self._scopes.select(name, view, where)

    def _check_scope(self, name: str, where: str | None) -> None:
        self.attached(name)
        if where is not None and not isinstance(where, str):
            raise QueryError(
                f"where is {where!r} ({type(where).__name__}); a text is wanted, one SQL "
                "expression on dia_source"
            )

    def of_visits(self, visits: tuple[int, int] | None) -> Reruns:
        """Return the same reruns, of which only the sources of some visits are seen.

        Parameters
        ----------
        visits : tuple of int or None
            First and last; None for the sources without a visit. `leave_visits` when done.
        """
        return _OfVisits(self, visits)

    def leave_visits(self, visits: tuple[int, int]) -> None:
        """Forget the views that `scope` made for some visits."""
        self._scopes.forget_visits(visits)

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
        selects = [self.select(name, "rerun_counts", where) for name in self._attached]
        return Result.of_rows([row for select in selects for row in self.few_rows(select)])

    def summary(self, view: str, *, where: str | None = None) -> Result:
        """Return a summary view (``visit_summary``, ``flag_summary``...) of every rerun.

        Raises
        ------
        QueryError
            There is no such view.
        """
        if view not in views.view_names():
            meant = suggestions.view_meant(str(view))
            hint = f", did you mean {meant}?" if meant else ";"
            raise QueryError(
                f"no view is called {view!r}{hint} there are: {', '.join(views.view_names())}"
            )
        selects = [f"({self.select(name, view, where)})" for name in self._attached]
        return self.query(f"{' union all by name '.join(selects)} order by all")

    def info(self) -> Information:
        """Say what each rerun is and how that is known.

        Returns
        -------
        list of dict
            One per rerun, which a notebook shows as a table:
            ``rerun``, ``path``, ``columns`` (that are stored: ``all``, ``notebook`` or names),
            ``origin_path`` (the APDB that a store was read from, else None) and
            ``origin_state`` (``current``, ``changed`` since or ``gone``), ``prefix``,
            ``generation`` (of DiaSource, told from its columns) and ``generations`` of each table,
            ``schema_version`` (recorded), ``instrument``, ``instrument_found_by``,
            ``instrument_candidates``, ``flag_encoding``, ``flag_set``,
            ``bad_flags``, ``skipped_flags``, ``n_rows`` per table, ``visits``,
            ``detectors``, ``bands``, ``first_mjd_tai``, ``last_mjd_tai``,
            ``moments_unit``, ``moments_found_by``, ``psf_moments``,
            ``median_seeing_arcsec``, ``mean_seeing_arcsec``, ``n_null_flags``, ``n_bad_positions``,
            ``n_null_visits``, ``n_without_object``, ``unread_columns``,
            ``is_simulated`` (by hitsduck) and ``is_private_copy``.
        """
        return Information(info_of(self, rerun) for rerun in self._attached.values())

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
        columns: Sequence[str] = (),
        rows_at_once: int | None = None,
    ) -> Comparison:
        """Compare two reruns source by source; see `hitsduck.large.compare`, which does it."""
        from hitsduck import missing_ids
        from hitsduck.large import compare

        try:
            return compare(
                self,
                left,
                right,
                radius_arcsec=radius_arcsec,
                radius_px=radius_px,
                good=good,
                how=how,
                where=where,
                columns=columns,
                rows_at_once=rows_at_once,
            )
        except MatchError as error:
            ours = missing_ids.named(self, (left, right), error)
            if ours is error:
                raise
            raise ours from error

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

    def chart(self, name: str, **options: Any) -> AnyChart:
        """Draw one chart; see `hitsduck.gallery.chart` and the list `hitsduck.gallery.CHARTS`."""
        from hitsduck import gallery

        return gallery.chart(self, name, **options)

    def chart_data(self, name: str, **options: Any) -> pl.DataFrame:
        """Return the numbers behind one chart; see `hitsduck.gallery.chart_data`."""
        from hitsduck import gallery

        return gallery.chart_data(self, name, **options)

    def charts_data(self, names: Iterable[str], **options: Any) -> dict[str, pl.DataFrame]:
        """Return the numbers behind several charts; see `hitsduck.gallery.charts_data`."""
        from hitsduck import gallery

        return gallery.charts_data(self, names, **options)

    def lookup(self, name: str) -> Lookup:
        """Return the door to one rerun's rows by id, through SQLite's own indexes."""
        with self._lock:
            if name not in self._lookups:
                self._lookups[name] = Lookup(
                    self.connection, self.attached(name), self.definitions.given(name)
                )
            return self._lookups[name]


def _watched(
    attached: Mapping[str, AttachedRerun],
) -> list[tuple[str, RerunFile | WatchedFile]]:
    """Return the files that must not change, a workspace once, each under a rerun's name.

    A private copy is ours: nobody else writes it.
    """
    found: dict[Path, tuple[str, RerunFile | WatchedFile]] = {}
    for name, rerun in attached.items():
        file = rerun.file
        if not file.is_private_copy:
            place = file.store if isinstance(file, ColumnarRerun) else file.path
            found.setdefault(place, (name, file))
    return list(found.values())


class StandIn(Reruns):
    """The same reruns, seen otherwise: what a subclass does not say, `original` answers.

    Closing it does nothing, for the reruns belong to another.

    Parameters
    ----------
    stands_for : Reruns
        Or another stand-in.
    """

    def __init__(self, stands_for: Reruns) -> None:
        self._stands_for = stands_for

    @property
    def original(self) -> Reruns:
        """The reruns that were opened."""
        return self._stands_for.original

    def __getattr__(self, name: str) -> Any:
        """Return what the reruns themselves hold."""
        return getattr(self.__dict__["_stands_for"], name)

    def select(self, name: str, view: str, where: str | None = None) -> str:
        """Return the SELECT over what `scope` gives, which a subclass may say."""
        return f"select * from {self.scope(name, view, where)}"

    def close(self) -> None:
        """Do nothing."""


class _OfVisits(StandIn):
    """Reruns of which only the sources of some visits are seen, or those without a visit."""

    def __init__(self, stands_for: Reruns, visits: tuple[int, int] | None) -> None:
        super().__init__(stands_for)
        self._visits = visits

    def scope(
        self,
        name: str,
        view: str,
        where: str | None = None,
        *,
        visits: tuple[int, int] | None = None,
        is_narrow: bool = False,
    ) -> str:
        assert visits is None, "visits of visits"
        if self._visits is None:
            where = _NO_VISIT if where is None else f"{_NO_VISIT} and (\n{where}\n)"
        return self._stands_for.scope(name, view, where, visits=self._visits, is_narrow=is_narrow)
