"""Ids of a rerun's sources, and the frames that tell the truth about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from hitsduck.errors import SimulationError
from hitsduck.simulator.geometry import visit_span
from hitsduck.simulator.reruns import Realisation, Realiser
from hitsduck.simulator.state import CAUSE_CODES, CHANGE_BITS

Ints = npt.NDArray[np.int64]

#: Numbers of things and detections of one block stay below this.
BLOCK_IDS = 10**9


@dataclass
class SourceIds:
    """Order of a rerun's sources in its table, and their ids.

    `order` sorts the realisation by visit, detector, y and x; the other arrays are in
    that order.
    """

    order: Ints
    source_id: Ints
    object_id: Ints
    visit: Ints
    detector: Ints


def id_shift(realiser: Realiser) -> int:
    """Return how many bits of a diaSourceId count the sources of one image."""
    factor = realiser.plane.camera.id_factor or 1000
    nights = [n.first_visit for n in realiser.preset.schedule.nights]
    last = max(nights) + 100 * visit_span(max(nights) - min(nights))
    bits = ((last + 10_000) * factor).bit_length()
    if bits > 48:
        raise SimulationError(
            f"preset {realiser.preset.name}: visit numbers to {last} leave no room for ids"
        )
    return min(32, 62 - bits)


def source_ids(realiser: Realiser, realisation: Realisation) -> SourceIds:
    """Return order and ids of a rerun's sources.

    diaSourceId is (visit * id factor + detector) shifted left, plus a number counted
    within the image, as the pipeline makes it: the same id in two reruns need not be
    the same detection. An object has the id of its first source; 0 means none.
    """
    pool, at = realisation.state.pool, realisation.at
    visit, chip = pool.visit[at].astype(np.int64), pool.chip[at].astype(np.int64)
    order = np.lexsort((at, realisation.measured.x, realisation.measured.y, chip, visit))
    visit_number = realiser.visits.visit[visit[order]]
    detector = realiser.plane.numbers[chip[order]]
    factor = realiser.plane.camera.id_factor or 1000
    image = visit_number * factor + detector
    start = np.flatnonzero(np.r_[True, image[1:] != image[:-1]]) if len(image) else np.zeros(0, int)
    count = np.diff(np.r_[start, len(image)])
    serial = np.arange(len(image)) - np.repeat(start, count) + 1
    source_id = (image << id_shift(realiser)) | serial
    founder = realisation.founder[order]
    on = founder >= 0
    object_id = np.zeros(len(order), dtype=np.int64)
    _, first, inverse = np.unique(founder[on], return_index=True, return_inverse=True)
    # sources are in order of time, so an object's first row is its first source
    object_id[on] = source_id[on][first][inverse]
    return SourceIds(order, source_id, object_id, visit_number, detector)


def null_zero(values: Ints) -> pl.Series:
    """Return the numbers with null for 0."""
    series = pl.Series(values)
    return series.set(series == 0, None)


def truth_frame(realiser: Realiser, realisation: Realisation, ids: SourceIds) -> pl.DataFrame:
    """Return the truth: one row per source of the rerun, in order of diaSourceId.

    Columns: diaSourceId, diaObjectId, visit, detector; `detection_id` (the same in all
    reruns for the same thing in the same visit); `thing_id`, `kind`, `thing_ra`,
    `thing_dec` (deg); `cause`, `cause_rerun` (which planted cause made the row, in
    which rerun; none and null for the common truth); `object_cause`
    (association_radius for an object that only the changed radius made); `changes`
    (causes that altered the row, joined by +, empty for none); `x_true`, `y_true`
    (pixel), `snr_true`.
    """
    pool, order = realisation.state.pool, ids.order
    at = realisation.at[order]
    frame = _thing_columns(realiser, realisation, at)
    split = realisation.split[order]
    return pl.DataFrame(
        {
            "diaSourceId": ids.source_id,
            "diaObjectId": null_zero(ids.object_id),
            "visit": ids.visit,
            "detector": ids.detector.astype(np.int16),
        }
    ).hstack(
        [
            *frame,
            _coded(pool.cause[at], CAUSE_CODES, "cause"),
            _coded(
                np.where(pool.cause[at] == 0, -1, pool.planted_in[at]),
                [r.name for r in realiser.preset.reruns],
                "cause_rerun",
            ),
            _coded(split.astype(np.int8), ("none", "association_radius"), "object_cause"),
            _coded(_changes(realisation, at), _change_names(), "changes"),
        ]
    )


def lost_frame(
    realiser: Realiser, realisation: Realisation, base_id_of: Ints | None
) -> pl.DataFrame:
    """Return what the rerun this one is based on has and this one lacks.

    One row per lost source: `base_diaSourceId` (its id in the other rerun), visit,
    detector, the thing's columns as in the truth, and `lost_by` (the planted cause, or
    ``threshold`` when its flux was measured too faint).
    """
    pool, at = realisation.state.pool, realisation.lost
    reason = np.where(realisation.state.dead[at], realisation.state.lost_by[at], 0)
    reason = np.where(reason == 0, CAUSE_CODES.index("threshold"), reason)
    base = base_id_of[at] if base_id_of is not None else np.zeros(0, dtype=np.int64)
    frame = pl.DataFrame(
        {
            "base_diaSourceId": base,
            "visit": realiser.visits.visit[pool.visit[at].astype(np.int64)],
            "detector": realiser.plane.numbers[pool.chip[at].astype(np.int64)].astype(np.int16),
        }
    ).hstack([*_thing_columns(realiser, realisation, at), _coded(reason, CAUSE_CODES, "lost_by")])
    return frame.sort("base_diaSourceId")


def _thing_columns(realiser: Realiser, realisation: Realisation, at: Ints) -> list[pl.Series]:
    pool = realisation.state.pool
    thing = pool.thing[at]
    offset = realiser.block * BLOCK_IDS
    return [
        pl.Series("detection_id", offset + at),
        pl.Series("thing_id", offset + thing.astype(np.int64)),
        _coded(pool.kind[thing], [k.name for k in realiser.preset.kinds], "kind"),
        pl.Series("thing_ra", pool.ra[thing]),
        pl.Series("thing_dec", pool.dec[thing]),
        pl.Series("x_true", pool.x[at]),
        pl.Series("y_true", pool.y[at]),
        pl.Series("snr_true", pool.snr[at]),
    ]


def _changes(realisation: Realisation, at: Ints) -> npt.NDArray[np.int8]:
    changes = realisation.state.changes[at]
    if realisation.state.mag != 0:
        changes = changes | np.int8(CHANGE_BITS["zero_point"])
    return changes


def _change_names() -> list[str]:
    return [
        "+".join(name for name, bit in CHANGE_BITS.items() if code & bit)
        for code in range(1 << len(CHANGE_BITS))
    ]


def _coded(codes: npt.NDArray[Any], names: Any, column: str) -> pl.Series:
    """Return names for codes as an Enum column; negative codes are null."""
    labels = pl.Series(column, list(names), dtype=pl.Enum(list(dict.fromkeys(names))))
    indices = pl.Series(codes.astype(np.int64))
    return labels.gather(indices.set(indices < 0, None).cast(pl.UInt32))
