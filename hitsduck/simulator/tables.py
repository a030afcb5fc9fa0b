"""The tables of one rerun, in canonical names (schema 10.0.0), as polars frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from hitsduck.simulator.objects import forced_frame, object_frame
from hitsduck.simulator.regions import edge_distance
from hitsduck.simulator.reruns import Realisation, Realiser
from hitsduck.simulator.truth import flag_bit
from hitsduck.simulator.truth_tables import (
    BLOCK_IDS,
    SourceIds,
    id_shift,
    lost_frame,
    null_zero,
    truth_frame,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Sources nearer to a CCD's edge (pixel) have pixelFlags_edge and a truncated aperture.
EDGE_FLAG_PX = 12.0
#: Sources nearer than this have a PSF flux flagged as at the edge.
PSF_EDGE_PX = 6.0

_SS_ID_BASE = 7_000_000_000_000


def source_frame(realiser: Realiser, realisation: Realisation, ids: SourceIds) -> pl.DataFrame:
    """Return DiaSource: one row per source, in order of diaSourceId.

    Beside canonical columns it holds `flags` (packed, bits of 2019); moments are in
    arcsec^2. What is single precision in the newest schema is so here.
    """
    pool, measured = realisation.state.pool, realisation.measured
    order = ids.order
    at = realisation.at[order]
    thing = pool.thing[at]
    kinds = realiser.preset.kinds
    kind = pool.kind[thing]
    visit, chip = pool.visit[at].astype(np.int64), pool.chip[at].astype(np.int64)
    visits, plane = realiser.visits, realiser.plane
    scale = plane.pixel_scale_arcsec
    x, y, snr = measured.x[order], measured.y[order], measured.snr[order]
    err_px = measured.err_px[order]
    noise = pool.noise[at].astype(np.float64)
    factor = 10 ** (-0.4 * realisation.state.mag)
    err = pool.err[at] * factor
    psf_flux = snr * err
    ap_err = 2.2 * err
    moving = realiser.is_moving[kind]
    dipole = np.array([k.is_dipole for k in kinds])[kind] & (noise[:, 2] > -1.2)
    edge = edge_distance(plane, chip, x, y)
    flags = pool.flags[at].copy()
    for names, width in (
        (("edge", "apFlux_flag", "apFlux_flag_apertureTruncated"), EDGE_FLAG_PX),
        (("psfFlux_flag", "psfFlux_flag_edge"), PSF_EDGE_PX),
    ):
        flags |= np.where(edge < width, sum(flag_bit(n) for n in names), 0)
    ixx, iyy, ixy, ixx_psf, iyy_psf, ixy_psf = _moments(realiser, visit, chip, x, y, noise, dipole)
    no_shape = (flags & flag_bit("shape_flag")) != 0
    science = (
        pool.science[thing] * factor + np.where(moving, 0.0, psf_flux) + 1.1 * err * noise[:, 0]
    )
    length = np.where(dipole, scale * (1.5 + np.abs(noise[:, 1])), np.nan)
    columns: dict[str, Any] = {
        "diaSourceId": ids.source_id,
        "visit": ids.visit,
        "detector": ids.detector.astype(np.int16),
        "diaObjectId": null_zero(ids.object_id),
        "ssObjectId": null_zero(np.where(moving, _ss_ids(realiser, thing), 0)),
        "midpointMjdTai": visits.mjd_tai[visit],
        "exposureTime": np.full(len(at), realiser.preset.exposure_s, dtype=np.float32),
        "ra": measured.ra[order],
        "raErr": err_px * scale / 3600,
        "dec": measured.dec[order],
        "decErr": err_px * scale / 3600,
        "x": x,
        "xErr": err_px,
        "y": y,
        "yErr": err_px,
        "apFlux": psf_flux * (1 + 0.02 * noise[:, 1]) + 0.8 * ap_err * noise[:, 0],
        "apFluxErr": ap_err,
        "snr": np.abs(snr) * (1 + 0.04 * np.abs(noise[:, 2])),
        "psfFlux": psf_flux,
        "psfFluxErr": err,
        "psfChi2": 1681.0 * (1 + 0.035 * noise[:, 0] + 0.002 * np.minimum(np.abs(snr), 500.0)),
        "psfNdata": np.full(len(at), 1681, dtype=np.int32),
        "dipoleMeanFlux": np.abs(psf_flux) * (1.5 + 0.2 * np.abs(noise[:, 1])),
        "dipoleFluxDiff": psf_flux * (1 + 0.1 * noise[:, 2]),
        "dipoleLength": length,
        "dipoleAngle": np.where(dipole, noise[:, 0] * 60 % 360.0, np.nan),
        "dipoleChi2": 1250.0 * (1 + 0.05 * noise[:, 1]),
        "dipoleNdata": np.full(len(at), 2436, dtype=np.int32),
        "scienceFlux": science,
        "scienceFluxErr": 1.01 * err,
        "templateFlux": pool.science[thing] * factor,
        "templateFluxErr": 0.4 * err,
        "ixx": np.where(no_shape, np.nan, ixx),
        "iyy": np.where(no_shape, np.nan, iyy),
        "ixy": np.where(no_shape, np.nan, ixy),
        "ixxPSF": ixx_psf,
        "iyyPSF": iyy_psf,
        "ixyPSF": ixy_psf,
        "reliability": np.clip(pool.reliability[thing] + 0.02 * noise[:, 0], 0.0, 1.0),
        "isDipole": dipole,
        "isNegative": snr < 0,
        "dipoleFitAttempted": np.ones(len(at), dtype=bool),
        "timeProcessedMjdTai": realisation.spec.processed_mjd_tai + 0.01 * visit,
        "bboxSize": (13 + 2 * np.floor(np.abs(noise[:, 1]) * 3 + np.log2(np.abs(snr)))).astype(
            np.int32
        ),
        "flags": flags,
    }
    frame = pl.DataFrame(columns)
    return frame.with_columns(
        pl.col(_SINGLE).cast(pl.Float32).fill_nan(None),
        pl.lit(realiser.preset.band).alias("band"),
    )


#: Columns that the pipeline stores in single precision.
_SINGLE = [
    "raErr",
    "decErr",
    "x",
    "xErr",
    "y",
    "yErr",
    "apFlux",
    "apFluxErr",
    "snr",
    "psfFlux",
    "psfFluxErr",
    "psfChi2",
    "dipoleMeanFlux",
    "dipoleFluxDiff",
    "dipoleLength",
    "dipoleAngle",
    "dipoleChi2",
    "scienceFlux",
    "scienceFluxErr",
    "templateFlux",
    "templateFluxErr",
    "ixx",
    "iyy",
    "ixy",
    "ixxPSF",
    "iyyPSF",
    "ixyPSF",
    "reliability",
]


def _ss_ids(realiser: Realiser, thing: npt.NDArray[np.int32]) -> Ints:
    return _SS_ID_BASE + realiser.block * BLOCK_IDS + thing.astype(np.int64) + 1


def _moments(
    realiser: Realiser,
    visit: Ints,
    chip: Ints,
    x: Floats,
    y: Floats,
    noise: Floats,
    dipole: npt.NDArray[np.bool_],
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Return second moments (arcsec^2) of sources and of the PSF at their places.

    The PSF has the visit's FWHM at the centre of the focal plane, grows by 6 % in
    area towards its rim, and has a small ellipticity of the visit.
    """
    plane, visits = realiser.plane, realiser.visits
    rng = realiser.stream("psf")
    e1, e2 = 0.03 * rng.standard_normal((2, len(visits)))
    fx, fy = plane.to_mm(chip, x, y)
    radius2 = (fx * fx + fy * fy) / plane.radius_mm**2
    sigma2 = (visits.seeing_arcsec[visit] ** 2 / (8 * np.log(2.0))) * (1 + 0.06 * radius2)
    ixx_psf, iyy_psf = sigma2 * (1 + e1[visit]), sigma2 * (1 - e1[visit])
    ixy_psf = sigma2 * e2[visit]
    size = np.exp(0.15 * noise[:, 0]) * np.where(dipole, 1.6, 1.0)
    return (
        ixx_psf * size * np.exp(0.08 * noise[:, 1]),
        iyy_psf * size * np.exp(-0.08 * noise[:, 1]),
        ixy_psf * size + 0.05 * sigma2 * noise[:, 2],
        ixx_psf,
        iyy_psf,
        ixy_psf,
    )


def rerun_tables(
    realiser: Realiser,
    realisation: Realisation,
    ids: SourceIds,
    *,
    base_id_of: Ints | None,
    tables: tuple[str, ...],
) -> dict[str, pl.DataFrame]:
    """Return the tables asked for, by name, in canonical columns.

    Parameters
    ----------
    base_id_of : int array or None
        For each opportunity its diaSourceId in the rerun this one is based on.
    tables : tuple of str
        Of ``DiaSource, DiaObject, DiaForcedSource, SSObject,
        DetectorVisitProcessingSummary, truth, lost``.
    """
    made: dict[str, pl.DataFrame] = {}
    if not tables:
        return made
    sources = source_frame(realiser, realisation, ids)
    made["DiaSource"] = sources
    if "DiaObject" in tables:
        made["DiaObject"] = object_frame(realiser, sources)
    if "DiaForcedSource" in tables:
        made["DiaForcedSource"] = forced_frame(realiser, realisation, sources, id_shift(realiser))
    if "SSObject" in tables:
        made["SSObject"] = (
            sources.filter(pl.col("ssObjectId").is_not_null())
            .group_by("ssObjectId")
            .agg(
                pl.len().cast(pl.Int32).alias("numObs"),
                pl.col("midpointMjdTai").min().alias("firstObservationMjdTai"),
                (pl.col("midpointMjdTai").max() - pl.col("midpointMjdTai").min())
                .cast(pl.Float32)
                .alias("arc"),
            )
            .sort("ssObjectId")
        )
    if "DetectorVisitProcessingSummary" in tables:
        made["DetectorVisitProcessingSummary"] = image_frame(realiser, realisation)
    if "truth" in tables:
        made["truth"] = truth_frame(realiser, realisation, ids)
    if "lost" in tables:
        made["lost"] = lost_frame(realiser, realisation, base_id_of)
    return {name: made[name] for name in tables}


def image_frame(realiser: Realiser, realisation: Realisation) -> pl.DataFrame:
    """Return DetectorVisitProcessingSummary: one row per processed detector image."""
    visits, plane = realiser.visits, realiser.plane
    chips = len(plane.chips)
    v = np.repeat(np.arange(len(visits)), chips)
    c = np.tile(np.arange(chips), len(visits))
    keep = np.ones(len(v), dtype=bool)
    for visit, chip in realisation.state.missing:
        keep[visit * chips + chip] = False
    v, c = v[keep], c[keep]
    mm = np.column_stack([np.array([[d.offset_x_mm, d.offset_y_mm] for d in plane.chips])[c]])
    ra, dec = np.empty(len(v)), np.empty(len(v))
    for index in range(len(visits)):
        at = v == index
        if at.any():
            sky = plane.wcs(visits.ra[index], visits.dec[index]).wcs_pix2world(mm[at], 0)
            ra[at], dec[at] = sky[:, 0], sky[:, 1]
    size = (plane.high - plane.low).astype(np.int64)
    return pl.DataFrame(
        {
            "visit": visits.visit[v],
            "detector": plane.numbers[c].astype(np.int16),
            "ra": ra,
            "dec": dec,
            "pixelScale": np.full(len(v), plane.pixel_scale_arcsec, dtype=np.float32),
            "zeroPoint": visits.zero_point_mag[v].astype(np.float32),
            "psfSigma": realiser.psf_sigma_px[v].astype(np.float32),
            "seeing": visits.seeing_arcsec[v],
            "xSize": size[0][c],
            "ySize": size[1][c],
            "nPsfStar": (60 + (v * 7 + c * 13) % 40).astype(np.int32),
        }
    )
