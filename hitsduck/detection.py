"""What a file does not say outright: its instrument, and the unit of its moments.

Both are told from values: ids that fit a camera's rule and detector list, and PSF
sizes that are physically possible for the camera.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hitsduck.cameras import Camera, get_camera, known_cameras
from hitsduck.columnar import ColumnarRerun, Look, RerunFile, look_key
from hitsduck.errors import InstrumentError, InstrumentWarning

#: FWHM of a Gaussian over its sigma, 2 sqrt(2 ln 2).
FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
#: Seeing (FWHM, arcsec) that a ground-based survey image can have.
POSSIBLE_SEEING_ARCSEC = (0.4, 2.5)
#: Of two possible units the one with the seeing nearer to this is taken: right for every
#: camera from 0.54 to 2.04 arcsec. DECam's pixels of 0.26 arcsec leave no wider range.
TYPICAL_SEEING_ARCSEC = 1.05
#: What a cell of a moment is; made once, not for each cell.
_NUMBER = float | int


@dataclass(frozen=True)
class Instrument:
    """Which camera took the images of one rerun, and how that is known.

    Attributes
    ----------
    name : str or None
        None where several cameras fit, or the file is empty.
    found_by : str
        ``metadata``, ``stated``, ``ids`` or ``ambiguous``.
    candidates : tuple of Camera
        The cameras that fit; one where `name` is known.
    id_factor : int or None
        ``ccdVisitId = visit * id_factor + detector``; None where the file has
        visit and detector themselves, or the candidates disagree.
    id_problem, geometry_problem, site_problem : str or None
        Why visit and detector, positions on the detector, or nights cannot be
        told, in words for the user.
    is_checked : bool
        Every detector of DiaSource was looked at, and these cameras have it.
    """

    name: str | None
    found_by: str
    candidates: tuple[Camera, ...]
    id_factor: int | None
    id_problem: str | None
    geometry_problem: str | None
    site_problem: str | None
    is_checked: bool = False

    @property
    def camera(self) -> Camera | None:
        """The camera, where it is known."""
        return self.candidates[0] if self.name is not None else None


@dataclass(frozen=True)
class Moments:
    """The unit of the second moments, and whether iyyPSF can be used.

    Attributes
    ----------
    unit : str or None
        ``px2``, ``arcsec2``, or None where the file has no usable ixxPSF.
    found_by : str
        ``stated``, ``values``, ``values (both units possible)`` or ``no values``.
    psf_moments : str
        ``ixx and iyy``, ``ixx only`` (iyyPSF holds ixyPSF, the defect of 2021-06
        to 2024-12, lsst/ap_association 031a57e to 06509d6) or ``none``.
    """

    unit: str | None
    found_by: str
    psf_moments: str


def detect_instrument(
    file: RerunFile,
    connection: Any,
    *,
    rerun: str,
    stated: str | Camera | None = None,
) -> Instrument:
    """Tell the instrument of one file.

    What the user states goes first, then the ``metadata`` table, then the one
    camera whose id rule and detector list fit every id.

    Raises
    ------
    InstrumentError
        The stated or recorded camera does not fit the ids, or no camera does;
        the message says why each fails.
    """
    wanted = _id_columns(file)
    has_pair = wanted == ["detector"]
    rows, is_complete = file.distinct_or_sample(connection, "DiaSource", wanted)
    ids = [value for (value,) in rows if isinstance(value, int)]
    found = _of_ids(ids, has_pair, stated, rerun, file)
    return replace(found, is_checked=is_complete and len(ids) == len(rows))


def _id_columns(file: RerunFile) -> list[str]:
    has_pair = {"visit", "detector"} <= set(file.tables["DiaSource"])
    return ["detector"] if has_pair else ["ccdVisitId"]


def _moment_columns(file: RerunFile) -> list[str]:
    return [c for c in ("ixxPSF", "iyyPSF", "ixyPSF") if c in file.tables["DiaSource"]]


def looks(file: ColumnarRerun, look: Look) -> dict[str, list[list[Any]]]:
    """Ask a store what `detect_instrument` and `detect_moments` will, for `Manifest.looks`."""
    found = {}
    for kind, ask, columns in (
        ("distinct", file.distinct_or_sample, _id_columns(file)),
        ("sample", file.sample, _moment_columns(file)),
    ):
        if set(columns) <= set(file.tables["DiaSource"]) and columns:
            rows, _ = ask(look, "DiaSource", columns)
            values = [[row[place] for row in rows] for place in range(len(columns))]
            found[look_key(kind, "DiaSource", columns)] = values
    return found


def _of_ids(
    ids: Sequence[int], has_pair: bool, stated: str | Camera | None, rerun: str, file: RerunFile
) -> Instrument:
    recorded = file.metadata.get("instrument")
    if stated is not None:
        camera = stated if isinstance(stated, Camera) else get_camera(stated)
        _warn_of_conflict(camera, recorded, rerun, file)
        return _settled(camera, "stated", ids, has_pair, rerun, file)
    if recorded:
        try:
            camera = get_camera(recorded)
        except InstrumentError as error:
            raise InstrumentError(f"rerun {rerun!r} ({file.path}): metadata: {error}") from error
        return _settled(camera, "metadata", ids, has_pair, rerun, file)
    return _fitted(ids, has_pair, rerun, file)


def _warn_of_conflict(camera: Camera, recorded: str | None, rerun: str, file: RerunFile) -> None:
    if not recorded:
        return
    try:
        agrees = get_camera(recorded).name == camera.name
    except InstrumentError:
        agrees = recorded.strip().lower() == camera.name.lower()
    if not agrees:
        warnings.warn(
            f"rerun {rerun!r} ({file.path}): you state {camera.name}, its metadata say "
            f"{recorded}; {camera.name} is used",
            InstrumentWarning,
            stacklevel=2,
        )


def _misfit(camera: Camera, ids: Sequence[int], has_pair: bool) -> str | None:
    """Return why `camera` does not fit the ids, or None where it fits."""
    if not has_pair and camera.id_factor is None:
        return "its visit_id_factor is not known"
    factor = camera.id_factor
    known = frozenset(camera.detectors)
    if has_pair or factor is None:
        bad = next((value for value in ids if value < 0 or value not in known), None)
        return None if bad is None else f"it has no detector {bad}"
    bad = next((value for value in ids if value < 0 or value % factor not in known), None)
    if bad is None:
        return None
    detector = bad % factor
    return f"it has no detector {detector} (ccdVisitId {bad} = visit * {factor} + {detector})"


def _settled(
    camera: Camera, found_by: str, ids: Sequence[int], has_pair: bool, rerun: str, file: RerunFile
) -> Instrument:
    reason = _misfit(camera, ids, has_pair)
    if reason is not None:
        raise InstrumentError(
            f"rerun {rerun!r} ({file.path}): {camera.name} ({found_by}) does not fit: {reason}; "
            "state the right instrument (instrument=, --instrument) or camera (--camera)"
        )
    factor = None if has_pair else camera.id_factor
    return Instrument(camera.name, found_by, (camera,), factor, None, None, None)


def _fitted(ids: Sequence[int], has_pair: bool, rerun: str, file: RerunFile) -> Instrument:
    cameras = list(known_cameras().values())
    reasons = {camera.name: _misfit(camera, ids, has_pair) for camera in cameras}
    fitting = tuple(camera for camera in cameras if reasons[camera.name] is None)
    where = f"rerun {rerun!r} ({file.path})"
    if not fitting:
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise InstrumentError(
            f"{where}: no known camera fits: {listed}; state one (instrument=, --instrument) "
            "or describe yours (--camera FILE.csv)"
        )
    if len(fitting) == 1:
        return _settled(fitting[0], "ids", ids, has_pair, rerun, file)
    names = ", ".join(camera.name for camera in fitting)
    ask = f"state the instrument (instrument=, --instrument): {names} fit this file"
    no_ids = f"{where}: visit and detector cannot be told; {ask}; counts and flags need neither"
    factors = {camera.id_factor for camera in fitting}
    longitudes = {camera.longitude_deg for camera in fitting}
    agree = has_pair or len(factors) == 1
    return Instrument(
        name=None,
        found_by="ambiguous",
        candidates=fitting,
        id_factor=factors.pop() if agree and not has_pair else None,
        id_problem=None if agree else no_ids,
        geometry_problem=f"{where}: the detector geometry is not known; {ask}",
        site_problem=(
            None if len(longitudes) == 1 else f"{where}: the site is not known, so no nights; {ask}"
        ),
    )


def detect_moments(
    file: RerunFile,
    connection: Any,
    *,
    candidates: Sequence[Camera],
    stated: str | None = None,
) -> Moments:
    """Tell the unit of the second moments from the PSF sizes of some sources.

    A unit is possible where the median PSF then has a FWHM within
    `POSSIBLE_SEEING_ARCSEC` for some camera that fits the file. Where both are
    possible, the one nearer to `TYPICAL_SEEING_ARCSEC` (in the ratio) is taken, and
    it is said.
    """
    names = _moment_columns(file)
    if "ixxPSF" not in names:
        return Moments(stated, "stated" if stated else "no values", "none")
    rows, _ = file.sample(connection, "DiaSource", names)
    numbers = (row for row in rows if all(isinstance(value, _NUMBER) for value in row))
    ixx = [float(row[0]) for row in rows if isinstance(row[0], _NUMBER) and row[0] > 0]
    psf_moments = "none" if not ixx else "ixx only"
    if ixx and len(names) == 3 and any(row[1] != row[2] for row in numbers):
        psf_moments = "ixx and iyy"
    if stated is not None:
        return Moments(stated, "stated", psf_moments)
    if not ixx:
        return Moments(None, "no values", psf_moments)
    sigma = math.sqrt(_median(ixx))
    return Moments(*_unit_of(FWHM_PER_SIGMA * sigma, candidates), psf_moments)


def _median(values: Sequence[float]) -> float:
    # That of `statistics`, whose import takes as long as all other work here.
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _unit_of(fwhm: float, candidates: Sequence[Camera]) -> tuple[str | None, str]:
    low, high = POSSIBLE_SEEING_ARCSEC
    sizes = [("arcsec2", fwhm)]
    sizes += [("px2", fwhm * camera.pixel_scale_arcsec) for camera in candidates]
    possible = {unit for unit, size in sizes if low <= size <= high}
    if len(possible) == 1:
        return possible.pop(), "values"
    if not possible:
        return None, f"no unit gives a possible seeing (median {fwhm:.3g} in the file's unit)"
    nearest = min(
        (s for s in sizes if low <= s[1] <= high),
        key=lambda s: abs(math.log(s[1] / TYPICAL_SEEING_ARCSEC)),
    )
    return nearest[0], "values (both units possible)"
