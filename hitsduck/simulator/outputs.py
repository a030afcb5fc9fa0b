"""Where a rerun goes: SQLite or Parquet, its truth, and the marks of a simulation.

Everything is written under temporary names and gets its own in `publish`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from hitsduck import inspection
from hitsduck.errors import SimulationError
from hitsduck.simulator.geometry import make_focal_plane
from hitsduck.simulator.layouts import Generation, generation_names, load_generation
from hitsduck.simulator.presets import Preset
from hitsduck.simulator.writer import APPLICATION_ID, SqliteRerun, canonical_flags

DATABASE = "association.db"
MANIFEST = "manifest.json"
NOTE, NOTE_BEGINS = inspection.SIMULATED_NOTE, inspection.SIMULATED_NOTE_BEGINS
TRUTH_TABLES = ("truth", "lost")


class ParquetFile:
    """One Parquet file, appended block by block under a temporary name."""

    def __init__(self, path: Path, marks: dict[str, str]) -> None:
        self.path, self.marks = path, marks
        self.temporary = path.with_name(f".{path.name}.part")
        self._writer: pq.ParquetWriter | None = None

    def write(self, frame: pl.DataFrame) -> None:
        """Append a frame as one row group or more."""
        table = _arrow(frame)
        if self._writer is None:
            schema = table.schema.with_metadata(self.marks)
            self._writer = pq.ParquetWriter(self.temporary, schema, compression="zstd")
        self._writer.write_table(table.replace_schema_metadata(self.marks), 262_144)

    def finish(self) -> None:
        """Write the footer."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def publish(self) -> None:
        """Give the file its own name."""
        os.replace(self.temporary, self.path)

    def discard(self) -> None:
        """Remove what was written."""
        with suppress(OSError, pa.ArrowException):
            self.finish()
        self.temporary.unlink(missing_ok=True)


def _arrow(frame: pl.DataFrame) -> pa.Table:
    enums = [name for name, dtype in frame.schema.items() if dtype == pl.Enum]
    plain = frame.with_columns(pl.col(enums).cast(pl.String)) if enums else frame
    return plain.to_arrow(compat_level=pl.CompatLevel.oldest())


class RerunOutput:
    """One rerun being written; a context manager that cleans up after an error."""

    def __init__(
        self,
        folder: Path,
        preset: Preset,
        generation: Generation | None,
        *,
        columns: str,
        marks: dict[str, str],
    ) -> None:
        self.folder, self.preset, self.marks = folder, preset, marks
        self.rows: dict[str, int] = {}
        self._truth = {n: ParquetFile(folder / f"{n}.parquet", marks) for n in TRUTH_TABLES}
        self._database: SqliteRerun | None = None
        self._parts: list[ParquetFile] = []
        self._files: dict[str, list[str]] = {}
        self._newest = load_generation(generation_names()[-1])
        self._published = False
        self._replaces = is_simulated_rerun(folder)
        plane = make_focal_plane(preset)
        if generation is None:
            self.path = folder
        else:
            self.path = folder / DATABASE
            self._database = SqliteRerun(
                self.path,
                generation,
                columns=columns,
                id_factor=plane.camera.id_factor or 1000,
                pixel_scale_arcsec=plane.pixel_scale_arcsec,
            )

    def __enter__(self) -> RerunOutput:
        """Make the folder and begin the files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._database is not None:
            self._database.open()
            self._database.write_metadata({"instrument": self.preset.camera, **self.marks})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what was written, unless it has been published."""
        if self._published:
            return
        if self._database is not None:
            self._database.discard()
        for part in [*self._truth.values(), *self._parts]:
            part.discard()

    def write(self, block: int, frames: dict[str, pl.DataFrame]) -> None:
        """Append one block's tables."""
        for name, file in self._truth.items():
            file.write(frames[name])
            self.rows[name] = self.rows.get(name, 0) + len(frames[name])
        tables = {n: f for n, f in frames.items() if n not in TRUTH_TABLES}
        if self._database is not None:
            self._database.write(tables)
            self.rows |= self._database.rows
            return
        for name, frame in tables.items():
            folder = self.folder / name
            folder.mkdir(exist_ok=True)
            part = ParquetFile(folder / f"part-{block:04d}.parquet", self.marks)
            self._parts.append(part)
            part.write(canonical_flags(frame, self._newest) if name == "DiaSource" else frame)
            part.finish()
            self._files.setdefault(name, []).append(f"{name}/{part.path.name}")
            self.rows[name] = self.rows.get(name, 0) + len(frame)

    def finish(self) -> None:
        """Complete every file under its temporary name."""
        if self._database is not None:
            self._database.finish()
            self.rows |= self._database.rows
        for file in self._truth.values():
            file.finish()

    def publish(self, catalogues: Sequence[Path] = ()) -> None:
        """Give every file its own name, what readers look for last.

        What an earlier simulation left in the folder goes, but for `catalogues`.
        """
        if self._replaces:
            self._remove_earlier({*catalogues, *(part.path for part in self._parts)})
        for file in [*self._truth.values(), *self._parts]:
            file.publish()
        if self._database is not None:
            self._database.publish()
        else:
            manifest = {
                **self.marks,
                "instrument": self.preset.camera,
                "columns": f"canonical names of schema {self._newest.name}",
                "tables": {
                    name: {"rows": self.rows[name], "files": files}
                    for name, files in self._files.items()
                },
            }
            temporary = self.folder / f".{MANIFEST}.part"
            temporary.write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
            os.replace(temporary, self.folder / MANIFEST)
        self._published = True

    def _remove_earlier(self, kept: set[Path]) -> None:
        for name in (DATABASE, MANIFEST):
            (self.folder / name).unlink(missing_ok=True)
        for pattern in ("*/part-*.parquet", "*/.part-*.part", "*/src/src-*_*.fits"):
            for old in set(self.folder.glob(pattern)) - kept:
                if not old.name.endswith(".part") or old not in self._temporaries():
                    old.unlink()
        for folder in sorted(self.folder.glob("**/"), reverse=True):
            if folder != self.folder and not any(folder.iterdir()):
                folder.rmdir()

    def _temporaries(self) -> set[Path]:
        return {part.temporary for part in self._parts}


def open_rerun(
    folder: Path,
    preset: Preset,
    generation: Generation | None,
    *,
    columns: str,
    marks: dict[str, str],
) -> RerunOutput:
    """Return the output of one rerun: SQLite of a generation, or Parquet (None)."""
    return RerunOutput(folder, preset, generation, columns=columns, marks=marks)


def prepare_directory(directory: Path, reruns: Sequence[str]) -> None:
    """Make the directory; raise SimulationError where it holds what was not simulated.

    Reruns of an earlier simulation are replaced.
    """
    if directory.exists() and not directory.is_dir():
        raise SimulationError(f"{directory}: is a file; give a folder")
    for rerun in reruns:
        folder = directory / rerun
        if not folder.is_dir():
            continue
        foreign = [
            p
            for p in sorted(folder.iterdir())
            if p.suffix in (".db", ".sqlite3") and not (p.name == DATABASE and is_simulated(p))
        ]
        if not foreign and any(folder.iterdir()) and not is_simulated_rerun(folder):
            foreign = [folder]
        if foreign:
            raise SimulationError(
                f"{foreign[0]}: was not simulated and is not overwritten; give another folder"
            )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SimulationError(f"{directory}: cannot be made: {error}") from error


def is_simulated(database: Path) -> bool:
    """Return whether an SQLite file bears the mark of this simulator."""
    try:
        with database.open("rb") as file:
            header = file.read(100)
    except OSError:
        return False
    return header[:15] == b"SQLite format 3" and header[68:72] == APPLICATION_ID.to_bytes(4, "big")


def is_simulated_rerun(folder: Path) -> bool:
    """Return whether a rerun's folder holds a simulation, or what is left of one."""
    note = folder.parent / NOTE
    lines = note.read_text("utf-8", "replace").splitlines() if note.is_file() else [""]
    named = lines[0].startswith(NOTE_BEGINS) and f"  {folder.name}" in lines
    return named or is_simulated(folder / DATABASE)


def write_note(
    directory: Path, preset: Preset, marks: dict[str, str], reruns: Sequence[str]
) -> None:
    """Write the note that tells a visitor of the folder that all of it is simulated."""
    lines = [
        f"{NOTE_BEGINS} - no telescope took any of this.",
        "",
        f"Preset {preset.name}: {preset.description}.",
        f"Scale {marks['simulated:scale']}, seed {marks['simulated:seed']}, written by hitsduck.",
        "",
        "Each folder is one rerun:",
        *(f"  {name}" for name in reruns),
        "",
        "truth.parquet tells for every DiaSource which thing it is and what planted it;",
        "lost.parquet tells what the rerun lacks of the one it is based on, and why.",
        "",
    ]
    temporary = directory / f".{NOTE}.part"
    temporary.write_text("\n".join(lines), "utf-8")
    os.replace(temporary, directory / NOTE)
