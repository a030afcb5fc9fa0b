from __future__ import annotations

import csv
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from apdb_files import GENERATIONS, PACKED_GENERATIONS, make_apdb

from hitsduck import schema, views
from hitsduck.attaching import STAGED
from hitsduck.errors import FlagError, SchemaError

DATA = Path(schema.__file__).parent / "data"
TABLES = tuple(STAGED.values())


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def layout(generation: str, table: str) -> dict[str, str]:
    """Return {physical column: declared type} of one generation's table."""
    return {
        row["column"]: row["sqlite_type"]
        for row in rows("layouts.csv")
        if (row["generation"], row["table"]) == (generation, table)
    }


LAYOUTS = sorted(
    {
        (row["generation"], row["table"])
        for row in rows("layouts.csv")
        if row["table"] in TABLES and row["table"] != "DetectorVisitProcessingSummary"
    }
)

# -- the data files hold together ----------------------------------------------


def test_every_column_has_a_description_and_a_type_that_duckdb_knows():
    for row in rows("columns.csv"):
        assert row["description"].strip().endswith("."), row["column"]
        assert row["type"] in {"BIGINT", "INTEGER", "DOUBLE", "FLOAT", "BOOLEAN", "VARCHAR", "BLOB"}


def test_no_table_has_the_same_column_twice():
    for table in TABLES:
        names = [column.name.lower() for column in schema.columns(table)]
        assert len(names) == len(set(names))


def test_every_older_name_stands_for_a_column_that_exists():
    for row in rows("names.csv"):
        assert row["column"] in {column.name for column in schema.columns(row["table"])}


def test_an_older_name_stands_for_one_column_only():
    seen = [(row["table"], row["name"]) for row in rows("names.csv")]
    assert len(seen) == len(set(seen))


def test_no_older_name_is_itself_a_name_of_schema_10():
    canonical = {
        (row["table"], row["column"])
        for row in rows("layouts.csv")
        if row["generation"] == "10.0.0"
    }
    assert not {(row["table"], row["name"]) for row in rows("names.csv")} & canonical


def test_every_conversion_of_a_time_has_its_macro():
    macros = " ".join(views.macros())
    converted = [row for row in rows("names.csv") if row["conversion"]]
    assert {row["conversion"] for row in converted} == {"timestamp"}
    for row in converted:
        assert f"macro {row['timescale']}_to_mjd_tai(" in macros, row["name"]


@pytest.mark.parametrize(("generation", "table"), LAYOUTS)
def test_every_column_of_every_layout_is_read(generation: str, table: str):
    physical = layout(generation, table)
    assert schema.unread_columns(table, physical) == []
    read = {schema.physical_name(table, column.name, physical) for column in schema.columns(table)}
    assert read - {None} == set(physical)


def test_every_column_of_the_newest_layout_keeps_its_name():
    for table in TABLES:
        physical = layout("10.0.0", table)
        for name in physical:
            assert schema.physical_name(table, name, physical) == name


def test_every_column_of_the_real_files_is_read(shared: Path):
    for path in sorted((shared / "data" / "apdb").glob("*.sqlite3")):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            for table in ("DiaSource", "DiaObject", "DiaForcedSource"):
                physical = dict(
                    connection.execute("select name, type from pragma_table_info(?)", (table,))
                )
                assert physical
                assert schema.unread_columns(table, physical) == [], path.name


# -- projection ----------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_a_projection_holds_every_column_in_order_even_of_an_empty_table(table: str):
    expected = [column.name for column in schema.columns(table)]
    for generation in GENERATIONS:
        assert list(schema.projection(table, layout(generation, table))) == expected
    assert list(schema.projection(table, {})) == expected


def test_what_a_file_lacks_is_a_typed_null():
    found = schema.projection("DiaSource", {"diaSourceId": "BIGINT"})
    assert found["diaSourceId"] == 'cast("diaSourceId" as BIGINT)'
    assert found["band"] == "cast(null as VARCHAR)"
    assert found["midpointMjdTai"] == "cast(null as DOUBLE)"
    # SQLite's FLOAT holds 8 bytes, so that nothing is rounded to four on the way.
    assert found["psfFlux"] == "cast(null as double)"


@pytest.mark.parametrize(
    ("table", "older", "canonical", "expression"),
    [
        ("DiaSource", "decl", "dec", 'cast("decl" as DOUBLE)'),
        ("DiaSource", "psFlux", "psfFlux", 'cast("psFlux" as double)'),
        ("DiaSource", "psFluxErr", "psfFluxErr", 'cast("psFluxErr" as double)'),
        ("DiaSource", "psNdata", "psfNdata", 'cast("psNdata" as INTEGER)'),
        ("DiaSource", "totFlux", "scienceFlux", 'cast("totFlux" as double)'),
        ("DiaSource", "midPointTai", "midpointMjdTai", 'cast("midPointTai" as DOUBLE)'),
        ("DiaSource", "midPointMjd", "midpointMjdTai", 'cast("midPointMjd" as DOUBLE)'),
        ("DiaSource", "filterName", "band", 'cast("filterName" as VARCHAR)'),
        ("DiaSource", "dipMeanFlux", "dipoleMeanFlux", 'cast("dipMeanFlux" as double)'),
        ("DiaSource", "trailDecl", "trailDec", 'cast("trailDecl" as DOUBLE)'),
        ("DiaSource", "is_dipole", "isDipole", 'cast("is_dipole" as BOOLEAN)'),
        ("DiaSource", "is_negative", "isNegative", 'cast("is_negative" as BOOLEAN)'),
        ("DiaSource", "trailed_glint", "glint_trail", 'cast("trailed_glint" as BOOLEAN)'),
        ("DiaSource", "time_processed", "timeProcessedMjdTai", 'tai_to_mjd_tai("time_processed")'),
        ("DiaObject", "validityEnd", "validityEndMjdTai", 'tai_to_mjd_tai("validityEnd")'),
        ("DiaObject", "validityStart", "validityStartMjdTai", 'tai_to_mjd_tai("validityStart")'),
        ("DiaObject", "gPSFluxMean", "g_psfFluxMean", 'cast("gPSFluxMean" as double)'),
        ("DiaObject", "gTOTFluxMean", "g_scienceFluxMean", 'cast("gTOTFluxMean" as double)'),
        ("DiaObject", "g_totFluxMean", "g_scienceFluxMean", 'cast("g_totFluxMean" as double)'),
        ("DiaObject", "yFPFluxMean", "y_fpFluxMean", 'cast("yFPFluxMean" as double)'),
        ("DiaObject", "radecTai", "radecMjdTai", 'cast("radecTai" as DOUBLE)'),
        ("DiaObject", "radecEpoch", "radecMjdTai", 'cast("radecEpoch" as DOUBLE)'),
        ("DiaObject", "pmDecl", "pmDec", 'cast("pmDecl" as double)'),
        ("DiaForcedSource", "psFlux", "psfFlux", 'cast("psFlux" as double)'),
        ("DiaForcedSource", "totFlux", "scienceFlux", 'cast("totFlux" as double)'),
    ],
)
def test_an_older_name_is_read_under_its_name_of_today(
    table: str, older: str, canonical: str, expression: str
):
    assert schema.projection(table, {older: ""})[canonical] == expression


def test_a_column_of_today_goes_before_its_older_names():
    both = {"midPointTai": "DOUBLE", "midpointMjdTai": "DOUBLE"}
    assert schema.projection("DiaSource", both)["midpointMjdTai"] == (
        'cast("midpointMjdTai" as DOUBLE)'
    )


def test_spuriousness_is_no_reliability_and_keeps_its_own_name():
    found = schema.projection("DiaSource", {"spuriousness": "FLOAT"})
    assert found["reliability"] == "cast(null as double)"
    assert found["spuriousness"] == 'cast("spuriousness" as double)'


def test_last_non_forced_source_is_no_last_dia_source():
    found = schema.projection("DiaObject", {"lastNonForcedSource": "TIMESTAMP"})
    assert found["lastDiaSourceMjdTai"] == "cast(null as DOUBLE)"
    assert found["lastNonForcedSourceMjdTai"] == 'tai_to_mjd_tai("lastNonForcedSource")'


def test_the_six_bands_of_dia_object_are_read_in_every_generation():
    for generation in GENERATIONS:
        physical = layout(generation, "DiaObject")
        for band in "ugrizy":
            for what in ("psfFluxMean", "psfFluxMeanErr", "psfFluxNdata", "fpFluxMean"):
                name = f"{band}_{what}"
                assert schema.physical_name("DiaObject", name, physical), (generation, name)


# -- generations and eras ------------------------------------------------------


@pytest.mark.parametrize(
    ("layout_name", "generation"),
    [
        ("2020", "2019-2022"),
        ("2023", "2023-2024"),
        ("0.1.1", "2023-2024"),
        ("1.0.0", "1.0.0 to 8.0.0"),
        ("10.0.0", "9.0.0 and later"),
    ],
)
@pytest.mark.parametrize("table", ["DiaSource", "DiaObject", "DiaForcedSource"])
def test_the_generation_of_each_table_is_told_from_its_columns(
    layout_name: str, generation: str, table: str
):
    assert schema.generation(table, layout(layout_name, table)) == generation


def test_a_table_of_no_known_generation_is_called_unknown():
    assert schema.generation("DiaSource", {"diaSourceId": "BIGINT"}) == "unknown"


@pytest.mark.parametrize(
    ("physical", "era"),
    [
        ({"flags", "decl"}, "2019"),
        # 2022-12: dec already, but filterName until the bits changed in 2023-01.
        ({"flags", "dec", "filterName"}, "2019"),
        ({"flags", "dec", "band"}, "2023"),
        ({"pixelFlags_bad", "dec", "band"}, None),
    ],
)
def test_the_era_of_packed_flags_is_told_from_the_columns(physical: set[str], era: str | None):
    assert schema.packed_era(physical) == era


def test_the_bits_are_those_of_the_reference(shared: Path):
    with (shared / "reference" / "flag_bits.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            bit, since_2023 = int(row["bit"]), "2023-01 on" in row["canonical"]
            flag = row["canonical"].split(" ")[0]
            if not flag:
                assert bit not in {b.bit_length() - 1 for b in schema.flag_bits("2023").values()}
                continue
            only_later = since_2023 or " on)" in row["canonical"]
            assert schema.flag_bits("2023")[flag] == 2**bit
            assert schema.flag_bits("2019").get(flag) == (None if only_later else 2**bit)


def test_the_default_set_is_the_mask_704_in_both_eras():
    # bits 6, 7 and 9: 64 + 128 + 512 = 704
    for era in ("2019", "2023"):
        bits = schema.flag_bits(era)
        assert sum(bits[flag] for flag in schema.FLAG_SETS["dm25125"]) == 704


def test_every_packed_bit_becomes_its_flag_and_no_other():
    for generation in PACKED_GENERATIONS:
        physical = layout(generation, "DiaSource")
        found = schema.projection("DiaSource", physical)
        era = "2019" if generation == "2020" else "2023"
        for flag in schema.flag_names():
            mask = schema.flag_bits(era).get(flag)
            expected = f"(flags & {mask}) <> 0" if mask else "cast(null as BOOLEAN)"
            assert found[flag] == expected


# -- flags ---------------------------------------------------------------------


def test_the_pattern_of_flag_summary_matches_the_flags_and_nothing_else():
    body = views.view_named("flag_summary").body
    patterns = set(re.findall(r"columns\('(\^[^']+)'\)", body))
    assert len(patterns) == 1
    pattern = re.compile(patterns.pop())
    of_dia_source = views.documented_columns(views.view_named("dia_source"))
    assert [name for name in of_dia_source if pattern.match(name)] == list(schema.flag_names())


def test_every_flag_of_any_era_and_set_is_a_known_flag():
    known = set(schema.flag_names())
    for era in ("2019", "2023"):
        assert set(schema.flag_bits(era)) <= known
    for flags in schema.FLAG_SETS.values():
        assert set(flags) <= known
    booleans = {
        name for name, declared in layout("10.0.0", "DiaSource").items() if declared == "BOOLEAN"
    }
    assert booleans - schema.NOT_FLAGS <= known


def test_every_flag_has_a_bit_of_its_own_in_a_bigint():
    numbers = [schema.flag_number(flag) for flag in schema.flag_names()]
    assert len(set(numbers)) == len(numbers)
    assert all(number.bit_count() == 1 for number in numbers)
    assert max(numbers) < 2**63


@pytest.mark.parametrize(
    ("given", "name", "flags"),
    [
        (
            "dm25125",
            "dm25125",
            ("pixelFlags_bad", "pixelFlags_suspect", "pixelFlags_saturatedCenter"),
        ),
        ("bad", "custom", ("pixelFlags_bad",)),
        ("bad, edge", "custom", ("pixelFlags_bad", "pixelFlags_edge")),
        (["pixelFlags_bad", "bad"], "custom", ("pixelFlags_bad",)),
        (["pixelFlags", "centroid_flag"], "custom", ("pixelFlags", "centroid_flag")),
    ],
)
def test_flags_are_named_by_set_by_list_or_in_short(
    given: str | list[str], name: str, flags: tuple[str, ...]
):
    assert schema.resolve_flags(given) == (name, flags)


def test_the_set_of_analysis_ap_adds_three_flags_to_the_default():
    added = set(schema.FLAG_SETS["analysis_ap"]) - set(schema.FLAG_SETS["dm25125"])
    assert added == {
        "pixelFlags_interpolated",
        "pixelFlags_interpolatedCenter",
        "pixelFlags_edge",
    }


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("pixelFlags_sadurated", "pixelFlags_saturated"),
        ("suspekt", "pixelFlags_suspect"),
        ("dm25152", "dm25125"),
    ],
)
def test_an_unknown_flag_is_refused_with_a_hint_and_the_known_ones(given: str, hint: str):
    with pytest.raises(FlagError, match=f"did you mean {hint}\\?") as raised:
        schema.resolve_flags(given)
    assert "; centroid_flag, apFlux_flag," in str(raised.value)
    assert "analysis_ap" in str(raised.value)


@pytest.mark.parametrize("nothing", ["", " , ", []])
def test_an_empty_list_of_flags_is_refused(nothing: str | list[str]):
    with pytest.raises(FlagError, match="no flag is named"):
        schema.resolve_flags(nothing)


def test_a_file_holds_the_flags_of_its_generation():
    oldest = schema.flags_in_file(layout("2020", "DiaSource"))
    newest = schema.flags_in_file(layout("10.0.0", "DiaSource"))
    assert len(oldest) == 22  # bits 0-12 and 15-23 of flag_bits.csv
    assert "pixelFlags_streak" not in oldest
    assert "pixelFlags_nodata" in newest


def test_the_definition_of_good_reads_no_other_flag():
    physical = layout("10.0.0", "DiaSource")
    sql = schema.good_definition_bits(physical, ["pixelFlags_bad", "pixelFlags_edge"])
    assert set(re.findall(r'"(\w+)"', sql)) == {"pixelFlags_bad", "pixelFlags_edge"}


@pytest.mark.parametrize("generation", sorted(PACKED_GENERATIONS))
@pytest.mark.parametrize("engine", ["duckdb", "sqlite"])
def test_each_packed_flag_of_a_good_definition_gets_its_own_bit(generation: str, engine: str):
    physical = layout(generation, "DiaSource")
    era = "2019" if "decl" in physical or "filterName" in physical else "2023"
    bits = {row["flag"]: int(row["bit"]) for row in rows("flag_bits.csv") if row["era"] == era}
    assert set(schema.flags_in_file(physical)) == set(bits)
    sql = schema.good_definition_bits(physical, list(bits), casts=engine == "duckdb")
    # One row for each bit of a BIGINT that can be set, one with all that are flags, and NULL.
    packed = [1 << bit for bit in range(63)] + [sum(1 << bit for bit in bits.values()), None]
    listed = ", ".join(
        f"({number}, {'null' if v is None else v})" for number, v in enumerate(packed)
    )
    query = f"with t (number, flags) as (values {listed}) select {sql} from t order by number"
    with closing(duckdb.connect() if engine == "duckdb" else sqlite3.connect(":memory:")) as asked:
        found = [row[0] for row in asked.execute(query).fetchall()]
    numbers = {bit: schema.flag_number(flag) for flag, bit in bits.items()}
    assert found[:63] == [numbers.get(bit, 0) for bit in range(63)]
    assert found[63:] == [sum(numbers.values()), None]


@pytest.mark.parametrize("generation", sorted(PACKED_GENERATIONS))
def test_packed_flags_are_looked_at_where_they_are_stored(generation: str):
    physical = layout(generation, "DiaSource")
    era = "2019" if "decl" in physical or "filterName" in physical else "2023"
    bits = {row["flag"]: int(row["bit"]) for row in rows("flag_bits.csv") if row["era"] == era}
    assert schema.stored_flags(physical, list(bits)) == "flags"
    assert {flag: schema.stored_flag(flag, physical) for flag in bits} == {
        flag: 1 << bit for flag, bit in bits.items()
    }


def test_flags_in_columns_are_looked_at_in_their_one_order():
    physical, flags = layout("10.0.0", "DiaSource"), ["pixelFlags_bad", "pixelFlags_edge"]
    assert schema.stored_flags(physical, flags) == schema.good_definition_bits(physical, flags)
    assert [schema.stored_flag(f, physical) for f in flags] == list(map(schema.flag_number, flags))


# -- required columns ----------------------------------------------------------


@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_layout_has_what_is_required(generation: str):
    tables = {table: layout(generation, table) for table in ("DiaSource", "DiaObject")}
    schema.check_required(tables, where="here")


def test_all_missing_columns_of_all_tables_are_named_at_once():
    with pytest.raises(SchemaError) as raised:
        schema.check_required(
            {"DiaSource": {"ra": "DOUBLE", "visit": "BIGINT"}, "DiaObject": {"ra": "DOUBLE"}},
            where="rerun 'a' (file.db)",
        )
    message = str(raised.value)
    assert message.startswith("rerun 'a' (file.db): missing columns: ")
    for missing in (
        "DiaSource.diaSourceId",
        "DiaSource.diaObjectId",
        "DiaSource.dec",
        "DiaSource.visit and detector (or ccdVisitId)",
        "DiaSource.flags (or a flag column such as pixelFlags_bad)",
        "DiaObject.diaObjectId",
        "DiaObject.validityEndMjdTai",
    ):
        assert missing in message
    assert "DiaSource.ra" not in message


@pytest.mark.parametrize(
    ("column", "named"),
    [
        ("DiaSource.decl", "DiaSource.dec"),
        ("DiaSource.ccdVisitId", "DiaSource.visit and detector"),
        ("DiaSource.flags", "DiaSource.flags"),
        ("DiaObject.validityEnd", "DiaObject.validityEndMjdTai"),
    ],
)
def test_a_missing_column_is_an_error_when_the_file_is_opened(
    tmp_path: Path, column: str, named: str
):
    import hitsduck

    path = make_apdb(tmp_path / "short.db", generation="2020", leave_out=[column])
    with pytest.raises(SchemaError, match=re.escape(named)):
        hitsduck.open_reruns({"short": path})


def test_a_missing_column_that_no_question_needs_is_null(tmp_path: Path):
    import hitsduck

    path = make_apdb(
        tmp_path / "short.db",
        sources=[{"diaObjectId": 1, "visit": 1, "detector": 1, "ra": 1.0, "dec": 1.0}],
        leave_out=["DiaSource.snr", "DiaSource.band", "DiaSource.midpointMjdTai"],
    )
    with hitsduck.open_reruns({"short": path}, instrument="DECam") as reruns:
        found = reruns.sql("select snr, band, midpointMjdTai, night from dia_source").rows()
    assert found == [{"snr": None, "band": None, "midpointMjdTai": None, "night": None}]
