"""Compared sources of two simulated reruns, made in memory."""

from __future__ import annotations

import numpy as np
import polars as pl

from hitsduck.cameras import get_camera
from hitsduck.crossmatch import match_images

LONGITUDE_DEG = -70.81
SIDES = ("left", "right", "bottom", "top")
_CAMERA = get_camera("decam")
_FWHM_PER_SIGMA = 2.3548200450309493


def geometry() -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "detector": d,
                "left_px": c.x0_px - 0.5,
                "right_px": c.x1_px + 0.5,
                "bottom_px": c.y0_px - 0.5,
                "top_px": c.y1_px + 0.5,
            }
            for d, c in _CAMERA.detectors.items()
        ]
    )


def compared(
    left: pl.DataFrame, right: pl.DataFrame, *, good: bool = True, radius_arcsec: float = 0.5
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the compared sources of two DiaSource frames, and the images both have."""
    frames = [_measured(frame) for frame in (left, right)]
    images = pl.concat([f.select("visit", "detector").unique() for f in frames])
    images = images.filter(images.is_duplicated()).unique().sort("visit", "detector")
    frames = [f.join(images, on=["visit", "detector"], how="semi") for f in frames]
    used = [f.filter("_is_good") if good else f for f in frames]
    pairs = match_images(*used, radius_arcsec=radius_arcsec).pairs
    everything = match_images(*frames, radius_arcsec=radius_arcsec).pairs
    sides = []
    for k, side in enumerate(("left", "right")):
        match_id = np.full(used[k].height, -1)
        match_id[pairs[f"{side}_index"].to_numpy()] = np.arange(pairs.height)
        seen_twice = frames[k][everything[f"{side}_index"]].select("diaSourceId")
        status = (
            used[k]
            .select("diaSourceId")
            .with_columns(
                pl.Series("match_id", match_id),
                pl.col("diaSourceId").is_in(seen_twice["diaSourceId"].implode()).alias("twice"),
            )
            .select(
                pl.when(pl.col("match_id") >= 0)
                .then(pl.lit("matched"))
                .when("twice")
                .then(pl.lit("reflagged"))
                .otherwise(pl.lit("new" if side == "right" else "gone"))
            )
            .to_series()
        )
        sides.append(
            used[k].with_columns(
                pl.lit(side).alias("side"),
                status.alias("status"),
                pl.Series("match_id", match_id).replace(-1, None),
            )
        )
    return pl.concat(sides).drop("_is_good"), images


def _measured(frame: pl.DataFrame) -> pl.DataFrame:
    numbers = frame["detector"].cast(pl.Int64).to_numpy()
    chips = _CAMERA.detectors
    table = np.full((max(chips) + 1, 11), np.nan)
    for d, c in chips.items():
        yaw = np.radians(c.yaw_deg)
        table[d] = (
            c.x0_px - 0.5,
            c.x1_px + 0.5,
            c.y0_px - 0.5,
            c.y1_px + 0.5,
            np.cos(yaw),
            np.sin(yaw),
            c.offset_x_mm,
            c.offset_y_mm,
            c.pixel_size_x_mm,
            c.ref_x_px,
            c.ref_y_px,
        )
    left, right, bottom, top, cos, sin, ox, oy, mm, rx, ry = table[numbers].T
    x, y = (frame[c].cast(pl.Float64).to_numpy() for c in ("x", "y"))
    to_side = np.stack([x - left, right - x, y - bottom, top - y])
    u, v = (x - rx) * mm, (y - ry) * mm
    return frame.select(
        "diaSourceId",
        "visit",
        "detector",
        "ra",
        "dec",
        "band",
        "x",
        "y",
        "psfFlux",
        "isDipole",
        (pl.col("psfFlux").abs() / pl.col("psfFluxErr")).alias("psf_snr"),
        (_FWHM_PER_SIGMA * ((pl.col("ixxPSF") + pl.col("iyyPSF")) / 2).sqrt()).alias(
            "psf_fwhm_arcsec"
        ),
        # the night begins at local noon; MJD 0 is 1858-11-17
        (
            pl.date(1858, 11, 17)
            + pl.duration(
                days=(pl.col("midpointMjdTai") + LONGITUDE_DEG / 360 - 0.5).floor().cast(pl.Int64)
            )
        ).alias("night"),
        # centres of the preset: dec 2.2, -4.9 and -6.5
        pl.when(pl.col("dec") > -2)
        .then(0)
        .when(pl.col("dec").mean().over("visit") > -5.7)
        .then(1)
        .otherwise(2)
        .alias("field"),
        pl.when(pl.col("diaObjectId").is_null())
        .then(0)
        .otherwise(pl.len().over("diaObjectId"))
        .alias("n_dia_sources"),
        pl.Series("edge_distance_px", to_side.min(axis=0)),
        pl.Series(
            "edge_side", np.array(["left", "right", "bottom", "top"])[to_side.argmin(axis=0)]
        ),
        pl.Series("focal_radius_mm", np.hypot(cos * u - sin * v + ox, sin * u + cos * v + oy)),
        pl.selectors.starts_with("pixelFlags_").fill_null(value=False).cast(pl.Boolean),
        pl.col("shape_flag").fill_null(value=False).cast(pl.Boolean),
        (
            ~(
                pl.col("pixelFlags_bad")
                | pl.col("pixelFlags_suspect")
                | pl.col("pixelFlags_saturatedCenter")
            ).fill_null(value=True)
        ).alias("_is_good"),
    )
