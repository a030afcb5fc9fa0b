"""Outside catalogues of every kind: positions read right, recovered and missed rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
import polars as pl
import pytest
from apdb_files import make_apdb
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table

import hitsduck
from hitsduck.errors import MatchError
from hitsduck.outside import NEAREST_WITHIN_ARCSEC
from hitsduck.outside_tables import read_positions

RA, DEC = [150.0, 150.5], [2.0, -2.5]


def positions(table: Any, **options: Any) -> list[tuple[float, float]]:
    frame = read_positions(table, **options).frame
    return frame.select("catalog_ra_deg", "catalog_dec_deg").rows()


def near(values: list[tuple[float, float]]) -> Any:
    return [pytest.approx(value, abs=1e-9) for value in values]


EXPECTED = list(zip(RA, DEC, strict=True))


def test_frames_and_tables_of_every_kind_give_their_positions():
    columns = {"ra": RA, "dec": DEC}
    for table in (
        pl.DataFrame(columns),
        pl.DataFrame(columns).lazy(),
        pd.DataFrame(columns),
        pl.DataFrame(columns).to_arrow(),
        Table(columns),
    ):
        assert positions(table) == EXPECTED


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.fits", "fits"),
        ("a.FITS", "fits"),
        ("a.fits.gz", "fits"),
        ("a.vot", "votable"),
        ("a.xml", "votable"),
        ("a.ecsv", "ascii.ecsv"),
        ("a.csv", "ascii.csv"),
        ("b.csv", "ascii.ecsv"),
        ("a.parquet", None),
    ],
)
def test_files_of_every_kind_give_their_positions(tmp_path: Path, name: str, form: str | None):
    path = tmp_path / name
    table = Table({"name": ["u", "v"], "RA_ICRS": RA * u.deg, "DE_ICRS": DEC * u.deg})
    if form is None:
        pl.DataFrame({"name": ["u", "v"], "RA_ICRS": RA, "DE_ICRS": DEC}).write_parquet(path)
    else:
        table.write(path, format=form)
    found = read_positions(path, keep=["name"])
    assert (found.ra_column, found.dec_column) == ("RA_ICRS", "DE_ICRS")
    assert found.frame["catalog_ra_deg"].to_list() == pytest.approx(RA)
    assert found.frame["name"].to_list() == ["u", "v"]
    assert positions(str(path)) == near(EXPECTED)


def test_units_of_the_table_are_honoured_and_stated_ones_go_first():
    radians = Table({"coord_ra": np.radians(RA) * u.rad, "coord_dec": np.radians(DEC) * u.rad})
    assert positions(radians) == near(EXPECTED)
    hours = Table({"ra": np.array(RA) / 15 * u.hourangle, "dec": DEC * u.deg})
    assert positions(hours) == near(EXPECTED)
    plain = pl.DataFrame({"ra": [r / 15 for r in RA], "dec": DEC})
    assert positions(plain, unit=("hourangle", "deg")) == near(EXPECTED)
    both = pl.DataFrame({"ra": np.radians(RA), "dec": np.radians(DEC)})
    assert positions(both, unit="rad") == near(EXPECTED)
    # 10 h of right ascension, written as a time
    time = Table({"ra": [10.0] * u.hour, "dec": [2.0] * u.deg})
    assert positions(time) == near([(150.0, 2.0)])


def test_sexagesimal_texts_are_hours_and_degrees():
    table = {
        "ra": ["10:00:00", "10 02 00", "150.5", ""],
        "dec": ["+02:00:00", "-02 30 00", "1", None],
    }
    expected = [(150.0, 2.0), (150.5, -2.5), (150.5, 1.0)]
    assert positions(pl.DataFrame(table))[:3] == near(expected)
    assert positions(pl.DataFrame(table))[3] == (None, None)
    masked = Table({"ra": table["ra"][:3], "dec": table["dec"][:3]})
    assert positions(masked) == near(expected)


def test_masked_and_missing_values_are_no_positions():
    table = Table(
        {
            "ra": MaskedColumn(RA, mask=[False, True]),
            "dec": MaskedColumn(DEC, mask=[False, False]),
        }
    )
    assert positions(table) == [(150.0, 2.0), (None, -2.5)]
    assert positions(pl.DataFrame({"ra": [1.0, None], "dec": [2.0, float("nan")]})) == [
        (1.0, 2.0),
        (None, None),
    ]
    whole = Table({"ra": MaskedColumn([150, 151], mask=[False, True]), "dec": [2, 3]})
    assert positions(whole) == [(150.0, 2.0), (None, 3.0)]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("ra", "dec"), ("ra", "dec")),
        (("RA", "Decl"), ("RA", "Decl")),
        (("raMedian", "decMedian"), ("raMedian", "decMedian")),
        (("_RAJ2000", "_DEJ2000"), ("_RAJ2000", "_DEJ2000")),
        (("ra_deg", "dec_deg"), ("ra_deg", "dec_deg")),
        (("RA", "DEC", "ra_mean", "dec_mean"), ("RA", "DEC")),
    ],
)
def test_columns_of_position_are_guessed_from_their_names(
    columns: tuple[str, ...], expected: tuple[str, str]
):
    table = pl.DataFrame({"id": [7]} | {name: [1.0] for name in columns})
    found = read_positions(table)
    assert (found.ra_column, found.dec_column) == expected


PLAIN = pl.DataFrame({"ra": [1.0], "dec": [2.0]})


def test_what_cannot_be_read_is_told_in_one_line(tmp_path: Path):
    broken = tmp_path / "a.fits"
    broken.write_bytes(b"no table at all")
    cases = [
        (tmp_path / "nothing.fits", {}, "no such file"),
        (broken, {}, "cannot be read as fits"),
        (pl.DataFrame({"u": [1.0], "v": [2.0]}), {}, "which columns hold right ascension"),
        (PLAIN, {"ra": "ra"}, "both ra= and dec="),
        (PLAIN, {"ra": "x", "dec": "dec"}, "no column x"),
        (PLAIN, {"keep": ["x"]}, "no column x"),
        (PLAIN, {"unit": "gon"}, "deg, rad, hourangle"),
        (pl.DataFrame({"ra": ["north"], "dec": ["1"]}), {}, "column ra holds no angles"),
        (Table({"ra": [1.0] * u.m, "dec": [2.0] * u.deg}), {}, "column ra holds no angles"),
        (Table({"ra": [[1.0, 2.0]], "dec": [[3.0, 4.0]]}), {}, "several values a row"),
        (Table({"ra": [True], "dec": [False]}), {}, "it is True or False"),
        ([1, 2], {}, "not list"),
        (PLAIN, {"ra": 5, "dec": "dec"}, "5 is no name of a column"),
        (PLAIN, {"unit": 5}, "unit is 5"),
        (PLAIN, {"unit": ("deg",)}, r"unit is \('deg',\)"),
        (PLAIN.with_columns(catalog_row=1), {"keep": ["catalog_row"]}, "cannot be kept"),
    ]
    unknown = tmp_path / "a.dat"
    unknown.write_text("1 2", encoding="utf-8")
    cases.append((unknown, {}, "known endings"))
    for table, options, words in cases:
        with pytest.raises(MatchError, match=words) as raised:
            read_positions(table, **options)
        assert "\n" not in str(raised.value)


# -- matching ----------------------------------------------------------------------

ARCSEC = 1 / 3600


@pytest.fixture
def reruns(tmp_path: Path):
    def apdb(name: str, objects: dict[int, float], bad: int | None = None) -> Path:
        sources = [
            {
                "diaSourceId": 100 * number,
                "diaObjectId": number,
                "visit": 1,
                "detector": 5,
                "ra": ra + 0.1 * ARCSEC,
                "dec": 0.0,
                "pixelFlags_bad": number == bad,
            }
            for number, ra in objects.items()
        ]
        things = [
            {"diaObjectId": n, "ra": ra, "dec": 0.0, "validityEndMjdTai": None}
            for n, ra in objects.items()
        ]
        return make_apdb(tmp_path / f"{name}.db", sources=sources, objects=things)

    paths = {
        "old": apdb("old", {1: 10.0, 2: 20.0}),
        "new": apdb("new", {1: 10.0, 2: 20.0 + 30 * ARCSEC, 3: 30.0}, bad=3),
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as opened:
        yield opened


CATALOG = pl.DataFrame(
    {"name": ["u", "v", "w", "x"], "ra": [10.0, 20.0, 30.0, None], "dec": [0.3 * ARCSEC, 0, 0, 0]}
)


def test_rows_are_recovered_or_missed_by_each_rerun_with_the_nearest(reruns: hitsduck.Reruns):
    found = reruns.match_catalog(CATALOG, radius_arcsec=1.0, keep=["name"])
    assert found.summary() == [
        {"rerun": "old", "n_catalog": 4, "n_recovered": 2, "n_missed": 1, "n_unusable": 1},
        # 2 moved away by 30 arcsec, and 3 has no good source
        {"rerun": "new", "n_catalog": 4, "n_recovered": 1, "n_missed": 2, "n_unusable": 1},
    ]
    assert found.recovered("old")["name"].to_list() == ["u", "v"]
    (missed,) = found.missed("new").filter(name="v").to_dicts()
    assert (missed["diaObjectId"], missed["diaSourceId"]) == (2, 200)
    assert missed["object_sep_arcsec"] == pytest.approx(30.0)
    assert missed["source_sep_arcsec"] == pytest.approx(30.1)
    # nothing within a degree of w
    assert found.missed("new").filter(name="w")["diaObjectId"].to_list() == [None]
    wide = found.side_by_side()
    assert wide.select("name", "old", "new").rows() == [
        ("u", True, True),
        ("v", True, False),
        ("w", False, False),
        ("x", None, None),
    ]
    assert "old 2 of 4, new 1 of 4" in repr(found)


def test_all_objects_sources_and_conditions_can_be_asked_for(reruns: hitsduck.Reruns):
    def recovered(**options: Any) -> list[int]:
        return [row["n_recovered"] for row in reruns.match_catalog(CATALOG, **options).summary()]

    assert recovered(good=False) == [2, 2]
    assert recovered(radius_arcsec=0.35, of="sources") == [2, 1]
    # the source of u lies at 0.1 east and 0.3 south of it: 0.316 arcsec
    assert math.hypot(0.1, 0.3) == pytest.approx(0.3162, abs=1e-4)
    assert recovered(radius_arcsec=0.31, of="sources") == [1, 0]
    assert recovered(where="diaSourceId > 100") == [1, 0]
    with pytest.raises(MatchError, match="objects, sources"):
        reruns.match_catalog(CATALOG, of="galaxies")
    with pytest.raises(MatchError, match="old, new"):
        reruns.match_catalog(CATALOG).missed("older")


def test_an_empty_catalogue_and_an_empty_rerun_are_fine(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db")
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns:
        assert reruns.match_catalog(CATALOG).summary()[0]["n_missed"] == 3
        nothing = reruns.match_catalog(CATALOG.clear())
        assert nothing.table.is_empty()
        assert nothing.summary() == [
            {"rerun": "a", "n_catalog": 0, "n_recovered": 0, "n_missed": 0, "n_unusable": 0}
        ]


def test_the_catalogues_at_hand_are_read_and_matched_as_astropy_does(shared: Path):
    folder = shared / "data" / "catalogs"
    variables = read_positions(folder / "hits-dr1-variables.fits", keep=["ID"])
    assert (variables.ra_column, variables.frame.height) == ("raMedian", 165)
    truth = Table.read(folder / "hits-dr1-variables.fits")
    assert np.allclose(variables.frame["catalog_dec_deg"], truth["decMedian"])
    sources = read_positions(folder / "assoc-dia-source-2025.ecsv").frame
    assert sources.height == 2994
    # the sources themselves as a rerun: each is recovered, the variables elsewhere are not
    real = shared / "data" / "apdb" / "imsim-2024-schema-0.1.1.sqlite3"
    with hitsduck.open_reruns({"i24": real}) as reruns:
        objects = reruns["i24"].objects(["ra", "dec"]).polars()
        shifted = objects.with_columns(pl.col("dec") + 0.4 * ARCSEC)
        own = reruns.match_catalog(shifted, radius_arcsec=0.5, good=False)
        assert own.summary()[0]["n_recovered"] == 259
        far = reruns.match_catalog(folder / "hits-dr1-variables.fits")
        assert far.summary()[0]["n_missed"] == 165
        moved = objects.with_columns(pl.col("dec") + 20 * ARCSEC)
        found = reruns.match_catalog(moved, radius_arcsec=0.5, good=False).table
    sky = [
        SkyCoord(f["ra"].to_numpy() * u.deg, f["dec"].to_numpy() * u.deg) for f in (moved, objects)
    ]
    _, separation, _ = sky[0].match_to_catalog_sky(sky[1])
    assert separation.arcsec.max() < NEAREST_WITHIN_ARCSEC
    assert np.allclose(found["object_sep_arcsec"], separation.arcsec, atol=1e-6)
