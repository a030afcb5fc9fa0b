"""Where the views of opened reruns lie: one schema per rerun, condition and range of visits.

A view is created in its schema when it is first asked for. Beside the whole views there are
those over few columns, which are bound sooner.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from functools import cache

from hitsduck import attaching, guard, ready, suggestions, views
from hitsduck.attaching import ALL_RERUNS, AttachedRerun
from hitsduck.connection import Connection
from hitsduck.definitions import DEFINITION_COLUMNS, DEFINITION_TABLES, Definitions
from hitsduck.errors import BadValueError, QueryError
from hitsduck.quoting import quote_identifier, quote_text
from hitsduck.views import OWN_PREFIX, Select, ViewMaker

#: Views of images and forced sources, which no condition on sources changes.
_NOT_OF_SOURCES = ("dia_forced_source", "processing_summary", "image")
#: Schema of the views over few columns of all reruns.
NARROW = f"{OWN_PREFIX}narrow"
#: Rerun, condition on its sources, first and last visit.
_Key = tuple[str, str | None, tuple[int, int] | None]


class Scopes:
    """The schemas of the views, each made when it is first needed.

    Parameters
    ----------
    connection : Connection
    attached : mapping of str to AttachedRerun
    definitions : Definitions
        Of these.
    """

    def __init__(
        self,
        connection: Connection,
        attached: Mapping[str, AttachedRerun],
        definitions: Definitions,
    ) -> None:
        self._connection = connection
        self._attached = attached
        self._definitions = definitions
        self._scopes: dict[_Key, tuple[str, ViewMaker]] = {}
        self._n_scopes = 0
        #: What a workspace holds ready of each rerun: {view: SELECT}.
        self._ready = {name: ready.given(rerun) for name, rerun in attached.items()}
        for name in attached:
            connection.execute(f"create schema if not exists {quote_identifier(name)}")
        self._makers: dict[str, ViewMaker] = {}
        self._narrow_makers: dict[str, ViewMaker] = {}
        self._narrow_of_all: ViewMaker | None = None
        self._narrow_unions: set[str] = set()
        self._unions: set[str] = set()
        self._lock = threading.RLock()

    # -- of all reruns ---------------------------------------------------------

    def ensure_unions(self, named: Iterable[str]) -> None:
        """Create the views over all reruns that are named, and those of each rerun.

        Of definition tables likewise.
        """
        wanted = set(named)
        for table in DEFINITION_TABLES:
            if table in wanted:
                self._definitions.ensure(table)
                for name in self._attached:
                    self._whole(name).ensure(table)
        for view in views.view_names():
            if view in wanted:
                self._ensure_union(view)

    def _ensure_union(self, view: str) -> None:
        with self._lock:
            if view in self._unions:
                return
            for name in self._attached:
                self._whole(name).ensure(view)
            of_all = views.view_named(view)
            full = f"{ALL_RERUNS}.{quote_identifier(view)}"
            self._connection.execute(
                f"create or replace view {full} as {views.union_sql(view, self._attached)}"
            )
            comment = f"{of_all.purpose} Grain: {of_all.grain}, of every opened rerun."
            self._connection.execute(f"comment on view {full} is {quote_text(comment)}")
            self._unions.add(view)

    def ensure_narrow_unions(self, named: Iterable[str]) -> None:
        """Create the views over few columns of all reruns that are named, in `NARROW`."""
        with self._lock:
            wanted = set(named)
            if self._narrow_of_all is None:
                self._narrow_of_all = self._maker(NARROW, self._definitions.given_all())
            for table in wanted & set(DEFINITION_TABLES):
                self._narrow_of_all.ensure(table)
            for view in sorted((views.narrow_names() & wanted) - self._narrow_unions):
                schemas = []
                for name in self._attached:
                    schema_name, maker = self._narrow(name)
                    maker.ensure(view)
                    schemas.append(schema_name)
                full = f"{quote_identifier(NARROW)}.{quote_identifier(view)}"
                union = views.union_sql(view, schemas)
                self._connection.execute(f"create or replace view {full} as {union}")
                self._narrow_unions.add(view)

    # -- of one rerun ----------------------------------------------------------

    def _maker(self, schema_name: str, given: Mapping[str, Select]) -> ViewMaker:
        """Return what makes the views of a schema, which is made here."""
        self._connection.execute(f"create schema if not exists {quote_identifier(schema_name)}")
        return ViewMaker(self._connection, schema_name, given)

    def _maker_of(self, name: str, schema_name: str, given: Mapping[str, Select]) -> ViewMaker:
        """Return what makes the views of a schema of one rerun, over its definitions."""
        return self._maker(schema_name, {**given, **self._definitions.given(name)})

    def _whole(self, name: str) -> ViewMaker:
        """Return what makes one rerun's views over all columns."""
        with self._lock:
            if name not in self._makers:
                given = attaching.staged_views(self._attached[name])
                given |= ready.whole(self._ready[name])
                self._makers[name] = self._maker_of(name, name, given)
            return self._makers[name]

    def relation(
        self,
        name: str,
        view: str,
        where: str | None = None,
        *,
        visits: tuple[int, int] | None = None,
        is_narrow: bool = False,
    ) -> str:
        """Return one rerun's view as SQL; see `Reruns.scope`."""
        with self._lock:
            schema_name, maker = self._home(name, view, where, visits, is_narrow=is_narrow)
            maker.ensure(view)
        return f"{quote_identifier(schema_name)}.{quote_identifier(view)}"

    def select(self, name: str, view: str, where: str | None = None) -> str:
        """Return the SELECT of one rerun's view; see `Reruns.select`."""
        with self._lock:
            _, maker = self._home(name, view, where, None, is_narrow=False)
            return maker.select(view)

    def _home(
        self,
        name: str,
        view: str,
        where: str | None,
        visits: tuple[int, int] | None,
        *,
        is_narrow: bool,
    ) -> tuple[str, ViewMaker]:
        """Return the schema where a view of one rerun belongs, and what makes it there."""
        is_plain = where is None and visits is None
        if is_plain and self._may_be_narrow(view, is_narrow):
            return self._narrow(name)
        return self._scope(name, where, visits)

    @staticmethod
    def _may_be_narrow(view: str, is_narrow: bool) -> bool:
        """Return whether nobody misses a column of a view over the narrow ones.

        A view that passes none through is the same over them.
        """
        return views.can_be_narrow(view) and (is_narrow or views.view_named(view).is_closed)

    def _narrow(self, name: str) -> tuple[str, ViewMaker]:
        """Return the schema of one rerun's views over few columns."""
        rerun = self._attached[name]
        schema_name = f"{OWN_PREFIX}narrow_{rerun.number}"
        if name not in self._narrow_makers:
            given = attaching.staged_views(rerun, is_narrow=True) | self._ready[name]
            self._narrow_makers[name] = self._maker_of(name, schema_name, given)
        return schema_name, self._narrow_makers[name]

    def forget_visits(self, visits: tuple[int, int]) -> None:
        """Drop what was made for some visits."""
        with self._lock:
            # Those under a condition read the others, and were made after them.
            for key in reversed([key for key in self._scopes if key[2] == visits]):
                schema_name, _ = self._scopes.pop(key)
                self._connection.execute(f"drop schema {quote_identifier(schema_name)} cascade")

    def _scope(
        self, name: str, where: str | None, visits: tuple[int, int] | None
    ) -> tuple[str, ViewMaker]:
        if where is None and visits is None:
            return name, self._whole(name)
        key = (name, where, visits)
        if key not in self._scopes:
            if where is None:
                assert visits is not None
                given = self._given_visits(name, visits)
                base = name
            else:
                base, maker = self._scope(name, None, visits)
                given = self._given_where(base, maker, where)
            self._n_scopes += 1
            new = f"{OWN_PREFIX}scope_{self._n_scopes}"
            self._scopes[key] = (new, self._maker_of(name, new, given))
        return self._scopes[key]

    def _given_visits(self, name: str, visits: tuple[int, int]) -> dict[str, Select]:
        """Return the views of a schema that reads the sources of some visits alone."""
        maker, base = self._whole(name), quote_identifier(name)
        given: dict[str, Select] = {}
        for view in ("dia_object_history", *_NOT_OF_SOURCES):
            maker.ensure(view)
            given[view] = f"select * from {base}.{view}"
        return given | {
            "staged_dia_source": attaching.staged_within_visits(self._attached[name], visits)
        }

    def _given_where(self, base_schema: str, maker: ViewMaker, where: str) -> dict[str, Select]:
        """Return the views of a schema that has a condition on sources."""
        connection = self._connection
        guard.check_condition(connection, where)
        # A condition on sources does not undo images: densities stay over all of them.
        for view in ("dia_source", "dia_object_history", *_NOT_OF_SOURCES):
            maker.ensure(view)
        base = quote_identifier(base_schema)
        # Binds the condition, so that an unknown column is told before anything else.
        try:
            connection.execute(f"select 1 from {base}.dia_source where (\n{where}\n) limit 0")
            kind = connection.execute(f"select (\n{where}\n) from {base}.dia_source limit 0")
        except (QueryError, BadValueError) as error:
            raise suggestions.condition_refused(where, error) from error
        found = [str(column[1]) for column in kind.description or ()]
        if found != ["BOOLEAN"]:
            raise QueryError(f"the condition {where!r} is neither true nor false, but {found[0]}")
        given: dict[str, Select] = {}
        given |= {view: f"select * from {base}.{view}" for view in _NOT_OF_SOURCES}
        given |= attaching.views_of_sources(f"select * from {base}.dia_source where (\n{where}\n)")
        given["dia_object_history"] = (
            f"select * from {base}.dia_object_history where diaObjectId in (select diaObjectId "
            f"from {base}.dia_source where diaObjectId is not null and (\n{where}\n))"
        )
        return given


@cache
def narrow_vocabulary() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Return, in small letters, what views over few columns have.

    Returns
    -------
    tables, columns, hidden : frozenset of str
        As `guard.names_only` takes them.
    """
    columns: set[str] = set(DEFINITION_COLUMNS)
    every: set[str] = set()
    for view in views.views():
        every.update(views.documented_columns(view))
        if view.name in views.narrow_names():
            columns.update(views.documented_columns(view, is_narrow=True))
    small, all_small = ({name.casefold() for name in names} for names in (columns, every))
    tables = views.narrow_names() | set(DEFINITION_TABLES)
    return tables, frozenset(small), frozenset(all_small - small)
