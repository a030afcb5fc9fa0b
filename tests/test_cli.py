"""The command line: what it prints, and with which status it leaves."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from contextlib import closing

import polars as pl
import pytest
from apdb_files import make_apdb

from hitsduck import cli, open_reruns
from hitsduck.errors import RerunNameError


@pytest.fixture
def hitsduck(capsys):
    """Run the command line in this process: (status, stdout, stderr)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as leaving:
            cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return leaving.value.code, printed.out, printed.err

    return run


SOURCES = [
    # One good source near the left side of CCD 5, one bad, one good in another image.
    {"diaSourceId": 1, "diaObjectId": 11, "visit": 7, "detector": 5, "ra": 150.0, "dec": 2.0,
     "x": 10.0, "y": 2000.0, "psfFlux": 100.0, "psfFluxErr": 10.0},
    {"diaSourceId": 2, "diaObjectId": 11, "visit": 7, "detector": 5, "ra": 150.1, "dec": 2.0,
     "x": 900.0, "y": 2000.0, "psfFlux": 300.0, "psfFluxErr": 10.0, "pixelFlags_bad": True},
    {"diaSourceId": 3, "diaObjectId": 12, "visit": 8, "detector": 6, "ra": 150.2, "dec": 2.0,
     "x": 900.0, "y": 2000.0, "psfFlux": -50.0, "psfFluxErr": 10.0},
]  # fmt: skip
OBJECTS = [{"diaObjectId": n, "ra": 150.0, "dec": 2.0} for n in (11, 12, 13)]


@pytest.fixture
def apdb(tmp_path):
    folder = tmp_path / "Apr2020"
    folder.mkdir()
    return make_apdb(
        folder / "association.db",
        generation="10.0.0",
        sources=SOURCES,
        objects=OBJECTS,
        metadata={"instrument": "DECam"},
    )


@pytest.fixture
def later(tmp_path):
    folder = tmp_path / "May2020"
    folder.mkdir()
    moved = [dict(SOURCES[0], ra=150.0 + 0.3 / 3600), SOURCES[1], dict(SOURCES[2], ra=150.3)]
    return make_apdb(
        folder / "association.db",
        generation="10.0.0",
        sources=moved,
        objects=OBJECTS,
        metadata={"instrument": "DECam"},
    )


def test_counts_as_json_has_the_fixed_keys_and_the_truth(hitsduck, apdb):
    status, out, _ = hitsduck("counts", apdb.parent, "--json")
    assert status == 0
    # Sources 1 and 3 are good; objects 11 and 12 have a good source, 13 has none.
    assert json.loads(out) == [
        {
            "rerun": "Apr2020",
            "n_dia_sources": 3,
            "n_good_dia_sources": 2,
            "n_dia_objects": 3,
            "n_good_dia_objects": 2,
        }
    ]


def test_counts_as_a_table_shows_differences_to_the_first_rerun(hitsduck, apdb, later):
    with sqlite3.connect(later) as connection:
        connection.execute("delete from DiaSource where diaSourceId = 3")
    connection.close()
    status, out, _ = hitsduck("counts", f"A={apdb}", f"B={later}")
    assert status == 0
    # 2 instead of 3 sources: -1, -33.3%; 1 instead of 2 good ones: -1, -50.0%.
    row = next(line for line in out.splitlines() if line.strip().startswith("B"))
    assert row.split() == [
        "B",
        "2",
        "-1",
        "(-33.3%)",
        "1",
        "-1",
        "(-50.0%)",
        "3",
        "+0",
        "(+0.0%)",
        "1",
        "-1",
        "(-50.0%)",
    ]
    assert f"A: {apdb}" in out
    assert "dm25125" in out


def test_counts_under_a_condition_say_so(hitsduck, apdb):
    status, out, _ = hitsduck("counts", apdb, "--where", "psf_snr > 20")
    assert status == 0
    # psf_snr is 10, 30 and 5: only source 2 fulfils it, and it is bad; its object is 11.
    assert "where: psf_snr > 20" in out
    assert out.splitlines()[2].split() == ["Apr2020", "1", "0", "1", "0"]


def test_compare_as_json_has_the_fixed_keys_and_the_truth(hitsduck, apdb, later):
    status, out, _ = hitsduck("compare", apdb, later, "--radius-arcsec", "0.5", "--json")
    assert status == 0
    found = json.loads(out)
    # Good sources 1 and 3: 1 moved by 0.3 arcsec * cos(2 deg) and matches, 3 moved by 0.1 deg.
    wanted = {
        "left": "Apr2020",
        "right": "May2020",
        "radius_arcsec": 0.5,
        "n_left": 2,
        "n_right": 2,
        "n_matched": 1,
        "n_left_only": 1,
        "n_right_only": 1,
    }
    assert {key: found[key] for key in wanted} == wanted


def test_compare_all_takes_bad_sources_too(hitsduck, apdb, later):
    _, out, _ = hitsduck("compare", apdb, later, "--all", "--json")
    assert json.loads(out)["n_left"] == 3
    assert json.loads(out)["n_matched"] == 2


def test_compare_writes_the_three_frames(hitsduck, apdb, later, tmp_path):
    status, out, _ = hitsduck("compare", apdb, later, "--output", tmp_path / "lists")
    assert status == 0
    frames = {
        name: pl.read_parquet(tmp_path / "lists" / f"{name}.parquet")
        for name in ("matched", "left_only", "right_only")
    }
    assert frames["left_only"]["diaSourceId"].to_list() == [3]
    assert frames["right_only"]["diaSourceId"].to_list() == [3]
    # 0.3 arcsec along right ascension at dec 2: 0.3 * cos(2 deg) = 0.29982 arcsec.
    assert frames["matched"]["sep_arcsec"][0] == pytest.approx(0.29982, abs=1e-5)
    assert f"written: {tmp_path / 'lists' / 'matched.parquet'}" in out


def test_compare_begins_with_a_verdict_and_ends_with_the_files(hitsduck, apdb, later):
    status, out, _ = hitsduck("compare", apdb, later)
    assert status == 0
    lines = out.splitlines()
    # Two good sources in each: no net change, one matched, one gone, one new.
    assert "good sources" in lines[0]
    assert lines[-2:] == [f"Apr2020: {apdb}", f"May2020: {later}"]


def test_compare_as_json_has_the_keys_of_edges_and_coverage(hitsduck, apdb, later):
    _, out, _ = hitsduck("compare", apdb, later, "--json", "--edge-within", "16")
    found = json.loads(out)
    assert found["match"] == "mutual"
    assert found["same_file"] is False
    assert found["coverage"] == {
        "left_only": 0,
        "right_only": 0,
        "n_sources_left_only": 0,
        "n_sources_right_only": 0,
    }
    assert found["edge"]["within_px"] == 16
    # The one new source is at x 900, y 2000: far from every edge.
    assert (found["edge"]["n_new"], found["edge"]["n_new_within"]) == (1, 0)
    assert (found["n_left_only_reflagged"], found["n_right_only_reflagged"]) == (0, 0)


def test_compare_counts_by_a_column_and_follows_objects(hitsduck, apdb, later):
    _, out, _ = hitsduck("compare", apdb, later, "--json", "--by", "detector", "--objects")
    found = json.loads(out)
    # Detector 5 holds the matched source, detector 6 the gone one and the new one.
    rows = [
        [row[key] for key in ("detector", "n_left", "n_right", "n_matched", "change")]
        for row in found["by"]["detector"]
    ]
    assert rows == [[5, 1, 1, 1, 0], [6, 1, 1, 0, 0]]
    kinds = {row["kind"]: row["n_groups"] for row in found["objects"]}
    assert kinds == {"same": 1, "split": 0, "merged": 0, "regrouped": 0, "gone": 1, "new": 1}


def test_exactly_the_percentage_is_not_above_it(hitsduck, tmp_path):
    # 129 for 100 are 29% more; 29 / 100 * 100 is 28.999999999999996 in floating point.
    def rows(n):
        return [SOURCES[0] | {"diaSourceId": k, "ra": 150.0 + 0.01 * k} for k in range(1, n + 1)]

    pair = [f"{n}={make_apdb(tmp_path / f'{n}.db', sources=rows(n))}" for n in (100, 129)]
    assert hitsduck("compare", *pair, "--fail-above", "29")[0] == 0
    assert hitsduck("compare", *pair, "--fail-above", "28.9")[0] == 3
    for wrong in ("nan", "inf"):
        status, _, err = hitsduck("compare", *pair, "--fail-above", wrong)
        assert (status, err.startswith("error: fail_above is")) == (1, True)


def test_sources_without_an_object_are_said(hitsduck, apdb, tmp_path):
    # as SOURCES, but of the two good ones, 1 and 3, one has no object
    sources = [row | {"diaObjectId": None} if row["diaSourceId"] == 3 else row for row in SOURCES]
    other = make_apdb(tmp_path / "other.db", sources=sources, objects=OBJECTS)
    _, out, _ = hitsduck("compare", f"a={apdb}", f"b={other}", "--objects")
    assert "sources without an object: 0 of a, 1 of b" in out


def test_compare_writes_csv_with_ids_as_text(hitsduck, apdb, later, tmp_path):
    hitsduck("compare", apdb, later, "--output", tmp_path / "lists", "--format", "csv")
    text = (tmp_path / "lists" / "right_only.csv").read_text()
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["diaSourceId"] == "3"
    assert row["why"] == "absent"


def test_compare_leaves_with_3_when_the_number_changed_by_more(hitsduck, apdb, later):
    with sqlite3.connect(later) as connection:
        connection.execute("delete from DiaSource where diaSourceId = 3")
    connection.close()
    # 1 instead of 2 good sources is a change of 50%.
    status, _, err = hitsduck("compare", apdb, later, "--fail-above", "49")
    assert status == 3
    assert "from 2 to 1" in err
    status, _, err = hitsduck("compare", apdb, later, "--fail-above", "50")
    assert (status, err) == (0, "")


def test_compare_of_a_file_with_itself_says_that_it_is_the_same(hitsduck, apdb):
    status, out, _ = hitsduck("compare", f"A={apdb}", f"B={apdb}", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["same_file"] is True
    assert (found["n_left_only"], found["n_right_only"]) == (0, 0)


def test_explain_as_json_has_the_fixed_keys(hitsduck, tmp_path):
    hitsduck("simulate", tmp_path, "--preset", "small", "--src-catalogs", "none")
    status, out, _ = hitsduck("explain", tmp_path / "Apr2020", tmp_path / "May2020", "--json")
    assert status == 0
    found = json.loads(out)
    keys = "dimension value n_left n_right change share_of_change excess p_value q_value"
    assert all(list(row) == keys.split() for row in found)
    # The preset plants an excess at the edges.
    assert found[0]["dimension"].startswith("edge")


def test_explain_shows_the_strongest_rows_and_counts_the_others(hitsduck, tmp_path):
    hitsduck("simulate", tmp_path, "--preset", "small", "--src-catalogs", "none")
    pair = (tmp_path / "Apr2020", tmp_path / "May2020")
    n_values = len(json.loads(hitsduck("explain", *pair, "--json")[1]))
    status, out, _ = hitsduck("explain", *pair)
    assert status == 0
    lines = out.splitlines()
    rows = [line.split() for line in lines[lines.index("") + 3 :]][:15]
    assert rows[0][0].startswith("edge")
    assert rows[0][-1] == "cause"
    assert any(row[-2] == "follows" for row in rows)
    # two digits of a q-value, at most one behind the point of anything else
    assert not re.search(r"\.\d{6}", out)
    assert f"of {n_values} values are causes" in out
    assert f"{n_values - 15} weaker ones are not shown (--all-rows)" in out
    status, everything, _ = hitsduck("explain", *pair, "--all-rows")
    assert (status, "not shown" in everything) == (0, False)
    assert len(everything.splitlines()) == len(lines) + n_values - 15


def test_integrity_says_that_examples_are_a_few(hitsduck, apdb):
    status, out, _ = hitsduck("integrity", apdb)
    assert (status, "examples (at most 5)" in out.splitlines()[0]) == (0, True)


def test_integrity_names_what_contradicts_itself(hitsduck, apdb):
    status, out, _ = hitsduck("integrity", apdb, "--json")
    assert status == 0
    found = {row["check"]: row for row in json.loads(out)}
    assert all(row["rerun"] == "Apr2020" for row in found.values())
    # Object 13 has no source; every source has its object.
    named = next(row for check, row in found.items() if "without" in check and row["count"] == 1)
    assert any("13" in example for example in named["examples"])


def test_integrity_for_a_person_ends_with_the_definition_and_the_files(hitsduck, apdb):
    status, out, _ = hitsduck("integrity", apdb)
    assert status == 0
    table, _, footer = out.partition("\n\n")
    assert "good source: none of bad, suspect, saturatedCenter (dm25125)" in footer
    assert footer.endswith(f"Apr2020: {apdb}\n")
    # No metadata table says how often each object was seen: why is said below, not in a cell.
    assert str(apdb) not in table


def test_integrity_says_once_why_checks_were_not_made(hitsduck, shared):
    path = shared / "data" / "apdb" / "packed-2021.sqlite3"
    status, out, _ = hitsduck("integrity", path)
    assert status == 0
    assert out.count("visit and detector cannot be told") == 1
    assert "outside_detector_area, repeated_detections: rerun 'packed-2021'" in out


def test_src_counts_for_a_person_ends_with_the_files(hitsduck, apdb, later):
    status, out, _ = hitsduck("src-counts", apdb, later)
    assert status == 0
    assert out.endswith(f"Apr2020: {apdb}\nMay2020: {later}\n")


def test_src_counts_of_simulated_reruns_are_the_same(hitsduck, tmp_path):
    hitsduck("simulate", tmp_path, "--preset", "small")
    status, out, _ = hitsduck("src-counts", tmp_path / "Apr2020", tmp_path / "Jun2020", "--json")
    assert status == 0
    found = {(row["visit"], row["detector"]): row for row in json.loads(out)}
    assert set(found) >= {(410985, 47), (410987, 51), (421590, 4)}
    assert all(row["difference"]["Jun2020"] == 0 for row in found.values())
    assert not any(row["same_file"] for row in found.values())


def test_info_as_json_says_how_things_are_known(hitsduck, apdb):
    status, out, _ = hitsduck("info", apdb, "--json")
    assert status == 0
    (found,) = json.loads(out)
    assert found["instrument"] == "DECam"
    assert found["instrument_found_by"] == "metadata"
    assert found["flag_encoding"] == "boolean"
    assert found["generation"] == "9.0.0 and later"
    assert found["visits"] == [7, 8]
    assert found["detectors"] == [5, 6]
    assert found["n_rows"]["DiaSource"] == 3


def test_info_for_a_person_names_the_instrument_and_the_definition(hitsduck, apdb):
    status, out, _ = hitsduck("info", apdb)
    assert status == 0
    assert "DECam (by the file's metadata)" in out
    assert "simulated" not in out
    assert "pixelFlags_saturatedCenter (dm25125)" in out


def test_info_says_that_a_file_is_simulated(hitsduck, apdb, tmp_path):
    hitsduck("simulate", tmp_path / "sim", "--preset", "small", "--src-catalogs", "none")
    simulated = tmp_path / "sim" / "Apr2020"
    _, out, _ = hitsduck("info", simulated)
    assert f"{simulated}/association.db (simulated by hitsduck: no telescope" in out
    _, out, _ = hitsduck("info", simulated, f"other={apdb}", "--json")
    assert [found["is_simulated"] for found in json.loads(out)] == [True, False]
    stored = tmp_path / "both.hitsduck"
    assert hitsduck("workspace", "create", stored, simulated, f"other={apdb}")[0] == 0
    _, out, _ = hitsduck("info", stored, "--json")
    assert [found["is_simulated"] for found in json.loads(out)] == [True, False]


def test_everything_in_a_folder_of_the_simulator_is_its_reruns(hitsduck, tmp_path):
    folder = tmp_path / "sim"
    hitsduck("simulate", folder, "--preset", "small", "--src-catalogs", "none")
    everything = sorted(folder.iterdir())
    assert folder / "SIMULATED.txt" in everything
    status, out, _ = hitsduck("counts", *everything, "--json")
    assert status == 0
    assert [row["rerun"] for row in json.loads(out)] == ["Apr2020", "Jun2020", "May2020"]
    # As `demo` leaves it, with its report.
    (folder / "report.html").write_text("<!doctype html>", encoding="utf-8")
    assert hitsduck("counts", *sorted(folder.iterdir()), "--json")[:2] == (0, out)
    for alone in ("SIMULATED.txt", "report.html"):
        status, _, err = hitsduck("counts", folder / alone)
        assert (status, err.count("\n")) == (1, 1)
        assert f"{alone} is no rerun, but lies beside simulated ones" in err
        with pytest.raises(RerunNameError, match="name their folders"):
            open_reruns(folder / alone)
    # Another file of the name is one that somebody wants opened.
    other = tmp_path / "SIMULATED.txt"
    other.write_text("notes\n", encoding="utf-8")
    status, _, err = hitsduck("counts", other)
    assert status != 0
    assert "SIMULATED.txt" in err


def test_info_names_the_cameras_that_fit_where_several_do(hitsduck, shared):
    _, out, _ = hitsduck("info", shared / "data" / "apdb" / "imsim-2023-packed.sqlite3")
    assert "not known: LSSTCam and LSSTCam-imSim fit this file; state one with --instrument" in out
    assert "ambiguous" not in out


def test_sql_prints_every_row_as_table_csv_and_json(hitsduck, apdb):
    query = "select diaSourceId, psfFlux, pixelFlags_streak from dia_source order by diaSourceId"
    status, out, err = hitsduck("sql", apdb, query)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["1", "2", "3"]
    assert err == "3 rows\n"
    _, out, _ = hitsduck("sql", apdb, query, "--format", "csv")
    assert [row["psfFlux"] for row in csv.DictReader(io.StringIO(out))] == [
        "100.0",
        "300.0",
        "-50.0",
    ]
    _, out, _ = hitsduck("sql", apdb, query, "--format", "json")
    assert [row["diaSourceId"] for row in json.loads(out)] == [1, 2, 3]


def test_sql_takes_json_as_the_other_commands_do(hitsduck, apdb):
    query = "select diaSourceId from dia_source order by 1"
    status, out, _ = hitsduck("sql", apdb, query, "--json")
    assert status == 0
    assert json.loads(out) == [{"diaSourceId": number} for number in (1, 2, 3)]
    assert hitsduck("sql", apdb, query, "--format", "json")[1] == out


def test_sql_writes_lists_and_structs_into_csv_as_json(hitsduck, apdb):
    query = (
        "select visits, {'a': 1, 'b': [0.5::double]} as s, null::integer[] as none, 'x;\"y' as t "
        "from rerun_summary"
    )
    status, out, _ = hitsduck("sql", apdb, query, "--format", "csv")
    assert status == 0
    ((visits, struct, none, text),) = list(csv.reader(io.StringIO(out)))[1:]
    assert json.loads(visits) == [7, 8]
    assert json.loads(struct) == {"a": 1, "b": [0.5]}
    assert (none, text) == ("", 'x;"y')


def test_sql_says_how_many_rows_there_are(hitsduck, apdb, tmp_path):
    assert hitsduck("sql", apdb, "select 1 as a")[2] == "1 row\n"
    assert hitsduck("sql", apdb, "select diaSourceId from dia_source")[2] == "3 rows\n"


def test_sql_writes_parquet(hitsduck, apdb, tmp_path):
    target = tmp_path / "out.parquet"
    status, _, _ = hitsduck(
        "sql", apdb, "select * from good_dia_source", "--format", "parquet", "--output", target
    )
    assert status == 0
    assert sorted(pl.read_parquet(target)["diaSourceId"]) == [1, 3]
    status, _, err = hitsduck("sql", apdb, "select 1 as one", "--format", "parquet")
    assert status == 2
    assert "--output" in err


def test_sql_writes_what_the_suffix_says(hitsduck, apdb, tmp_path):
    query = "select diaSourceId from dia_source order by 1"
    for suffix in ("csv", "parquet", "json"):
        status, _, _ = hitsduck("sql", apdb, query, "--output", tmp_path / f"x.{suffix}")
        assert status == 0
    assert pl.read_parquet(tmp_path / "x.parquet")["diaSourceId"].to_list() == [1, 2, 3]
    assert pl.read_csv(tmp_path / "x.csv")["diaSourceId"].to_list() == [1, 2, 3]
    assert len(json.loads((tmp_path / "x.json").read_text())) == 3
    status, _, err = hitsduck("sql", apdb, query, "--output", tmp_path / "x.docx")
    assert status == 2
    assert "no form is known by .docx" in err


def test_a_long_table_looks_like_a_short_one(hitsduck, apdb, monkeypatch):
    query = "select diaSourceId, visit, band, psfFlux from dia_source order by 1"
    _, short, _ = hitsduck("sql", apdb, query)
    monkeypatch.setattr("hitsduck.cli.printing._MOST_RICH_CELLS", 3)
    _, long, _ = hitsduck("sql", apdb, query)
    assert long == short


def test_sql_binds_parameters(hitsduck, apdb):
    _, out, _ = hitsduck(
        "sql",
        apdb,
        "select count(*) as n from dia_source where visit = $visit",
        "--param",
        "visit=7",
        "--format",
        "json",
    )
    assert json.loads(out) == [{"n": 2}]


def test_sql_shows_sums_and_decimals_as_json_numbers(hitsduck, apdb):
    query = (
        "select sum(n_dia_sources) as n, 1.5 as half, 9007199254740993 + 0::hugeint as large, "
        "0.12345678901234567890123::decimal(38, 23) as fine from rerun_counts"
    )
    status, out, _ = hitsduck("sql", "--json", apdb, query)
    (row,) = json.loads(out)
    with closing(sqlite3.connect(apdb)) as plain:
        (n,) = plain.execute("select count(*) from DiaSource").fetchone()
    # 2^53 + 1 is no double; 23 digits are none either, and stay a text.
    assert status == 0
    assert row == {"n": n, "half": 1.5, "large": 2**53 + 1, "fine": "0.12345678901234567890123"}


def test_sql_shows_nan_and_infinity_as_json_null(hitsduck, apdb):
    status, out, _ = hitsduck(
        "sql", apdb, "select 'nan'::double as a, 'inf'::double as b", "--format", "json"
    )
    assert status == 0
    assert json.loads(out) == [{"a": None, "b": None}]


def test_a_wide_table_is_not_cut(hitsduck, apdb):
    _, out, _ = hitsduck("sql", apdb, "select repeat('x', 500) as text")
    assert "x" * 500 in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["counts", "nowhere.db"], "no such file"),
        (["counts", "A=nowhere.db"], "no such file"),
        (["sql", "{apdb}", "drop table x"], "SELECT"),
        (["sql", "{apdb}", "select nothing from dia_source"], "nothing"),
        (["counts", "{apdb}", "--bad-flags", "bads"], "pixelFlags_bad"),
        (["counts", "{apdb}", "--instrument", "Hubble"], "Hubble"),
        (["counts", "a={apdb}", "A={apdb}"], "case"),
        (["counts", "{apdb}", "--where", "1; select 2"], "1; select 2"),
        (["counts", "{apdb}", "--memory-limit", "much"], "much"),
        (["counts", "{apdb}", "--memory-limit", "2"], "2GB say"),
        (["counts", "{apdb}", "--where", "psFlux > 3"], "error: the condition 'psFlux > 3': "),
        (["compare", "{apdb}", "B={apdb}", "--by", "dtector"], "did you mean detector? (all: "),
        (
            ["compare", "{apdb}", "B={apdb}", "--by", "ra +"],
            "is no expression on the sources' columns",
        ),
        (["compare", "{apdb}", "B={apdb}", "--by", "nothing"], 'sql RERUN "describe dia_source"'),
        (["compare", "{apdb}", "B={apdb}", "--radius-arcsec", "-1"], "not -1.0 (--radius-arcsec)"),
        (["explain", "{apdb}", "B={apdb}", "--extra", "a=ccd"], "did you mean detector?"),
        (["sql", "{apdb}", "select 1 from DiaSource"], "did you mean dia_source?"),
        (["sql", "{apdb}", "select $v"], "--param NAME=VALUE"),
        (["sql", "{apdb}", "select 1", "--param", "v=1"], "the query has no $v"),
        (["sql", "{apdb}", "select interval 1 day as i", "--format", "csv"], "column i is an"),
        (["explain", "{apdb}", "B={apdb}", "--extra", "visit=ra"], "choose another name"),
        (["explain", "{apdb}", "B={apdb}", "--extra", "night=night"], "choose another name"),
        (["counts", ""], "error: a RERUN is empty"),
        (["counts", "A="], "error: A=: the path is empty"),
        (["counts", "/dev/null"], "error: /dev/null: neither a file nor a folder"),
        (["chart", "counts", "{apdb}", "--rerun", "Z", "--output", "c.html"], "called 'Z'"),
        (["compare", "{apdb}", "B={apdb}", "--output", "/proc/nowhere"], "/proc/nowhere: cannot"),
    ],
)
def test_an_error_of_ours_is_one_line_and_status_1(hitsduck, apdb, arguments, words):
    status, out, err = hitsduck(*(argument.format(apdb=apdb) for argument in arguments))
    assert status == 1
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["counts"],
        ["compare", "one"],
        ["unknown"],
        ["counts", "--nonsense"],
        ["compare", "one", "two", "--edge-within", "-1"],
        ["compare", "one", "two", "--edge-within", "0"],
        ["explain", "one", "two", "--extra", "a=x", "--extra", "a=y"],
    ],
)
def test_a_wrong_call_is_status_2(hitsduck, arguments):
    status, _, err = hitsduck(*arguments)
    assert status == 2
    assert "Usage:" in err


@pytest.mark.parametrize("named", ["{apdb}", "A={apdb}"])
def test_a_query_before_its_reruns_is_told_to_come_last(hitsduck, apdb, named):
    status, out, err = hitsduck("sql", "select 1 as one", named.format(apdb=apdb))
    assert (status, out) == (2, "")
    assert f"the QUERY comes last, after the reruns; {named.format(apdb=apdb)} is a path" in err


def test_a_query_may_be_called_like_a_file(hitsduck, apdb, tmp_path, monkeypatch):
    (tmp_path / "from good_dia_source").touch()
    monkeypatch.chdir(tmp_path)
    status, out, _ = hitsduck("sql", apdb, "from good_dia_source", "--json")
    assert status == 0
    assert json.loads(out)


def test_a_path_that_exists_is_never_split_at_its_equals_sign(hitsduck, tmp_path):
    folder = tmp_path / "seed=7"
    folder.mkdir()
    make_apdb(folder / "association.db", sources=SOURCES, objects=OBJECTS)
    status, out, _ = hitsduck("counts", folder, "--json")
    assert status == 0
    assert json.loads(out)[0]["rerun"] == "seed=7"


def test_a_name_ends_at_the_first_equals_sign(hitsduck, tmp_path):
    folder = tmp_path / "seed=7"
    folder.mkdir()
    make_apdb(folder / "association.db", sources=SOURCES, objects=OBJECTS)
    _, out, _ = hitsduck("counts", f"seven={folder}", "--json")
    assert json.loads(out)[0]["rerun"] == "seven"


def test_a_warning_goes_to_stderr_and_the_answer_stays_whole(hitsduck, tmp_path):
    path = make_apdb(tmp_path / "old.db", generation="2020", sources=SOURCES, objects=OBJECTS)
    status, out, err = hitsduck("counts", path, "--json", "--bad-flags", "bad,streak")
    assert status == 0
    assert err.startswith("warning: ")
    assert "pixelFlags_streak" in err
    assert json.loads(out)[0]["n_good_dia_sources"] == 2


def test_every_command_has_help(hitsduck):
    for name in cli.cli.commands:
        status, out, _ = hitsduck(name, "--help")
        assert status == 0
        assert out.startswith(f"Usage: hitsduck {name}")


def test_every_command_that_prints_a_table_has_json():
    for name in ("info", "counts", "compare", "explain", "integrity", "src-counts"):
        assert any(p.name == "as_json" for p in cli.cli.commands[name].params)


def test_simulate_writes_reruns_that_counts_reads(hitsduck, tmp_path):
    status, out, _ = hitsduck("simulate", tmp_path / "sim", "--preset", "small", "--seed", "1")
    assert status == 0
    named = out.split()
    assert [argument.split("=")[0] for argument in named] == ["Apr2020", "May2020", "Jun2020"]
    _, out, _ = hitsduck("counts", *named, "--json")
    with sqlite3.connect(tmp_path / "sim" / "May2020" / "association.db") as connection:
        (truth,) = connection.execute("select count(*) from DiaSource").fetchone()
    connection.close()
    assert json.loads(out)[1]["n_dia_sources"] == truth


def test_a_chart_takes_a_window_and_a_table(hitsduck, apdb, tmp_path):
    for name, options in (
        ("sky_zoom", ("--window", "149", "151", "1", "3")),
        ("sky_map", ("--table", "objects")),
    ):
        target = tmp_path / f"{name}.json"
        pair = (f"a={apdb}", f"b={apdb}")
        status, out, err = hitsduck("chart", name, *pair, *options, "--output", target)
        assert (status, out) == (0, f"{target}\n"), err
        assert json.loads(target.read_text())["$schema"].endswith(".json")
    status, _, err = hitsduck("chart", "vists", apdb, "--output", tmp_path / "x.json")
    assert status == 1
    assert "did you mean visits?" in err


def test_where_nothing_is_new_no_part_of_it_is_told(hitsduck, apdb, tmp_path):
    # the second rerun has one more source, without a position
    more = dict(SOURCES[0], diaSourceId=9, ra=None)
    path = make_apdb(
        tmp_path / "b.db",
        sources=[*SOURCES, more],
        objects=OBJECTS,
        metadata={"instrument": "DECam"},
        constraints=False,
    )
    _, out, _ = hitsduck("compare", apdb, path)
    assert "nothing new, nothing gone; 0 and 1 without a usable position" in out
    (edges,) = [line for line in out.splitlines() if line.startswith("edges: ")]
    assert edges == (
        "edges: no newly detected source with a position on an image of both, so none within "
        "32 px of an edge"
    )


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet", "txt"])
def test_an_output_in_a_folder_that_is_missing_is_named_as_it_was_given(
    hitsduck, apdb, tmp_path, suffix
):
    target = tmp_path / "missing" / f"x.{suffix}"
    status, _, err = hitsduck("sql", apdb, "select 1 as a", "--output", target)
    assert status == 1
    assert err == f"error: {target}: there is no folder {target.parent}; make it first\n"


def test_an_output_that_cannot_be_written_is_named_as_it_was_given(hitsduck, apdb):
    status, _, err = hitsduck("sql", apdb, "select 1 as a", "--output", "/proc/x.csv")
    assert status == 1
    assert err.startswith("error: /proc/x.csv: cannot be written: ")
