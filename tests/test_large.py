"""Comparison visit by visit: the same answers as with every source at once."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
import pytest
from apdb_files import make_apdb
from click.testing import CliRunner
from polars.testing import assert_frame_equal
from stores import STORES, stored

import hitsduck
from hitsduck import held, large
from hitsduck.cli import cli
from hitsduck.comparison import Comparison
from hitsduck.errors import MatchError, OutputError, QueryError, SchemaError, TooLargeError
from hitsduck.large import LargeComparison
from hitsduck.report import write_report
from hitsduck.simulator import simulate

ROWS_AT_ONCE = 1500
LISTS = ("matched", "left_only", "right_only")


@pytest.fixture(scope="session")
def simulated_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("large")
    simulate(folder, preset="small", generation="1.0.0")
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()}


@pytest.fixture(scope="module", params=STORES)
def stored_reruns(
    request: pytest.FixtureRequest,
    simulated_files: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[hitsduck.Reruns]:
    folder = tmp_path_factory.mktemp(request.param)
    with hitsduck.open_reruns(stored(simulated_files, request.param, folder)) as opened:
        yield opened


@pytest.fixture(scope="module")
def reruns(simulated_files: dict[str, Path]) -> Iterator[hitsduck.Reruns]:
    with hitsduck.open_reruns(simulated_files) as opened:
        yield opened


def both(
    reruns: hitsduck.Reruns, left: str, right: str, **options: object
) -> tuple[Comparison, LargeComparison]:
    whole = reruns.compare(left, right, **options)  # type: ignore[arg-type]
    parts = reruns.compare(left, right, rows_at_once=ROWS_AT_ONCE, **options)  # type: ignore[arg-type]
    assert type(whole) is Comparison
    assert isinstance(parts, LargeComparison)
    assert parts.n_groups > 2
    return whole, parts


def test_numbers_are_those_of_all_at_once(stored_reruns: hitsduck.Reruns):
    whole, parts = both(stored_reruns, *stored_reruns.names[:2])
    assert parts.summary() == whole.summary()
    assert parts.verdict() == whole.verdict()
    assert_frame_equal(parts.by("band"), whole.by("band"))


@pytest.mark.parametrize(
    "options",
    [
        {"good": False, "how": "all", "radius_arcsec": 2.0},
        {"where": "psf_snr > 6", "how": "best1"},
        {"radius_px": 3.0, "how": "best2"},
    ],
    ids=str,
)
def test_numbers_are_those_of_all_at_once_under_any_rule(
    reruns: hitsduck.Reruns, options: dict[str, object]
):
    names = reruns.names
    whole, parts = both(reruns, names[0], names[-1], **options)
    assert parts.n_matched > 100
    assert parts.summary() == whole.summary()
    assert parts.verdict() == whole.verdict()
    assert parts.decomposition() == whole.decomposition()
    for within_px in (16.0, 100.0, 128.0):
        assert parts.edges(within_px=within_px) == whole.edges(within_px=within_px)
    assert repr(parts) == repr(whole)
    assert_frame_equal(parts.coverage(), whole.coverage())
    assert_frame_equal(parts.presumed_images, whole.presumed_images)
    assert_frame_equal(parts.by("detector", "band"), whole.by("detector", "band"))
    near = pl.col("edge_distance_px") < 64
    assert_frame_equal(parts.by(near), whole.by(near))
    assert parts.turnover().summary() == whole.turnover().summary()
    assert_frame_equal(
        parts.turnover().objects.drop("group"),
        whole.turnover().objects.drop("group"),
    )


def test_a_scope_of_visits_holds_their_sources_alone(stored_reruns: hitsduck.Reruns):
    reruns = stored_reruns
    name = reruns.names[0]
    visits = reruns.sql(f'select distinct visit from "{name}".dia_source order by visit').polars()[
        "visit"
    ]
    asked = (int(visits[1]), int(visits[3]))
    relation = reruns.scope(name, "dia_source", visits=asked)
    found = reruns.query(f"select visit, count(*) as n from {relation} group by all order by all")
    truth = reruns.sql(
        f'select visit, count(*) as n from "{name}".dia_source where visit between $low and $high '
        "group by all order by all",
        low=asked[0],
        high=asked[1],
    )
    assert found.rows() == truth.rows()
    reruns.leave_visits(asked)
    (left,) = reruns.query(
        "select count(*) as n from duckdb_schemas() where schema_name like 'hitsduck_scope%'"
    ).rows()
    assert left["n"] == 0


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_written_lists_are_the_same_files(
    simulated_files: dict[str, Path], tmp_path: Path, form: str
):
    with hitsduck.open_reruns(simulated_files) as reruns:
        whole, parts = both(reruns, *list(simulated_files)[:2])
        truth = whole.write(tmp_path / "whole", form=form)
        written = parts.write(tmp_path / "parts", form=form)
    assert set(written) == set(LISTS)
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {
        f"{name}.{form}" for name in LISTS
    }
    for name in LISTS:
        rows, other = (duckdb.sql(f"from '{paths[name]}'").fetchall() for paths in (written, truth))
        assert rows == other
        assert (
            len(rows)
            == {
                "matched": whole.n_matched,
                "left_only": whole.n_left_only,
                "right_only": whole.n_right_only,
            }[name]
        )


def sharing_ids(folder: Path, rows: Callable[[float], list[dict[str, object]]]) -> dict[str, Path]:
    """Write two reruns, the second with its sources shifted, of ids 0 to 2 again and again."""
    files = {
        name: make_apdb(folder / name / "a.db", sources=rows(shift))
        for name, shift in (("a", 0.0), ("b", 0.005))
    }
    for file in files.values():
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("create table plain as select * from DiaSource")  # without a key
            connection.execute("drop table DiaSource")
            connection.execute("alter table plain rename to DiaSource")
            connection.execute("update DiaSource set diaSourceId = diaSourceId % 3")
    return files


def test_sources_that_share_ids_are_told_apart(tmp_path: Path):
    # Every source lies elsewhere; every sixth is shifted, by 18 arcsec: 100 pairs.
    def rows(shift: float) -> list[dict[str, object]]:
        return [
            {"diaSourceId": n, "diaObjectId": n % 30, "visit": 410985 + n % 8}
            | {"detector": 5 + n % 5, "ra": 150.0 + n * 0.01 + shift * (n % 6 == 0), "dec": 0.0}
            | {"x": 15.0 * n + 9.0, "y": 30.0 * n + 9.0, "psfFlux": 100.0 + n, "psfFluxErr": 10.0}
            for n in range(120)
        ]

    files = sharing_ids(tmp_path, rows)
    with hitsduck.open_reruns(files, instrument="DECam") as reruns:
        whole, parts = reruns.compare("a", "b"), reruns.compare("a", "b", rows_at_once=40)
        assert whole.n_matched == parts.n_matched == 100
        for name in LISTS:
            assert_frame_equal(getattr(parts, name), getattr(whole, name))
        truth = reruns.sql("select x, focal_x_mm, focal_y_mm from b.dia_source_focal_plane")
        radius = {row["x"]: (row["focal_x_mm"], row["focal_y_mm"]) for row in truth.rows()}
        for comparison in (whole, parts):
            right = comparison.evidence.explanation.filter(side="right")
            assert right.height == 120
            for x, radius_mm in right.select("x", "focal_radius_mm").iter_rows():
                assert radius_mm == pytest.approx(math.hypot(*radius[x]))
        assert_frame_equal(parts.explain().frame, whole.explain().frame)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_equal_ids_are_written_in_one_order(tmp_path: Path, form: str):
    # All are of one flux: what is left tells them apart.
    def rows(shift: float) -> list[dict[str, object]]:
        return [
            {"diaSourceId": n, "diaObjectId": 1, "visit": 410985 + n % 4, "detector": 5}
            | {"ra": 150.0 + n * 0.01 + shift, "dec": 0.0, "x": 9.0, "y": 9.0}
            | {"psfFlux": 100.0, "psfFluxErr": 10.0}
            for n in range(40)
        ]

    files = sharing_ids(tmp_path, rows)
    with hitsduck.open_reruns(files, instrument="DECam") as reruns:
        whole = reruns.compare("a", "b").write(tmp_path / "whole", form=form)
        parts = reruns.compare("a", "b", rows_at_once=10).write(tmp_path / "parts", form=form)
    for name in LISTS:
        found = [duckdb.sql(f"from '{paths[name]}'").fetchall() for paths in (whole, parts)]
        assert found[0] == found[1]
        assert len(found[0]) == (0 if name == "matched" else 40)


def test_a_folder_in_the_way_leaves_no_list(simulated_files: dict[str, Path], tmp_path: Path):
    (tmp_path / "lists" / "left_only.csv").mkdir(parents=True)
    with hitsduck.open_reruns(simulated_files) as reruns:
        for comparison in both(reruns, *list(simulated_files)[:2]):
            with pytest.raises(OutputError, match=r"left_only\.csv: is a folder"):
                comparison.write(tmp_path / "lists", form="csv")
            assert [path.name for path in (tmp_path / "lists").iterdir()] == ["left_only.csv"]


def in_any_order(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort(frame.columns)


def test_an_explanation_is_that_of_all_at_once(stored_reruns: hitsduck.Reruns):
    whole, parts = both(stored_reruns, *stored_reruns.names[:2])
    told, other = whole.explain(), parts.explain()
    assert told.causes.height > 0
    assert_frame_equal(other.frame, told.frame)
    assert other.sentences() == told.sentences()
    assert other.skipped == told.skipped
    assert_frame_equal(parts.differences(), whole.differences())


@pytest.mark.parametrize(
    "options",
    [
        {"good": False, "how": "all", "radius_arcsec": 2.0},
        {"where": "psf_snr > 6", "how": "best1"},
        {"radius_px": 3.0, "how": "best2"},
    ],
    ids=str,
)
def test_explanations_under_any_rule_and_with_dimensions_of_ones_own(
    reruns: hitsduck.Reruns, options: dict[str, object]
):
    whole, parts = both(reruns, reruns.names[0], reruns.names[-1], **options)
    extra: dict[str, str | pl.Expr] = {
        "half": "x < 1024",
        "tens": pl.col("psf_snr") / 10,
        "quality": pl.col("band"),
    }
    for more in ({"depth": 2}, {"part": "masking"}, {"extra": extra}):
        told, other = whole.explain(**more), parts.explain(**more)  # type: ignore[arg-type]
        assert_frame_equal(other.frame, told.frame)
        assert told.frame.height > 100
    assert set(told.frame["dimension"]) >= set(extra)
    for wrong in ({"n": "row_number() over ()"}, {"n": pl.col("x").rank()}):
        with pytest.raises(TooLargeError, match="looks at other sources"):
            parts.explain(extra=wrong)
    for wrong in ({"visit": "x"}, {"n": "no_such_column"}, {"n": 5}, ["x"], [], "", 0, 5):
        for comparison in (whole, parts):
            with pytest.raises(QueryError):
                comparison.explain(extra=wrong)  # type: ignore[arg-type]
    own = {"y": "y", "diaSourceId": "diaSourceId"}
    assert_frame_equal(parts.explain(extra=own).frame, whole.explain(extra=own).frame)
    for comparison in (whole, parts):
        with pytest.raises(SchemaError, match=r"column id has \d+ different values or more"):
            comparison.explain(extra={"id": "diaSourceId::varchar"})


def test_frames_are_those_of_all_at_once(reruns: hitsduck.Reruns):
    for options in ({}, {"good": False, "how": "all", "radius_px": 8.0}):
        whole, parts = both(reruns, reruns.names[0], reruns.names[-1], **options)
        for name in LISTS:
            assert_frame_equal(getattr(parts, name), getattr(whole, name))
        columns = [name for name in whole.matched.columns if name.startswith(("sep_", "delta_"))]
        found, truth = (comparison.pairs(*columns) for comparison in (parts, whole))
        assert found.columns == columns
        assert_frame_equal(in_any_order(found), in_any_order(truth))
        assert_frame_equal(parts.differences(), whole.differences())
        for comparison in (whole, parts):
            with pytest.raises(QueryError, match="pairs have no 'psfFlux'; they have"):
                comparison.pairs("visit", "psfFlux")
            assert comparison.pairs("visit", "visit").columns == ["visit"]
            with pytest.raises(QueryError, match="name one at least"):
                comparison.pairs()


def test_relations_are_those_of_all_at_once(reruns: hitsduck.Reruns):
    whole, parts = both(reruns, *reruns.names[:2])
    schemas = [comparison.register() for comparison in (whole, parts)]
    assert parts.register() == schemas[1] != schemas[0]
    for name in LISTS:
        found = [in_any_order(reruns.query(f"from {s}.{name}").polars()) for s in schemas]
        assert_frame_equal(found[0], found[1])
        assert found[0].height > 10
    _, broken = both(reruns, *reruns.names[:2])
    broken.where = "no_such_column > 3"
    with pytest.raises(QueryError):
        broken.register("broken")
    (left,) = reruns.query(
        "select count(*) as n from duckdb_schemas() where schema_name = 'broken'"
    ).rows()
    assert left["n"] == 0


def test_pictures_are_those_of_all_at_once(
    simulated_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    names = ("matched_pairs", "edge_distances", "dashboard", "explanation")
    frames = []
    for most in (large.MOST_AT_ONCE, 1_000):
        monkeypatch.setattr(large, "MOST_AT_ONCE", most)
        monkeypatch.setattr(large, "ROWS_AT_ONCE", ROWS_AT_ONCE)
        with hitsduck.open_reruns(simulated_files) as reruns:
            frames.append(reruns.charts_data(names, compare=("Apr2020", "Jun2020")))
            alone = reruns.chart_data("edge_distances", compare=("Apr2020", "Jun2020"))
            assert_frame_equal(alone, frames[-1]["edge_distances"])
    for name in names:
        assert_frame_equal(frames[1][name], frames[0][name])
        assert frames[0][name].height > 3


def test_what_there_is_no_room_for_says_so(
    simulated_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    for where, constant in (
        (held, "EXPLAINED_BYTES"),
        (held, "EDGE_BYTES"),
        (large, "PAIR_BYTES"),
        (large, "ONLY_BYTES"),
        (large, "NUMBER_BYTES"),
    ):
        monkeypatch.setattr(where, constant, 1_000_000_000)
    with hitsduck.open_reruns(simulated_files, memory_limit="1GB") as reruns:
        _, parts = both(reruns, *list(simulated_files)[:2])
        asking = [
            lambda: parts.matched,
            lambda: parts.left_only,
            lambda: parts.right_only,
            lambda: parts.evidence.edge,
            lambda: parts.evidence.explanation,
            lambda: parts.pairs("sep_arcsec"),
            parts.explain,
            parts.differences,
        ]
        for ask in asking:
            with pytest.raises(TooLargeError, match=r"GB of memory .* 1\.0 are allowed; narrow"):
                ask()
        assert parts.register()
        for wrong in (0, -3, 1.5, True, "many"):
            with pytest.raises(QueryError, match="rows_at_once"):
                reruns.compare(parts.left, parts.right, rows_at_once=wrong)  # type: ignore[arg-type]


def test_a_failure_leaves_no_list(simulated_files: dict[str, Path], tmp_path: Path):
    with hitsduck.open_reruns(simulated_files) as reruns:
        _, parts = both(reruns, *list(simulated_files)[:2])
        parts.where = "no_such_column > 3"
        with pytest.raises(QueryError):
            parts.write(tmp_path / "lists")
    assert list((tmp_path / "lists").iterdir()) == []


def test_sources_without_visit_or_position_are_counted(tmp_path: Path):
    def source(number: int, **cells: object) -> dict[str, object]:
        at = {"visit": 410985 + number % 4, "detector": 5, "ra": 150.0 + number, "dec": 0.0}
        return {"diaSourceId": number, "diaObjectId": number, "x": 9.0, "y": 9.0} | at | cells

    same = [source(number) for number in range(40)]
    odd = [source(101, visit=None), source(102, ra=None), source(103, detector=None)]
    files = {
        "a": make_apdb(tmp_path / "a" / "a.db", sources=same, constraints=False),
        "b": make_apdb(tmp_path / "b" / "b.db", sources=[*same[3:], *odd], constraints=False),
    }
    with hitsduck.open_reruns(files, instrument="DECam") as reruns:
        whole = reruns.compare("a", "b")
        parts = reruns.compare("a", "b", rows_at_once=20)
        assert isinstance(parts, LargeComparison)
        # by hand: 40 and 37 + 3; 37 pairs, three gone, three that can match nothing
        assert (parts.n_left, parts.n_right, parts.n_matched) == (40, 40, 37)
        assert (parts.n_left_only, parts.n_right_only, parts.n_right_unusable) == (3, 3, 3)
        assert parts.summary() == whole.summary()
        assert parts.verdict() == whole.verdict()
        mirrored = reruns.compare("b", "a", rows_at_once=20)
        assert (mirrored.n_left_only, mirrored.n_right_only) == (3, 3)
        itself = reruns.compare("b", "b", rows_at_once=5)
        assert (itself.n_left_only, itself.n_right_only) == (3, 3)
        assert itself.same_file


def test_reruns_without_sources_compare(tmp_path: Path):
    files = {
        name: make_apdb(tmp_path / name / "a.db", sources=sources)
        for name, sources in (
            ("none", []),
            ("some", [{"diaSourceId": k, "visit": k, "detector": 2} for k in (1, 2, 3)]),
        )
    }
    with hitsduck.open_reruns(files, instrument="DECam") as reruns:
        parts = reruns.compare("none", "some", rows_at_once=1)
        assert isinstance(parts, LargeComparison)
        assert parts.summary() == reruns.compare("none", "some").summary()


def test_the_command_answers_the_same(simulated_files: dict[str, Path]):
    left, right = list(simulated_files.values())[:2]
    answers = []
    for options in ([], ["--rows-at-once", str(ROWS_AT_ONCE)]):
        result = CliRunner().invoke(
            cli, ["compare", str(left), str(right), "--json", "--by", "band", "--objects", *options]
        )
        assert result.exit_code == 0, result.output
        answers.append(json.loads(result.stdout))
    assert answers[0] == answers[1]


def test_a_limit_of_memory_is_kept(simulated_files: dict[str, Path]):
    names = list(simulated_files)[:2]
    with hitsduck.open_reruns(simulated_files, memory_limit="500MB") as reruns:
        assert reruns.memory_limit_bytes == pytest.approx(500e6, rel=0.01)
        assert type(reruns.compare(*names)) is Comparison
    with hitsduck.open_reruns(simulated_files) as reruns:
        assert reruns.memory_limit_bytes is None
    # one source per 400 bytes: 2 GB hold 5 million, and no more than 4 million of a group
    assert large._at_once(2_000_000_000, None) == (5_000_000, 4_000_000)
    assert large._at_once(400_000, None) == (1_000, 1_000)
    assert large._at_once(None, None) == (20_000_000, 4_000_000)
    assert large._at_once(400_000, 70) == (70, 70)


@pytest.mark.parametrize("has_room", [True, False])
def test_a_report_of_large_reruns(
    simulated_files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_room: bool,
):
    monkeypatch.setattr(large, "MOST_AT_ONCE", 1_000)
    monkeypatch.setattr(large, "ROWS_AT_ONCE", ROWS_AT_ONCE)
    names = list(simulated_files)[:2]
    files = {name: simulated_files[name] for name in names}
    with hitsduck.open_reruns(files, memory_limit="1GB" if has_room else None) as reruns:
        found = reruns.compare(*names)
        assert isinstance(found, LargeComparison)
        verdict, cause = found.verdict(), found.explain().sentences()[1]
        if not has_room:
            monkeypatch.setattr(held, "EXPLAINED_BYTES", 1_000_000_000)
        text = write_report(reruns, tmp_path / "report.md").read_text(encoding="utf-8")
    assert verdict in text
    assert "Edge excess: density of new sources" in text
    assert ("An explanation would take" in text) is not has_room
    assert (cause in text) is has_room


def test_an_image_is_listed_once_where_sources_have_no_visit(tmp_path: Path):
    def source(number: int, **cells: object) -> dict[str, object]:
        at = {"visit": 410985 + number % 4, "detector": 5 + number % 3, "ra": 150.0 + number}
        return {"diaSourceId": number, "diaObjectId": number, "dec": 0.0, "x": 9.0, "y": 9.0} | (
            at | cells
        )

    same = [source(number) for number in range(120)]
    files = {
        "a": make_apdb(
            tmp_path / "a" / "a.db", sources=[*same, source(200, visit=None)], constraints=False
        ),
        "b": make_apdb(
            tmp_path / "b" / "b.db",
            # one image is missing: visit 410985, detector 5
            sources=[*(s for s in same if s["diaSourceId"] % 12), source(201, visit=None)],  # type: ignore[operator]
            constraints=False,
        ),
    }
    with hitsduck.open_reruns(files, instrument="DECam") as reruns:
        whole, parts = reruns.compare("a", "b"), reruns.compare("a", "b", rows_at_once=60)
        assert isinstance(parts, LargeComparison)
        assert whole.coverage()["n_only"].to_list() == [10]  # 120 sources on 12 images
        assert_frame_equal(parts.coverage(), whole.coverage())
        assert_frame_equal(parts.shared_images, whole.shared_images)
        assert_frame_equal(parts.presumed_images, whole.presumed_images)
        assert parts.summary() == whole.summary()


def test_what_looks_at_other_sources_is_refused(reruns: hitsduck.Reruns):
    _, parts = both(reruns, *reruns.names[:2])
    for key in (
        "row_number() over ()",
        "count(*) over (partition by diaObjectId) > 2",
        pl.col("psf_snr") > pl.col("psf_snr").mean(),
        pl.col("psf_snr").rank(),
    ):
        with pytest.raises(TooLargeError, match="looks at other sources"):
            parts.by(key)
    scopes = "select count(*) as n from duckdb_schemas() where schema_name like 'hitsduck_scope%'"
    before = reruns.query(scopes).rows()
    with pytest.raises(QueryError):
        parts.by("no_such_column > 3")
    assert reruns.query(scopes).rows() == before
    for wrong in (0, -1, float("nan")):
        with pytest.raises(MatchError, match="within_px"):
            parts.edges(within_px=wrong)


def test_a_series_goes_visit_by_visit_too(reruns: hitsduck.Reruns):
    whole, parts = (reruns.compare_all(rows_at_once=n) for n in (None, ROWS_AT_ONCE))
    assert_frame_equal(parts.table(), whole.table())
    assert parts.verdict() == whole.verdict()


def test_columns_are_checked_before_anything_is_read(reruns: hitsduck.Reruns):
    for rows_at_once in (None, ROWS_AT_ONCE):
        for wrong in (5, ["no_such_column"], [3]):
            with pytest.raises(QueryError):
                reruns.compare(*reruns.names[:2], columns=wrong, rows_at_once=rows_at_once)  # type: ignore[arg-type]
        kept = reruns.compare(*reruns.names[:2], columns="psf_snr", rows_at_once=rows_at_once)
        assert kept.n_matched > 100


def test_one_file_under_two_names_is_the_same_file(
    simulated_files: dict[str, Path], tmp_path: Path
):
    original = next(iter(simulated_files.values())) / "association.db"
    (tmp_path / "other.db").hardlink_to(original)
    with hitsduck.open_reruns({"a": original, "b": tmp_path / "other.db"}) as reruns:
        parts = reruns.compare("a", "b", rows_at_once=ROWS_AT_ONCE)
        assert isinstance(parts, LargeComparison)
        assert parts.same_file


def test_a_source_without_an_id_is_told_before_anything_else(tmp_path: Path):
    rows = [{"diaSourceId": k, "visit": 410985, "detector": 5} for k in range(1, 6)]
    bad = {"diaSourceId": None, "visit": 410985, "detector": 5, "pixelFlags_bad": True}
    files = {
        "a": make_apdb(tmp_path / "a" / "a.db", sources=rows),
        "b": make_apdb(tmp_path / "b" / "b.db", sources=[*rows, bad], constraints=False),
    }
    with hitsduck.open_reruns(files, instrument="DECam") as reruns:
        for rows_at_once in (None, 2):
            with pytest.raises(
                MatchError, match=r"rerun 'b' \(.*\): diaSourceId is NULL in 1 of 6"
            ):
                reruns.compare("a", "b", rows_at_once=rows_at_once)
            some = reruns.compare(
                "a", "b", where="diaSourceId is not null", rows_at_once=rows_at_once
            )
            assert some.n_matched == 0 == some.n_left - 5
            assert some.verdict()
