"""Regions of the data in which a cause adds or removes detections."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hitsduck.errors import SimulationError
from hitsduck.simulator.causes import COLUMN_BANDS, Cause
from hitsduck.simulator.drawing import once_pool, random_pixels
from hitsduck.simulator.geometry import FocalPlane, Visits
from hitsduck.simulator.presets import Kind, Preset
from hitsduck.simulator.truth import Pool, draw_flags, pareto

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def edge_distance(plane: FocalPlane, chip: Ints, x: Floats, y: Floats) -> Floats:
    """Return the distance (pixel) to the nearest edge of the chip's pixel area."""
    low, high = plane.low[:, chip], plane.high[:, chip]
    across: Floats = np.minimum(x - low[0], high[0] - x)
    along: Floats = np.minimum(y - low[1], high[1] - y)
    return np.minimum(across, along)


def in_region(
    cause: Cause,
    plane: FocalPlane,
    visits: Visits,
    visit: Ints,
    chip: Ints,
    x: Floats,
    y: Floats,
) -> Bools:
    """Return which positions lie in the region of a cause."""
    inside: Bools = np.ones(len(visit), dtype=bool)
    if cause.kind == "edge_excess":
        inside = edge_distance(plane, chip, x, y) < cause.within_px
    elif cause.kind == "ccd":
        inside = plane.numbers[chip] == cause.detector
    elif cause.kind == "night":
        inside = visits.night[visit] == cause.night
    elif cause.kind == "column_band":
        inside = column_band_of(plane, chip, x) == cause.band
    return inside


def column_band_of(plane: FocalPlane, chip: Ints, x: Floats) -> Ints:
    """Return which of the 16 equal bands of columns a position lies in."""
    low, high = plane.low[0, chip], plane.high[0, chip]
    band: Ints = np.floor((x - low) / (high - low) * COLUMN_BANDS).astype(np.int64)
    clipped: Ints = np.clip(band, 0, COLUMN_BANDS - 1)
    return clipped


def planted_pool(
    preset: Preset,
    cause: Cause,
    good: bool,
    number: int,
    plane: FocalPlane,
    visits: Visits,
    rng: np.random.Generator,
) -> Pool:
    """Return `number` new artefacts in the region of a cause, good or bad ones.

    Their `snr` is what this rerun measures; the caller takes the noise off.
    """
    index, kind = template_kind(preset, good)
    visit, chip, x, y = _random_places(cause, plane, visits, number, rng)
    pool = once_pool(kind, plane, visits, rng, visit, chip, x, y)
    sign = np.sign(pool.snr)
    pool.snr = (sign * pareto(rng, preset.threshold_snr, kind.snr_slope, number)).astype(np.float32)
    pool.flags = draw_flags(rng, kind, number, 0.0 if good else 1.0)
    pool.kind[:] = index
    return pool


def template_kind(preset: Preset, good: bool) -> tuple[int, Kind]:
    """Return index and kind of the preset's artefacts that are good (or bad)."""
    once = [(i, k) for i, k in enumerate(preset.kinds) if k.light_curve == "once"]
    if not good:
        once = [(i, k) for i, k in once if k.bad_mix]
    if not once:
        what = "good" if good else "bad (with bad_mix)"
        raise SimulationError(
            f"preset {preset.name}: planted causes need a kind of {what} artefacts "
            "with light_curve 'once'"
        )
    return min(once, key=lambda item: item[1].bad_fraction * (1 if good else -1))


def _random_places(
    cause: Cause, plane: FocalPlane, visits: Visits, number: int, rng: np.random.Generator
) -> tuple[Ints, Ints, Floats, Floats]:
    allowed = np.arange(len(visits))
    if cause.kind == "night":
        allowed = np.flatnonzero(visits.night == cause.night)
        if len(allowed) == 0:
            nights = ", ".join(map(str, np.unique(visits.night)))
            raise SimulationError(f"cause night: no night {cause.night}; there are {nights}")
    visit = allowed[rng.integers(0, len(allowed), number)]
    chip, x, y = random_pixels(plane, number, rng)
    if cause.kind == "ccd":
        at = np.flatnonzero(plane.numbers == cause.detector)
        if len(at) == 0:
            raise SimulationError(
                f"cause ccd: {plane.camera.name} has no working detector {cause.detector}"
            )
        x = plane.low[0, at[0]] + (x - plane.low[0, chip]) / (
            plane.high[0, chip] - plane.low[0, chip]
        ) * (plane.high[0, at[0]] - plane.low[0, at[0]])
        y = plane.low[1, at[0]] + (y - plane.low[1, chip]) / (
            plane.high[1, chip] - plane.low[1, chip]
        ) * (plane.high[1, at[0]] - plane.low[1, at[0]])
        chip = np.full(number, at[0])
    elif cause.kind == "column_band":
        assert cause.band is not None
        width = (plane.high[0, chip] - plane.low[0, chip]) / COLUMN_BANDS
        x = plane.low[0, chip] + (cause.band + rng.random(number)) * width
    elif cause.kind == "edge_excess":
        x, y = _edge_places(plane, chip, cause.within_px, rng)
    return visit, chip, x, y


def _edge_places(
    plane: FocalPlane, chip: Ints, within_px: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return positions uniform over the frame of `within_px` along the four edges."""
    low, high = plane.low[:, chip], plane.high[:, chip]
    width, height = high - low
    across = np.minimum(within_px, np.minimum(width, height) / 2)
    upright = 2 * across * height
    flat = 2 * across * (width - 2 * across)
    u, v, side = rng.random((3, len(chip)))
    on_upright = side * (upright + flat) < upright
    second = rng.random(len(chip)) < 0.5
    depth = across * u
    x = np.where(
        on_upright,
        np.where(second, high[0] - depth, low[0] + depth),
        low[0] + across + v * (width - 2 * across),
    )
    y = np.where(on_upright, low[1] + v * height, np.where(second, high[1] - depth, low[1] + depth))
    return x, y
