"""Planting a cause in a rerun: detections added, lost, repeated or altered."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hitsduck.errors import SimulationError
from hitsduck.simulator.association import neighbours
from hitsduck.simulator.causes import Cause
from hitsduck.simulator.presets import RerunSpec
from hitsduck.simulator.regions import in_region, planted_pool
from hitsduck.simulator.state import CAUSE_CODES, CHANGE_BITS, LINK_ARCSEC, Instrument, State
from hitsduck.simulator.truth import HOPELESS_SNR, Pool, flag_bit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def plant(
    instrument: Instrument,
    spec: RerunSpec,
    state: State,
    cause: Cause,
    base_sources: int,
    rng: np.random.Generator,
) -> None:
    """Change `state` as `cause` says.

    Parameters
    ----------
    base_sources : int
        Sources of the rerun this one is based on; fractions are of these.
    """
    if cause.is_region and cause.fraction > 0:
        number = round(cause.fraction * base_sources)
        n_good = round(number * cause.good_fraction)
        for good, n in ((True, n_good), (False, number - n_good)):
            add_planted(instrument, spec, state, cause, good, n, rng)
    elif cause.is_region and cause.fraction < 0:
        at = np.flatnonzero(instrument.detected(state))
        hit = _in_region(instrument, cause, state, at) & (rng.random(len(at)) < -cause.fraction)
        state.lose(at[hit], cause.kind)
    elif cause.kind == "flux_loss" and cause.rate > 0:
        at = np.flatnonzero(instrument.detected(state))
        snr = np.abs(state.pool.snr[at] + state.error[at, 2])
        chance = cause.rate * np.exp(-np.logaddexp(0.0, snr - cause.snr_knee))
        state.lose(at[rng.random(len(at)) < chance], cause.kind)
    elif cause.kind == "missing_images":
        _drop_images(instrument, state, cause, rng)
    elif cause.kind == "duplicates":
        _duplicate(instrument, spec, state, cause, rng)
    elif cause.kind == "flag_rate":
        _change_flag(state, cause, rng)
    elif cause.kind == "zero_point":
        state.mag += cause.mag
    elif cause.kind == "association_radius":
        state.radius_arcsec = cause.arcsec


def add_planted(
    instrument: Instrument,
    spec: RerunSpec,
    state: State,
    cause: Cause,
    good: bool,
    number: int,
    rng: np.random.Generator,
    *,
    isolated_from: tuple[Floats, Floats] | None = None,
) -> Ints:
    """Append new artefacts of a cause, all detected in this rerun; return their indices.

    Parameters
    ----------
    isolated_from : tuple of arrays, optional
        ra, dec (deg) of what the new ones must not share an object with.
    """
    spare = 0 if isolated_from is None else number // 6 + 30
    more = planted_pool(
        instrument.preset, cause, good, number + spare, instrument.plane, instrument.visits, rng
    )
    # the S/N drawn is the measured one, so that each is detected; the true one differs
    error = rng.standard_normal((len(more), 3), dtype=np.float32)
    sign, measured = np.sign(more.snr), np.abs(more.snr)
    error[:, 2] = sign * np.clip(error[:, 2], -3.0, measured - HOPELESS_SNR)
    more.snr = more.snr - error[:, 2]
    more.cause[:] = CAUSE_CODES.index(cause.kind)
    more.planted_in[:] = instrument.rerun_code(spec)
    if isolated_from is not None:
        ra, dec = np.r_[isolated_from[0], more.ra], np.r_[isolated_from[1], more.dec]
        crowded = np.zeros(len(ra), dtype=bool)
        crowded[np.concatenate(neighbours(ra, dec, LINK_ARCSEC))] = True
        keep = np.flatnonzero(~crowded[len(isolated_from[0]) :])[:number]
        if len(keep) < number:
            raise SimulationError(
                f"rerun {spec.name}: the sky is too crowded for {number} planted sources"
            )
        mask = np.zeros(len(more), dtype=bool)
        mask[keep] = True
        more, error = more.selected(mask), error[mask]
    return state.grow(more, error)


def _in_region(instrument: Instrument, cause: Cause, state: State, at: Ints) -> Bools:
    measured = instrument.measure(state, at, sky=False)
    return in_region(
        cause,
        instrument.plane,
        instrument.visits,
        state.pool.visit[at].astype(np.int64),
        state.pool.chip[at].astype(np.int64),
        measured.x,
        measured.y,
    )


def _drop_images(
    instrument: Instrument, state: State, cause: Cause, rng: np.random.Generator
) -> None:
    chips = len(instrument.plane.chips)
    already = instrument.image_codes(state.missing)
    images = np.setdiff1d(np.arange(len(instrument.visits) * chips), already)
    if cause.n > len(images):
        raise SimulationError(
            f"cause missing_images: n is {cause.n}, but there are {len(images)} images"
        )
    gone = rng.choice(images, cause.n, replace=False)
    state.missing = state.missing | {(int(i) // chips, int(i) % chips) for i in gone}
    hit = np.isin(instrument.images(state.pool), gone) & ~state.dead
    state.lose(np.flatnonzero(hit), cause.kind)


def _duplicate(
    instrument: Instrument, spec: RerunSpec, state: State, cause: Cause, rng: np.random.Generator
) -> None:
    at = np.flatnonzero(instrument.detected(state))
    at = at[rng.random(len(at)) < cause.rate]
    pool, plane = state.pool, instrument.plane
    copies = {name: getattr(pool, name)[at].copy() for name in Pool.OPPORTUNITY_FIELDS}
    copies["cause"][:] = CAUSE_CODES.index("duplicates")
    copies["planted_in"][:] = instrument.rerun_code(spec)
    low, high = plane.low[:, copies["chip"]], plane.high[:, copies["chip"]] - 1e-3
    copies["x"] = np.clip(copies["x"] + rng.normal(0, 0.3, len(at)), low[0], high[0])
    copies["y"] = np.clip(copies["y"] + rng.normal(0, 0.3, len(at)), low[1], high[1])
    copies["thing"] = (copies["thing"] - len(pool.kind)).astype(np.int32)  # `appended` adds it
    no_thing = {name: getattr(pool, name)[:0] for name in Pool.THING_FIELDS}
    state.grow(Pool(**no_thing, **copies), state.error[at])


def _change_flag(state: State, cause: Cause, rng: np.random.Generator) -> None:
    bit = flag_bit(cause.flag)
    if not bit:
        raise SimulationError(f"cause flag_rate: unknown flag {cause.flag!r}")
    flags = state.pool.flags
    has = (flags & bit) != 0
    hit = (rng.random(len(flags)) < abs(cause.rate)) & (~has if cause.rate > 0 else has)
    flags[hit] ^= bit
    state.changes[hit] |= np.int8(CHANGE_BITS["flag_rate"])
