"""APDBs made and filled by the client of Rubin itself, lsst-dax-apdb."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import hitsduck

pytest.importorskip("lsst.dax.apdb", reason="lsst-dax-apdb makes the files: pip install '.[test]'")

from dax_apdb_files import DETECTORS, VISITS, dax_sources_in_region, make_dax_apdb

# The files are made once: all tests in one process.
pytestmark = pytest.mark.xdist_group("dax_apdb")

#: How the files were made: prefix of the tables, and whether DiaObjectLast is kept.
KINDS = {
    "plain": ("", False),
    "prefix": ("pp_", False),
    "last_table": ("", True),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, int]]]:
    """Return, for each kind, the file and the counts of the rows handed to the client."""
    folder = tmp_path_factory.mktemp("dax")
    found = {}
    for kind, (prefix, last) in KINDS.items():
        path = folder / f"{kind}.db"
        found[kind] = (
            path,
            make_dax_apdb(path, prefix=prefix, last_object_table=last, instrument="DECam"),
        )
    return found


@pytest.fixture(scope="module")
def reruns(made: dict[str, tuple[Path, dict[str, int]]]) -> Iterator[hitsduck.Reruns]:
    with hitsduck.open_reruns({kind: path for kind, (path, _) in made.items()}) as opened:
        yield opened


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_today_is_known_by_its_columns_and_its_metadata(reruns, kind):
    (info,) = [row for row in reruns.info() if row["rerun"] == kind]
    assert info["generations"] == dict.fromkeys(
        ("DiaSource", "DiaObject", "DiaForcedSource"), "9.0.0 and later"
    )
    assert info["schema_version"] == "10.0.0"
    assert (info["instrument"], info["instrument_found_by"]) == ("DECam", "metadata")
    assert (info["prefix"], info["flag_encoding"]) == (KINDS[kind][0], "boolean")
    assert ("DiaObjectLast" in info["n_rows"]) == KINDS[kind][1]
    assert info["unread_columns"] == {}
    assert (info["visits"], info["detectors"]) == ([visit.number for visit in VISITS], [47, 51])
    assert info["bands"] == ["g", "r"]
    assert (info["first_mjd_tai"], info["last_mjd_tai"]) == (57070.10, 57095.20)


@pytest.mark.parametrize("kind", KINDS)
def test_the_counts_are_those_of_the_rows_handed_to_the_client(reruns, made, kind):
    path, handed = made[kind]
    prefix = KINDS[kind][0]
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        # None of the three set and none NULL; in SQL a NULL is not 0.
        (n_good,) = connection.execute(
            f"select count(*) from {prefix}DiaSource where pixelFlags_bad = 0 "
            "and pixelFlags_suspect = 0 and pixelFlags_saturatedCenter = 0"
        ).fetchone()
        (n_null,) = connection.execute(
            f"select count(*) from {prefix}DiaSource where pixelFlags_bad is null "
            "and pixelFlags_suspect = 0 and pixelFlags_saturatedCenter = 0"
        ).fetchone()
    # The client was handed flags that are NULL too, and its counts take those for not set.
    assert n_good + n_null == handed["n_good_dia_sources"]
    assert n_null > 0
    (counts,) = [row for row in reruns.counts().rows() if row["rerun"] == kind]
    assert counts["n_dia_sources"] == handed["n_dia_sources"]
    assert counts["n_good_dia_sources"] == n_good
    assert counts["n_dia_objects"] == handed["n_dia_objects"]


@pytest.mark.parametrize("kind", KINDS)
def test_versions_forced_sources_and_moving_objects_are_all_there(reruns, made, kind):
    handed = made[kind][1]
    for relation, key in (
        ("dia_object_history", "n_dia_object_versions"),
        ("dia_object", "n_dia_objects"),
        ("dia_forced_source", "n_dia_forced_sources"),
        ("dia_source where diaObjectId is null and ssObjectId is not null", "n_ss_sources"),
    ):
        rows = reruns.sql(f"select count(*) as n from {kind}.{relation}").rows()
        assert rows == [{"n": handed[key]}], relation


def test_good_objects_have_a_source_without_a_bad_or_null_flag(reruns, made):
    path, _ = made["plain"]
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        good = "(pixelFlags_bad = 0 and pixelFlags_suspect = 0 and pixelFlags_saturatedCenter = 0)"
        (at_least_one,) = connection.execute(
            "select count(*) from DiaObject where validityEndMjdTai is null and diaObjectId in "
            f"(select diaObjectId from DiaSource where {good})"
        ).fetchone()
        (only_good,) = connection.execute(
            "select count(*) from DiaObject where validityEndMjdTai is null and diaObjectId not in "
            f"(select diaObjectId from DiaSource where diaObjectId is not null and "
            f"coalesce({good}, 0) = 0)"
        ).fetchone()
    for kind in KINDS:
        for view, truth in (
            ("good_dia_object", at_least_one),
            ("strictly_good_dia_object", only_good),
        ):
            rows = reruns.sql(f"select count(*) as n from {kind}.{view}").rows()
            assert rows == [{"n": truth}]
    assert 0 < only_good < at_least_one < 60


def test_all_kinds_hold_the_same_sources(reruns):
    for kind in ("prefix", "last_table"):
        summary = reruns.compare("plain", kind, good=False).summary()
        assert summary["n_matched"] == summary["n_left"] == summary["n_right"] == 126
        query = "select * exclude (rerun) from {}.dia_object order by diaObjectId"
        assert reruns.sql(query.format(kind)).rows() == reruns.sql(query.format("plain")).rows()


@pytest.mark.parametrize("kind", ["plain", "prefix"])
def test_positions_and_flags_are_those_that_the_client_reads_back(reruns, made, kind):
    prefix = KINDS[kind][0]
    theirs = dax_sources_in_region(made[kind][0], 150.2, 2.2, 1.0, prefix=prefix)
    names = ["diaSourceId", "visit", "detector", "ra", "dec", "x", "y", "psfFlux", "band", "snr"]
    ours = reruns[kind].sources(names).polars().sort("diaSourceId")
    assert len(theirs) == ours.height == 126
    for name in names:
        assert ours[name].to_list() == theirs[name].tolist(), name
    assert set(ours["detector"]) == set(DETECTORS)


def test_an_object_by_its_id_is_its_newest_version(reruns):
    (row,) = reruns.sql(
        "select diaObjectId from last_table.dia_source group by 1 having count(*) = 3 limit 1"
    ).rows()
    found = reruns["last_table"].object(row["diaObjectId"])
    assert found["nDiaSources"] == 3
    assert found["validityEndMjdTai"] is None
    sources = reruns["last_table"].sources_for_object(row["diaObjectId"]).rows()
    assert [source["visit"] for source in sources] == [visit.number for visit in VISITS]
