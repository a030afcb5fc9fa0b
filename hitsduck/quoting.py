"""The one place where a name or a path becomes SQL text.

Values are bound as parameters and never pass through here.
"""

from __future__ import annotations

import os


def quote_identifier(name: str) -> str:
    """Return `name` as an SQL identifier: in double quotes, inner ones doubled.

    Examples
    --------
    >>> quote_identifier('a"b;--')
    '"a""b;--"'
    """
    if "\x00" in name:
        raise ValueError("a name cannot hold a NUL character")
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str | os.PathLike[str]) -> str:
    """Return a path or a rerun's name as an SQL text constant.

    Used where SQL takes no bound parameter: ATTACH, LOAD and the ``rerun``
    column of a view; and for a query that is parsed and not run.

    Examples
    --------
    >>> quote_text("it's")
    "'it''s'"
    """
    plain = os.fspath(text)
    if "\x00" in plain:
        raise ValueError("a path cannot hold a NUL character")
    return "'" + plain.replace("'", "''") + "'"
