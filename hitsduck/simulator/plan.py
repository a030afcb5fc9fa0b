"""A checked request for a simulation, and its rerun-by-rerun execution."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hitsduck.errors import SimulationError
from hitsduck.simulator.causes import Cause, cause_from_mapping
from hitsduck.simulator.drawing import draw_pool
from hitsduck.simulator.geometry import make_focal_plane, make_visits
from hitsduck.simulator.layouts import Generation, load_generation
from hitsduck.simulator.preset_files import load_preset
from hitsduck.simulator.presets import Preset
from hitsduck.simulator.reruns import Realisation, Realiser
from hitsduck.simulator.tables import rerun_tables
from hitsduck.simulator.truth import stream
from hitsduck.simulator.truth_tables import SourceIds, source_ids

#: Largest scale written as SQLite; above it Parquet.
SQLITE_SCALE_LIMIT = 10.0
SCALE_RANGE = (0.001, 100.0)
FORMATS = ("sqlite", "parquet")
COLUMNS = ("all", "notebook")
SRC_CHOICES = ("small", "all", "none")

#: Tables of an APDB file, and the two that hold the truth.
ALL_TABLES = (
    "DiaSource",
    "DiaObject",
    "DiaForcedSource",
    "SSObject",
    "DetectorVisitProcessingSummary",
    "truth",
    "lost",
)

CausesArgument = Sequence[Cause | Mapping[str, Any]] | Mapping[str, Sequence[Cause]]


@dataclass(frozen=True)
class Block:
    """One rerun of one block: its frames, ready to be written."""

    rerun: str
    block: int
    frames: dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Plan:
    """A checked request: preset with its causes, blocks, seed and what to write."""

    preset: Preset
    scale: float
    blocks: int
    seed: int
    generation_name: str
    reruns: tuple[str, ...]

    @classmethod
    def make(
        cls,
        preset: str | Path | Preset,
        scale: float,
        generation: str | None,
        format: str,
        columns: str,
        seed: int | None,
        src_catalogs: str,
        reruns: Sequence[str] | None,
        causes: CausesArgument | None,
    ) -> Plan:
        """Return the plan of a request; raise SimulationError where it is impossible."""
        loaded = load_preset(preset)
        if causes is not None:
            loaded = with_causes(loaded, causes)
        for name, value, allowed in (
            ("format", format, FORMATS),
            ("columns", columns, COLUMNS),
            ("src_catalogs", src_catalogs, SRC_CHOICES),
        ):
            if value not in allowed:
                raise SimulationError(
                    f"{name} is {value!r}; it must be one of {', '.join(allowed)}"
                )
        low, high = SCALE_RANGE
        if not (math.isfinite(scale) and low <= scale <= high):
            raise SimulationError(f"scale is {scale}; it must lie between {low:g} and {high:g}")
        if format == "sqlite" and scale > SQLITE_SCALE_LIMIT:
            raise SimulationError(
                f"scale {scale:g} is too large for SQLite (up to {SQLITE_SCALE_LIMIT:g}); "
                "use format parquet"
            )
        chosen = tuple(reruns) if reruns is not None else tuple(r.name for r in loaded.reruns)
        for name in chosen:
            loaded.rerun(name)
        if not chosen:
            raise SimulationError("no rerun is asked for; name at least one")
        if seed is not None and seed < 0:
            raise SimulationError(f"seed is {seed}; it must not be negative")
        generation_name = generation or loaded.generation
        load_generation(generation_name)
        return cls(
            preset=loaded,
            scale=scale,
            blocks=max(1, math.ceil(scale)),
            seed=loaded.seed if seed is None else seed,
            generation_name=generation_name,
            reruns=tuple(dict.fromkeys(chosen)),
        )

    @property
    def generation(self) -> Generation:
        """The generation's layout."""
        return load_generation(self.generation_name)

    def marks(self, rerun: str) -> dict[str, str]:
        """Return what tells that, and how, a file was simulated."""
        marks = {
            "simulated": "true",
            "simulated:by": "hitsduck.simulator",
            "simulated:preset": self.preset.name,
            "simulated:scale": f"{self.scale:g}",
            "simulated:seed": str(self.seed),
        }
        if rerun:
            marks["simulated:rerun"] = rerun
        return marks

    def run(self, tables: tuple[str, ...]) -> Iterator[Block]:
        """Yield every rerun of every block, reruns in the preset's order."""
        plane = make_focal_plane(self.preset)
        last_needed = max(self.preset.reruns.index(self.preset.rerun(r)) for r in self.reruns)
        for block in range(self.blocks):
            visits = make_visits(self.preset, stream(self.seed, block, "visits"), block)
            realiser = Realiser(
                self.preset,
                plane,
                visits,
                scale=self.scale,
                seed=self.seed,
                block=block,
                blocks=self.blocks,
            )
            pool = draw_pool(self.preset, plane, visits, self.scale / self.blocks, self.seed, block)
            done: dict[str, tuple[Realisation, SourceIds]] = {}
            specs = self.preset.reruns[: last_needed + 1]
            for number, spec in enumerate(specs):
                base_id_of = None
                if spec.based_on is None:
                    realisation = realiser.first(pool, spec)
                    del pool
                else:
                    base, base_ids = done[spec.based_on]
                    realisation = realiser.next(spec, base)
                    base_id_of = np.zeros(len(realisation.state.pool), dtype=np.int64)
                    base_id_of[base.at[base_ids.order]] = base_ids.source_id
                ids = source_ids(realiser, realisation)
                done[spec.name] = (realisation, ids)
                still_needed = {s.based_on for s in specs[number + 1 :]}
                for name in list(done):
                    if name not in still_needed:
                        del done[name]
                wanted = spec.name in self.reruns
                frames = rerun_tables(
                    realiser,
                    realisation,
                    ids,
                    base_id_of=base_id_of,
                    tables=tables if wanted else (),
                )
                del realisation
                yield Block(spec.name, block, frames)


def with_causes(preset: Preset, causes: CausesArgument) -> Preset:
    """Return the preset with other planted causes.

    Parameters
    ----------
    causes : sequence of Cause, or mapping of rerun to such
        A sequence replaces the causes of the last rerun.
    """
    if not isinstance(causes, Mapping):
        causes = {preset.reruns[-1].name: [_as_cause(c) for c in causes]}
    for name in causes:
        if preset.rerun(name).based_on is None and causes[name]:
            raise SimulationError(f"rerun {name} is based on nothing, so no cause can be planted")
    specs = tuple(
        dataclasses.replace(spec, causes=tuple(_as_cause(c) for c in causes[spec.name]))
        if spec.name in causes
        else spec
        for spec in preset.reruns
    )
    return dataclasses.replace(preset, reruns=specs)


def _as_cause(cause: Cause | Mapping[str, Any]) -> Cause:
    return cause if isinstance(cause, Cause) else cause_from_mapping(cause)
