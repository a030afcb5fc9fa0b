"""Calexp ``src`` catalogues in the Gen2 layout: ``VISIT/src/src-VISIT_CC.fits``.

Each is an afw binary table in HDU 1; its number of rows is ``NAXIS2`` of that header.
All reruns get the same ones: no planted cause touches the direct images.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

from hitsduck.simulator.geometry import FocalPlane, Visits, make_focal_plane, make_visits
from hitsduck.simulator.presets import Preset
from hitsduck.simulator.truth import stream

_FLAGS = ("calib_psf_used", "base_PixelFlags_flag_edge", "base_PixelFlags_flag_saturated")
_BYTES_PER_ROW = 8 * 9 + 1
_HEADER_BYTES = 3 * 2880 + 1440


def src_rows(
    preset: Preset, which: str, scale: float, seed: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yield (visit index, visit, detector, rows) of every catalogue to be written.

    Parameters
    ----------
    which : str
        ``small``: the images that the preset names; ``all``; ``none``.
    scale : float
        Factor (at most 1) on the number of rows; each catalogue has at least 5.
    """
    if which == "none":
        return
    visits = _visits(preset, seed)
    plane = make_focal_plane(preset)
    spec = preset.src_catalogs
    named = {(int(s["visit"]), int(s["detector"])): int(s["rows"]) for s in spec.small}
    rng = stream(seed, 0, "src rows")
    for index, visit in enumerate(visits.visit.tolist()):
        spread = rng.standard_normal(len(plane.numbers))
        for detector, z in zip(plane.numbers.tolist(), spread.tolist(), strict=True):
            rows = spec.rows_median * np.exp(spec.rows_scatter_ln * z)
            if (visit, detector) in named:
                rows = named[visit, detector]
            elif which == "small":
                continue
            yield index, visit, detector, max(5, round(rows * min(scale, 1.0)))


def src_bytes(preset: Preset, which: str, scale: float) -> int:
    """Return about how many bytes the catalogues of one rerun take."""
    return sum(
        _HEADER_BYTES + -(-rows * _BYTES_PER_ROW // 2880) * 2880
        for _, _, _, rows in src_rows(preset, which, scale, preset.seed)
    )


def write_src_catalogs(
    folders: Sequence[Path], preset: Preset, seed: int, *, which: str, scale: float
) -> list[Path]:
    """Write the catalogues into every rerun's folder; return the files."""
    visits, plane = _visits(preset, seed), make_focal_plane(preset)
    written = []
    for index, visit, detector, rows in src_rows(preset, which, scale, seed):
        content = io.BytesIO()
        _catalogue(plane, visits, index, detector, rows, seed).writeto(content)
        name = f"src-{visit:07d}_{detector:02d}.fits"
        for folder in folders:
            target = folder / f"{visit:07d}" / "src"
            target.mkdir(parents=True, exist_ok=True)
            temporary = target / f".{name}.part"
            temporary.write_bytes(content.getvalue())
            os.replace(temporary, target / name)
            written.append(target / name)
    return written


def _visits(preset: Preset, seed: int) -> Visits:
    return make_visits(preset, stream(seed, 0, "visits"), 0)


def _catalogue(
    plane: FocalPlane, visits: Visits, index: int, detector: int, rows: int, seed: int
) -> fits.HDUList:
    visit = int(visits.visit[index])
    image = visit * (plane.camera.id_factor or 1000) + detector
    rng = stream(seed, image, "src rows of one image")
    chip = int(np.flatnonzero(plane.numbers == detector)[0])
    low, high = plane.low[:, chip], plane.high[:, chip]
    x = low[0] + (high[0] - low[0]) * rng.random(rows)
    y = np.sort(low[1] + (high[1] - low[1]) * rng.random(rows))
    wcs = plane.detector_wcs(detector, float(visits.ra[index]), float(visits.dec[index]))
    sky = np.radians(wcs.wcs_pix2world(np.column_stack([x, y]), 0))
    error = visits.noise_njy[index] / 10.0 * np.exp(0.05 * rng.standard_normal(rows))
    flux = 5.0 * error * (1.0 - rng.random(rows)) ** (-1.0 / 0.9)
    flags = np.zeros((rows, len(_FLAGS)), dtype=bool)
    flags[:, 0] = (flux / error > 50) & (flux / error < 2000)
    flags[:, 1] = np.minimum(x - low[0], high[0] - x) < 10
    flags[:, 2] = flux / error > 5000
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("flags", f"{len(_FLAGS)}X", array=flags),
            fits.Column("id", "K", array=(image << 20) + np.arange(1, rows + 1)),
            fits.Column("coord_ra", "D", unit="rad", array=sky[:, 0]),
            fits.Column("coord_dec", "D", unit="rad", array=sky[:, 1]),
            fits.Column("parent", "K", array=np.zeros(rows, dtype=np.int64)),
            fits.Column("base_SdssCentroid_x", "D", unit="pixel", array=x),
            fits.Column("base_SdssCentroid_y", "D", unit="pixel", array=y),
            fits.Column("base_PsfFlux_instFlux", "D", unit="count", array=flux),
            fits.Column("base_PsfFlux_instFluxErr", "D", unit="count", array=error),
        ]
    )
    header = table.header
    header["FLAGCOL"] = 1
    for number, flag in enumerate(_FLAGS, start=1):
        header[f"TFLAG{number}"] = flag
    header["TCCLS3"], header["TCCLS4"] = "Angle", "Angle"
    header["AFW_TYPE"] = "SOURCE"
    header["HIERARCH AFW_TABLE_VERSION"] = 3
    header["VISIT"], header["CCDNUM"] = visit, detector
    for each in (header, primary := fits.Header()):
        each["SIMULATD"] = (True, "simulated data, no telescope took this")
    return fits.HDUList([fits.PrimaryHDU(header=primary), table])
