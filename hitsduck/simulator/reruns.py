"""Reruns: one realisation each of the same truth, with its planted causes.

A rerun inherits everything from the one it is based on: the truth, the planted
detections, and the share of the measurement errors that is not drawn anew.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsduck.errors import SimulationError
from hitsduck.simulator.association import linked_groups
from hitsduck.simulator.filling import fill
from hitsduck.simulator.planting import plant
from hitsduck.simulator.presets import RerunSpec, Targets
from hitsduck.simulator.state import LINK_ARCSEC, Instrument, Measured, State
from hitsduck.simulator.targets import (
    BAD_ONCE,
    BAD_REPEATED,
    GOOD_ONCE,
    GOOD_REPEATED,
    MIXED,
    Counts,
    choose_groups,
    count,
    removals,
)
from hitsduck.simulator.truth import BAD_MASK, Pool

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass
class Realisation:
    """One rerun's sources: indices `at` into the pool, what was measured, their objects.

    `founder` holds for each source the position in `at` of its object's first
    source, -1 for moving things. `split` tells which objects only the changed
    association radius made. `lost` are pool indices of what the rerun it is based on
    has and this one lacks.
    """

    spec: RerunSpec
    state: State
    at: Ints
    measured: Measured
    founder: Ints
    split: Bools
    lost: Ints


class Realiser(Instrument):
    """Makes the reruns of one block of one preset, in order."""

    # -- the first rerun ----------------------------------------------------------

    def first(self, pool: Pool, spec: RerunSpec) -> Realisation:
        """Return the first rerun; with targets, choose which things of the pool exist."""
        rng = self.stream(f"errors {spec.name}")
        state = State(
            pool=pool,
            error=rng.standard_normal((len(pool), 3), dtype=np.float32),
            dead=np.zeros(len(pool), dtype=bool),
            lost_by=np.zeros(len(pool), dtype=np.int8),
            changes=np.zeros(len(pool), dtype=np.int8),
            radius_arcsec=self.preset.association_radius_arcsec,
        )
        targets = self._targets(spec)
        if targets is not None:
            state = self._choose(state, targets)
        return self._finish(spec, state, None, targets)

    def _targets(self, spec: RerunSpec) -> Targets | None:
        if spec.targets is None:
            return None
        return spec.targets.part(self.scale, self.block, self.blocks)

    def _choose(self, state: State, targets: Targets) -> State:
        pool = state.pool
        at = np.flatnonzero(self.detected(state))
        label = np.arange(len(pool.kind))
        fixed = np.flatnonzero(~self.is_moving[pool.kind])
        label[fixed] = fixed[linked_groups(pool.ra[fixed], pool.dec[fixed], LINK_ARCSEC)]
        measured = self.measure(state, at)
        founder = self.associate(state, at, measured, label, state.radius_arcsec)
        members = np.bincount(label, minlength=len(label))
        kind_class = np.array(
            [
                (BAD_ONCE if k.bad_fraction > 0.5 else GOOD_ONCE)
                if k.light_curve == "once"
                else (BAD_REPEATED if k.bad_fraction == 1 else GOOD_REPEATED)
                for k in self.preset.kinds
            ],
            dtype=np.int8,
        )
        group_class = np.where(members > 1, MIXED, kind_class[pool.kind]).astype(np.int8)
        group = np.where(founder >= 0, label[pool.thing[at]], -1)
        moving = self.is_moving[pool.kind]
        group_class[moving | (members == 0)] = -1
        chosen = choose_groups(
            group,
            founder,
            (pool.flags[at] & BAD_MASK) == 0,
            group_class,
            self.stream("choice").random(len(label)),
            targets,
        )
        keep_thing = chosen[label] | moving
        keep = keep_thing[pool.thing]
        return State(
            pool=pool.selected(keep_thing),
            error=state.error[keep],
            dead=state.dead[keep],
            lost_by=state.lost_by[keep],
            changes=state.changes[keep],
            radius_arcsec=state.radius_arcsec,
        )

    # -- the reruns based on another ------------------------------------------------

    def next(self, spec: RerunSpec, base: Realisation) -> Realisation:
        """Return the rerun `spec`, based on `base`."""
        state = base.state.copy()
        rng = self.stream(f"errors {spec.name}")
        fresh = rng.standard_normal(state.error.shape, dtype=np.float32)
        jitter = np.array([spec.position_jitter, spec.position_jitter, spec.flux_jitter])
        state.error = (np.sqrt(1 - jitter**2) * state.error + jitter * fresh).astype(np.float32)
        for number, cause in enumerate(spec.causes):
            rng = self.stream(f"cause {spec.name} {number} {cause.kind}")
            plant(self, spec, state, cause, len(base.at), rng)
        return self._finish(spec, state, base, self._targets(spec))

    # -- the end of every rerun -----------------------------------------------------

    def _finish(
        self, spec: RerunSpec, state: State, base: Realisation | None, targets: Targets | None
    ) -> Realisation:
        if targets is not None and base is not None:
            fill(self, spec, state, targets)
        at = np.flatnonzero(self.detected(state))
        label = self.labels(state, at)
        measured = self.measure(state, at)
        founder = self.associate(state, at, measured, label, state.radius_arcsec)
        split = np.zeros(len(at), dtype=bool)
        if base is not None and state.radius_arcsec != base.state.radius_arcsec:
            whole = self.associate(state, at, measured, label, base.state.radius_arcsec)
            split = (founder >= 0) & (whole[founder] != founder)
        if targets is not None:
            rng = self.stream(f"loss {spec.name}")
            snr = np.abs(measured.snr)
            knee = next((c.snr_knee for c in spec.causes if c.kind == "flux_loss"), 6.0)
            key = -np.logaddexp(0.0, snr - knee) + rng.gumbel(size=len(at))
            good = (state.pool.flags[at] & BAD_MASK) == 0
            gone = removals(founder, good, key, targets)
            reason = "flux_loss" if any(c.fill_loss for c in spec.causes) else "threshold"
            state.lose(at[gone], reason)
            at, measured, founder = _without(gone, at, measured, founder)
            split = split[~gone]
            found = count(founder, good[~gone])
            if found != Counts(*dataclasses.astuple(targets)):
                raise SimulationError(f"rerun {spec.name}: counted {found}, wanted {targets}")
        lost = np.empty(0, dtype=np.int64)
        if base is not None:
            there = np.zeros(len(state.pool), dtype=bool)
            there[at] = True
            lost = base.at[~there[base.at]]
        return Realisation(spec, state, at, measured, founder, split, lost)


def _without(
    gone: Bools, at: Ints, measured: Measured, founder: Ints
) -> tuple[Ints, Measured, Ints]:
    """Return the arrays without the sources `gone`, each object's founder found anew."""
    left = ~gone
    kept = founder[left]
    fixed = np.flatnonzero(kept >= 0)
    first = np.full(len(at), -1, dtype=np.int64)
    # the founder only labels the object here, so any source that stays will do
    places, index = np.unique(kept[fixed], return_index=True)
    first[places] = fixed[index]
    new_founder = np.where(kept >= 0, first[np.maximum(kept, 0)], -1)
    parts = {f.name: getattr(measured, f.name)[left] for f in dataclasses.fields(measured)}
    return at[left], Measured(**parts), new_founder
