"""Reruns whose every question is answered from what the pictures have read."""

from __future__ import annotations

from hitsduck.chartdata.keeping import is_kept, keep, relation
from hitsduck.reruns import Reruns, StandIn
from hitsduck.results import Result


class InMemory(StandIn):
    """The same reruns, whose views read from memory what has been read already.

    So comparisons, counts and checks ask the files no second time. Made by `in_memory`.
    """

    def __init__(self, original: Reruns) -> None:
        super().__init__(original)
        self._counts: dict[str | None, Result] = {}

    def scope(
        self,
        name: str,
        view: str,
        where: str | None = None,
        *,
        visits: tuple[int, int] | None = None,
        is_narrow: bool = False,
    ) -> str:
        """Return one rerun's view as SQL, over its kept sources where there are any."""
        if visits is not None or not is_kept(self, name, where):
            return self.original.scope(name, view, where, visits=visits, is_narrow=is_narrow)
        return relation(self, name, view, where)

    def counts(self, *, where: str | None = None) -> Result:
        """Count as `Reruns.counts` does, once for several pictures."""
        if where not in self._counts:
            self._counts[where] = super().counts(where=where)
        return self._counts[where]


def in_memory(reruns: Reruns, where: str | None = None) -> InMemory:
    """Read what pictures need of all reruns, and return reruns that ask it from memory.

    Parameters
    ----------
    reruns : Reruns
    where : str, optional
        One expression on ``dia_source``: only such sources.

    Returns
    -------
    InMemory
        Of ``dia_source`` it has only the columns `chartdata.keeping.SOURCE_COLUMNS` and
        the flags, of ``dia_object`` those of positions, validity and number of sources.

    Raises
    ------
    QueryError
        The condition is not possible.
    """
    keep(reruns.original, where)
    return InMemory(reruns.original)
