"""Files that are written: whole or not at all, and never over a database."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hitsduck.errors import OutputError

#: How database files begin: what they are, the place of the mark, the mark.
_DATABASES = (
    ("an SQLite database", 0, b"SQLite format 3\x00"),
    ("a DuckDB database", 8, b"DUCK"),
)


def database_kind(path: Path) -> str | None:
    """Return what kind of database file is there, in words; None where there is none."""
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError:
        return None
    for kind, place, mark in _DATABASES:
        if head[place : place + len(mark)] == mark:
            return kind
    return None


def check_output(path: Path) -> None:
    """Check that a file can be written, and takes the place of no folder or database.

    Raises
    ------
    OutputError
    """
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file to write")
    kind = database_kind(path)
    if kind is not None:
        raise OutputError(f"{path}: is {kind}, over which nothing is written; name another file")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is either the old one or the whole new one.

    Raises
    ------
    OutputError
        It would take the place of a database or a folder, or there is no folder for it.
    """
    check_output(path)
    written = content.encode("utf-8") if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(written)
        # mkstemp gives a file to its owner alone; a report follows the umask as any file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def written_whole(output: Path) -> Iterator[Path]:
    """Give a name beside `output` to write under; `output` appears whole or not at all.

    Raises
    ------
    OutputError
    """
    check_output(output)
    partial = output.with_name(f"{output.name}.part")
    try:
        yield partial
        partial.replace(output)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
