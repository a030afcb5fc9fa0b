"""The truth: things on the sky, and every chance to detect them in a visit.

A *thing* is a variable star, a residual, an artefact or a moving object; an
*opportunity* is one thing in one visit, with its true position and true S/N on
the difference image. All reruns realise the same opportunities; causes add more.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsduck.simulator.presets import Kind

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Packed flag bits (the same in every era, see data/flag_bits.csv) the simulator sets.
FLAG_BITS = {
    "edge": 2,
    "interpolated": 3,
    "saturated": 4,
    "cr": 5,
    "bad": 6,
    "suspect": 7,
    "interpolatedCenter": 8,
    "saturatedCenter": 9,
    "crCenter": 10,
    "suspectCenter": 11,
    "centroid_flag": 12,
    "apFlux_flag": 15,
    "apFlux_flag_apertureTruncated": 16,
    "psfFlux_flag": 17,
    "psfFlux_flag_edge": 19,
    "shape_flag": 23,
}

#: Bits 6, 7 and 9: a source with none of them is good.
BAD_MASK = (1 << 6) | (1 << 7) | (1 << 9)

#: Opportunities fainter than this true S/N are never detected, so not kept.
HOPELESS_SNR = 2.0


def stream(seed: int, block: int, stage: str) -> np.random.Generator:
    """Return the random stream of one stage, independent of all other stages."""
    return np.random.default_rng([seed, block, zlib.crc32(stage.encode())])


def flag_bit(name: str) -> int:
    """Return the packed mask of a flag by short or canonical name; 0 when unknown."""
    short = name.removeprefix("pixelFlags_")
    return 1 << FLAG_BITS[short] if short in FLAG_BITS else 0


@dataclass
class Pool:
    """Things and opportunities, as arrays (one element a thing / an opportunity).

    Things: `kind` (index into the preset's kinds), `ra`, `dec` (deg), `science`
    (nJy), `reliability`. Opportunities: `thing`, `visit` (index), `chip` (index),
    `x`, `y` (pixel), `snr` (true, signed), `err` (nJy), `flags` (packed),
    `noise` (three standard normal numbers for the other measurements), `cause`
    and `planted_in` (codes; 0 for the common truth).
    """

    kind: npt.NDArray[np.int16]
    ra: Floats
    dec: Floats
    science: npt.NDArray[np.float32]
    reliability: npt.NDArray[np.float32]
    thing: npt.NDArray[np.int32]
    visit: npt.NDArray[np.int16]
    chip: npt.NDArray[np.int16]
    x: Floats
    y: Floats
    snr: npt.NDArray[np.float32]
    err: npt.NDArray[np.float32]
    flags: Ints
    noise: npt.NDArray[np.float32]
    cause: npt.NDArray[np.int8]
    planted_in: npt.NDArray[np.int8]

    THING_FIELDS = ("kind", "ra", "dec", "science", "reliability")
    OPPORTUNITY_FIELDS = (
        "thing",
        "visit",
        "chip",
        "x",
        "y",
        "snr",
        "err",
        "flags",
        "noise",
        "cause",
        "planted_in",
    )

    def __len__(self) -> int:
        """Return the number of opportunities."""
        return len(self.thing)

    def appended(self, other: Pool) -> Pool:
        """Return this pool followed by `other`, whose things get new numbers."""
        parts = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in self.THING_FIELDS + self.OPPORTUNITY_FIELDS
        }
        parts["thing"][len(self) :] += len(self.kind)
        return Pool(**parts)

    def selected(self, keep_thing: Bools) -> Pool:
        """Return the things in the mask, with their opportunities."""
        number = np.cumsum(keep_thing) - 1
        keep = keep_thing[self.thing]
        parts = {name: getattr(self, name)[keep_thing] for name in self.THING_FIELDS}
        parts |= {name: getattr(self, name)[keep] for name in self.OPPORTUNITY_FIELDS}
        parts["thing"] = number[parts["thing"]].astype(np.int32)
        return Pool(**parts)


def pareto(rng: np.random.Generator, low: float, slope: float, n: int) -> Floats:
    """Return `n` numbers of which the share above s is ``(s / low) ** -slope``."""
    return low * (1.0 - rng.random(n)) ** (-1.0 / slope)


def draw_flags(
    rng: np.random.Generator, kind: Kind, n: int, bad_fraction: float | None = None
) -> Ints:
    """Return packed flags of `n` detections of a kind."""
    fraction = kind.bad_fraction if bad_fraction is None else bad_fraction
    flags = np.zeros(n, dtype=np.int64)
    for name, rate in kind.flags.items():
        flags |= np.where(rng.random(n) < rate, flag_bit(name), 0)
    if fraction > 0:
        mixes = list(kind.bad_mix)
        masks = np.array([sum(flag_bit(f) for f in mix.split("+")) for mix in mixes])
        weights = np.array([kind.bad_mix[m] for m in mixes], dtype=float)
        drawn = masks[np.searchsorted(np.cumsum(weights / weights.sum())[:-1], rng.random(n))]
        flags |= np.where(rng.random(n) < fraction, drawn, 0)
    return flags
