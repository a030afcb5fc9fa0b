"""Which rerun has sources without an id, where matching says only that there are some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from hitsduck.errors import HitsduckError, MatchError

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

_ID = "diaSourceId"
_Error = TypeVar("_Error", bound=HitsduckError)


def named(reruns: Reruns, names: Iterable[str], error: _Error) -> _Error | MatchError:
    """Say of which reruns sources have no id, how many, and what to do.

    Parameters
    ----------
    reruns : Reruns
    names : iterable of str
        Of those that were matched.
    error : HitsduckError

    Returns
    -------
    HitsduckError
        A better one, or `error` where it is about something else.
    """
    if not isinstance(error, MatchError) or f"{_ID} of the " not in str(error):
        return error
    told = []
    for name in dict.fromkeys(names):
        relation = reruns.scope(name, "dia_source")
        (row,) = reruns.few_rows(
            f"select count(*) as n_rows, count(*) - count({_ID}) as n_without from {relation}"
        )
        if row["n_without"]:
            told.append(
                f"rerun {name!r} ({reruns.attached(name).file.path}): {_ID} is NULL in "
                f"{row['n_without']:,} of {row['n_rows']:,} rows of DiaSource"
            )
    if not told:
        return error
    return MatchError(
        f"{'; '.join(told)}; sources without an id cannot be matched: give each its own in a "
        "copy of the file"
    )
