"""One opened rerun: its sources, its objects, and rows by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from hitsduck import leftout, views
from hitsduck.attaching import AttachedRerun
from hitsduck.cameras import Camera
from hitsduck.errors import QueryError
from hitsduck.limits import check_truth
from hitsduck.lookup import selected_columns, whole_number
from hitsduck.results import Result, plain_value

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns


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

    def _repr_html_(self) -> str:
        found = self._attached
        facts = {
            "rerun": self.name,
            "file": str(self.path),
            "generation": found.generations["DiaSource"],
            "instrument": f"{found.instrument.name or 'not known'} ({found.instrument.found_by})",
            "good source": f"none of {', '.join(found.bad_flags)} ({found.flag_set})",
        }
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in facts.items()
        )
        return f"<table>{rows}</table>"

    @property
    def camera(self) -> Camera | None:
        """The camera, None where it is not known."""
        return self._attached.instrument.camera

    def sources(
        self,
        columns: Sequence[str] | str | None = None,
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
        columns : sequence of str, or str, optional
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
            A column does not exist, or a visit, detector or band is none.
        """
        check_truth("good", good)
        filters = {"visit": visit, "detector": detector, "band": band}
        return self._select("dia_source", columns, filters, good, where)

    def objects(
        self,
        columns: Sequence[str] | str | None = None,
        *,
        good: bool = False,
        where: str | None = None,
    ) -> Result:
        """Return current DIA objects.

        Parameters
        ----------
        columns : sequence of str, or str, optional
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
        check_truth("good", good)
        view = "good_dia_object" if good else "dia_object"
        return self._select(view, columns, {}, False, where)

    def source(
        self, source_id: int | str, columns: Sequence[str] | str | None = None
    ) -> dict[str, Any]:
        """Return the DIA source of this id, by SQLite's index; all its columns by default.

        Raises
        ------
        ResultNotFoundError
            There is none.
        QueryError
            The id is no whole number (a text of digits is one).
        """
        with self._reruns.watching():
            rows = self._reruns.lookup(self.name)
            return rows.one("dia_source", "diaSourceId", source_id, columns)

    def object(
        self, object_id: int | str, columns: Sequence[str] | str | None = None
    ) -> dict[str, Any]:
        """Return the current version of the DIA object of this id, by SQLite's index.

        All its columns by default.

        Raises
        ------
        ResultNotFoundError
            There is none.
        QueryError
            The id is no whole number (a text of digits is one).
        """
        with self._reruns.watching():
            rows = self._reruns.lookup(self.name)
            return rows.one("dia_object", "diaObjectId", object_id, columns)

    def sources_for_object(
        self,
        object_id: int | str,
        columns: Sequence[str] | str | None = None,
        *,
        good: bool = False,
    ) -> Result:
        """Return the DIA sources of one object in order of time, by SQLite's index.

        Returns
        -------
        Result
            One row per diaSource; none where the object has no source.
        """
        with self._reruns.watching(["dia_source"]):
            rows = self._reruns.lookup(self.name)
            return rows.many("dia_source", "diaObjectId", object_id, columns, good=good)

    def forced_sources_for_object(
        self, object_id: int | str, columns: Sequence[str] | str | None = None
    ) -> Result:
        """Return the forced photometry of one object in order of time, by SQLite's index.

        Returns
        -------
        Result
            One row per visit and detector.
        """
        with self._reruns.watching(["dia_forced_source"]):
            rows = self._reruns.lookup(self.name)
            return rows.many("dia_forced_source", "diaObjectId", object_id, columns)

    def _select(
        self,
        view: str,
        columns: Sequence[str] | str | None,
        filters: Mapping[str, Any],
        good: bool,
        where: str | None,
    ) -> Result:
        conditions = ["is_good"] if good else []
        parameters: dict[str, Any] = {}
        for column, wanted in filters.items():
            if wanted is None:
                continue
            parameters[column] = _wanted(column, wanted)
            conditions.append(f"list_contains(${column}, {column})")
        selected = selected_columns(columns)
        listed = [columns] if isinstance(columns, str) else list(columns or ())
        few = views.documented_columns(views.view_named(view), is_narrow=True)
        is_narrow = bool(listed) and set(listed) <= set(few)
        relation = self._reruns.scope(self.name, view, where, is_narrow=is_narrow)
        kept = f" where {' and '.join(conditions)}" if conditions else ""
        sql = f"select {selected} from {relation}{kept}"
        return leftout.answered(
            self._reruns.connection,
            lambda: self._reruns.query(sql, parameters or None, read=[view]),
            asks_for_all=not listed,
        )


def _wanted(column: str, values: Any) -> list[int] | list[str]:
    """Return the visits, detectors or bands that are asked for, one or many.

    Raises
    ------
    QueryError
        Not whole numbers, or for ``band`` not texts.
    """
    plain = plain_value(values)
    many = list(plain) if isinstance(plain, Iterable) and not isinstance(plain, str) else [plain]
    if column != "band":
        return [whole_number(value, column) for value in many]
    wrong = [value for value in many if not isinstance(value, str)]
    if wrong:
        raise QueryError(f"band is {wrong[0]!r}; a name such as 'g' is wanted, or several")
    return many
