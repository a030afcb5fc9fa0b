"""A small generator of compared sources whose truth is known, for the campaigns.

Things on a DECam-like camera are seen again and again or once; the two reruns measure
the same images with partly the same noise, so that sources near the threshold come and
go. The threshold of each visit and image wanders a little from rerun to rerun, so that
sources of one image, and images of one visit, are not independent.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import polars as pl

from hitsduck.cameras import get_camera

N_VISITS, N_FIELDS, N_NIGHTS = 84, 3, 7
WIDTH, HEIGHT = 2048.0, 4096.0
THRESHOLD = 5.0
DITHER_PX = 170.0
CAUSES = ("edge", "ccd", "night", "column_band", "flux_loss")
SIDES = ("left", "right", "bottom", "top")
FIRST_NIGHT = dt.date(2015, 2, 17)


@dataclass(frozen=True)
class Cause:
    """A planted cause; `strength` is the part of all sources that is new (or lost)."""

    kind: str
    strength: float = 0.08
    within_px: float = 64.0
    detector: int = 20
    night: int = 3
    band: int = 5

    @property
    def expected(self) -> list[tuple[str, str | None]]:
        """Dimension and value (None: any) that name it rightly."""
        return {
            "edge": [("edge_within_px", f"{self.within_px:g}")],
            "ccd": [("detector", str(self.detector))],
            "night": [("night", str(FIRST_NIGHT + dt.timedelta(days=self.night)))],
            "column_band": [("column_band", str(self.band))],
            "flux_loss": [("psf_snr", None), ("magnitude", None)],
        }[self.kind]


@dataclass(frozen=True)
class Pair:
    """Two compared reruns: inputs of `explain` and `edge_excess`, and the truth."""

    sources: pl.DataFrame
    images: pl.DataFrame
    geometry: pl.DataFrame
    planted: int


def detectors() -> list[int]:
    """The 60 CCDs that worked in 2015."""
    return [d for d in get_camera("decam").detectors if d <= 62 and d not in (2, 61)]


def geometry() -> pl.DataFrame:
    chips = get_camera("decam").detectors
    return pl.DataFrame(
        [
            {
                "detector": d,
                "left_px": chips[d].x0_px - 0.5,
                "right_px": chips[d].x1_px + 0.5,
                "bottom_px": chips[d].y0_px - 0.5,
                "top_px": chips[d].y1_px + 0.5,
            }
            for d in detectors()
        ]
    )


def make_pair(
    seed: int,
    causes: tuple[Cause, ...] = (),
    *,
    n_sources: int = 60_000,
    visit_wander: float = 0.04,
    image_wander: float = 0.2,
    jitter: float = 0.25,
) -> Pair:
    """Return two reruns of about `n_sources` sources each.

    `visit_wander` and `image_wander` are standard deviations of the threshold (S/N), of
    each visit and image of each rerun; `jitter` is the part of the noise drawn anew.
    """
    rng = np.random.default_rng([seed, 4])
    chips = np.array(detectors())
    n_chips = len(chips)
    visit_field = np.arange(N_VISITS) % N_FIELDS
    visit_night = np.arange(N_VISITS) // (N_VISITS // N_NIGHTS)
    seeing = 1.15 * np.exp(0.16 * rng.standard_normal(N_VISITS))
    noise_njy = 140.0 * 10 ** (0.4 * 0.12 * rng.standard_normal(N_VISITS))

    # 1. opportunities: things seen in every visit of their field, and once only
    n_stars = round(n_sources * 0.55 / 13.1)
    star_field = rng.integers(0, N_FIELDS, n_stars)
    star_snr = 3.0 * (1 - rng.random(n_stars)) ** (-1 / 1.3)
    is_dipole = rng.random(n_stars) < 0.5
    star_chip = rng.integers(0, n_chips, n_stars)
    star_xy = rng.random((2, n_stars))
    of_star = np.repeat(np.arange(n_stars), N_VISITS // N_FIELDS)
    star_visit = np.tile(np.arange(N_VISITS // N_FIELDS), n_stars) * N_FIELDS + star_field[of_star]
    n_once = round(n_sources * 0.45 * (5 / 3.5) ** 2.2 * 0.86)
    once_visit = rng.integers(0, N_VISITS, n_once)
    thing = np.r_[of_star, n_stars + np.arange(n_once)]
    visit = np.r_[star_visit, once_visit]
    chip = np.r_[star_chip[of_star], rng.integers(0, n_chips, n_once)]
    # what a dither moves out of a detector comes in on the other side
    dither = DITHER_PX * rng.standard_normal((2, N_VISITS))[:, visit]
    x = (np.r_[star_xy[0][of_star], rng.random(n_once)] * WIDTH + dither[0]) % WIDTH - 0.5
    y = (np.r_[star_xy[1][of_star], rng.random(n_once)] * HEIGHT + dither[1]) % HEIGHT - 0.5
    true_snr = np.r_[
        star_snr[of_star] * np.exp(0.4 * rng.standard_normal(len(of_star))),
        3.5 * (1 - rng.random(n_once)) ** (-1 / 2.2),
    ]
    near = true_snr > 2.0
    thing, visit, chip, x, y, true_snr = (a[near] for a in (thing, visit, chip, x, y, true_snr))
    n = len(thing)
    dipole = (thing < n_stars) & np.r_[is_dipole, np.zeros(n_once, bool)][thing]
    negative = rng.random(n) < 0.35

    # 2. both reruns
    first = rng.standard_normal(n)
    error = [first, np.sqrt(1 - jitter**2) * first + jitter * rng.standard_normal(n)]
    snr, seen = [], []
    for side in (0, 1):
        wander = visit_wander * rng.standard_normal(N_VISITS)[visit]
        wander += image_wander * rng.standard_normal((N_VISITS, n_chips))[visit, chip]
        snr.append(true_snr + error[side])
        seen.append(snr[side] + wander > THRESHOLD)
    base = int(seen[0].sum())

    # 3. what is planted in the right one
    planted = 0
    more: list[dict[str, np.ndarray]] = []
    for cause in causes:
        number = round(cause.strength * base)
        if cause.kind == "flux_loss":
            chance = 1 / (1 + np.exp(np.minimum(snr[1] - 8.0, 50.0)))
            chance *= number / chance[seen[1]].sum()
            lost = seen[1] & (rng.random(n) < chance)
            seen[1] &= ~lost
            planted -= int(lost.sum())
            continue
        planted += number
        part = {
            "visit": rng.integers(0, N_VISITS, number),
            "chip": rng.integers(0, n_chips, number),
            "x": rng.random(number) * WIDTH - 0.5,
            "y": rng.random(number) * HEIGHT - 0.5,
            "snr": THRESHOLD * (1 - rng.random(number)) ** (-1 / 2.2),
        }
        if cause.kind == "edge":
            part["x"], part["y"] = _in_frame(rng, number, cause.within_px)
        elif cause.kind == "ccd":
            part["chip"][:] = np.flatnonzero(chips == cause.detector)[0]
        elif cause.kind == "night":
            part["visit"] = rng.choice(np.flatnonzero(visit_night == cause.night), number)
        elif cause.kind == "column_band":
            part["x"] = (cause.band + rng.random(number)) * WIDTH / 16 - 0.5
        more.append(part)

    # 4. the compared sources
    both = seen[0] & seen[1]
    frames = []
    n_things = n_stars + n_once
    for side in (0, 1):
        at = np.flatnonzero(seen[side])
        columns = {
            "visit": visit[at],
            "chip": chip[at],
            "x": x[at] + 0.1 * rng.standard_normal(len(at)),
            "y": y[at] + 0.1 * rng.standard_normal(len(at)),
            "snr": snr[side][at],
            "size": np.bincount(thing[at], minlength=n_things)[thing[at]],
            "dipole": dipole[at],
            "negative": negative[at],
            "match_id": np.where(both[at], at, -1),
        }
        if side == 1 and more:
            total = sum(len(p["visit"]) for p in more)
            added = {k: np.concatenate([p[k] for p in more]) for k in more[0]}
            added |= {
                "size": np.ones(total, int),
                "dipole": np.zeros(total, bool),
                "negative": rng.random(total) < 0.35,
                "match_id": np.full(total, -1),
            }
            columns = {k: np.concatenate([columns[k], added[k]]) for k in columns}
        m = len(columns["visit"])
        matched = columns["match_id"] >= 0
        frames.append(
            pl.DataFrame(
                {
                    "side": ["left", "right"][side],
                    "status": np.where(matched, "matched", ["gone", "new"][side]),
                    "match_id": pl.Series(columns["match_id"]).replace(-1, None),
                    "visit": 410_985 + 2 * columns["visit"],
                    "detector": chips[columns["chip"]],
                    "band": "g",
                    "night": visit_night[columns["visit"]],
                    "field": visit_field[columns["visit"]],
                    "x": columns["x"],
                    "y": columns["y"],
                    "psf_snr": columns["snr"],
                    "psfFlux": columns["snr"]
                    * noise_njy[columns["visit"]]
                    * np.where(columns["negative"], -1, 1),
                    "psf_fwhm_arcsec": seeing[columns["visit"]] + 0.01 * rng.standard_normal(m),
                    "isDipole": columns["dipole"],
                    "n_dia_sources": columns["size"],
                    "pixelFlags_interpolated": rng.random(m) < 0.1,
                    "pixelFlags_cr": rng.random(m) < 0.08,
                    "shape_flag": rng.random(m) < 0.22,
                }
            )
        )
    sources = pl.concat(frames, how="vertical_relaxed").with_columns(
        pl.lit(FIRST_NIGHT).dt.offset_by(pl.format("{}d", "night")).alias("night")
    )
    images = pl.DataFrame({"visit": 410_985 + 2 * np.arange(N_VISITS)}).join(
        pl.DataFrame({"detector": chips}), how="cross"
    )
    return Pair(with_places(sources), images, geometry(), planted)


def with_places(sources: pl.DataFrame) -> pl.DataFrame:
    """Add distance and side of the nearest edge, and the focal-plane radius."""
    x, y = sources["x"].to_numpy(), sources["y"].to_numpy()
    to_side = np.stack([x + 0.5, WIDTH - 0.5 - x, y + 0.5, HEIGHT - 0.5 - y])
    chips = get_camera("decam").detectors
    centre = {d: chips[d].focal_plane_mm(0, 0) for d in detectors()}
    corner = np.array([centre.get(d, (0, 0)) for d in range(max(centre) + 1)])
    u = corner[sources["detector"].to_numpy()] + 0.015 * np.stack([x, y], axis=1)
    distance = to_side.min(axis=0)
    return sources.with_columns(
        pl.Series("edge_distance_px", distance),
        pl.Series(
            "edge_side", np.array(["left", "right", "bottom", "top"])[to_side.argmin(axis=0)]
        ),
        pl.Series("focal_radius_mm", np.hypot(u[:, 0], u[:, 1])),
        pl.Series("pixelFlags_edge", distance < 12),
    )


def _in_frame(
    rng: np.random.Generator, number: int, within_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions uniform over the frame, by drawing too many everywhere."""
    x = rng.random(number * 40) * WIDTH
    y = rng.random(number * 40) * HEIGHT
    distance = np.minimum.reduce([x, WIDTH - x, y, HEIGHT - y])
    at = np.flatnonzero(distance < within_px)[:number]
    assert len(at) == number
    return x[at] - 0.5, y[at] - 0.5
