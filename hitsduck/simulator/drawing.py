"""Drawing the truth: where things are, how bright, and in which visits they show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hitsduck.simulator.geometry import FocalPlane, Visits
from hitsduck.simulator.presets import Kind, Preset
from hitsduck.simulator.truth import HOPELESS_SNR, Pool, draw_flags, pareto, stream

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Things are drawn this far (mm) beyond the CCDs, for dithers to bring them in.
_PX_MARGIN_MM = 2.5


def draw_pool(
    preset: Preset, plane: FocalPlane, visits: Visits, scale: float, seed: int, block: int
) -> Pool:
    """Return all things of all kinds of a block, with their opportunities.

    Parameters
    ----------
    scale : float
        Factor on the number of things of each kind.
    """
    pools = []
    for index, kind in enumerate(preset.kinds):
        rng = stream(seed, block, f"kind {kind.name}")
        number = round(kind.number * scale)
        if preset.reruns[0].targets is not None and kind.light_curve != "moving":
            # so that the targets can be met in (nearly) every realisation of a small pool
            number += round(6 * np.sqrt(number)) + 10
        if kind.light_curve == "once":
            pool = _draw_once(kind, plane, visits, number, rng)
        else:
            pool = _draw_repeated(preset, kind, plane, visits, number, rng)
        pool.kind[:] = index
        pools.append(pool)
    pool = pools[0]
    for more in pools[1:]:
        pool = pool.appended(more)
    return pool


def _make_pool(
    kind: Kind,
    visits: Visits,
    rng: np.random.Generator,
    sky: tuple[Floats, Floats],
    seen: tuple[Ints, Ints, Ints, Floats, Floats, Floats],
) -> Pool:
    thing, visit, chip, x, y, snr = seen
    n, m = len(sky[0]), len(thing)
    mean, scatter = kind.science_log10
    return Pool(
        kind=np.zeros(n, dtype=np.int16),
        ra=sky[0],
        dec=sky[1],
        science=(10 ** rng.normal(mean, scatter, n)).astype(np.float32),
        reliability=rng.beta(kind.reliability[0], kind.reliability[1], n).astype(np.float32),
        thing=thing.astype(np.int32),
        visit=visit.astype(np.int16),
        chip=chip.astype(np.int16),
        x=x,
        y=y,
        snr=snr.astype(np.float32),
        err=(visits.noise_njy[visit] * np.exp(0.03 * rng.standard_normal(m))).astype(np.float32),
        flags=draw_flags(rng, kind, m),
        noise=rng.standard_normal((m, 3), dtype=np.float32),
        cause=np.zeros(m, dtype=np.int8),
        planted_in=np.zeros(m, dtype=np.int8),
    )


def _draw_once(
    kind: Kind, plane: FocalPlane, visits: Visits, number: int, rng: np.random.Generator
) -> Pool:
    visit = rng.integers(0, len(visits), number)
    chip, x, y = random_pixels(plane, number, rng)
    return once_pool(kind, plane, visits, rng, visit, chip, x, y)


def random_pixels(
    plane: FocalPlane, number: int, rng: np.random.Generator
) -> tuple[Ints, Floats, Floats]:
    """Return chip index, x and y (pixel), uniform over the working detectors."""
    edges = np.cumsum(plane.area_px / plane.area_px.sum())[:-1]
    chip = np.searchsorted(edges, rng.random(number))
    low, high = plane.low[:, chip], plane.high[:, chip]
    x, y = low + (high - low) * rng.random((2, number))
    return chip, x, y


def once_pool(
    kind: Kind,
    plane: FocalPlane,
    visits: Visits,
    rng: np.random.Generator,
    visit: Ints,
    chip: Ints,
    x: Floats,
    y: Floats,
) -> Pool:
    """Return things that are seen in one image only, at given pixels of given visits."""
    number = len(visit)
    snr = pareto(rng, kind.snr_min, kind.snr_slope, number)
    snr *= np.where(rng.random(number) < kind.negative_fraction, -1.0, 1.0)
    ra, dec = sky_positions(plane, visits, visit, chip, x, y)
    return _make_pool(kind, visits, rng, (ra, dec), (np.arange(number), visit, chip, x, y, snr))


def sky_positions(
    plane: FocalPlane, visits: Visits, visit: Ints, chip: Ints, x: Floats, y: Floats
) -> tuple[Floats, Floats]:
    """Return ra, dec (deg, ICRS) of pixel positions, each in its visit."""
    ra, dec = np.empty(len(visit)), np.empty(len(visit))
    fx, fy = plane.to_mm(chip, x, y)
    mm = np.column_stack([fx, fy])
    order = np.argsort(visit, kind="stable")
    edges = np.searchsorted(visit[order], np.arange(len(visits) + 1))
    for v in range(len(visits)):
        at = order[edges[v] : edges[v + 1]]
        if len(at):
            wcs = plane.wcs(visits.ra[v], visits.dec[v])
            sky = wcs.wcs_pix2world(mm[at], 0)
            ra[at], dec[at] = sky[:, 0], sky[:, 1]
    return ra, dec


def _draw_on_sky(
    preset: Preset, plane: FocalPlane, visits: Visits, number: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return positions uniform over the fields' footprints, gaps between CCDs included."""
    radius = plane.radius_mm + _PX_MARGIN_MM
    centres = [
        (np.median(visits.ra[visits.field == f]), np.median(visits.dec[visits.field == f]))
        for f in range(len(preset.fields))
    ]
    planes = [plane.wcs(float(ra), float(dec)) for ra, dec in centres]
    ra, dec = np.empty(0), np.empty(0)
    while len(ra) < number:
        n = int((number - len(ra)) * 2.2) + 50
        field = rng.integers(0, len(planes), n)
        mm = rng.uniform(-radius, radius, (n, 2))
        near = np.zeros(n, dtype=bool)
        for du, dv in ((0, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            shifted = mm + np.array([du, dv]) * _PX_MARGIN_MM
            near |= plane.locate(shifted[:, 0], shifted[:, 1])[0] >= 0
        sky = np.empty((n, 2))
        for f, wcs in enumerate(planes):
            sky[field == f] = wcs.wcs_pix2world(mm[field == f], 0)
        for f, wcs in enumerate(planes):
            # an overlap belongs to the earlier field, so that its density is not doubled
            later = np.flatnonzero(near & (field > f))
            back = wcs.wcs_world2pix(sky[later], 0)
            near[later] &= plane.locate(back[:, 0], back[:, 1])[0] < 0
        ra, dec = np.r_[ra, sky[near, 0]], np.r_[dec, sky[near, 1]]
    return ra[:number], dec[:number]


def _draw_repeated(
    preset: Preset,
    kind: Kind,
    plane: FocalPlane,
    visits: Visits,
    number: int,
    rng: np.random.Generator,
) -> Pool:
    """Return things that keep their place (or move), in every visit that covers them."""
    ra, dec = _draw_on_sky(preset, plane, visits, number, rng)
    amplitude = pareto(rng, kind.snr_min, kind.snr_slope, number)
    if kind.light_curve != "flat":
        amplitude *= np.where(rng.random(number) < kind.negative_fraction, -1.0, 1.0)
    period_d = np.exp(rng.uniform(np.log(0.2), np.log(40.0), number))
    phase = rng.uniform(0, 2 * np.pi, number)
    shows = np.ones(number)
    if kind.persistence:
        shows = rng.beta(kind.persistence[0], kind.persistence[1], number)
    scatter_px = (
        kind.scatter_arcsec
        / plane.pixel_scale_arcsec
        * np.exp(kind.scatter_ln * rng.standard_normal(number))
    )
    heading = rng.uniform(0, 2 * np.pi, number)
    speed = kind.motion_arcsec_per_hour * 24 / 3600 * np.exp(0.25 * rng.standard_normal(number))
    starts = rng.integers(0, len(visits), number)
    reach = (plane.radius_mm + _PX_MARGIN_MM) * plane.camera.plate_scale_arcsec_per_mm / 3600
    seen: list[tuple[Ints, Ints, Ints, Floats, Floats, Floats]] = []
    for v in range(len(visits)):
        if kind.light_curve == "moving":
            days = visits.mjd_tai[v] - visits.mjd_tai[starts]
            near = np.flatnonzero(np.abs(days) < 1.0)
            step = speed[near] * days[near]
            here_dec = dec[near] + step * np.sin(heading[near])
            here_ra = ra[near] + step * np.cos(heading[near]) / np.cos(np.radians(here_dec))
        else:
            east = (ra - visits.ra[v]) * np.cos(np.radians(visits.dec[v]))
            near = np.flatnonzero((np.abs(east) < reach) & (np.abs(dec - visits.dec[v]) < reach))
            if kind.persistence:
                near = near[rng.random(len(near)) < shows[near]]
            here_ra, here_dec = ra[near], dec[near]
        mm = plane.wcs(visits.ra[v], visits.dec[v]).wcs_world2pix(
            np.column_stack([here_ra, here_dec]), 0
        )
        chip, x, y = plane.locate(mm[:, 0], mm[:, 1])
        snr = amplitude[near] * preset.sky.noise_njy / visits.noise_njy[v]
        if kind.light_curve == "sine":
            snr = snr * np.sin(2 * np.pi * visits.mjd_tai[v] / period_d[near] + phase[near])
        elif kind.light_curve == "flat":
            snr = snr * np.exp(kind.snr_spread_ln * rng.standard_normal(len(near)))
            snr = snr * np.where(rng.random(len(near)) < kind.negative_fraction, -1.0, 1.0)
        wander = rng.standard_normal((2, len(near))) * scatter_px[near]
        x, y = x + wander[0], y + wander[1]
        keep = (chip >= 0) & (np.abs(snr) > HOPELESS_SNR)
        keep[keep] = plane.contains(chip[keep], x[keep], y[keep])
        keep_at = near[keep]
        seen.append((keep_at, np.full(len(keep_at), v), chip[keep], x[keep], y[keep], snr[keep]))
    columns = [np.concatenate([part[i] for part in seen]) for i in range(6)]
    return _make_pool(kind, visits, rng, (ra, dec), tuple(columns))  # type: ignore[arg-type]
