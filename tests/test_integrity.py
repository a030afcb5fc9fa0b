"""Integrity: one planted contradiction at a time, and none in what is clean."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from apdb_files import drop_primary_key, make_apdb

import hitsduck
from hitsduck import views
from hitsduck.crossmatch import match_images
from hitsduck.errors import RerunNameError
from hitsduck.integrity import (
    CHECKS,
    CHECKS_BETWEEN,
    EXAMPLES,
    REPEATED_ARCSEC,
    _beside_another,
)
from hitsduck.simulator import causes, simulate

Row = dict[str, Any]
Checked = Callable[..., dict[str, Row]]
PIXEL_DEG = 0.2636 / 3600
#: Checks that find nothing in the clean rerun below.
QUIET = [name for name in CHECKS if name != "flags_never_set"]


@pytest.fixture
def checked(tmp_path: Path) -> Iterator[Checked]:
    with ExitStack() as stack:

        def check(sources: list[Row], objects: list[Row], **given: Any) -> dict[str, Row]:
            opening = {"instrument": given.pop("instrument", "DECam")}
            path = make_apdb(tmp_path / "a.db", sources=sources, objects=objects, **given)
            reruns = stack.enter_context(hitsduck.open_reruns({"a": path}, **opening))
            return {row["check"]: row for row in reruns.integrity().rows()}

        yield check


def source(number: int, **cells: Any) -> Row:
    """Return one of a row of sources 100 pixels apart along x, which points east."""
    x = 100.0 * (number % 10)
    return {
        "diaSourceId": number,
        "diaObjectId": number,
        "visit": 1,
        "detector": 5,
        "ra": 150.0 + x * PIXEL_DEG,
        "dec": 0.0 + number * PIXEL_DEG,
        "x": x,
        "y": float(number),
    } | cells


def thing(number: int, **cells: Any) -> Row:
    return {
        "diaObjectId": number,
        "ra": 150.0,
        "dec": 0.0,
        "nDiaSources": 1,
        "validityEndMjdTai": None,
    } | cells


SOURCES = [source(number) for number in range(1, 7)]
OBJECTS = [thing(number) for number in range(1, 7)]


def counts(found: dict[str, Row]) -> dict[str, int | None]:
    return {name: found[name]["count"] for name in QUIET}


def only(**expected: int | None) -> dict[str, int | None]:
    return dict.fromkeys(QUIET, 0) | expected


def test_a_clean_rerun_has_nothing_to_report(checked: Checked):
    found = checked(SOURCES, OBJECTS)
    assert list(found) == list(CHECKS)
    assert counts(found) == only()
    assert all(found[name]["examples"] == [] and found[name]["reason"] is None for name in QUIET)


def test_ids_and_versions_that_are_there_twice_are_found(tmp_path: Path):
    rows, things = [*SOURCES, source(7)], [*OBJECTS, thing(7), thing(8, nDiaSources=0)]
    path = make_apdb(tmp_path / "a.db", sources=rows, objects=things)
    for table in ("DiaSource", "DiaObject"):
        drop_primary_key(path, table)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update DiaSource set diaSourceId = 2 where diaSourceId = 7")
        connection.execute("update DiaObject set diaObjectId = 3 where diaObjectId = 8")
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns:
        found = {row["check"]: row for row in reruns.integrity()}
        assert found["duplicate_dia_source_ids"]["count"] == 1
        assert found["duplicate_dia_source_ids"]["examples"] == ["diaSourceId 2, n_rows 2"]
        assert found["duplicate_object_versions"]["count"] == 1
        assert found["duplicate_object_versions"]["examples"] == [
            "diaObjectId 3, validityStartMjdTai 57000, n_rows 2"
        ]
        # a rerun with an id twice still equals itself
        own = reruns.compare("a", "a").summary()
        assert (own["n_matched"], own["n_left_only"], own["n_right_only"]) == (7, 0, 0)


def test_an_object_that_is_missing_or_has_no_source_is_found(checked: Checked):
    found = checked(SOURCES, [*OBJECTS[1:], thing(99, nDiaSources=0)])
    assert counts(found) == only(sources_without_object=1, objects_without_sources=1)
    assert found["sources_without_object"]["examples"] == ["diaSourceId 1, diaObjectId 1"]
    assert found["objects_without_sources"]["examples"] == ["diaObjectId 99"]


def test_an_older_version_of_an_object_is_enough_for_its_sources(checked: Checked):
    found = checked(SOURCES, [thing(1, validityEndMjdTai=57001.0), *OBJECTS[1:]])
    assert counts(found) == only()


def test_sources_of_the_solar_system_need_no_object(checked: Checked):
    rows = [source(1, diaObjectId=None, ssObjectId=5), *SOURCES[1:]]
    assert counts(checked(rows, OBJECTS[1:])) == only()


def test_several_current_versions_and_double_ones_are_found(checked: Checked):
    later = thing(3, validityStartMjdTai=57005.0)
    found = checked(SOURCES, [*OBJECTS, later])
    assert counts(found) == only(several_current_versions=1)
    assert found["several_current_versions"]["examples"] == ["diaObjectId 3, n_versions 2"]


def test_a_wrong_number_of_sources_is_found(checked: Checked):
    found = checked(SOURCES, [thing(1, nDiaSources=4), *OBJECTS[1:]])
    assert counts(found) == only(wrong_n_dia_sources=1)
    assert found["wrong_n_dia_sources"]["examples"] == [
        "diaObjectId 1, nDiaSources 4, n_dia_sources 1"
    ]


def test_a_number_of_sources_that_is_not_recorded_is_not_checked(checked: Checked):
    found = checked(SOURCES, OBJECTS, leave_out=["DiaObject.nDiaSources"])
    assert found["wrong_n_dia_sources"]["count"] is None
    assert found["wrong_n_dia_sources"]["reason"] == "DiaObject has no column nDiaSources"


def test_a_number_of_sources_that_was_never_filled_is_not_checked(checked: Checked):
    # the 2020 files have 0 by default
    rows = [{k: v for k, v in row.items() if k != "nDiaSources"} for row in OBJECTS]
    found = checked(SOURCES, rows, generation="2020")
    assert found["wrong_n_dia_sources"]["count"] is None
    assert "never filled" in found["wrong_n_dia_sources"]["reason"]


def test_a_visit_that_lacks_a_detector_is_found(checked: Checked):
    # visits 1 to 3 with detectors 5 and 6; visit 3 lacks 6; detector 7 is there once only
    rows = [
        source(10 * visit + k, diaObjectId=1, visit=visit, detector=detector)
        for visit, detectors in {1: (5, 6, 7), 2: (5, 6), 3: (5,)}.items()
        for detector in detectors
        for k in range(detector - 4)
    ]
    rows = [row | {"diaSourceId": k} for k, row in enumerate(rows, start=1)]
    found = checked(rows, [thing(1, nDiaSources=len(rows))])
    missing = found["visits_with_missing_detectors"]
    assert (missing["count"], missing["examples"]) == (1, ["visit 3: detector 6"])
    assert "sources alone" in missing["reason"]


def test_a_recorded_image_without_sources_is_not_missing(checked: Checked):
    recorded = [{"visit": visit, "detector": d} for visit in (1, 2) for d in (5, 6)]
    assert counts(checked(SOURCES, OBJECTS, summary=recorded)) == only()


@pytest.mark.parametrize("n_without", [2, 6])
def test_a_source_without_a_visit_is_found(checked: Checked, n_without: int):
    rows = [row | {"visit": None} for row in SOURCES[:n_without]] + SOURCES[n_without:]
    found = checked(rows, OBJECTS, constraints=False, generation="10.0.0")["sources_without_image"]
    assert found["count"] == n_without
    assert found["examples"][0] == "diaSourceId 1, visit None, detector 5"
    assert (found["reason"] is None) == (n_without < len(SOURCES))


def test_a_position_that_is_null_or_impossible_is_found(checked: Checked):
    rows = [source(1, ra=None), source(2, dec=91.0), source(3, ra=-1.0), *SOURCES[3:]]
    found = checked(rows, OBJECTS, constraints=False)
    assert found["unusable_positions"]["count"] == 3
    assert found["unusable_positions"]["examples"][0].startswith("diaSourceId 1, ra None")


def test_a_position_outside_its_detector_is_found(checked: Checked):
    rows = [*SOURCES[:3], source(4, dec=0.5), *SOURCES[4:]]
    found = checked(rows, OBJECTS)
    assert counts(found) == only(outside_detector_area=1)
    (example,) = found["outside_detector_area"]["examples"]
    assert example.startswith("diaSourceId 4, visit 1, detector 5, ra 150.029, dec 0.5, offset")
    # 0.5 deg less the 4 pixels where it should be, in the tangent plane
    assert float(example.split()[-1]) == pytest.approx(1800 - 4 * 0.2636, rel=1e-4)


def test_few_sources_of_an_image_are_compared_with_the_whole_visit(checked: Checked):
    # six detectors of DECam with one source each at the centre, where the focal plane puts it
    from hitsduck.cameras import get_camera

    camera = get_camera("DECam")
    rows = []
    for number, detector in enumerate((5, 20, 28, 35, 44, 60), start=1):
        x, y = 1023.5, 2047.5
        east_mm, north_mm = camera.detectors[detector].focal_plane_mm(x, y)
        scale = camera.plate_scale_arcsec_per_mm / 3600
        sky = {"ra": 150.0 + east_mm * scale, "dec": north_mm * scale}
        rows.append(source(number, detector=detector, x=x, y=y, **sky))
    rows[2]["dec"] += 0.4
    found = checked(rows, OBJECTS)
    assert found["outside_detector_area"]["count"] == 1
    assert found["outside_detector_area"]["examples"][0].startswith("diaSourceId 3, ")


def exposure(per_image: dict[int, int]) -> list[Row]:
    """Return one visit of DECam: so many sources on each detector, all where they belong."""
    from hitsduck.cameras import get_camera

    camera = get_camera("DECam")
    scale = camera.plate_scale_arcsec_per_mm / 3600
    rows = []
    for detector, n in per_image.items():
        for k in range(n):
            x, y = 100.0 + 1700.0 * k / max(n, 2), 300.0 + 1000.0 * (k % 4)
            east_mm, north_mm = camera.detectors[detector].focal_plane_mm(x, y)
            sky = {"ra": 150.0 + east_mm * scale, "dec": north_mm * scale}
            rows.append(source(len(rows) + 1, detector=detector, x=x, y=y, **sky))
    return rows


@pytest.mark.parametrize("shift_deg", [0.1, 5.0, 60.0])
@pytest.mark.parametrize("n_wrong", [1, 2, 40])
def test_a_whole_image_in_the_wrong_place_is_found(
    checked: Checked, n_wrong: int, shift_deg: float
):
    # with 40 sources it has more of them than all others together
    rows = exposure({5: 3, 20: 4, 28: n_wrong, 35: 6, 44: 2, 60: 1})
    objects = [thing(row["diaSourceId"]) for row in rows]
    wrong = {row["diaSourceId"] for row in rows if row["detector"] == 28}
    for row in rows:
        row["ra"] += shift_deg * (row["detector"] == 28)
    found = checked(rows, objects)["outside_detector_area"]
    assert found["count"] == n_wrong
    assert found["reason"] is None
    named = [int(text.split(",")[0].removeprefix("diaSourceId ")) for text in found["examples"]]
    assert set(named) <= wrong
    (told,) = {round(float(text.split()[-1]) / 3600, 1) for text in found["examples"]}
    assert told == pytest.approx(np.degrees(np.tan(np.radians(shift_deg))), rel=0.05)


@pytest.mark.parametrize("shift_deg", [0.0, 5.0])
def test_of_two_images_that_contradict_each_other_neither_is_blamed(
    checked: Checked, shift_deg: float
):
    rows = exposure({5: 6, 20: 6})
    objects = [thing(row["diaSourceId"]) for row in rows]
    for row in rows[:6]:
        row["ra"] += shift_deg
    found = checked(rows, objects)["outside_detector_area"]
    assert found["count"] == 0
    if shift_deg:
        assert found["reason"].startswith("1 visits whose images do not lie as in the focal plane")
    else:
        assert found["reason"] is None


def test_too_few_sources_to_tell_are_counted(checked: Checked):
    found = checked([source(1)], [thing(1)])
    assert found["outside_detector_area"]["count"] == 0
    assert found["outside_detector_area"]["reason"].startswith("1 sources are not checked")


def test_without_pixel_positions_nothing_is_said_about_the_detector(checked: Checked):
    found = checked(SOURCES, OBJECTS, leave_out=["DiaSource.x", "DiaSource.y"])
    assert found["outside_detector_area"]["count"] is None
    assert "x, y" in found["outside_detector_area"]["reason"]


def test_a_detection_that_is_there_twice_is_found(checked: Checked):
    twin = source(1) | {"diaSourceId": 7, "dec": PIXEL_DEG + 0.2 / 3600}
    found = checked([*SOURCES, twin], [thing(1, nDiaSources=2), *OBJECTS[1:]])
    assert counts(found) == only(repeated_detections=1)
    assert found["repeated_detections"]["examples"] == ["diaSourceId 1, and 7, sep_arcsec 0.2"]


def test_sources_alone_at_their_declination_are_in_no_pair() -> None:
    rng = np.random.default_rng(8)
    n = 3_000
    sources = pl.DataFrame(
        {
            "diaSourceId": np.arange(n),
            "visit": rng.integers(1, 3, n),
            "detector": pl.Series(rng.integers(1, 4, n)).set(pl.Series(np.arange(n)) == 5, None),
            "ra": 150.0 + rng.uniform(0, 20, n) / 3600,
            "dec": rng.choice([-89.999, 0.0, 2.2], n) + rng.uniform(0, 20, n) / 3600,
        }
    )
    kept = sources[_beside_another(sources, REPEATED_ARCSEC)]
    assert 0 < kept.height < n
    radius = {"radius_arcsec": REPEATED_ARCSEC, "how": "all"}
    of_all = match_images(sources, sources, **radius).pairs
    of_kept = match_images(kept, kept, **radius).pairs
    for side in ("left_index", "right_index"):
        ids, expected = kept["diaSourceId"], sources["diaSourceId"]
        is_pair = of_kept["left_index"] != of_kept["right_index"]
        of_two = of_all.filter(pl.col("left_index") != pl.col("right_index"))
        assert (
            ids.gather(of_kept.filter(is_pair)[side]).to_list()
            == expected.gather(of_two[side]).to_list()
        )


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Callable[..., dict[tuple[str, str], Row]]]:
    """Open reruns of these sources and give what the checks between them found."""
    with ExitStack() as stack:

        def check(**sources: list[Row]) -> dict[tuple[str, str], Row]:
            paths = {n: make_apdb(tmp_path / f"{n}.db", sources=r) for n, r in sources.items()}
            reruns = stack.enter_context(hitsduck.open_reruns(paths, instrument="DECam"))
            found = {(row["rerun"], row["check"]): row for row in reruns.integrity()}
            assert [check for name, check in found if name == next(iter(paths))] == [
                *CHECKS,
                *CHECKS_BETWEEN,
            ]
            return found

        yield check


def test_a_visit_that_lies_elsewhere_in_another_rerun_is_named_with_both_places(between):
    right = exposure({5: 6, 20: 6, 28: 3}) + [
        row | {"visit": 2, "diaSourceId": 100 + row["diaSourceId"]} for row in exposure({5: 6})
    ]
    # visit 1 one degree north as a whole; its images agree with each other
    shifted = [row | {"dec": row["dec"] + (row["visit"] == 1)} for row in right]
    found = between(a=right, b=shifted)
    for name, other, north in (("a", "b", 0), ("b", "a", 1)):
        told = found[name, "visits_elsewhere_on_the_sky"]
        assert told["count"] == 1
        (example,) = told["examples"]
        words = re.fullmatch(
            rf"visit 1: ra (\S+), dec (\S+), but in {other} ra (\S+), dec (\S+)", example
        )
        assert words is not None, example
        ra, dec, other_ra, other_dec = map(float, words.groups())
        assert ra == other_ra
        assert other_dec - dec == pytest.approx(1 - 2 * north, abs=1e-4)
        assert told["reason"] == "of two reruns which one is wrong cannot be told"
        assert found[name, "outside_detector_area"]["count"] == 0


def test_of_three_reruns_the_one_that_stands_alone_is_named(between):
    right = exposure({5: 6, 20: 6})
    # 59 arcsec are no other place, 61 are
    found = between(
        a=right,
        b=[row | {"dec": row["dec"] + 59 / 3600} for row in right],
        c=[row | {"dec": row["dec"] - 61 / 3600} for row in right],
    )
    counted = {name: found[name, "visits_elsewhere_on_the_sky"]["count"] for name in "abc"}
    assert counted == {"a": 0, "b": 0, "c": 1}
    assert found["c", "visits_elsewhere_on_the_sky"]["reason"] is None


def test_other_sources_of_a_visit_are_no_other_place(between):
    # the second rerun has nothing of the first one's images but a new crowd on detector 60
    found = between(a=exposure({5: 6, 20: 6}), b=exposure({5: 1, 60: 40}))
    for name in "ab":
        assert found[name, "visits_elsewhere_on_the_sky"]["count"] == 0


def test_a_detector_that_only_another_rerun_has_is_named(between):
    def visits(n: int, **detectors: tuple[int, ...]) -> list[Row]:
        images = [(int(v[1:]), d) for v, of_visit in detectors.items() for d in of_visit] * n
        return [source(k, visit=v, detector=d) for k, (v, d) in enumerate(images, start=1)]

    # b has 6 in 2 of the 3 visits of both, and 7 in 1 of them
    found = between(
        a=visits(12, v1=(5,), v2=(5,), v3=(5,)),
        b=visits(12, v1=(5, 6, 7), v2=(5, 6), v3=(5,), v4=(5, 8), v5=(8,), v6=(8,)),
    )
    told = found["a", "detectors_only_elsewhere"]
    assert (told["count"], told["examples"]) == (
        1,
        ["detector 6: in b 2 of the 3 visits of both have it"],
    )
    assert found["a", "visits_with_missing_detectors"]["count"] == 0
    assert found["b", "detectors_only_elsewhere"]["count"] == 0


@pytest.mark.parametrize(("n", "count"), [(10, 1), (9, 0), (1, 0)])
def test_a_detector_on_which_few_sources_are_expected_may_be_empty(between, n: int, count: int):
    def visits(**detectors: tuple[int, ...]) -> list[Row]:
        images = [(int(v[1:]), d) for v, of_visit in detectors.items() for d in of_visit] * n
        return [source(k, visit=v, detector=d) for k, (v, d) in enumerate(images, start=1)]

    # a finds half of what b does: of the 2 n sources on detector 6 it would have n
    found = between(a=visits(v1=(5,), v2=(5,), v3=(5,)), b=visits(v1=(5, 6, 7), v2=(5, 6), v3=(5,)))
    assert found["a", "detectors_only_elsewhere"]["count"] == count


def test_flags_that_no_source_has_are_listed_with_those_of_the_good_definition_first(
    checked: Checked,
):
    rows = [source(1, pixelFlags_bad=True, pixelFlags_edge=True), *SOURCES[1:]]
    found = checked(rows, OBJECTS)["flags_never_set"]
    assert found["examples"][:2] == ["pixelFlags_saturatedCenter", "pixelFlags_suspect"]
    assert found["reason"] == "2 of them make a source bad"
    assert len(found["examples"]) == EXAMPLES < found["count"]


def test_what_needs_the_instrument_is_not_checked_without_it(checked: Checked):
    rows = [row | {"detector": 8} for row in SOURCES]
    found = checked(rows, OBJECTS, generation="2023", id_factor=200, instrument=None)
    for name in ("visits_with_missing_detectors", "outside_detector_area", "repeated_detections"):
        assert found[name]["count"] is None
        assert "state the instrument" in found[name]["reason"]
    assert found["sources_without_object"]["count"] == 0


def test_every_row_behind_a_count_is_in_a_view(tmp_path: Path):
    many = [thing(number) for number in range(100, 140)]
    path = make_apdb(tmp_path / "a.db", sources=SOURCES, objects=[*OBJECTS, *many])
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns:
        rows = reruns.sql("select * from integrity_object_without_source").rows()
        found = {row["check"]: row for row in reruns.integrity(["a"]).rows()}
        assert len(rows) == found["objects_without_sources"]["count"] == 40
        assert len(found["objects_without_sources"]["examples"]) == EXAMPLES
        with pytest.raises(RerunNameError):
            reruns.integrity(["b"])


def test_every_view_named_by_a_check_exists():
    told = " ".join(description for description, _ in CHECKS.values())
    made = [name for name in views.view_names() if name.startswith("integrity_")]
    assert [name for name in made if name not in told] == []


def test_clean_simulated_reruns_contradict_nothing_and_planted_duplicates_are_found(
    tmp_path: Path,
):
    planted = {"May2020": [causes.duplicates(0.05)]}
    result = simulate(
        tmp_path, preset="small", causes=planted, src_catalogs="none", reruns=["Apr2020", "May2020"]
    )
    with hitsduck.open_reruns(result.paths) as reruns:
        found = {(row["rerun"], row["check"]): row["count"] for row in reruns.integrity()}
        n_sources = {row["rerun"]: row["n_dia_sources"] for row in reruns.counts()}
    truth = pl.read_parquet(result.reruns["May2020"].truth)
    for name in QUIET:
        if name not in ("visits_with_missing_detectors", "repeated_detections"):
            assert found["Apr2020", name] == found["May2020", name] == 0, name
    assert found["Apr2020", "repeated_detections"] == 0
    # copies lie 0.3 pixel (rms, in x and in y) off: one in a thousand beyond 0.3 arcsec
    n_planted = truth.filter(pl.col("cause") == "duplicates").height
    assert 0.04 * n_sources["May2020"] < n_planted
    assert abs(found["May2020", "repeated_detections"] - n_planted) <= 0.03 * n_planted


def test_real_files_are_in_order_but_for_one_source_that_is_there_twice(shared: Path):
    folder = shared / "data" / "apdb"
    files = sorted(folder.glob("*.sqlite3"))
    with hitsduck.open_reruns(files, instrument="LSSTCam-imSim") as reruns:
        found = reruns.integrity().polars()
    loud = found.filter((pl.col("count") > 0) & (pl.col("check") != "flags_never_set"))
    # two ids with the same position and flux, as sqlite3 shows
    assert loud.select("rerun", "check", "count", "examples").rows() == [
        (
            "imsim-2024-schema-0.1.1",
            "repeated_detections",
            1,
            ["diaSourceId 506428274000265395, and 506428274000265398, sep_arcsec 0"],
        )
    ]
    assert found["count"].null_count() == 0
    assert found.group_by("rerun").len()["len"].to_list() == [len(CHECKS) + len(CHECKS_BETWEEN)] * 3
