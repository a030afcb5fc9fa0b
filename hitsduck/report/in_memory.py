"""Reruns whose every question is answered from what the pictures have read."""

from __future__ import annotations

from typing import Any

from hitsduck.chartdata.keeping import is_kept, keep, relation
from hitsduck.reruns import Reruns
from hitsduck.results import Result


class InMemory(Reruns):
    """The same reruns, whose views read from memory what has been read already.

    So comparisons, counts and checks ask the files no second time. Made by
    `in_memory`; closing it does nothing, for the reruns belong to another.
    """

    def __init__(self, original: Reruns) -> None:
        self._original = original
        self._counts: dict[str | None, Result] = {}

    @property
    def original(self) -> Reruns:
        """The reruns that it stands for."""
        return self._original

    def __getattr__(self, name: str) -> Any:
        """Return what the reruns themselves hold."""
        return getattr(self.__dict__["_original"], name)

    def scope(
        self,
        name: str,
        view: str,
        where: str | None = None,
        *,
        visits: tuple[int, int] | None = None,
    ) -> str:
        """Return one rerun's view as SQL, over its kept sources where there are any."""
        if visits is not None or not is_kept(self, name, where):
            return self._original.scope(name, view, where, visits=visits)
        return relation(self, name, view, where)

    def counts(self, *, where: str | None = None) -> Result:
        """Count as `Reruns.counts` does, once for several pictures."""
        if where not in self._counts:
            self._counts[where] = super().counts(where=where)
        return self._counts[where]

    def close(self) -> None:
        """Do nothing."""


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
