"""How many bytes a rerun's tables take, from a sample of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from hitsduck.simulator.geometry import make_focal_plane
from hitsduck.simulator.layouts import Generation, LayoutColumn, LayoutTable
from hitsduck.simulator.presets import Preset
from hitsduck.simulator.writer import SqliteRerun

# rowid, sizes of record and header; cell pointer (see sqlite.org/fileformat2)
_ROW_OVERHEAD = 2 + 2 + 2 + 3
_PAGE_FILL = 0.97
# bytes of a Parquet value after compression, measured on the presets
_PARQUET_BYTES = {"number": 3.4, "whole": 1.1, "text": 0.05}


def table_bytes(
    frames: dict[str, pl.DataFrame],
    generation: Generation | None,
    preset: Preset,
    *,
    columns: str,
) -> float:
    """Return about how many bytes the frames take on disk, truth included.

    Parameters
    ----------
    generation : Generation or None
        Of the SQLite file; None for Parquet.
    """
    truth = sum(_parquet_bytes(f) for n, f in frames.items() if n in ("truth", "lost"))
    tables = {n: f for n, f in frames.items() if n not in ("truth", "lost")}
    if generation is None:
        return truth + sum(_parquet_bytes(f) for f in tables.values())
    plane = make_focal_plane(preset)
    database = SqliteRerun.for_estimate(
        generation,
        columns=columns,
        id_factor=plane.camera.id_factor or 1000,
        pixel_scale_arcsec=plane.pixel_scale_arcsec,
    )
    total = truth
    for table, values in database.physical_tables(tables):
        total += _sqlite_bytes(table, values) / _PAGE_FILL
    return total


def _sqlite_bytes(table: LayoutTable, values: list[tuple[LayoutColumn, Any]]) -> float:
    rows = next(len(v) for _, v in values if isinstance(v, pl.Series))
    size = {column.name: _mean_cell(value) for column, value in values}
    keys = [columns for _, columns in table.indexes]
    if table.primary_key:
        keys.append(table.primary_key)
    per_row = _ROW_OVERHEAD + len(table.columns) + sum(size.values())
    for key in keys:
        per_row += 8 + len(key) + sum(size.get(c, 0.0) for c in key)
    return rows * per_row


def _mean_cell(value: Any) -> float:
    """Return the mean bytes of a cell's content; its type byte is counted elsewhere."""
    if not isinstance(value, pl.Series):
        return 0.0
    if value.dtype.is_float():
        return 8.0 * (1 - value.null_count() / max(len(value), 1))
    if value.dtype == pl.String:
        return float(value.str.len_bytes().fill_null(0).mean() or 0.0)  # type: ignore[arg-type]
    if value.dtype == pl.Boolean:
        return 0.0
    numbers = np.abs(value.fill_null(0).cast(pl.Int64).to_numpy())
    limits = np.array([2, 128, 1 << 15, 1 << 23, 1 << 31, 1 << 47])
    sizes = np.array([0, 1, 2, 3, 4, 6, 8])
    return float(sizes[np.searchsorted(limits, numbers, side="right")].mean())


def _parquet_bytes(frame: pl.DataFrame) -> float:
    per_row = 0.0
    for dtype in frame.dtypes:
        kind = "number" if dtype.is_float() else "whole" if dtype.is_numeric() else "text"
        per_row += _PARQUET_BYTES[kind] * (2 if dtype == pl.Float64 else 1)
    return per_row * len(frame)
