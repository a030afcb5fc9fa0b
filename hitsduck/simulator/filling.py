"""Filling a rerun up to its targets with detections of its planted causes.

New bad-only objects and new good objects are artefacts far from everything else;
further sources are chances of existing objects just below the threshold. Each
cause takes the share of them that its ``fill_`` parameters state.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hitsduck.errors import SimulationError
from hitsduck.simulator.planting import add_planted
from hitsduck.simulator.presets import RerunSpec, Targets
from hitsduck.simulator.state import CAUSE_CODES, Instrument, State
from hitsduck.simulator.targets import count
from hitsduck.simulator.truth import BAD_MASK

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_ROUNDS = 6


def fill(instrument: Instrument, spec: RerunSpec, state: State, targets: Targets) -> None:
    """Add detections until no count is below its target; a few may be above.

    Raises
    ------
    SimulationError
        The rerun's causes may not add what is lacking, or there is not enough of it.
    """
    for attempt in range(_ROUNDS):
        at = np.flatnonzero(instrument.detected(state))
        label = instrument.labels(state, at)
        measured = instrument.measure(state, at)
        founder = instrument.associate(state, at, measured, label, state.radius_arcsec)
        good = (state.pool.flags[at] & BAD_MASK) == 0
        found = count(founder, good)
        once_good = targets.good_objects - found.good_objects
        once_bad = targets.objects - found.objects - once_good
        more_good = targets.good_sources - found.good_sources - once_good
        more_bad = targets.sources - found.sources - once_good - once_bad - more_good
        if max(once_good, once_bad, more_good, more_bad) <= 0:
            return
        rng = instrument.stream(f"fill {spec.name} {attempt}")
        if more_good > 0 or more_bad > 0:
            chance = _chances(instrument, state, at, founder, good, label)
            for number, mask in ((more_good, chance[1]), (more_bad, ~chance[1])):
                _raise_above_threshold(instrument, spec, state, chance[0][mask], number, rng)
        _add_once(instrument, spec, state, at, once_good, True, rng)
        _add_once(instrument, spec, state, at, once_bad, False, rng)
    raise SimulationError(
        f"rerun {spec.name}: its targets are not met after {_ROUNDS} rounds; still wanted: "
        f"{once_good} good objects, {once_bad} other objects, {more_good} good sources, "
        f"{more_bad} other sources"
    )


def _shares(spec: RerunSpec, name: str, number: int) -> list[tuple[int, int]]:
    """Return (index of cause, its number) so that the numbers add up to `number`."""
    weights = np.array([getattr(cause, name) for cause in spec.causes], dtype=float)
    if number and weights.sum() <= 0:
        raise SimulationError(
            f"rerun {spec.name}: {number} more sources are wanted, but no cause has {name} > 0"
        )
    edges = np.round(np.r_[0.0, np.cumsum(weights)] / max(weights.sum(), 1e-9) * number).astype(int)
    return [(i, int(n)) for i, n in enumerate(np.diff(edges)) if n > 0]


def _add_once(
    instrument: Instrument,
    spec: RerunSpec,
    state: State,
    at: Ints,
    number: int,
    good: bool,
    rng: np.random.Generator,
) -> None:
    if number <= 0:
        return
    for index, n in _shares(spec, "fill_good" if good else "fill_bad", number):
        there = np.zeros(len(state.pool.kind), dtype=bool)
        there[state.pool.thing[at]] = True
        # things planted in this call are not in `at` yet
        there[state.pool.thing[instrument.detected(state)]] = True
        taken = (state.pool.ra[there], state.pool.dec[there])
        cause = spec.causes[index]
        add_planted(instrument, spec, state, cause, good, n, rng, isolated_from=taken)


def _chances(
    instrument: Instrument, state: State, at: Ints, founder: Ints, good: Bools, label: Ints
) -> tuple[Ints, Bools]:
    """Return undetected opportunities that would join the only object of their thing.

    The second array tells the good ones; those are returned for good objects only.
    """
    pool = state.pool
    n = len(pool.kind)
    alone = np.bincount(label[np.unique(pool.thing[at])], minlength=n)[label] == 1
    on = founder >= 0
    first = np.unique(founder[on], return_index=True)[1]
    objects = np.bincount(pool.thing[at][on][first], minlength=n)
    has_good = np.bincount(pool.thing[at][on & good], minlength=n) > 0
    fits = alone & (objects == 1) & ~instrument.is_moving[pool.kind]
    hidden = ~instrument.detected(state) & ~state.dead & fits[pool.thing]
    candidates = np.flatnonzero(hidden)
    is_good = (pool.flags[candidates] & BAD_MASK) == 0
    fine = ~is_good | has_good[pool.thing[candidates]]
    return candidates[fine], is_good[fine]


def _raise_above_threshold(
    instrument: Instrument,
    spec: RerunSpec,
    state: State,
    candidates: Ints,
    number: int,
    rng: np.random.Generator,
) -> None:
    """Lift the most significant of the candidates just above the threshold."""
    if number <= 0:
        return
    snr = state.pool.snr[candidates] + state.error[candidates, 2]
    key = np.abs(snr) + rng.normal(0.0, 0.3, len(candidates))
    order = candidates[np.argsort(-key, kind="stable")]
    if len(order) < number:
        raise SimulationError(
            f"rerun {spec.name}: {number} more detections of existing objects are wanted, "
            f"{len(order)} are below the threshold"
        )
    start = 0
    for index, n in _shares(spec, "fill_existing", number):
        chosen = order[start : start + n]
        start += n
        sign = np.sign(state.pool.snr[chosen])
        above = instrument.preset.threshold_snr + rng.exponential(0.4, n)
        state.error[chosen, 2] = sign * above - state.pool.snr[chosen]
        state.pool.cause[chosen] = CAUSE_CODES.index(spec.causes[index].kind)
        state.pool.planted_in[chosen] = instrument.rerun_code(spec)
