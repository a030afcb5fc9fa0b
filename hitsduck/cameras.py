"""The cameras: detector geometry, plate scales, visit-id rules and sites.

All of it is data: ``data/cameras.csv`` (one row per camera) and
``data/cameras/*.csv`` (one row per detector). The figures were computed from the
public camera descriptions lsst/obs_decam, lsst/obs_subaru and lsst/obs_lsst.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hitsduck.errors import CameraError, InstrumentError

_DATA = Path(__file__).parent / "data"

#: Columns of a detector CSV that the geometry needs.
DETECTOR_COLUMNS = (
    "detector",
    "name",
    "detector_type",
    "x0_px",
    "y0_px",
    "x1_px",
    "y1_px",
    "pixel_size_x_mm",
    "pixel_size_y_mm",
    "ref_x_px",
    "ref_y_px",
    "offset_x_mm",
    "offset_y_mm",
    "yaw_deg",
)
_WHOLE_NUMBERS = frozenset({"detector", "detector_type", "x0_px", "y0_px", "x1_px", "y1_px"})


@dataclass(frozen=True)
class Detector:
    """One detector (CCD) of a camera.

    Pixel positions are 0-based; the pixel area runs from ``x0_px - 0.5`` to
    ``x1_px + 0.5`` and likewise in y. ``detector_type`` is 0 science, 1 focus,
    2 guider, 3 wavefront.
    """

    detector: int
    name: str
    detector_type: int
    x0_px: int
    y0_px: int
    x1_px: int
    y1_px: int
    pixel_size_x_mm: float
    pixel_size_y_mm: float
    ref_x_px: float
    ref_y_px: float
    offset_x_mm: float
    offset_y_mm: float
    yaw_deg: float

    def focal_plane_mm(self, x_px: float, y_px: float) -> tuple[float, float]:
        """Return the focal-plane position (mm) of one pixel position.

        focal-plane mm = R(yaw) * ((x, y) - ref) * pixel size + offset. For whole
        columns use the view ``dia_source_focal_plane``, which computes the same.
        """
        u_mm = (x_px - self.ref_x_px) * self.pixel_size_x_mm
        v_mm = (y_px - self.ref_y_px) * self.pixel_size_y_mm
        cos, sin = math.cos(math.radians(self.yaw_deg)), math.sin(math.radians(self.yaw_deg))
        return (
            cos * u_mm - sin * v_mm + self.offset_x_mm,
            sin * u_mm + cos * v_mm + self.offset_y_mm,
        )

    def corners_mm(self) -> list[tuple[float, float]]:
        """Return the four corners of the pixel area in focal-plane mm, in order around."""
        left, right = self.x0_px - 0.5, self.x1_px + 0.5
        bottom, top = self.y0_px - 0.5, self.y1_px + 0.5
        ring = ((left, bottom), (right, bottom), (right, top), (left, top))
        return [self.focal_plane_mm(x, y) for x, y in ring]

    @property
    def area_px(self) -> int:
        """Number of pixels of the detector."""
        return (self.x1_px - self.x0_px + 1) * (self.y1_px - self.y0_px + 1)


@dataclass(frozen=True)
class Camera:
    """A camera: its detectors, its scale on the sky, its ids and its site.

    Attributes
    ----------
    name : str
        The instrument's name.
    id_factor : int or None
        ``ccdVisitId = visit * id_factor + detector`` in schemas before 1.0.0;
        None when a user's camera states none.
    plate_scale_arcsec_per_mm : float
    longitude_deg : float
        Of the site, degrees east.
    detectors : mapping of int to Detector
    """

    name: str
    id_factor: int | None
    plate_scale_arcsec_per_mm: float
    longitude_deg: float
    detectors: Mapping[int, Detector] = field(repr=False)

    @property
    def pixel_scale_arcsec(self) -> float:
        """Arcsec per pixel, of the first detector."""
        first = next(iter(self.detectors.values()))
        return first.pixel_size_x_mm * self.plate_scale_arcsec_per_mm

    def detector_area_deg2(self, detector: int) -> float:
        """Return the area on the sky (deg^2) of one detector's pixels."""
        chip = self.detectors[detector]
        scale = self.plate_scale_arcsec_per_mm / 3600.0
        return chip.area_px * chip.pixel_size_x_mm * chip.pixel_size_y_mm * scale**2


class _PackagedDetectors(Mapping[int, Detector]):
    """The detectors of a CSV of the package; the geometry is read when one is asked for.

    The ids of all five cameras are looked at to tell whose images a file holds, which
    happens at every opening; the geometry is wanted of one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers: dict[int, None] | None = None
        self._detectors: dict[int, Detector] | None = None

    def _ids(self) -> Mapping[int, Any]:
        if self._detectors is not None:
            return self._detectors
        if self._numbers is None:
            with self._path.open(encoding="utf-8", newline="") as file:
                header, *rows = csv.reader(file)
            column = header.index("detector")
            self._numbers = {int(row[column]): None for row in rows}
        return self._numbers

    def __getitem__(self, detector: int) -> Detector:
        if self._detectors is None:
            self._detectors = read_detectors(self._path)
        return self._detectors[detector]

    def __contains__(self, detector: object) -> bool:
        return detector in self._ids()

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids())

    def __len__(self) -> int:
        return len(self._ids())


@cache
def known_cameras() -> dict[str, Camera]:
    """Return the cameras that come with the package, by name."""
    with (_DATA / "cameras.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        row["name"]: Camera(
            name=row["name"],
            id_factor=int(row["visit_id_factor"]),
            plate_scale_arcsec_per_mm=float(row["plate_scale_arcsec_per_mm"]),
            longitude_deg=float(row["longitude_deg"]),
            detectors=_PackagedDetectors(_DATA / "cameras" / row["file"]),
        )
        for row in rows
    }


@cache
def _other_names() -> dict[str, str]:
    with (_DATA / "cameras.csv").open(encoding="utf-8", newline="") as file:
        return {
            other: row["name"]
            for row in csv.DictReader(file)
            for other in (row["name"].lower(), *row["other_names"].split(";"))
        }


def get_camera(name: str) -> Camera:
    """Return the camera called `name` (upper and lower case do not matter).

    Raises
    ------
    InstrumentError
        No such camera; the message lists the known ones.

    Examples
    --------
    >>> get_camera("decam").id_factor
    100
    """
    cameras = known_cameras()
    canonical = _other_names().get(str(name).strip().lower())
    if canonical is None:
        raise InstrumentError(
            f"unknown instrument {name!r}; known: {', '.join(cameras)}; "
            "add another with a detector CSV (camera=, --camera FILE.csv)"
        )
    return cameras[canonical]


def read_detectors(path: str | Path) -> dict[int, Detector]:
    """Read a detector CSV (one row per detector) of the form in ``data/cameras``.

    Raises
    ------
    CameraError
        The file is missing, lacks columns, or holds a value that is no number.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            lacking = [c for c in DETECTOR_COLUMNS if c not in (reader.fieldnames or ())]
            if lacking:
                raise CameraError(f"camera file {path}: missing columns: {', '.join(lacking)}")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CameraError(f"camera file {path}: cannot be read: {error}") from error
    detectors: dict[int, Detector] = {}
    for line, row in enumerate(rows, start=2):
        detector = _detector(row, path, line)
        if detector.detector in detectors:
            raise CameraError(
                f"camera file {path}, line {line}: detector {detector.detector} twice"
            )
        detectors[detector.detector] = detector
    if not detectors:
        raise CameraError(f"camera file {path}: holds no detector")
    return detectors


def _detector(row: dict[str, str], path: Path, line: int) -> Detector:
    numbers: dict[str, float] = {}
    for column in DETECTOR_COLUMNS:
        if column == "name":
            continue
        try:
            numbers[column] = float(row[column])
        except (TypeError, ValueError):
            raise CameraError(
                f"camera file {path}, line {line}: {column} is {row[column]!r}, not a number"
            ) from None
        if not math.isfinite(numbers[column]):
            raise CameraError(f"camera file {path}, line {line}: {column} is not finite")
        if column in _WHOLE_NUMBERS and not numbers[column].is_integer():
            raise CameraError(
                f"camera file {path}, line {line}: {column} is {row[column]}, not a whole number"
            )
    if numbers["x1_px"] < numbers["x0_px"] or numbers["y1_px"] < numbers["y0_px"]:
        raise CameraError(f"camera file {path}, line {line}: the pixel area is empty")
    if numbers["pixel_size_x_mm"] <= 0 or numbers["pixel_size_y_mm"] <= 0:
        raise CameraError(f"camera file {path}, line {line}: the pixel size is not positive")
    return Detector(
        detector=int(numbers["detector"]),
        name=row["name"],
        detector_type=int(numbers["detector_type"]),
        x0_px=int(numbers["x0_px"]),
        y0_px=int(numbers["y0_px"]),
        x1_px=int(numbers["x1_px"]),
        y1_px=int(numbers["y1_px"]),
        pixel_size_x_mm=numbers["pixel_size_x_mm"],
        pixel_size_y_mm=numbers["pixel_size_y_mm"],
        ref_x_px=numbers["ref_x_px"],
        ref_y_px=numbers["ref_y_px"],
        offset_x_mm=numbers["offset_x_mm"],
        offset_y_mm=numbers["offset_y_mm"],
        yaw_deg=numbers["yaw_deg"],
    )


def read_camera(path: str | os.PathLike[str], *, name: str | None = None) -> Camera:
    """Read a user's camera from a CSV of the package's form.

    Beside the detector columns the first row may hold ``camera`` (its name, else
    the file's stem), ``visit_id_factor``, ``plate_scale_arcsec_per_mm`` and
    ``longitude_deg``. Where a file of a known camera's name lacks them (a copy of
    a packaged CSV, say) the known camera's figures are taken.

    Parameters
    ----------
    path : path-like
    name : str, optional
        Of the camera, in place of the one that the file gives.

    Raises
    ------
    CameraError
        The file is unreadable, or neither it nor a known camera gives the scale.
    """
    if not isinstance(path, str | os.PathLike):
        raise CameraError(f"camera is {path!r}; a Camera or the path of a CSV is wanted (--camera)")
    path = Path(path)
    detectors = read_detectors(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = next(csv.DictReader(file))
    name = name or (first.get("camera") or "").strip() or path.stem
    known_name = _other_names().get(name.lower())
    known = known_cameras()[known_name] if known_name else None

    def figure(column: str, fallback: float | None) -> float | None:
        text = (first.get(column) or "").strip()
        if not text:
            return fallback
        try:
            value = float(text)
        except ValueError:
            raise CameraError(f"camera file {path}: {column} is {text!r}, not a number") from None
        if not math.isfinite(value):
            raise CameraError(f"camera file {path}: {column} is not finite")
        return value

    scale = figure("plate_scale_arcsec_per_mm", known.plate_scale_arcsec_per_mm if known else None)
    longitude = figure("longitude_deg", known.longitude_deg if known else None)
    factor = figure("visit_id_factor", known.id_factor if known else None)
    lacking = [
        column
        for column, value in (
            ("plate_scale_arcsec_per_mm", scale),
            ("longitude_deg", longitude),
        )
        if value is None
    ]
    if scale is None or longitude is None:
        raise CameraError(
            f"camera file {path}: {name} is no known camera, so the first row must hold "
            + " and ".join(lacking)
        )
    if scale <= 0:
        raise CameraError(f"camera file {path}: plate_scale_arcsec_per_mm is not positive")
    if factor is not None and (factor < 1 or factor % 1):
        raise CameraError(
            f"camera file {path}: visit_id_factor is {factor:g}, not a whole number above 0"
        )
    return Camera(
        name=known_name or name,
        id_factor=None if factor is None else int(factor),
        plate_scale_arcsec_per_mm=scale,
        longitude_deg=longitude,
        detectors=detectors,
    )
