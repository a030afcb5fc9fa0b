"""What counts need of a source: told before the instrument is asked for."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from apdb_files import make_apdb

import hitsduck
from hitsduck import detection, schema
from hitsduck.errors import InstrumentError, RerunChangedError

COUNTED = "select count(*) as n, count(*) filter (where is_good) as n_good from judged_dia_source"


def test_ids_of_zero_are_none_and_a_null_flag_is_not_good(opened, source):
    reruns = opened(
        sources=[
            source(diaSourceId=1, diaObjectId=0),
            source(diaSourceId=2, diaObjectId=9, pixelFlags_bad=True),
            source(diaSourceId=3, diaObjectId=9, pixelFlags_suspect=None),
        ]
    )
    bit = schema.flag_number("pixelFlags_bad")
    query = "select * from judged_dia_source order by diaSourceId"
    assert [tuple(row.values()) for row in reruns.sql(query).rows()] == [
        ("a", 1, None, 0, True),
        ("a", 2, 9, bit, False),
        ("a", 3, 9, None, False),
    ]


def test_it_judges_the_sources_as_dia_source_does_under_a_condition_too(opened, source):
    reruns = opened(
        sources=[source(x=x, pixelFlags_bad=bad) for x in (10, 20, 30) for bad in (True, False)]
    )
    # 3 of 6 are good; of the 4 with x > 15, 2.
    assert reruns.sql(COUNTED).rows() == [{"n": 6, "n_good": 3}]
    assert reruns.sql(COUNTED.replace("judged_", "")).rows() == [{"n": 6, "n_good": 3}]
    judged = reruns.summary("judged_dia_source", where="x > 15 -- and no more").polars()
    assert (judged.height, judged["is_good"].sum()) == (4, 2)
    every = reruns.summary("judged_dia_source")
    assert judged.columns == every.polars().columns
    same = "select count(*) as n from dia_source join judged_dia_source using "
    same += "(rerun, diaSourceId, diaObjectId, good_definition_bits, is_good)"
    assert reruns.sql(same).rows() == [{"n": 6}]
    assert reruns.counts(where="x > 15").rows()[0]["n_dia_sources"] == 4


def test_it_answers_where_the_instrument_is_not_known(shared: Path):
    path = shared / "data" / "apdb" / "packed-2021.sqlite3"  # fits the rules of HSC and of imSim
    with sqlite3.connect(path) as connection:
        (n_sources,) = connection.execute("select count(*) from DiaSource").fetchone()
    with hitsduck.open_reruns({"a": path}) as reruns:
        every = reruns.sql("select * from judged_dia_source").polars()
        assert every.height == n_sources
        with pytest.raises(InstrumentError, match="HSC"):
            reruns.sql("select visit from dia_source")


def test_counts_do_not_look_at_the_moments_and_others_once(
    opened, source, monkeypatch: pytest.MonkeyPatch
):
    looked = []
    asked = detection.detect_moments

    def counting(*given, **named):
        looked.append(given)
        return asked(*given, **named)

    monkeypatch.setattr("hitsduck.attaching.detect_moments", counting)
    reruns = opened(sources=[source(ixxPSF=4.0, iyyPSF=4.0)])
    assert reruns.counts().rows()[0]["n_good_dia_sources"] == 1
    assert looked == []
    assert reruns.info()[0]["moments_unit"] == "px2"
    # 2 sqrt(2 ln 2) sqrt(4) px of 17.575 arcsec/mm x 0.015 mm are 1.2416 arcsec.
    (row,) = reruns.sql("select psf_fwhm_arcsec as fwhm from dia_source").rows()
    assert row["fwhm"] == pytest.approx(1.2416, abs=1e-4)
    assert len(looked) == 1


@pytest.mark.parametrize("becomes", ["gone", "cut off", "another"])
def test_moments_are_not_told_from_a_file_that_has_changed(
    opened, source, tmp_path: Path, becomes: str
):
    reruns = opened(sources=[source(ixxPSF=4.0, iyyPSF=4.0)])
    path = tmp_path / "a.db"
    if becomes == "gone":
        path.unlink()
    elif becomes == "cut off":
        os.truncate(path, 4096)
    else:
        other = make_apdb(tmp_path / "b.db", sources=[source(ixxPSF=0.2, iyyPSF=0.2)])
        other.replace(path)
    with pytest.raises(RerunChangedError, match="rerun 'a'"):
        reruns.definitions.row("a")
    with pytest.raises(RerunChangedError, match="rerun 'a'"):
        reruns.info()
