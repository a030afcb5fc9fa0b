"""One truth, whichever generation of the schema wrote it; and the real files."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apdb_files import GENERATIONS, make_apdb
from stores import STORES, stored

import hitsduck
from hitsduck import schema

NIGHTS_MJD = (57070.125, 57070.71875, 57072.25)
VISITS = (410985, 410987, 421590)
DETECTORS = (1, 20, 62)


def truth() -> dict[str, list[dict[str, Any]]]:
    """Return sources, objects and forced sources that every generation can hold."""
    rng = np.random.default_rng(25125)
    sources: list[dict[str, Any]] = []
    for number in range(120):
        visit = number % 3
        sigma2 = float((rng.uniform(0.8, 1.6) / 2.3548200450309493) ** 2)
        sources.append(
            {
                "diaSourceId": 1000 + number,
                "diaObjectId": None if number % 20 == 19 else 1 + number % 30,
                "visit": VISITS[visit],
                "detector": DETECTORS[number // 3 % 3],
                "midpointMjdTai": NIGHTS_MJD[visit],
                "band": "gri"[visit],
                "ra": float(rng.uniform(149.0, 151.0)),
                "dec": float(rng.uniform(1.0, 3.0)),
                "x": float(rng.uniform(-2.0, 2050.0)),
                "y": float(rng.uniform(-2.0, 4098.0)),
                "psfFlux": float(rng.normal(0.0, 500.0)),
                "psfFluxErr": float(rng.uniform(20.0, 60.0)),
                "scienceFlux": float(rng.normal(5000.0, 500.0)),
                "ixxPSF": sigma2,
                "iyyPSF": sigma2 * 1.1,
                "ixyPSF": sigma2 * 0.01,
                "pixelFlags_bad": number % 7 == 0,
                "pixelFlags_suspect": number % 11 == 0,
                "pixelFlags_saturatedCenter": number % 13 == 0,
                "pixelFlags_edge": number % 3 == 0,
                "pixelFlags_interpolated": number % 5 == 0,
                "centroid_flag": number % 17 == 0,
                "shape_flag": number % 19 == 0,
            }
        )
    objects = []
    for number in range(1, 31):
        position = {"diaObjectId": number, "ra": 149.0 + number / 16, "dec": 2.0}
        # Every third object has an older version, that ends where the current one begins.
        times = (57070.125, 57071.5) if number % 3 == 0 else (57070.125,)
        for start, end in zip(times, (*times[1:], None), strict=True):
            objects.append(
                position
                | {
                    "validityStartMjdTai": start,
                    "validityEndMjdTai": end,
                    "g_psfFluxMean": 10.0 * number,
                    "g_psfFluxNdata": 3,
                }
            )
    forced = [
        {
            "diaForcedSourceId": number,
            "diaObjectId": number,
            "visit": VISITS[number % 3],
            # An image on which nothing was detected.
            "detector": 61 if number == 30 else DETECTORS[number % 3],
            "psfFlux": 1.5 * number,
            "psfFluxErr": 2.0,
            "midpointMjdTai": NIGHTS_MJD[number % 3],
        }
        for number in range(1, 31)
    ]
    return {"sources": sources, "objects": objects, "forced": forced}


TRUTH = truth()
SOURCES = TRUTH["sources"]


def is_good(source: dict[str, Any]) -> bool:
    return not any(source[flag] for flag in schema.FLAG_SETS["dm25125"])


@pytest.fixture(scope="module", params=STORES)
def reruns(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[hitsduck.Reruns]:
    folder = tmp_path_factory.mktemp("generations")
    files = {
        generation: make_apdb(folder / f"{generation}.db", generation=generation, **TRUTH)
        for generation in GENERATIONS
    }
    paths = stored(files, request.param, folder, instrument="DECam")
    with hitsduck.open_reruns(paths, instrument="DECam") as opened:
        yield opened


def per_generation(reruns: hitsduck.Reruns, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query over ``{view}``, after checking that all generations agree."""
    answers = {
        generation: reruns.sql(query.replace("{rerun}", f'"{generation}"')).rows()
        for generation in GENERATIONS
    }
    first = answers[GENERATIONS[0]]
    for generation, rows in answers.items():
        assert rows == first, generation
    return first


def test_every_generation_is_told_from_its_columns(reruns: hitsduck.Reruns):
    told = {row["rerun"]: (row["generation"], row["flag_encoding"]) for row in reruns.info()}
    assert told == {
        "2020": ("2019-2022", "packed"),
        "2023": ("2023-2024", "packed"),
        "0.1.1": ("2023-2024", "packed"),
        "1.0.0": ("1.0.0 to 8.0.0", "boolean"),
        "10.0.0": ("9.0.0 and later", "boolean"),
    }


def test_counts_are_the_same_in_every_generation(reruns: hitsduck.Reruns):
    good = [source for source in SOURCES if is_good(source)]
    expected = [
        len(SOURCES),
        len(good),
        30,
        len({source["diaObjectId"] for source in good} - {None}),
    ]
    assert [list(row.values()) for row in reruns.counts().rows()] == [
        [generation, *expected] for generation in GENERATIONS
    ]


def test_sources_edges_and_places_are_the_same_in_every_generation(reruns: hitsduck.Reruns):
    rows = per_generation(
        reruns,
        "select diaSourceId, diaObjectId, visit, detector, band, midpointMjdTai, ra, dec, x, y, "
        "psfFlux, psfFluxErr, scienceFlux, psf_snr, psf_fwhm_arcsec, night, is_good, "
        "good_definition_bits, edge_distance_px, edge_side "
        "from {rerun}.dia_source_edge order by diaSourceId",
    )
    assert len(rows) == len(SOURCES)
    for row, source in zip(rows, SOURCES, strict=True):
        for column in source:
            if column in row:
                assert row[column] == source[column], column
        assert row["psf_snr"] == abs(source["psfFlux"]) / source["psfFluxErr"]
        assert row["psf_fwhm_arcsec"] == pytest.approx(
            2.3548200450309493 * math.sqrt((source["ixxPSF"] + source["iyyPSF"]) / 2)
        )
        local = datetime(1858, 11, 17) + timedelta(days=source["midpointMjdTai"] - 70.81 / 360)
        assert row["night"] == (local - timedelta(hours=12)).date()
        assert row["is_good"] == is_good(source)
        # DECam: 2048 x 4096 pixels, sides half a pixel outside the first and last centres.
        x, y = source["x"], source["y"]
        sides = {"left": x + 0.5, "right": 2047.5 - x, "bottom": y + 0.5, "top": 4095.5 - y}
        assert row["edge_side"] == min(sides, key=lambda side: sides[side])
        assert row["edge_distance_px"] == min(sides.values())
    # 57070.125 is 3 h TAI of 2015-02-17, 57070.71875 is 32 min after noon in Chile, 57072.25 is
    # 6 h TAI of 2015-02-19.
    assert [row["night"] for row in rows[:3]] == [
        date(2015, 2, 16),
        date(2015, 2, 17),
        date(2015, 2, 18),
    ]


def test_focal_plane_positions_are_the_same_in_every_generation(reruns: hitsduck.Reruns):
    rows = per_generation(
        reruns,
        "select detector, x, y, focal_x_mm, focal_y_mm from {rerun}.dia_source_focal_plane "
        "order by diaSourceId",
    )
    camera = reruns["2020"].camera
    for row in rows:
        place = camera.detectors[row["detector"]].focal_plane_mm(row["x"], row["y"])
        assert (row["focal_x_mm"], row["focal_y_mm"]) == pytest.approx(place)


@pytest.mark.parametrize(
    "view",
    ["visit_summary", "detector_summary", "visit_detector_summary", "night_summary", "image"],
)
def test_summaries_are_the_same_in_every_generation(reruns: hitsduck.Reruns, view: str):
    rows = per_generation(reruns, f"select * exclude (rerun) from {{rerun}}.{view} order by all")
    assert rows
    if view != "image":
        assert sum(row["n_dia_sources"] for row in rows) == len(SOURCES)
        assert sum(row["n_good_dia_sources"] for row in rows) == sum(map(is_good, SOURCES))


def test_images_are_those_of_sources_and_forced_sources(reruns: hitsduck.Reruns):
    rows = per_generation(reruns, "select visit, detector from {rerun}.image order by all")
    pairs = {
        (row["visit"], row["detector"]) for table in ("sources", "forced") for row in TRUTH[table]
    }
    assert [tuple(row.values()) for row in rows] == sorted(pairs)


def test_flags_that_every_generation_knows_are_counted_alike(reruns: hitsduck.Reruns):
    rows = per_generation(
        reruns,
        "select flag, is_bad, n_set, n_null, n_dia_sources, fraction_set "
        "from {rerun}.flag_summary where flag in (select flag from file_flag "
        "group by flag having bool_and(is_in_file)) order by flag",
    )
    assert {row["flag"] for row in rows} >= set(schema.flag_bits("2019"))
    for row in rows:
        assert row["n_set"] == sum(bool(source.get(row["flag"])) for source in SOURCES)
        assert row["n_null"] == 0


def test_objects_and_their_versions_are_the_same_in_every_generation(reruns: hitsduck.Reruns):
    columns = "diaObjectId, validityStartMjdTai, validityEndMjdTai, ra, dec, g_psfFluxMean"
    rows = per_generation(
        reruns, f"select {columns} from {{rerun}}.dia_object_history order by 1, 2"
    )
    names = columns.split(", ")
    assert rows == [{name: version[name] for name in names} for version in TRUTH["objects"]]
    rows = per_generation(
        reruns, "select diaObjectId, validityStartMjdTai from {rerun}.dia_object order by 1"
    )
    # Every third object has a newer version, from 57071.5 on.
    assert [tuple(row.values()) for row in rows] == [
        (number, 57071.5 if number % 3 == 0 else 57070.125) for number in range(1, 31)
    ]


def test_forced_sources_are_the_same_in_every_generation(reruns: hitsduck.Reruns):
    columns = ["diaObjectId", "visit", "detector", "psfFlux", "psfFluxErr", "midpointMjdTai"]
    rows = per_generation(
        reruns, f"select {', '.join(columns)} from {{rerun}}.dia_forced_source order by 1"
    )
    assert rows == [{name: row[name] for name in columns} for row in TRUTH["forced"]]


def test_rows_by_id_are_the_same_in_every_generation(reruns: hitsduck.Reruns):
    columns = ["diaSourceId", "visit", "detector", "psfFlux", "is_good", "night"]
    for generation in GENERATIONS:
        rerun = reruns[generation]
        assert rerun.source(1004)["psfFlux"] == SOURCES[4]["psfFlux"]
        assert rerun.object(3)["validityStartMjdTai"] == 57071.5
        found = rerun.sources_for_object(5, columns).rows()
        assert [row["diaSourceId"] for row in found] == [
            source["diaSourceId"]
            for source in sorted(SOURCES, key=lambda s: (s["midpointMjdTai"], s["diaSourceId"]))
            if source["diaObjectId"] == 5
        ]
        forced = rerun.forced_sources_for_object(7, ["psfFlux"]).rows()
        assert forced == [{"psfFlux": 10.5}]


@pytest.mark.parametrize("good", [True, False])
def test_two_generations_of_one_truth_match_source_by_source(reruns: hitsduck.Reruns, good: bool):
    n = sum(map(is_good, SOURCES)) if good else len(SOURCES)
    for left, right in (("2020", "10.0.0"), ("0.1.1", "1.0.0"), ("2023", "2020")):
        found = reruns.compare(left, right, good=good, radius_arcsec=0.5)
        summary = found.summary()
        assert [summary[key] for key in ("n_left", "n_right", "n_matched")] == [n, n, n]
        assert (summary["n_left_only"], summary["n_right_only"]) == (0, 0)
        assert found.matched["sep_arcsec"].max() == 0.0
        same = found.matched["diaSourceId_left"] == found.matched["diaSourceId_right"]
        assert same.all()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_rerun_compared_with_itself_has_nothing_left_over(
    reruns: hitsduck.Reruns, generation: str
):
    summary = reruns.compare(generation, generation, good=False, radius_arcsec=1.0).summary()
    assert summary["n_matched"] == summary["n_left"] == summary["n_right"] == len(SOURCES)
    assert (summary["n_left_only"], summary["n_right_only"]) == (0, 0)


def test_the_views_over_all_reruns_are_those_of_each_put_together(reruns: hitsduck.Reruns):
    rows = reruns.sql(
        "select rerun, count(*) as n, count(*) filter (where is_good) as n_good from dia_source "
        "group by rerun order by rerun"
    ).rows()
    n_good = sum(map(is_good, SOURCES))
    assert [tuple(row.values()) for row in rows] == [
        (generation, len(SOURCES), n_good) for generation in sorted(GENERATIONS)
    ]


# -- other ways of writing the same --------------------------------------------


@pytest.mark.parametrize(
    ("generation", "prefix"),
    [("2020", "pp_"), ("0.1.1", "Run 2 "), ("10.0.0", "pp_"), ("10.0.0", 'o"dd_')],
)
def test_a_prefix_before_the_table_names_changes_nothing(
    tmp_path: Path, generation: str, prefix: str
):
    plain = make_apdb(tmp_path / "plain.db", generation=generation, **TRUTH)
    prefixed = make_apdb(tmp_path / "prefixed.db", generation=generation, prefix=prefix, **TRUTH)
    with hitsduck.open_reruns([plain, prefixed], instrument="DECam") as reruns:
        counts = [list(row.values())[1:] for row in reruns.counts().rows()]
        assert counts[0] == counts[1]
        assert counts[0][0] == len(SOURCES)
        assert [row["prefix"] for row in reruns.info()] == ["", prefix]
        assert reruns["prefixed"].source(1004)["psfFlux"] == SOURCES[4]["psfFlux"]
        images = reruns.sql("select rerun, count(*) as n from image group by all order by 1").rows()
        assert images[0]["n"] == images[1]["n"] > 0


@pytest.mark.parametrize("generation", GENERATIONS)
def test_with_dia_object_last_the_objects_are_the_same(tmp_path: Path, generation: str):
    last = [{"diaObjectId": number, "ra": 149.0, "dec": 2.0} for number in range(1, 31)]
    files = {
        "plain": make_apdb(tmp_path / "plain.db", generation=generation, **TRUTH),
        "last": make_apdb(tmp_path / "last.db", generation=generation, objects_last=last, **TRUTH),
        # Until 2024 dax_apdb left every version open where it kept DiaObjectLast.
        "open": make_apdb(
            tmp_path / "open.db",
            generation=generation,
            objects_last=last,
            sources=SOURCES,
            objects=[row | {"validityEndMjdTai": None} for row in TRUTH["objects"]],
        ),
    }
    with hitsduck.open_reruns(files, instrument="DECam") as reruns:
        counts = [list(row.values())[1:] for row in reruns.counts().rows()]
        assert counts[0] == counts[1] == counts[2]
        assert counts[0][2] == 30
        query = "select * exclude (rerun) from {}.dia_object_history order by 1, 2"
        plain = reruns.sql(query.format("plain")).rows()
        assert plain == reruns.sql(query.format("last")).rows()
        assert plain == reruns.sql(query.format('"open"')).rows()


def test_versions_left_open_without_dia_object_last_are_all_current(tmp_path: Path):
    # Nothing in the file says which is the newest; 30 objects, 10 of them with two versions.
    path = make_apdb(
        tmp_path / "a.db",
        generation="0.1.1",
        objects=[row | {"validityEndMjdTai": None} for row in TRUTH["objects"]],
    )
    with hitsduck.open_reruns(path, instrument="DECam") as reruns:
        assert reruns.counts().rows()[0]["n_dia_objects"] == 40


def renamed(path: Path, table: str, names: dict[str, str]) -> Path:
    """Give columns of a table the names that a time between two layouts had."""
    with closing(sqlite3.connect(path)) as connection:
        for old, new in names.items():
            connection.execute(f'alter table {table} rename column "{old}" to "{new}"')
    return path


@pytest.mark.parametrize(
    ("generation", "names"),
    [
        # 2022-12 to 2023-01: dec and psfFlux, but filterName still, and the bits of 2019
        ("2023", {"band": "filterName"}),
        # until 2023-02 totFlux and midPointTai, until 2023-05 midPointMjd
        ("2023", {"scienceFlux": "totFlux", "midpointMjdTai": "midPointTai"}),
        ("2023", {"midpointMjdTai": "midPointMjd"}),
        # the drafts of 6.0.0 to 8.0.0, and the times before 9.0.0
        ("10.0.0", {"isNegative": "is_negative", "isDipole": "is_dipole"}),
        ("10.0.0", {"glint_trail": "trailed_glint"}),
    ],
)
def test_what_was_renamed_between_two_layouts_is_read_all_the_same(
    tmp_path: Path, generation: str, names: dict[str, str]
):
    plain = make_apdb(tmp_path / "plain.db", generation=generation, **TRUTH)
    between = make_apdb(tmp_path / "between.db", generation=generation, **TRUTH)
    renamed(between, "DiaSource", names)
    columns = (
        "diaSourceId, visit, detector, band, midpointMjdTai, night, psfFlux, scienceFlux, "
        "is_good, isNegative, isDipole, glint_trail, centroid_flag, shape_flag, pixelFlags_edge"
    )
    with hitsduck.open_reruns([plain, between], instrument="DECam") as reruns:
        rows = {
            name: reruns.sql(f"select {columns} from {name}.dia_source order by 1").rows()
            for name in ("plain", "between")
        }
    assert rows["plain"] == rows["between"]
    assert rows["plain"][2]["midpointMjdTai"] == NIGHTS_MJD[2]


def test_a_band_that_nobody_wrote_is_null(tmp_path: Path):
    path = make_apdb(
        tmp_path / "a.db", generation="2020", leave_out=["DiaSource.filterName"], **TRUTH
    )
    with hitsduck.open_reruns(path, instrument="DECam") as reruns:
        assert reruns.sql("select distinct band from dia_source").rows() == [{"band": None}]
        assert reruns.info()[0]["bands"] == []


def test_each_table_is_read_by_its_own_generation(tmp_path: Path):
    mixed = make_apdb(tmp_path / "mixed.db", generation="10.0.0", leave_out=["DiaObject"], **TRUTH)
    old = make_apdb(tmp_path / "old.db", generation="2020", **TRUTH)
    with closing(sqlite3.connect(mixed)) as connection:
        connection.execute("attach ? as old", (str(old),))
        (statement,) = connection.execute(
            "select sql from old.sqlite_master where name = 'DiaObject'"
        ).fetchone()
        connection.execute(statement)
        connection.execute("insert into DiaObject select * from old.DiaObject")
        connection.commit()
    with hitsduck.open_reruns([mixed, old], instrument="DECam") as reruns:
        (info, _) = reruns.info()
        assert info["generations"] == {
            "DiaSource": "9.0.0 and later",
            "DiaObject": "2019-2022",
            "DiaForcedSource": "9.0.0 and later",
        }
        counts = [list(row.values())[1:] for row in reruns.counts().rows()]
        assert counts[0] == counts[1]
        query = "select diaObjectId, validityStartMjdTai, dec, g_psfFluxMean from {}.dia_object"
        assert reruns.sql(f"{query.format('mixed')} order by 1").rows() == (
            reruns.sql(f"{query.format('old')} order by 1").rows()
        )


# -- the real files ------------------------------------------------------------

REAL = {
    # sources, good sources, current objects, good objects, forced sources
    "packed-2021": (15, 11, 15, 11, 15),
    "imsim-2023-packed": (499, 416, 436, 362, 653),
    "imsim-2024-schema-0.1.1": (290, 273, 259, 242, 376),
}


@pytest.fixture(scope="module", params=STORES)
def real(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[hitsduck.Reruns]:
    files = {name: shared / "data" / "apdb" / f"{name}.sqlite3" for name in REAL}
    folder = tmp_path_factory.mktemp("real")
    paths = stored(files, request.param, folder, instrument="LSSTCam-imSim")
    with hitsduck.open_reruns(paths, instrument="LSSTCam-imSim") as opened:
        yield opened


def test_the_real_files_count_as_the_reference_says(real: hitsduck.Reruns):
    counts = {row["rerun"]: tuple(list(row.values())[1:]) for row in real.counts().rows()}
    assert counts == {name: numbers[:4] for name, numbers in REAL.items()}
    forced = real.sql("select rerun, count(*) as n from dia_forced_source group by rerun").rows()
    assert {row["rerun"]: row["n"] for row in forced} == {n: v[4] for n, v in REAL.items()}


@pytest.mark.parametrize(("radius_arcsec", "n_matched"), [(0.2, 58), (0.5, 108), (1.0, 198)])
def test_the_real_pair_matches_as_astropy_counted(
    real: hitsduck.Reruns, radius_arcsec: float, n_matched: int
):
    summary = real.compare(
        "imsim-2023-packed", "imsim-2024-schema-0.1.1", radius_arcsec=radius_arcsec, good=False
    ).summary()
    assert (summary["n_left"], summary["n_right"]) == (499, 290)
    assert summary["n_matched"] == n_matched
    assert summary["n_left_only"] == 499 - n_matched
    assert summary["n_right_only"] == 290 - n_matched


@pytest.mark.parametrize("name", REAL)
def test_a_real_file_compared_with_itself_has_nothing_left_over(real: hitsduck.Reruns, name: str):
    summary = real.compare(name, name, radius_arcsec=1.0, good=False).summary()
    assert summary["n_matched"] == REAL[name][0]
    assert (summary["n_left_only"], summary["n_right_only"]) == (0, 0)


@pytest.mark.parametrize("name", REAL)
def test_a_real_file_reads_as_sqlite_and_numpy_read_it(
    real: hitsduck.Reruns, shared: Path, name: str
):
    path = shared / "data" / "apdb" / f"{name}.sqlite3"
    old = name == "packed-2021"
    flux, dec, mjd = ("psFlux", "decl", "midPointTai") if old else ("psfFlux", "dec", "midpoint")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        columns = {row[1] for row in connection.execute("pragma table_info(DiaSource)")}
        if mjd not in columns:
            mjd = "midpointMjdTai"
        rows = connection.execute(
            f"select diaSourceId, ccdVisitId, ra, {dec}, x, y, {flux}, {flux}Err, ixxPSF, flags, "
            f"{mjd} from DiaSource order by diaSourceId"
        ).fetchall()
        versions = connection.execute(
            "select diaObjectId, validityStart, validityEnd from DiaObject order by 1, 2"
        ).fetchall()
    ids, ccd_visit, ra, declination, x, y, fluxes, errors, ixx, flags, times = map(
        np.array, zip(*rows, strict=True)
    )
    columns_read = ["diaSourceId", "visit", "detector", "ra", "dec", "x", "y", "psf_snr", "night"]
    columns_read += ["psf_fwhm_arcsec", "is_good", "pixelFlags_edge"]
    frame = real[name].sources(columns_read).polars().sort("diaSourceId")
    for column, expected in (
        ("diaSourceId", ids),
        ("visit", ccd_visit // 1000),
        ("detector", ccd_visit % 1000),
        ("ra", ra),
        ("dec", declination),
        ("x", x),
        ("y", y),
        ("is_good", (flags & 704) == 0),
        ("pixelFlags_edge", (flags & 4) != 0),
    ):
        np.testing.assert_array_equal(frame[column].to_numpy(), expected, err_msg=column)
    np.testing.assert_allclose(frame["psf_snr"], np.abs(fluxes) / errors, rtol=1e-12)
    # iyyPSF holds ixyPSF in these files: the seeing is that of ixxPSF alone.
    np.testing.assert_allclose(
        frame["psf_fwhm_arcsec"], 2.3548200450309493 * np.sqrt(ixx), rtol=1e-12
    )
    # Rubin: 70.75 deg west. The date of MJD 0 is 1858-11-17.
    nights = np.datetime64("1858-11-17") + np.floor(times - 70.75 / 360 - 0.5).astype(int)
    np.testing.assert_array_equal(frame["night"].to_numpy().astype("datetime64[D]"), nights)
    assert len(versions) == REAL[name][0]
    found = real.sql(
        "select validityStartMjdTai, validityEndMjdTai from dia_object_history "
        "where rerun = $rerun order by diaObjectId, 1",
        rerun=name,
    ).rows()
    for (_, start, end), row in zip(versions, found, strict=True):
        assert row["validityStartMjdTai"] == pytest.approx(mjd_of(start), abs=1e-9)
        assert (row["validityEndMjdTai"] is None) == (end is None)


def mjd_of(text: str) -> float:
    """Return the MJD of SQLAlchemy's timestamp text."""
    return (datetime.fromisoformat(text) - datetime(1858, 11, 17)) / timedelta(days=1)


@pytest.mark.parametrize(
    ("name", "median", "mean"),
    # 2.3548 * sqrt(ixxPSF) of every source, with numpy
    [
        ("packed-2021", 1.2050, 1.2050),
        ("imsim-2023-packed", 0.9552, 0.9088),
        ("imsim-2024-schema-0.1.1", 0.9510, 0.9018),
    ],
)
def test_the_seeing_of_the_real_files_is_that_of_the_reference(
    real: hitsduck.Reruns, name: str, median: float, mean: float
):
    (info,) = [row for row in real.info() if row["rerun"] == name]
    assert info["median_seeing_arcsec"] == pytest.approx(median, abs=1e-4)
    assert info["mean_seeing_arcsec"] == pytest.approx(mean, abs=1e-4)
    assert (info["moments_unit"], info["psf_moments"]) == ("arcsec2", "ixx only")
