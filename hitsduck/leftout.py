"""What a store was told to leave out (``--columns``), and who asks for it all the same.

The views have such a column, as they have one that the generation lacks. But the APDB holds
numbers there, so that an answer from NULLs would be a wrong one: whoever reads it, by whatever
name, is refused (`attaching.staged_sql`). Who asks for all columns gets NULLs and a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

from hitsduck.connection import Connection
from hitsduck.errors import LeftOutError, LeftOutWarning

_Answer = TypeVar("_Answer")


def answered(connection: Connection, ask: Callable[[], _Answer], *, asks_for_all: bool) -> _Answer:
    """Return an answer; where it needs a column that was left out, with NULLs or not at all.

    Parameters
    ----------
    connection : Connection
    ask : callable
        Gives the answer; called again where the first attempt fails.
    asks_for_all : bool
        Whether it asks for all columns instead of naming them.

    Raises
    ------
    LeftOutError
        It names one.

    Warns
    -----
    LeftOutWarning
        It does not, and has NULLs.
    """
    try:
        return ask()
    except LeftOutError as error:
        if not asks_for_all:
            raise
        with connection.left_out_as_null():
            answer = ask()
        warnings.warn(f"{error}; what was not stored is NULL here", LeftOutWarning, stacklevel=4)
        return answer
