"""Writes a rerun as a folder of Parquet files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from hitsduck import storing, views
from hitsduck.attaching import STAGED, AttachedRerun
from hitsduck.columnar import MANIFEST, Manifest, parquet_sql
from hitsduck.connection import Connection, Settings
from hitsduck.errors import NotAnApdbError, OutputError
from hitsduck.importing import Importer
from hitsduck.quoting import quote_text
from hitsduck.storing import Progress, Total, manifest_of

#: Rows of a Parquet file's groups.
_GROUP_ROWS = 262_144


def export_parquet(
    rerun: AttachedRerun,
    folder: str | os.PathLike[str],
    *,
    columns: str | Sequence[str] = "all",
    overwrite: bool = False,
    progress: Progress | None = None,
    **settings: Unpack[Settings],
) -> Path:
    """Write one rerun as a folder of Parquet files with a manifest.

    Parameters
    ----------
    rerun : AttachedRerun
    folder : path-like
        New, empty, or where `overwrite` says so an earlier export.
    overwrite : bool
        Whether an earlier export may be replaced.
    columns, progress, **settings
        As for `create_workspace`.

    Returns
    -------
    Path
        The folder, which can be opened as a rerun.

    Raises
    ------
    OutputError, RerunChangedError
    """
    target = Path(os.path.realpath(storing.as_path(folder)))
    if target == Path.cwd():
        raise OutputError(f"{target}: is the current folder; name one below it")
    if target.exists() and not _is_replaceable(target):
        raise OutputError(
            f"{target}: is there and no earlier export; name a new folder, or empty this one"
        )
    if target.exists() and any(target.iterdir()) and not overwrite:
        raise OutputError(
            f"{target}: holds an earlier export already; name a new folder, or allow it to be "
            "overwritten (--overwrite, overwrite=True)"
        )
    asked = storing.asked_columns(columns)
    with storing.partial_of(target) as partial:
        try:
            partial.mkdir()
            connection = Connection(**settings)
            try:
                connection.execute("set global preserve_insertion_order = false")
                manifest = _write_parquet(connection, rerun, partial, asked, progress)
            finally:
                connection.close()
            (partial / MANIFEST).write_text(manifest.to_json() + "\n", encoding="utf-8")
            # Aside, not away: an earlier export is whole until the new one bears its name.
            with storing.partial_of(target) as earlier:
                if target.exists():
                    os.replace(target, earlier)
                try:
                    os.replace(partial, target)
                except OSError:
                    if earlier.exists():
                        os.replace(earlier, target)
                    raise
                finally:
                    shutil.rmtree(earlier, ignore_errors=True)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return Path(folder)


def _is_replaceable(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    found = {path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()}
    if not found:
        return not any(folder.iterdir())
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        manifest = Manifest.of_json(text, where=str(folder), name=folder.name)
    except (OSError, UnicodeDecodeError, NotAnApdbError):
        return False
    listed = {Path(name) for of_table in manifest.files.values() for name in of_table}
    return found <= listed | {Path(MANIFEST)}


def _write_parquet(
    connection: Connection,
    rerun: AttachedRerun,
    folder: Path,
    columns: str,
    progress: Progress | None,
) -> Manifest:
    for statement in views.macros():
        connection.execute(statement)
    connection.execute(storing.scans(rerun.file.can_be_sliced))
    told = replace(rerun, catalog="hitsduck_read")
    attached = told.file.attach_sql(told.catalog)
    if attached is not None:
        connection.execute(attached)
    total = Total([rerun], progress)
    importer = Importer(connection)
    rows, files = {}, {}
    for table in STAGED.values():
        if table not in rerun.file.tables:
            continue
        (folder / table).mkdir()
        file = folder / table / "part-0000.parquet"

        def write(select: str, file: Path = file) -> str:
            connection.execute(
                f"copy ({select}) to {quote_text(file)} "
                f"(format parquet, compression zstd, row_group_size {_GROUP_ROWS:d})"
            )
            return parquet_sql([file])

        importer.store(told, table, columns, write)
        rows[table] = total.rows[rerun.name][table]
        files[table] = [f"{table}/{file.name}"]
        total.told(rerun.name, table)
    return manifest_of(rerun, rows, columns, files)
