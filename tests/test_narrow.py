"""Views over few columns answer as the whole ones do, and only where nobody would notice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apdb_files import make_apdb
from polars.testing import assert_frame_equal

import hitsduck
from hitsduck import schema, views
from hitsduck.errors import QueryError


def source(number: int, **cells: Any) -> dict[str, Any]:
    return {
        "diaSourceId": number,
        "diaObjectId": 1 + number % 3,
        "visit": 410985 + number % 2,
        "detector": 5,
        "ra": 150.0 + 0.01 * number,
        "dec": 2.0,
        "x": 10.0 * number,
        "y": 20.0 * number,
        "psfFlux": 100.0 * number,
        "psfFluxErr": 10.0,
        "apFlux": 1000.0 - 90.0 * number,
        "pixelFlags_bad": number == 4,
    } | cells


OBJECTS = [{"diaObjectId": number, "ra": 150.0, "dec": 2.0} for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("narrow")
    rows = [source(number) for number in range(1, 9)]
    return {
        "April": make_apdb(folder / "april.db", sources=rows[:6], objects=OBJECTS),
        "June": make_apdb(folder / "june.db", sources=rows, objects=OBJECTS),
    }


@pytest.fixture
def statements() -> list[str]:
    return []


@pytest.fixture
def reruns(files: dict[str, Path], statements: list[str]) -> Iterator[hitsduck.Reruns]:
    with hitsduck.open_reruns(
        files, instrument="DECam", tracer=lambda sql, _: statements.append(sql)
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def whole(files: dict[str, Path]) -> Iterator[hitsduck.Reruns]:
    """Return the same reruns, whose every query goes to the views over all columns."""
    with hitsduck.open_reruns(files, instrument="DECam") as opened:
        opened._narrow_answer = lambda query, values: None  # type: ignore[method-assign]
        yield opened


def is_narrow(statements: list[str], query: str) -> bool:
    before = statements[: statements.index(query)]
    homes = [sql for sql in before if sql.startswith("set schema")]
    return homes[-1] == "set schema = '\"hitsduck_narrow\"'"


NARROW = [
    "select count(*) as n from dia_source",
    "select rerun, visit, count(*) as n from dia_source group by all order by all",
    "select diaSourceId, EDGE_DISTANCE_PX from dia_source_edge where is_good order by 1",
    "select s.x as place from dia_source as s join dia_object as o using (rerun, diaObjectId) "
    "order by place",
    "select visit from (select visit, 1 as n from dia_source) order by 1",
    "with bright as (select diaSourceId, psfFlux from dia_source where psfFlux > 300) "
    "select max(psfFlux) as most from bright",
    "select flag_set from rerun order by 1",
    "select detector, density_deg2 from detector_summary order by all",
    "select x from dia_source where diaSourceId in (select diaSourceId from good_dia_source) "
    "order by x",
]
WIDE = [
    "select * from dia_source order by diaSourceId, rerun",
    "select apFlux from dia_source order by 1",
    "select x from dia_source where apFlux > 500 order by 1",
    # An alias that is called like a column: the column goes before it.
    "select x as apFlux from dia_source where apFlux > 500 order by 1",
    "select s from dia_source as s order by s.diaSourceId, s.rerun",
    "select s as s from dia_source as s order by s.diaSourceId, s.rerun",
    "select dia_source from dia_source order by diaSourceId, rerun",
    "select columns('psf.*') from dia_source order by all",
    "select count(*) as n from dia_source natural join good_dia_source",
    'select x from "April".dia_source order by 1',
    "select flag, n_set from flag_summary order by all",
    "from visit_summary order by all",
    "select pixelFlags_bad, count(*) as n from dia_source group by all order by all",
    "select count(*) as n from dia_source join good_dia_source using (rerun, apFlux)",
]


@pytest.mark.parametrize("query", NARROW)
def test_what_names_its_columns_is_answered_from_few(
    reruns: hitsduck.Reruns, whole: hitsduck.Reruns, statements: list[str], query: str
):
    found = reruns.sql(query)
    assert is_narrow(statements, query)
    assert_frame_equal(found.polars(), whole.sql(query).polars())
    assert len(found) > 0


@pytest.mark.parametrize("query", WIDE)
def test_what_may_mean_other_columns_is_answered_from_all(
    reruns: hitsduck.Reruns, whole: hitsduck.Reruns, statements: list[str], query: str
):
    found = reruns.sql(query)
    assert not is_narrow(statements, query)
    assert found.arrow().equals(whole.sql(query).arrow())


def test_values_are_bound_in_both(reruns: hitsduck.Reruns):
    few = reruns.sql("select count(*) as n from dia_source where visit = $visit", visit=410985)
    every = reruns.sql(
        "select count(*) as n from dia_source where visit = $visit and apFlux is not null",
        visit=410985,
    )
    assert few.rows() == every.rows()


@pytest.mark.parametrize(
    "query",
    [
        "select nothing from dia_source",
        "select sources.x from dia_source",
        "select x from dia_sources",
        "select sum(rerun) from dia_source",
        "select x, x from dia_source",
    ],
)
def test_an_error_is_that_of_the_whole_views(
    reruns: hitsduck.Reruns, whole: hitsduck.Reruns, query: str
):
    with pytest.raises(QueryError) as narrow:
        reruns.sql(query)
    with pytest.raises(QueryError) as of_all:
        whole.sql(query)
    assert str(narrow.value) == str(of_all.value)


def test_a_query_sees_the_whole_catalogue_as_before(reruns: hitsduck.Reruns):
    reruns.sql("select count(*) from dia_source")
    rows = reruns.sql(
        "select column_name from duckdb_columns() where schema_name = 'April' "
        "and table_name = 'dia_source'"
    ).rows()
    assert [row["column_name"] for row in rows] == views.documented_columns(
        views.view_named("dia_source")
    )


@pytest.mark.parametrize("view", sorted(views.narrow_names()))
def test_every_view_over_few_columns_has_the_rows_of_the_whole_one(
    reruns: hitsduck.Reruns, view: str
):
    columns = views.documented_columns(views.view_named(view), is_narrow=True)
    listed = ", ".join(f'"{column}"' for column in columns)
    for name in reruns:
        relation = reruns.scope(name, view, is_narrow=True)
        assert relation.startswith('"hitsduck_narrow_')
        described = reruns.connection.execute(f"describe {relation}").fetchall()
        assert [row[0] for row in described] == columns
        few = reruns.query(f"select {listed} from {relation} order by all").polars()
        reruns.sql(f'select 1 from "{name}".{view} limit 0')
        every = reruns.query(f'select {listed} from "{name}".{view} order by all').polars()
        assert_frame_equal(few, every)


def test_views_of_flags_stand_over_all_columns(reruns: hitsduck.Reruns):
    assert set(views.view_names()) - views.narrow_names() == {
        "flag_summary",
        "integrity_unset_flag",
    }
    assert reruns.scope("June", "flag_summary") == '"June"."flag_summary"'


def test_the_few_columns_exist():
    for table, names in schema.NARROW_COLUMNS.items():
        assert names <= {column.name for column in schema.columns(table)}


def test_columns_of_sources_come_from_few_where_they_are_all_there(
    reruns: hitsduck.Reruns, statements: list[str]
):
    few = reruns["June"].sources(["diaSourceId", "psf_snr"], good=True).polars()
    assert 'from "hitsduck_narrow_1"."dia_source"' in statements[-1]
    every = reruns["June"].sources(["diaSourceId", "psf_snr", "apFlux"], good=True).polars()
    assert 'from "June"."dia_source"' in statements[-1]
    assert_frame_equal(few, every.drop("apFlux"), check_row_order=False)
