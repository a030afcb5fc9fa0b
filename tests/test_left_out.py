"""Columns that a store was told to leave out: nobody gets an answer from nothing."""

from __future__ import annotations

import warnings
from pathlib import Path

import polars as pl
import pytest
from apdb_files import make_apdb

import hitsduck
from hitsduck.dimensions import build_dimensions
from hitsduck.errors import LeftOutWarning, QueryError


def sources(n: int) -> list[dict[str, float | int | str | bool]]:
    return [
        {
            "diaObjectId": 1 + k,
            "visit": 410985,
            "detector": 5,
            "ra": 150.0 + k / 100,
            "dec": 2.0,
            "x": 9.0 + k,
            "y": 9.0,
            "psfFlux": 100.0 + k,
            "psfFluxErr": 10.0,
            "apFlux": 7.0 + k,
            "scienceFlux": 8.0,
            "midpointMjdTai": 57070.5,
            "ixxPSF": 4.0 + k / 10,
            "iyyPSF": 5.0,
            "ixyPSF": 0.25,
            "band": "g",
            "isDipole": k % 2 == 0,
        }
        for k in range(n)
    ]


@pytest.fixture(scope="module")
def apdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("apdb") / "a.db"
    return make_apdb(
        path,
        sources=sources(6),
        objects=[{"diaObjectId": 1 + k, "g_psfFluxMean": 3.5} for k in range(6)],
        metadata={"instrument": "DECam"},
    )


@pytest.fixture(scope="module")
def few(apdb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace that was asked for ra and dec alone."""
    with hitsduck.open_reruns({"a": apdb}) as reruns:
        return reruns.materialize(tmp_path_factory.mktemp("few") / "w.duckdb", columns="ra,dec")


def test_what_the_views_compute_is_there_whatever_was_asked_for(apdb: Path, few: Path):
    query = """
        select
            count(psfFlux) as n_flux, avg(psf_snr) as snr, median(psf_fwhm_arcsec) as fwhm,
            count(iyyPSF) as n_iyy, count(night) as n_nights, sum(isDipole::int) as n_dipoles,
            count(edge_distance_px) as n_edges
        from dia_source_edge
    """
    answers = []
    for path in (apdb, few):
        with hitsduck.open_reruns({"a": path}) as reruns:
            answers.append(reruns.sql(query).rows())
    assert answers[0] == answers[1]
    # isDipole of sources 0, 2 and 4.
    assert (answers[1][0]["n_flux"], answers[1][0]["n_dipoles"]) == (6, 3)


@pytest.mark.parametrize(
    "query",
    [
        "select avg(apFlux) from dia_source",
        "select s.APFLUX as z from dia_source as s",
        'select count(*) from "w".dia_source where apFlux > 3',
        "select avg(g_psfFluxMean) from dia_object",
        "select avg(apFlux) as apFlux from dia_source",
        "select count(apFlux) as n, 1 as apFlux from dia_source",
        "select avg(scienceFlux) from dia_source",
        "select (s).apFlux is null as a from dia_source as s",
        "select struct_extract(s, 'apFlux') as a from dia_source as s",
    ],
)
def test_a_query_that_names_one_is_refused(few: Path, query: str):
    with hitsduck.open_reruns({"w": few}) as reruns, pytest.raises(QueryError) as caught:
        reruns.sql(query)
    said = str(caught.value)
    assert "was not stored there (columns: ra,dec)" in said
    assert "a.db" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("query", "n_rows"),
    [
        ("select ra as apFlux from dia_source order by apFlux", 12),
        ("with t(apFlux) as (select 1) select apFlux from t", 1),
        ("select list_transform([1], apFlux -> apFlux + 1) as a", 1),
        ('select avg(apFlux) as m from "a".dia_source', 1),
        ("select apFlux from dia_source where rerun = 'a'", 6),
        ("select * from rerun", 2),
        ("select * from image", 2),
        ("select * from rerun_counts", 2),
        ("select count(*) as n from (select * from image)", 1),
        ("select count(*) as n from dia_source", 1),
        ("describe dia_source", None),
    ],
)
def test_who_reads_none_of_it_is_answered(apdb: Path, few: Path, query: str, n_rows: int | None):
    with hitsduck.open_reruns({"a": apdb, "w": few}) as reruns:  # a warning is an error
        rows = reruns.sql(query).rows()
    assert n_rows is None or len(rows) == n_rows


def test_conditions_and_columns_are_refused_as_well(apdb: Path, few: Path):
    with hitsduck.open_reruns({"a": apdb, "w": few}) as reruns:
        for ask in (
            lambda: reruns.counts(where="apFlux > 9"),
            lambda: reruns["w"].sources(columns=["apFlux"]),
            lambda: reruns["w"].sources_for_object(1, columns="apFlux"),
            lambda: reruns.compare("a", "w", columns=["apFlux"]),
        ):
            with pytest.raises(
                QueryError, match=r"rerun 'w' .*DiaSource.apFlux of its APDB was not stored"
            ):
                ask()
        assert len(reruns["a"].sources(columns=["apFlux"])) == 6


def test_all_columns_are_given_with_a_warning(few: Path):
    with hitsduck.open_reruns({"w": few}) as reruns:
        with pytest.warns(LeftOutWarning, match=r"was not stored there .*NULL here"):
            frame = reruns.sql("select * from dia_source").polars()
        assert frame["apFlux"].null_count() == 6
        with pytest.warns(LeftOutWarning):
            reruns["w"].sources()
        with pytest.warns(LeftOutWarning):
            assert reruns["w"].source(1)["apFlux"] is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reruns.sql("select count(*) as n from dia_source")
            reruns.sql("describe dia_source")
            reruns["w"].forced_sources_for_object(1)
            reruns["w"].object(1, ["ra", "dec"])
        with pytest.warns(LeftOutWarning):
            counted = reruns.sql("select count(columns('^apFlux$')) from dia_source").rows()
        assert set(counted[0].values()) == {0}
        # Allowed once, and not for ever.
        with pytest.raises(QueryError, match="was not stored"):
            reruns.sql("select apFlux from dia_source")


def test_info_says_what_is_stored_and_of_what(apdb: Path, few: Path):
    with hitsduck.open_reruns({"a": apdb, "w": few}) as reruns:
        of_apdb, of_store = reruns.info()
    assert (of_apdb["columns"], of_apdb["origin_path"], of_apdb["origin_state"]) == (
        "all",
        None,
        None,
    )
    assert (of_store["columns"], of_store["origin_state"]) == ("ra,dec", "current")
    assert of_store["origin_path"] == str(apdb)


def test_no_columns_at_all_is_an_error(apdb: Path, tmp_path: Path):
    with (
        hitsduck.open_reruns({"a": apdb}) as reruns,
        pytest.raises(QueryError, match="no column is named"),
    ):
        reruns.materialize(tmp_path / "w.duckdb", columns="")
    assert not (tmp_path / "w.duckdb").exists()


def test_what_one_side_was_never_asked_is_no_cause():
    sides = pl.DataFrame(
        {
            "side": ["left"] * 4 + ["right"] * 4,
            "band": ["g"] * 8,
            "isDipole": [None] * 4 + [True, False, True, True],
            "some_flag": [True, False, False, False] + [None] * 4,
            "other_flag": [True, None, False, False, True, True, False, None],
        }
    )
    dimensions, skipped = build_dimensions(sides)
    assert {"isDipole", "some_flag"} <= set(skipped)
    told = {label for dimension in dimensions for label in dimension.labels}
    assert "other_flag" in told
    assert "some_flag" not in told
