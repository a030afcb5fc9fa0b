"""What one rerun hands on to the next, and how opportunities are measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hitsduck.simulator.association import associate, linked_groups
from hitsduck.simulator.drawing import sky_positions
from hitsduck.simulator.geometry import FocalPlane, Visits
from hitsduck.simulator.presets import Preset, RerunSpec
from hitsduck.simulator.truth import Pool, stream

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Things closer than this (arcsec) may share an object.
LINK_ARCSEC = 3.0

#: Codes of `Pool.cause` and of the reasons of a loss; the position is the code.
CAUSE_CODES = (
    "none",
    "excess",
    "edge_excess",
    "ccd",
    "night",
    "column_band",
    "duplicates",
    "flux_loss",
    "missing_images",
    "threshold",
)

#: Bits of `State.changes`: what altered a source that would be there anyway.
CHANGE_BITS = {"flag_rate": 1, "zero_point": 2}

_FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass
class State:
    """All that a rerun hands on: pool, errors, what is lost, and how it associates."""

    pool: Pool
    error: npt.NDArray[np.float32]
    dead: Bools
    lost_by: npt.NDArray[np.int8]
    changes: npt.NDArray[np.int8]
    radius_arcsec: float
    mag: float = 0.0
    missing: frozenset[tuple[int, int]] = frozenset()

    def copy(self) -> State:
        """Return a state that can be changed without changing this one."""
        return replace(
            self,
            pool=replace(
                self.pool,
                flags=self.pool.flags.copy(),
                cause=self.pool.cause.copy(),
                planted_in=self.pool.planted_in.copy(),
            ),
            error=self.error.copy(),
            dead=self.dead.copy(),
            lost_by=self.lost_by.copy(),
            changes=self.changes.copy(),
        )

    def lose(self, at: Ints, reason: str) -> None:
        """Lose opportunities for a reason of `CAUSE_CODES`."""
        self.dead[at] = True
        self.lost_by[at] = CAUSE_CODES.index(reason)

    def grow(self, more: Pool, error: npt.NDArray[np.float32]) -> Ints:
        """Append opportunities; return their indices."""
        n = len(more)
        self.pool = self.pool.appended(more)
        self.error = np.concatenate([self.error, error.astype(np.float32)])
        self.dead = np.r_[self.dead, np.zeros(n, dtype=bool)]
        self.lost_by = np.r_[self.lost_by, np.zeros(n, dtype=np.int8)]
        self.changes = np.r_[self.changes, np.zeros(n, dtype=np.int8)]
        return np.arange(len(self.pool) - n, len(self.pool))


@dataclass
class Measured:
    """Measured quantities of chosen opportunities (pixel, deg, S/N)."""

    x: Floats
    y: Floats
    err_px: Floats
    snr: Floats
    ra: Floats
    dec: Floats


class Instrument:
    """Camera, visits and scale of one block, and what is measured with them."""

    def __init__(
        self,
        preset: Preset,
        plane: FocalPlane,
        visits: Visits,
        *,
        scale: float,
        seed: int,
        block: int = 0,
        blocks: int = 1,
    ) -> None:
        self.preset, self.plane, self.visits = preset, plane, visits
        self.scale, self.seed, self.block, self.blocks = scale, seed, block, blocks
        self.psf_sigma_px = visits.seeing_arcsec / plane.pixel_scale_arcsec / _FWHM_PER_SIGMA
        kinds = preset.kinds
        self.is_moving = np.array([k.light_curve == "moving" for k in kinds])

    def rerun_code(self, spec: RerunSpec) -> int:
        """Return the place of a rerun in the preset."""
        return [r.name for r in self.preset.reruns].index(spec.name)

    def stream(self, stage: str) -> np.random.Generator:
        """Return the random stream of a stage of this block."""
        return stream(self.seed, self.block, stage)

    def measure(self, state: State, at: Ints, *, sky: bool = True) -> Measured:
        """Return what is measured of the opportunities `at`."""
        pool, error = state.pool, state.error
        snr = pool.snr[at] + error[at, 2].astype(np.float64)
        chip, visit = pool.chip[at].astype(np.int64), pool.visit[at].astype(np.int64)
        err_px = self.psf_sigma_px[visit] / np.maximum(np.abs(snr), 1.0)
        low, high = self.plane.low[:, chip], self.plane.high[:, chip] - 1e-3
        x = np.clip(pool.x[at] + err_px * error[at, 0], low[0], high[0]).astype(np.float32)
        y = np.clip(pool.y[at] + err_px * error[at, 1], low[1], high[1]).astype(np.float32)
        x, y = x.astype(np.float64), y.astype(np.float64)
        ra = dec = np.empty(0)
        if sky:
            ra, dec = sky_positions(self.plane, self.visits, visit, chip, x, y)
        return Measured(x, y, err_px, snr, ra, dec)

    def detected(self, state: State) -> Bools:
        """Return which opportunities are above the threshold and not lost."""
        snr = state.pool.snr + state.error[:, 2]
        same_sign = (snr > 0) == (state.pool.snr > 0)
        above: Bools = (np.abs(snr) >= self.preset.threshold_snr) & same_sign & ~state.dead
        if state.missing:
            above &= ~np.isin(self.images(state.pool), self.image_codes(state.missing))
        return above

    def images(self, pool: Pool) -> Ints:
        """Return a code of each opportunity's (visit, detector) image."""
        return pool.visit.astype(np.int64) * len(self.plane.chips) + pool.chip

    def image_codes(self, missing: frozenset[tuple[int, int]]) -> Ints:
        """Return the codes of (visit index, chip index) pairs, sorted."""
        chips = len(self.plane.chips)
        return np.array(sorted(v * chips + c for v, c in missing), dtype=np.int64)

    def associate(
        self, state: State, at: Ints, measured: Measured, label: Ints, radius: float
    ) -> Ints:
        """Return founders (positions in `at`), -1 for moving things."""
        pool = state.pool
        thing = pool.thing[at]
        fixed = np.flatnonzero(~self.is_moving[pool.kind[thing]])
        group = label[thing[fixed]]
        dx = (measured.ra[fixed] - pool.ra[group]) * np.cos(np.radians(pool.dec[group])) * 3600
        dy = (measured.dec[fixed] - pool.dec[group]) * 3600
        found = associate(group, pool.visit[at[fixed]].astype(np.int64), dx, dy, radius)
        founder = np.full(len(at), -1, dtype=np.int64)
        founder[fixed] = fixed[found]
        return founder

    def labels(self, state: State, at: Ints) -> Ints:
        """Return the group of every thing with a source; other things are alone."""
        pool = state.pool
        label = np.arange(len(pool.kind))
        present = np.zeros(len(pool.kind), dtype=bool)
        present[pool.thing[at]] = True
        things = np.flatnonzero(present & ~self.is_moving[pool.kind])
        label[things] = things[linked_groups(pool.ra[things], pool.dec[things], LINK_ARCSEC)]
        return label
