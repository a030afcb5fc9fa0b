"""Writing a rerun as the SQLite file that a pipeline of a given time would have left.

The file is written under a temporary name and gets its own only when it is
complete; the same frames give the same bytes on the same versions of SQLite.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hitsduck import inspection
from hitsduck.errors import SimulationError
from hitsduck.quoting import quote_identifier
from hitsduck.simulator.htm import htm_index
from hitsduck.simulator.layouts import (
    Generation,
    LayoutColumn,
    LayoutTable,
    notebook_columns,
    packed_bits,
)

#: In the header of every SQLite file written here.
APPLICATION_ID = inspection.SIMULATED_ID

_CHUNK = 50_000
_MJD_UNIX = 40587


class SqliteRerun:
    """One association.db being written: tables first, rows in blocks, indexes last.

    The calls come in this order: `open`, `write_metadata`, `write` for each block,
    `finish`, `publish`; or `discard` at any time after `open`.

    Parameters
    ----------
    path : Path
        The final name.
    generation : Generation
    columns : str
        ``all`` or ``notebook``.
    id_factor : int
        Of the camera: ccdVisitId = visit * id_factor + detector.
    pixel_scale_arcsec : float
    """

    def __init__(
        self,
        path: Path,
        generation: Generation,
        *,
        columns: str,
        id_factor: int,
        pixel_scale_arcsec: float,
    ) -> None:
        self.path, self.generation = path, generation
        self.temporary = path.with_name(f".{path.name}.part")
        self.id_factor, self.pixel_scale2 = id_factor, pixel_scale_arcsec**2
        self.tables = tuple(
            t if columns == "all" else notebook_columns(t) for t in generation.tables
        )
        self.rows: dict[str, int] = {t.name: 0 for t in self.tables}

    def open(self) -> None:
        """Begin the file: its header and its empty tables."""
        self.temporary.unlink(missing_ok=True)
        self._connection = sqlite3.connect(self.temporary, isolation_level=None)
        for pragma in (
            "page_size=4096",
            "journal_mode=off",
            "synchronous=off",
            "locking_mode=exclusive",
            "cache_size=-65536",
            "temp_store=file",
            f"application_id={APPLICATION_ID}",
            "user_version=1",
        ):
            self._connection.execute(f"pragma {pragma}")
        self._connection.execute("begin")
        for table in self.tables:
            self._connection.execute(create_table_sql(table))

    def finish(self) -> None:
        """Make the indexes and close the file, still under its temporary name."""
        for table in self.tables:
            for index, columns in table.indexes:
                names = ", ".join(quote_identifier(c) for c in columns)
                self._connection.execute(
                    f"create index {quote_identifier(index)} "
                    f"on {quote_identifier(table.name)} ({names})"
                )
        self._connection.execute("commit")
        self._connection.close()

    def publish(self) -> None:
        """Give the file its own name."""
        os.replace(self.temporary, self.path)

    def discard(self) -> None:
        """Close and remove the half-written file."""
        self._connection.close()
        self.temporary.unlink(missing_ok=True)

    def write_metadata(self, rows: dict[str, str]) -> None:
        """Write the metadata table, where the generation has one."""
        if self.generation.has_table("metadata"):
            merged = {**self.generation.metadata, **rows}
            self._connection.executemany("insert into metadata values (?, ?)", merged.items())
            self.rows["metadata"] = len(merged)

    @classmethod
    def for_estimate(
        cls, generation: Generation, *, columns: str, id_factor: int, pixel_scale_arcsec: float
    ) -> SqliteRerun:
        """Return a writer without a file, for `physical_tables`."""
        return cls(
            Path("association.db"),
            generation,
            columns=columns,
            id_factor=id_factor,
            pixel_scale_arcsec=pixel_scale_arcsec,
        )

    def write(self, frames: dict[str, pl.DataFrame]) -> None:
        """Append one block's canonical frames to the tables that the generation has."""
        for table, values in self.physical_tables(frames):
            self._append(table, values)
            self.rows[table.name] += len(frames[table.name])

    def physical_tables(
        self, frames: dict[str, pl.DataFrame]
    ) -> Iterator[tuple[LayoutTable, list[tuple[LayoutColumn, Any]]]]:
        """Yield each table that has rows, with its physical columns and their values.

        A value is a Series, or one value for all rows; columns that are left to their
        default are not among them.
        """
        pixels = self._pixels(frames)
        for table in self.tables:
            frame = frames.get(table.name)
            if frame is not None and len(frame):
                yield table, self._physical(table, frame, pixels.get(table.name))

    def _pixels(self, frames: dict[str, pl.DataFrame]) -> dict[str, pl.Series]:
        objects, sources = frames["DiaObject"], frames["DiaSource"]
        pixels = {"DiaObject": _htm(objects)}
        if self.generation.source_pixel == "own":
            pixels["DiaSource"] = _htm(sources)
        elif self.generation.source_pixel == "object":
            of_object = objects.select("diaObjectId", pixels["DiaObject"]).unique(
                "diaObjectId", keep="first"
            )
            joined = sources.select("diaObjectId", "ra", "dec").join(
                of_object, on="diaObjectId", how="left", maintain_order="left"
            )
            loose = joined["pixelId"].is_null()
            own = _htm(joined.filter(loose))
            at = loose.arg_true()
            pixels["DiaSource"] = joined["pixelId"].scatter(at, own)
        return pixels

    def _physical(
        self, table: LayoutTable, frame: pl.DataFrame, pixel: pl.Series | None
    ) -> list[tuple[LayoutColumn, Any]]:
        """Return the columns to insert with their values (a Series, or one value for all)."""
        generation = self.generation
        null = generation.null.get(table.name, ())
        unset = generation.unset.get(table.name, ())
        zero = generation.zero.get(table.name, ())
        frame = self._as_of_the_time(table, frame)
        values: list[tuple[LayoutColumn, Any]] = []
        for column in table.columns:
            name = column.canonical
            if name in null:
                values.append((column, None))
            elif name in zero:
                values.append((column, 0))
            elif name in unset:
                continue
            elif name == "pixelId":
                if pixel is not None:
                    values.append((column, pixel))
            elif name in frame.columns:
                series = frame[name]
                if column.conversion == "timestamp":
                    series = timestamps(series)
                values.append((column, series))
            elif column.sqlite_type == "BOOLEAN":
                values.append((column, 0))
            elif column.not_null and not column.default:
                raise SimulationError(
                    f"generation {generation.name}: {table.name}.{column.name} must hold a "
                    "value and none is simulated; name it under zero in generations.toml"
                )
        return values

    def _as_of_the_time(self, table: LayoutTable, frame: pl.DataFrame) -> pl.DataFrame:
        names = {c.canonical for c in table.columns}
        if "ccdVisitId" in names:
            image = pl.col("visit") * self.id_factor + pl.col("detector").cast(pl.Int64)
            frame = frame.with_columns(image.alias("ccdVisitId"))
        if table.name != "DiaSource":
            return frame
        if "flags" not in names:
            frame = with_flag_columns(frame, names)
        if self.generation.iyy_is_ixy:
            frame = frame.with_columns(pl.col("ixyPSF").alias("iyyPSF"))
        if self.generation.moments == "pixel2":
            moments = ("ixx", "iyy", "ixy", "ixxPSF", "iyyPSF", "ixyPSF")
            frame = frame.with_columns(
                (pl.col(m).cast(pl.Float64) / self.pixel_scale2).cast(pl.Float32) for m in moments
            )
        if self.generation.no_object is not None:
            frame = frame.with_columns(
                pl.col("diaObjectId", "ssObjectId").fill_null(self.generation.no_object)
            )
        return frame

    def _append(self, table: LayoutTable, values: list[tuple[LayoutColumn, Any]]) -> None:
        names = ", ".join(quote_identifier(c.name) for c, _ in values)
        marks = ", ".join("?" for _ in values)
        sql = f"insert into {quote_identifier(table.name)} ({names}) values ({marks})"
        length = next(len(v) for _, v in values if isinstance(v, pl.Series))
        for start in range(0, length, _CHUNK):
            self._connection.executemany(
                sql, zip(*(_cells(v, start) for _, v in values), strict=False)
            )


def _cells(value: Any, start: int) -> Iterable[Any]:
    if not isinstance(value, pl.Series):
        return repeat(value)
    part = value[start : start + _CHUNK]
    if part.dtype == pl.Boolean:
        part = part.cast(pl.Int8)
    return part.to_list()


def create_table_sql(table: LayoutTable) -> str:
    """Return the CREATE TABLE statement of a physical table."""
    lines = []
    for column in table.columns:
        line = f"{quote_identifier(column.name)} {column.sqlite_type}"
        if column.default:
            line += f" DEFAULT {column.default}"
        lines.append(line + (" NOT NULL" if column.not_null else ""))
    if table.primary_key:
        lines.append("PRIMARY KEY (" + ", ".join(map(quote_identifier, table.primary_key)) + ")")
    return f"CREATE TABLE {quote_identifier(table.name)} (\n\t" + ",\n\t".join(lines) + "\n)"


def timestamps(mjd: pl.Series) -> pl.Series:
    """Return MJD as the text of an SQL timestamp of the same time scale, to the microsecond."""
    few = mjd.unique().drop_nulls()
    micros = np.round((few.to_numpy() - _MJD_UNIX) * 86_400e6).astype(np.int64)
    text = pl.Series(micros).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
    return mjd.replace_strict(few, text, default=None, return_dtype=pl.String)


def with_flag_columns(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Return the frame with BOOLEAN columns for the packed flags (those in `names`)."""
    bits = packed_bits("2019")
    return frame.with_columns(
        ((pl.col("flags") & mask) != 0).alias(name)
        for name, mask in bits.items()
        if name in set(names)
    )


def _htm(frame: pl.DataFrame) -> pl.Series:
    return pl.Series("pixelId", htm_index(frame["ra"].to_numpy(), frame["dec"].to_numpy()))


def canonical_flags(frame: pl.DataFrame, generation: Generation) -> pl.DataFrame:
    """Return DiaSource in canonical columns: BOOLEAN flags instead of the packed ones."""
    names = {c.canonical for c in generation.table("DiaSource").columns}
    return with_flag_columns(frame, names).drop("flags")
