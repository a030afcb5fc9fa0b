"""The same reruns from SQLite, from a workspace and from Parquet files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import hitsduck

#: Where reruns may lie; answers must not depend on it.
STORES = ("sqlite", "workspace", "parquet")


def stored(
    files: Mapping[str, Path], how: str, folder: Path, instrument: str | None = None
) -> dict[str, str | Path]:
    """Return {rerun: what to open} of some APDBs, stored as `how` says.

    Parameters
    ----------
    files : mapping of str to path
    how : str
        One of `STORES`.
    folder : Path
        Where stores go.
    """
    if how == "sqlite":
        return dict(files)
    with hitsduck.open_reruns(dict(files), instrument=instrument) as reruns:
        if how == "workspace":
            path = reruns.materialize(folder / "all.duckdb")
            return {name: f"{path}:{name}" for name in files}
        return {
            name: reruns.export(name, folder / f"exported-{number}")
            for number, name in enumerate(files)
        }
