"""Running a preset: truth, reruns, tables, and where they go."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa

from hitsduck.errors import SimulationError
from hitsduck.simulator.estimate import table_bytes
from hitsduck.simulator.layouts import generation_names, load_generation
from hitsduck.simulator.outputs import open_rerun, prepare_directory, write_note
from hitsduck.simulator.plan import ALL_TABLES, CausesArgument, Plan
from hitsduck.simulator.presets import Preset
from hitsduck.simulator.src_catalogs import src_bytes, write_src_catalogs
from hitsduck.simulator.writer import canonical_flags

#: Called with what is being done and the fraction (0 to 1) of the work that is done.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class RerunResult:
    """One rerun that was written.

    Attributes
    ----------
    name : str
    path : Path
        ``association.db``, or the folder of Parquet tables.
    truth, lost : Path
        The truth of every source, and what the rerun lacks, in Parquet.
    rows : dict of str to int
        Rows of each table.
    src_files : int
        Number of calexp catalogues beside it.
    """

    name: str
    path: Path
    truth: Path
    lost: Path
    rows: dict[str, int]
    src_files: int = 0


@dataclass(frozen=True)
class Simulation:
    """What `simulate` wrote."""

    directory: Path
    preset: str
    seed: int
    scale: float
    generation: str
    format: str
    reruns: dict[str, RerunResult] = field(default_factory=dict)

    @property
    def paths(self) -> dict[str, Path]:
        """The database (or Parquet folder) of each rerun, by name."""
        return {name: result.path for name, result in self.reruns.items()}


def simulate(
    directory: str | Path,
    *,
    preset: str | Path | Preset = "hits2015",
    scale: float = 1.0,
    generation: str | None = None,
    format: str = "sqlite",
    columns: str = "all",
    seed: int | None = None,
    src_catalogs: str = "small",
    reruns: Sequence[str] | None = None,
    causes: CausesArgument | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Write simulated reruns to `directory`, one folder each, with their truth.

    Parameters
    ----------
    directory : str or Path
        Made if it is missing. Each rerun goes to ``directory/RERUN/``: the file
        ``association.db`` (or, as Parquet, a folder per table and ``manifest.json``),
        ``truth.parquet`` and ``lost.parquet``.
    preset : str or Path
        A packaged preset (see `preset_names`) or the path of a TOML file.
    scale : float
        Factor on the number of sources, 0.001 to 100. Above 1 the sky grows, not the
        density: further blocks of fields and visits are added.
    generation : str, optional
        Schema generation of SQLite files; the preset's own by default.
    format : str
        ``sqlite`` (to scale 10) or ``parquet`` (canonical columns).
    columns : str
        ``all`` of the generation, or only those that the ``notebook`` analysis reads.
    seed : int, optional
        The preset's own by default. The same seed gives the same bytes.
    src_catalogs : str
        Calexp ``src`` catalogues: the preset's ``small`` list, ``all`` images, ``none``.
    reruns : sequence of str, optional
        Write these only; the simulation is the same.
    causes : sequence of Cause, or mapping of rerun to such, optional
        Planted causes in place of the preset's: of the last rerun, or of those named.
    progress : callable, optional
        Called with a message and the fraction done.

    Returns
    -------
    Simulation

    Raises
    ------
    SimulationError
        A parameter is impossible, the targets cannot be met, or a file of that name is
        there that was not simulated.

    Examples
    --------
    >>> result = simulate("sim", preset="small")        # doctest: +SKIP
    >>> result.paths["Apr2020"]                          # doctest: +SKIP
    PosixPath('sim/Apr2020/association.db')
    """
    plan = Plan.make(preset, scale, generation, format, columns, seed, src_catalogs, reruns, causes)
    directory = Path(directory)
    prepare_directory(directory, plan.reruns)
    tell = progress or _silent
    steps = plan.blocks * len(plan.preset.reruns)
    with _writing(directory), ExitStack() as stack:
        # the outputs look for an earlier simulation before the note says that there is one
        outputs = {
            name: stack.enter_context(
                open_rerun(
                    directory / name,
                    plan.preset,
                    plan.generation if format == "sqlite" else None,
                    columns=columns,
                    marks=plan.marks(name),
                )
            )
            for name in plan.reruns
        }
        write_note(directory, plan.preset, plan.marks(""), plan.reruns)
        for done, block in enumerate(plan.run(ALL_TABLES)):
            where = f" (block {block.block + 1} of {plan.blocks})" if plan.blocks > 1 else ""
            tell(f"{block.rerun}{where}: writing", (done + 0.5) / (steps + 1))
            if block.rerun in outputs:
                outputs[block.rerun].write(block.block, block.frames)
            tell(f"{block.rerun}{where}: written", (done + 1) / (steps + 1))
        tell("indexes", steps / (steps + 1))
        for output in outputs.values():
            output.finish()
        catalogues = write_src_catalogs(
            [directory / name for name in plan.reruns],
            plan.preset,
            plan.seed,
            which=src_catalogs,
            scale=min(scale, 1.0),
        )
        for output in outputs.values():
            output.publish(catalogues)
    tell("done", 1.0)
    return Simulation(
        directory=directory,
        preset=plan.preset.name,
        seed=plan.seed,
        scale=scale,
        generation=plan.generation_name,
        format=format,
        reruns={
            name: RerunResult(
                name=name,
                path=outputs[name].path,
                truth=directory / name / "truth.parquet",
                lost=directory / name / "lost.parquet",
                rows=dict(outputs[name].rows),
                src_files=len(catalogues) // len(plan.reruns),
            )
            for name in plan.reruns
        },
    )


def simulate_frames(
    preset: str | Path | Preset = "pair",
    *,
    causes: CausesArgument | None = None,
    scale: float = 0.1,
    seed: int | None = None,
    reruns: Sequence[str] | None = None,
    tables: Sequence[str] = ("DiaSource", "DiaObject", "truth", "lost"),
) -> dict[str, dict[str, pl.DataFrame]]:
    """Return simulated reruns as frames in canonical columns, without writing anything.

    Parameters
    ----------
    preset, causes, scale, seed, reruns
        As in `simulate`.
    tables : sequence of str
        Of DiaSource, DiaObject, DiaForcedSource, SSObject,
        DetectorVisitProcessingSummary, truth, lost.

    Returns
    -------
    dict
        Rerun name to table name to frame. DiaSource and truth are in order of
        diaSourceId, one row per source.

    Examples
    --------
    >>> from hitsduck.simulator.causes import edge_excess
    >>> frames = simulate_frames(causes=[edge_excess(64, 0.05)], scale=0.01, seed=3)
    >>> sorted(frames)
    ['new', 'old']
    """
    unknown = sorted(set(tables) - set(ALL_TABLES))
    if unknown:
        raise SimulationError(
            f"simulate_frames: unknown table {', '.join(unknown)}; known: {', '.join(ALL_TABLES)}"
        )
    plan = Plan.make(preset, scale, None, "parquet", "all", seed, "none", reruns, causes)
    newest = load_generation(generation_names()[-1])
    parts: dict[str, dict[str, list[pl.DataFrame]]] = {}
    for block in plan.run(tuple(tables)):
        if block.rerun in plan.reruns:
            frames = parts.setdefault(block.rerun, {name: [] for name in tables})
            for name in tables:
                frame = block.frames[name]
                if name == "DiaSource":
                    frame = canonical_flags(frame, newest)
                frames[name].append(frame)
    return {
        rerun: {name: pl.concat(pieces) for name, pieces in frames.items()}
        for rerun, frames in parts.items()
    }


def estimate_size(
    preset: str | Path | Preset = "hits2015",
    *,
    scale: float = 1.0,
    generation: str | None = None,
    format: str = "sqlite",
    columns: str = "all",
    src_catalogs: str = "small",
    reruns: Sequence[str] | None = None,
) -> dict[str, int]:
    """Return about how many bytes `simulate` would write for each rerun.

    A small sample is simulated in memory and scaled up; nothing is written. The
    estimate is meant to be right within 15 per cent.
    """
    plan = Plan.make(preset, scale, generation, format, columns, None, src_catalogs, reruns, None)
    sample = min(plan.scale, 0.01 if plan.preset.kinds[0].number > 2000 else 1.0)
    small = dataclasses.replace(plan, scale=sample, blocks=1)
    sizes: dict[str, int] = {}
    for block in small.run(ALL_TABLES):
        if block.rerun in plan.reruns:
            size = table_bytes(
                block.frames,
                plan.generation if format == "sqlite" else None,
                plan.preset,
                columns=columns,
            )
            sizes[block.rerun] = round(size * plan.scale / sample) + src_bytes(
                plan.preset, src_catalogs, min(scale, 1.0)
            )
    return sizes


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Say in our words that something cannot be written."""
    try:
        yield
    except (OSError, sqlite3.Error, pa.ArrowException) as error:
        raise SimulationError(
            f"{directory}: cannot be written: {error}; nothing unfinished was left there"
        ) from error


def _silent(message: str, fraction: float) -> None:
    """Tell nobody."""
