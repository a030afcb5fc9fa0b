"""What an option takes: numbers within limits, and yes or no; anything else is refused alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

from hitsduck.errors import HitsduckError, MatchError, QueryError

_MOST_SHOWN = 80


def shown(value: object) -> str:
    """Return a value as a message shows it: in one line, cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def check_number(
    name: str,
    value: object,
    wanted: str,
    fits: Callable[[Any], bool],
    *,
    whole: bool = False,
    error: type[HitsduckError] = MatchError,
) -> None:
    """Refuse what is no number (True is none), or does not fit.

    Parameters
    ----------
    name : str
        Of the option.
    value : object
    wanted : str
        What the user is to give, in words.
    fits : callable
        Whether a number can be taken; not-a-number fits no comparison.
    whole : bool
        Only a whole number can.
    error : type
        Of the error that is raised.
    """
    is_number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    try:
        is_fit = is_number and fits(value) and math.isfinite(float(value))  # type: ignore[arg-type]
    except OverflowError:
        is_fit = False
    if not is_fit:
        raise error(f"{name} is {shown(value)}; {wanted}")


def check_truth(name: str, value: object) -> None:
    """Refuse what is neither True nor False: None or a text would quietly count as one.

    Raises
    ------
    QueryError
    """
    if type(value).__name__ not in ("bool", "bool_"):  # Python's, or NumPy's
        raise QueryError(f"{name} is {shown(value)}; it is True or False")
