"""Where a pixel of a visit lies on the sky, and the other way round.

focal-plane mm = R(yaw) * ((x, y) - ref) * pixel size + offset, and the focal plane
is the tangent plane (gnomonic, FITS ``TAN``) at the visit's boresight, with
the camera's plate scale. The projection itself is astropy's WCS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from hitsduck.cameras import Camera, Detector, get_camera
from hitsduck.errors import SimulationError
from hitsduck.simulator.presets import Preset

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CELL_MM = 1.0
_AXIS_ON_SKY = {
    "north": (0.0, 1.0),
    "south": (0.0, -1.0),
    "east": (1.0, 0.0),
    "west": (-1.0, 0.0),
}


def axes_on_sky(x_axis: str, y_axis: str) -> Floats:
    """Return the matrix from focal-plane (x, y) to (east, north)."""
    matrix = np.array([_AXIS_ON_SKY[x_axis], _AXIS_ON_SKY[y_axis]]).T
    if abs(np.linalg.det(matrix)) < 0.5:
        raise SimulationError(f"x_axis {x_axis} and y_axis {y_axis} point along one line")
    return matrix


class FocalPlane:
    """The working science detectors of a camera, as arrays.

    Parameters
    ----------
    camera : Camera
    dead : tuple of int
        Detector numbers that are left out.
    matrix : array, shape (2, 2)
        From focal-plane (x, y) to (east, north), see `axes_on_sky`.
    """

    def __init__(self, camera: Camera, dead: tuple[int, ...], matrix: Floats) -> None:
        chips = [c for c in camera.detectors.values() if c.detector_type == 0]
        chips = sorted((c for c in chips if c.detector not in dead), key=lambda c: c.detector)
        if not chips:
            raise SimulationError(f"camera {camera.name}: no working science detector is left")
        self.camera = camera
        self.chips: tuple[Detector, ...] = tuple(chips)
        self.numbers: Ints = np.array([c.detector for c in chips], dtype=np.int64)
        yaw = np.radians([c.yaw_deg for c in chips])
        self._cos, self._sin = np.cos(yaw), np.sin(yaw)
        self._ref = np.array([(c.ref_x_px, c.ref_y_px) for c in chips]).T
        self._pixel = np.array([(c.pixel_size_x_mm, c.pixel_size_y_mm) for c in chips]).T
        self._offset = np.array([(c.offset_x_mm, c.offset_y_mm) for c in chips]).T
        self.low = np.array([(c.x0_px - 0.5, c.y0_px - 0.5) for c in chips]).T
        self.high = np.array([(c.x1_px + 0.5, c.y1_px + 0.5) for c in chips]).T
        self.area_px: Floats = np.array([float(c.area_px) for c in chips])
        self._cd = matrix * camera.plate_scale_arcsec_per_mm / 3600.0
        self._make_cells()

    def _make_cells(self) -> None:
        corners = np.array([c.corners_mm() for c in self.chips])
        low, high = corners.min(axis=1), corners.max(axis=1)
        self.radius_mm = float(np.hypot(corners[..., 0], corners[..., 1]).max())
        self._origin = low.min(axis=0) - 2 * _CELL_MM
        self._shape = np.ceil((high.max(axis=0) - self._origin) / _CELL_MM).astype(int) + 3
        cells = np.full((*self._shape, 4), -1, dtype=np.int16)
        for index in range(len(self.chips)):
            a = np.floor((low[index] - self._origin) / _CELL_MM).astype(int)
            b = np.floor((high[index] - self._origin) / _CELL_MM).astype(int) + 1
            block = cells[a[0] : b[0], a[1] : b[1]]
            slot = (block >= 0).sum(axis=2)
            if slot.max() > 3:
                raise SimulationError(f"camera {self.camera.name}: its detectors overlap")
            rows, columns = np.indices(slot.shape)
            block[rows, columns, slot] = index
        used = int((cells >= 0).any(axis=(0, 1)).sum())
        self._cells = cells[..., :used].reshape(-1, used)

    @property
    def pixel_scale_arcsec(self) -> float:
        """Arcsec per pixel."""
        return self.camera.pixel_scale_arcsec

    def to_mm(self, chip: Ints, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return focal-plane mm of pixel positions on the chips with these indices."""
        u = (x - self._ref[0][chip]) * self._pixel[0][chip]
        v = (y - self._ref[1][chip]) * self._pixel[1][chip]
        cos, sin = self._cos[chip], self._sin[chip]
        return (
            cos * u - sin * v + self._offset[0][chip],
            sin * u + cos * v + self._offset[1][chip],
        )

    def to_px(self, chip: Ints, fx: Floats, fy: Floats) -> tuple[Floats, Floats]:
        """Return pixel positions on the chips with these indices; `to_mm` inverted."""
        du, dv = fx - self._offset[0][chip], fy - self._offset[1][chip]
        cos, sin = self._cos[chip], self._sin[chip]
        return (
            (cos * du + sin * dv) / self._pixel[0][chip] + self._ref[0][chip],
            (cos * dv - sin * du) / self._pixel[1][chip] + self._ref[1][chip],
        )

    def contains(self, chip: Ints, x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
        """Return whether pixel positions lie on their chips."""
        low, high = self.low[:, chip], self.high[:, chip]
        return (x >= low[0]) & (x < high[0]) & (y >= low[1]) & (y < high[1])  # type: ignore[no-any-return]

    def locate(self, fx: Floats, fy: Floats) -> tuple[Ints, Floats, Floats]:
        """Return chip index (-1: none) and pixel position of focal-plane positions (mm)."""
        column = np.floor((fx - self._origin[0]) / _CELL_MM).astype(np.int64)
        row = np.floor((fy - self._origin[1]) / _CELL_MM).astype(np.int64)
        inside = (column >= 0) & (column < self._shape[0]) & (row >= 0) & (row < self._shape[1])
        cell = np.where(inside, column * self._shape[1] + row, 0)
        found = np.full(fx.shape, -1, dtype=np.int64)
        x, y = np.full(fx.shape, np.nan), np.full(fx.shape, np.nan)
        for slot in range(self._cells.shape[1]):
            chip = self._cells[cell, slot].astype(np.int64)
            at = np.flatnonzero(inside & (chip >= 0) & (found < 0))
            px, py = self.to_px(chip[at], fx[at], fy[at])
            on = self.contains(chip[at], px, py)
            found[at[on]], x[at[on]], y[at[on]] = chip[at[on]], px[on], py[on]
        return found, x, y

    def wcs(self, ra: float, dec: float) -> WCS:
        """Return the WCS from focal-plane mm (0-based "pixels") to ICRS deg."""
        return _tan(ra, dec, np.zeros(2), self._cd)

    def detector_wcs(self, detector: int, ra: float, dec: float) -> WCS:
        """Return the WCS of one detector: 0-based pixels to ICRS deg.

        Parameters
        ----------
        detector : int
            Detector number.
        ra, dec : float
            Boresight (deg, ICRS).
        """
        index = int(np.flatnonzero(self.numbers == detector)[0])
        rotation = (
            np.array([[self._cos[index], -self._sin[index]], [self._sin[index], self._cos[index]]])
            * self._pixel[:, index]
        )
        zero = self._ref[:, index] - np.linalg.solve(rotation, self._offset[:, index])
        return _tan(ra, dec, zero, self._cd @ rotation)


def _tan(ra: float, dec: float, zero_px: Floats, cd: Floats) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = zero_px + 1.0
    wcs.wcs.cd = cd
    wcs.wcs.set()
    return wcs


@dataclass(frozen=True)
class Visits:
    """The visits of one block, as arrays in order of time.

    Attributes
    ----------
    visit, field, night : int arrays
        Visit number; index of the field and of the night.
    ra, dec : float arrays
        Boresight (deg, ICRS).
    mjd_tai : float array
        Middle of the exposure (MJD, TAI).
    seeing_arcsec, zero_point_mag, noise_njy : float arrays
        FWHM of the PSF; zero point; noise of a PSF flux.
    """

    visit: Ints
    field: Ints
    night: Ints
    ra: Floats
    dec: Floats
    mjd_tai: Floats
    seeing_arcsec: Floats
    zero_point_mag: Floats
    noise_njy: Floats

    def __len__(self) -> int:
        """Return the number of visits."""
        return len(self.visit)


def block_shift_deg(block: int) -> float:
    """Return how far (deg, in RA) a block's fields lie from those of block 0.

    Steps of 3.45 deg keep the fields of 100 blocks apart; the extra step keeps
    every field clear of RA 0.
    """
    return 3.45 * block + (8.0 if block >= 59 else 0.0)


def visit_span(numbers: int) -> int:
    """Return the step in visit numbers from one block to the next."""
    return numbers // 1000 * 1000 + 2000


def make_focal_plane(preset: Preset) -> FocalPlane:
    """Return the focal plane that a preset asks for."""
    return FocalPlane(
        get_camera(preset.camera),
        preset.dead_detectors,
        axes_on_sky(preset.x_axis, preset.y_axis),
    )


def make_visits(preset: Preset, rng: np.random.Generator, block: int) -> Visits:
    """Return the visits of one block, dithers, seeing and zero points drawn."""
    schedule, sky = preset.schedule, preset.sky
    rows = []
    for night_index, night in enumerate(schedule.nights):
        for epoch in range(night.epochs):
            for field_index, field in enumerate(preset.fields):
                number = night.first_visit + epoch * schedule.visits_per_epoch + field.visit_offset
                hours = epoch * schedule.epoch_hours
                hours += field.visit_offset * schedule.minutes_per_visit / 60.0
                rows.append((number, field_index, night_index, night.first_mjd_tai + hours / 24))
    rows.sort()
    visit, field_of, night_of = (np.array([r[i] for r in rows], dtype=np.int64) for i in range(3))
    if len(set(visit.tolist())) != len(visit):
        raise SimulationError(f"preset {preset.name}: two visits of its schedule share a number")
    mjd = np.array([r[3] for r in rows])
    n = len(rows)
    dither_deg = sky.dither_arcsec / 3600 * np.clip(rng.standard_normal((2, n)), -3.0, 3.0)
    seeing = sky.seeing_arcsec * np.exp(sky.seeing_scatter_ln * rng.standard_normal(n))
    zero_point = sky.zero_point_mag + sky.zero_point_scatter_mag * rng.standard_normal(n)
    centre_dec = np.array([f.dec for f in preset.fields])[field_of]
    centre_ra = np.array([f.ra for f in preset.fields])[field_of]
    dither_ra = dither_deg[0] / np.cos(np.radians(centre_dec))
    noise = sky.noise_njy * (seeing / sky.seeing_arcsec)
    noise = noise * 10 ** (-0.4 * (zero_point - sky.zero_point_mag))
    span = visit_span(int(visit.max() - visit.min()))
    return Visits(
        visit=visit + block * span,
        field=field_of,
        night=night_of,
        ra=(centre_ra + block_shift_deg(block) + dither_ra) % 360.0,
        dec=centre_dec + dither_deg[1],
        mjd_tai=mjd + 40.0 * block,
        seeing_arcsec=seeing,
        zero_point_mag=zero_point,
        noise_njy=noise,
    )
