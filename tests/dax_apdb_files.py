"""APDB files written and read by Rubin's own client, lsst-dax-apdb.

The package is no dependency of hitsduck: it is imported inside the functions,
and tests that call them begin with ``pytest.importorskip("lsst.dax.apdb")``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from lsst.dax.apdb import Apdb

BANDS = "ugrizy"
GOOD_MEANS_NONE_OF = ("pixelFlags_bad", "pixelFlags_suspect", "pixelFlags_saturatedCenter")
OBJECTS_PER_DETECTOR = 30
FIELD_CENTRE_DEG = (150.2, 2.2)


@dataclass(frozen=True)
class Visit:
    """One exposure: its number, band and middle (MJD, TAI)."""

    number: int
    band: str
    midpoint_mjd_tai: float


VISITS = (
    Visit(410985, "g", 57070.10),
    Visit(410987, "g", 57070.15),
    Visit(421590, "r", 57095.20),
)
DETECTORS = (47, 51)

# Which visits see an object, by its number modulo 4: 3 + 2 + 1 + 2 sources.
SEEN_IN_VISITS = {0: (0, 1, 2), 1: (0, 2), 2: (1,), 3: (1, 2)}


def make_dax_apdb(
    path: str | Path,
    *,
    prefix: str = "",
    last_object_table: bool = False,
    instrument: str | None = None,
) -> dict[str, int]:
    """Write a small APDB of the newest schema through lsst-dax-apdb.

    Two detectors see 30 objects each in three visits; every detector image is
    one call of ``Apdb.store``, so an object that is seen again gets a new
    version and its old one is closed. The numbers are always the same.

    Parameters
    ----------
    path
        SQLite file to create; must not exist.
    prefix
        Put before the name of every table and index.
    last_object_table
        Also keep the table ``DiaObjectLast``.
    instrument
        Stored under the metadata key ``instrument`` unless None.

    Returns
    -------
    dict
        Counts worked out from the rows handed to the client, never from the
        file: ``n_dia_sources``, ``n_good_dia_sources``, ``n_ss_sources``
        (sources with a solar-system object and no DIA object),
        ``n_dia_object_versions``, ``n_dia_objects`` (current versions),
        ``n_good_dia_objects`` (current, at least one good source),
        ``n_entirely_good_dia_objects`` (current, good sources only) and
        ``n_dia_forced_sources``.

    Raises
    ------
    FileExistsError
        When `path` exists.

    Notes
    -----
    A source is good when none of `GOOD_MEANS_NONE_OF` is set; a NULL flag is
    not set.

    Examples
    --------
    >>> make_dax_apdb(tmp_path / "association.db")["n_dia_objects"]  # doctest: +SKIP
    60
    """
    from astropy.time import Time
    from lsst.dax.apdb.sql import ApdbSql

    path = Path(path)
    if path.exists():
        raise FileExistsError(path)
    ApdbSql.init_database(
        _sqlite_url(path),
        prefix=prefix,
        dia_object_index="last_object_table" if last_object_table else "baseline",
    )
    apdb = _open_apdb(path, prefix=prefix)
    if instrument is not None:
        apdb.metadata.set("instrument", instrument)

    history: dict[int, list[dict[str, Any]]] = {}
    all_sources: list[dict[str, Any]] = []
    n_object_versions = 0
    n_forced_sources = 0
    for visit_index, visit in enumerate(VISITS):
        for detector_index, detector in enumerate(DETECTORS):
            sources = _sources_of_image(visit_index, detector_index)
            seen = []
            for source in sources:
                number = source.pop("object_number")
                if number is not None:
                    history.setdefault(number, []).append(source)
                    source["diaObjectId"] = history[number][0]["diaSourceId"]
                    seen.append(number)
            known = [n for n in history if n // OBJECTS_PER_DETECTOR == detector_index]
            forced_sources = [
                _forced_source(history[number][0], visit, detector, number) for number in known
            ]
            processed_mjd_tai = visit.midpoint_mjd_tai + 0.01 * (1 + detector_index)
            apdb.store(
                Time(processed_mjd_tai, format="mjd", scale="tai"),
                pd.DataFrame([_object_version(history[number]) for number in seen]),
                _source_frame(sources),
                pd.DataFrame(forced_sources),
            )
            all_sources += sources
            n_object_versions += len(seen)
            n_forced_sources += len(forced_sources)

    object_goodness = [[_is_good(source) for source in sources] for sources in history.values()]
    return {
        "n_dia_sources": len(all_sources),
        "n_good_dia_sources": sum(_is_good(source) for source in all_sources),
        "n_ss_sources": sum(source["ssObjectId"] is not None for source in all_sources),
        "n_dia_object_versions": n_object_versions,
        "n_dia_objects": len(history),
        "n_good_dia_objects": sum(any(goodness) for goodness in object_goodness),
        "n_entirely_good_dia_objects": sum(all(goodness) for goodness in object_goodness),
        "n_dia_forced_sources": n_forced_sources,
    }


def dax_sources_in_region(
    path: str | Path, ra: float, dec: float, radius_deg: float, *, prefix: str = ""
) -> pd.DataFrame:
    """Read the DIA sources of a sky circle with lsst-dax-apdb.

    Parameters
    ----------
    path
        SQLite file of schema 10.x with a ``metadata`` table.
    ra, dec
        Centre of the circle in degrees (ICRS).
    radius_deg
        Radius of the circle in degrees.
    prefix
        Prefix of the table names.

    Returns
    -------
    pandas.DataFrame
        One row per source within the circle, all times, ordered by
        ``diaSourceId``; every column of ``DiaSource`` but ``pixelId``.

    Notes
    -----
    The client finds the rows by ``pixelId`` alone and returns whole HTM pixels;
    what lies outside the circle is dropped here.

    Examples
    --------
    >>> dax_sources_in_region("association.db", 150.2, 2.2, 0.1)  # doctest: +SKIP
    """
    from astropy.time import Time
    from lsst.sphgeom import Angle, Circle, UnitVector3d

    beginning = Time(0.0, format="mjd", scale="tai")
    centre = UnitVector3d(*_unit_vector(ra, dec))
    region = Circle(centre, Angle.fromDegrees(radius_deg))
    sources = _open_apdb(path, prefix=prefix).getDiaSources(
        region, None, visit_time=beginning, start_time=beginning
    )
    assert sources is not None
    positions = _unit_vector(sources["ra"].to_numpy(float), sources["dec"].to_numpy(float))
    chords = np.linalg.norm(positions - _unit_vector(ra, dec).reshape(3, 1), axis=0)
    inside: pd.DataFrame = sources[np.degrees(2 * np.arcsin(chords / 2)) <= radius_deg]
    return inside.sort_values("diaSourceId", ignore_index=True)


def _sqlite_url(path: str | Path) -> str:
    import sqlalchemy

    url = sqlalchemy.URL.create("sqlite", database=str(Path(path).resolve()))
    return str(url.render_as_string())


def _open_apdb(path: str | Path, *, prefix: str) -> Apdb:
    """Open an APDB through a configuration file, as the pipelines do."""
    from lsst.dax.apdb import Apdb
    from lsst.dax.apdb.sql import ApdbSqlConfig
    from lsst.dax.apdb.sql.config import ApdbSqlConnectionConfig

    config = ApdbSqlConfig(
        db_url=_sqlite_url(path),
        prefix=prefix,
        # Without a pool every connection is closed after its use.
        connection_config=ApdbSqlConnectionConfig(connection_pool=False),
    )
    with TemporaryDirectory() as folder:
        config_file = Path(folder) / "apdb_config.yaml"
        config.save(str(config_file))
        return Apdb.from_uri(str(config_file))


def _unit_vector(ra_deg: Any, dec_deg: Any) -> np.ndarray:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _is_good(source: dict[str, Any]) -> bool:
    return not any(source[flag] for flag in GOOD_MEANS_NONE_OF)


def _sources_of_image(visit_index: int, detector_index: int) -> list[dict[str, Any]]:
    """Return the sources of one detector image; the last has no DIA object."""
    first = detector_index * OBJECTS_PER_DETECTOR
    numbers = [
        number
        for number in range(first, first + OBJECTS_PER_DETECTOR)
        if visit_index in SEEN_IN_VISITS[number % 4]
    ]
    sources = [_source(visit_index, detector_index, number, number) for number in numbers]
    moving = _source(visit_index, detector_index, 900 + visit_index, None)
    moving["ssObjectId"] = 7_000_000 + detector_index
    return [*sources, moving]


def _source(
    visit_index: int, detector_index: int, number: int, object_number: int | None
) -> dict[str, Any]:
    visit, detector = VISITS[visit_index], DETECTORS[detector_index]
    place = number % OBJECTS_PER_DETECTOR
    # 1e-5 deg, 0.036 arcsec: repeated sources are near one another, not equal.
    ra = 150.0 + 0.4 * detector_index + 0.01 * place + 1e-5 * visit_index
    dec = 2.0 + 0.02 * (place % 20) - 1e-5 * visit_index
    return {
        "object_number": object_number,
        "diaSourceId": visit.number * 1_000_000 + detector * 10_000 + number,
        "visit": visit.number,
        "detector": detector,
        "diaObjectId": None,
        "ssObjectId": None,
        "parentDiaSourceId": None,
        "midpointMjdTai": visit.midpoint_mjd_tai,
        "exposureTime": 86.0,
        "ra": ra,
        "raErr": 2e-5,
        "dec": dec,
        "decErr": 2e-5,
        "x": 40.0 + 65.0 * place,
        "y": 90.0 + 200.0 * (place % 20),
        "isNegative": number % 8 == 1,
        "snr": 6.0 + place,
        "apFlux": 1100.0 + 10.0 * number,
        "apFluxErr": 60.0,
        "psfFlux": (-1.0 if number % 8 == 1 else 1.0) * (1000.0 + 10.0 * number + visit_index),
        "psfFluxErr": 50.0,
        "psfNdata": 441,
        "dipoleNdata": 0,
        "scienceFlux": 5000.0 + 10.0 * number,
        "scienceFluxErr": 55.0,
        "ixxPSF": 0.26,
        "iyyPSF": 0.25,
        "ixyPSF": 0.01,
        "reliability": 0.5,
        "reliabilityVersion": "v1",
        "band": visit.band,
        "isDipole": number % 9 == 2,
        "timeProcessedMjdTai": visit.midpoint_mjd_tai + 0.005,
        "bboxSize": 30,
        # Bad in every visit, so the whole object is bad.
        "pixelFlags_bad": None if number % 10 == 8 else number % 10 == 3,
        # Suspect in the second visit only, so the object keeps a good source
        # unless that was its only visit.
        "pixelFlags_suspect": visit_index == 1 and number % 5 == 0,
        "pixelFlags_saturatedCenter": visit_index == 2 and number % 7 == 6,
        "pixelFlags_edge": number % 6 == 0,
        "pixelFlags_interpolated": number % 10 in (3, 4),
        "pixelFlags_suspectCenter": False,
        "centroid_flag": False,
    }


def _source_frame(sources: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(sources)
    whole_numbers = dict.fromkeys(("diaObjectId", "ssObjectId", "parentDiaSourceId"), "Int64")
    # NULL makes pandas turn whole numbers into floats, which lose digits.
    for column in whole_numbers:
        frame[column] = pd.array([source[column] for source in sources], dtype="Int64")
    return frame.astype({"pixelFlags_bad": "boolean"})


def _object_version(sources: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the object that has these sources, in order of time."""
    version: dict[str, Any] = {
        "diaObjectId": sources[0]["diaObjectId"],
        # The client fills these two; where they are absent it adds them with a
        # pandas call that warns of its removal.
        "validityStartMjdTai": None,
        "validityEndMjdTai": None,
        "ra": float(np.mean([source["ra"] for source in sources])),
        "raErr": 2e-5,
        "dec": float(np.mean([source["dec"] for source in sources])),
        "decErr": 2e-5,
        "ra_dec_Cov": 0.0,
        "firstDiaSourceMjdTai": sources[0]["midpointMjdTai"],
        "lastDiaSourceMjdTai": sources[-1]["midpointMjdTai"],
        "nDiaSources": len(sources),
    }
    for band in BANDS:
        fluxes = [source["psfFlux"] for source in sources if source["band"] == band]
        version[f"{band}_psfFluxNdata"] = len(fluxes)
        version[f"{band}_psfFluxMean"] = float(np.mean(fluxes)) if fluxes else None
    return version


def _forced_source(
    first_source: dict[str, Any], visit: Visit, detector: int, number: int
) -> dict[str, Any]:
    return {
        "diaForcedSourceId": visit.number * 1_000_000 + detector * 10_000 + 5_000 + number,
        "diaObjectId": first_source["diaObjectId"],
        "ra": first_source["ra"],
        "dec": first_source["dec"],
        "visit": visit.number,
        "detector": detector,
        "psfFlux": 950.0 + 10.0 * number,
        "psfFluxErr": 50.0,
        "midpointMjdTai": visit.midpoint_mjd_tai,
        "scienceFlux": 4900.0 + 10.0 * number,
        "scienceFluxErr": 55.0,
        "band": visit.band,
        "timeProcessedMjdTai": visit.midpoint_mjd_tai + 0.006,
    }
