"""Simulated reruns: what is written, in every generation, and that it is what was asked for.

Counts are taken with plain sqlite3, so that nothing of the library judges itself.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from astropy.io import fits

from hitsduck.errors import SimulationError
from hitsduck.simulator import (
    Simulation,
    estimate_size,
    load_preset,
    preset_names,
    simulate,
    simulate_frames,
)
from hitsduck.simulator.causes import Cause, edge_excess
from hitsduck.simulator.layouts import generation_names, load_generation
from hitsduck.simulator.writer import APPLICATION_ID, SqliteRerun

GENERATIONS = ("2020", "2023", "0.1.1", "1.0.0", "10.0.0")
RERUNS = ("Apr2020", "May2020", "Jun2020")
PUBLISHED = {
    "Apr2020": (618472, 210712, 176880, 48324),
    "May2020": (669926, 228130, 246511, 58349),
    "Jun2020": (671170, 229290, 247550, 59351),
}


def rows(path: Path, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Return what plain sqlite3 answers."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql, parameters).fetchall()


def columns(path: Path, table: str) -> list[str]:
    return [row[1] for row in rows(path, f'pragma table_info("{table}")')]


def four_counts(path: Path) -> tuple[int, int, int, int]:
    """Count sources, good ones, current objects, and those with a good source."""
    good = (
        "(s.flags & 704) = 0"  # bits 6, 7 and 9
        if "flags" in columns(path, "DiaSource")
        else "not (s.pixelFlags_bad or s.pixelFlags_suspect or s.pixelFlags_saturatedCenter)"
    )
    end = next(c for c in columns(path, "DiaObject") if c.startswith("validityEnd"))
    answer = rows(
        path,
        f"""select (select count(*) from DiaSource),
                   (select count(*) from DiaSource s where {good}),
                   (select count(*) from DiaObject where {end} is null),
                   (select count(*) from DiaObject o where {end} is null and exists (
                        select 1 from DiaSource s
                        where s.diaObjectId = o.diaObjectId and {good}))""",
    )[0]
    return answer[0], answer[1], answer[2], answer[3]


def digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Simulation]:
    """Return the small preset in every generation."""
    folder = tmp_path_factory.mktemp("small")
    return {g: simulate(folder / g, preset="small", generation=g) for g in GENERATIONS}


@pytest.fixture(scope="module", params=GENERATIONS)
def simulation(request: pytest.FixtureRequest, small: dict[str, Simulation]) -> Simulation:
    return small[request.param]


def test_every_generation_that_has_a_layout_can_be_written():
    assert tuple(generation_names()) == GENERATIONS


def test_a_file_has_the_tables_columns_and_indexes_of_its_generation(simulation: Simulation):
    layout = load_generation(simulation.generation)
    path = simulation.paths["May2020"]
    for table in layout.tables:
        found = rows(path, f'pragma table_info("{table.name}")')
        # (name, type, not null, default)
        assert [(r[1], r[2], bool(r[3]), r[4] or "") for r in found] == [
            (c.name, c.sqlite_type, c.not_null, c.default) for c in table.columns
        ]
        indexes = {
            r[1]: tuple(x[2] for x in rows(path, f'pragma index_info("{r[1]}")'))
            for r in rows(path, f'pragma index_list("{table.name}")')
        }
        assert all(indexes[name] == key for name, key in table.indexes)
        assert not table.primary_key or table.primary_key in indexes.values()
    assert rows(path, "pragma integrity_check") == [("ok",)]


def test_a_file_of_june_2020_has_111_columns_of_dia_source_and_an_empty_snr(
    small: dict[str, Simulation],
):
    path = small["2020"].paths["Jun2020"]
    assert len(columns(path, "DiaSource")) == 111
    assert rows(path, "select count(snr), count(*) > 3000 from DiaSource") == [(0, 1)]


def test_counts_by_sqlite3_are_those_of_the_truth(simulation: Simulation):
    for result in simulation.reruns.values():
        truth = pl.read_parquet(result.truth)
        sources, _, objects, good_objects = four_counts(result.path)
        assert sources == len(truth) == result.rows["DiaSource"]
        assert objects == truth["diaObjectId"].drop_nulls().n_unique()
        assert 0 < good_objects < objects


def test_the_truth_does_not_depend_on_the_generation(small: dict[str, Simulation]):
    for rerun in RERUNS:
        truths = [small[g].reruns[rerun].truth.read_bytes() for g in GENERATIONS]
        assert all(t == truths[0] for t in truths)
        tables = []
        for generation in GENERATIONS:
            path = small[generation].paths[rerun]
            dec, flux = ("decl", "psFlux") if generation == "2020" else ("dec", "psfFlux")
            tables.append(
                rows(
                    path,
                    f"""select diaSourceId, coalesce(diaObjectId, 0), ra, {dec}, x, y, {flux}
                        from DiaSource order by diaSourceId""",
                )
            )
        assert all(t == tables[0] for t in tables)


def test_the_counts_of_all_generations_agree(small: dict[str, Simulation]):
    for rerun in RERUNS:
        assert len({four_counts(small[g].paths[rerun]) for g in GENERATIONS}) == 1


def test_moments_are_in_pixels_in_2020_and_iyy_repeats_ixy_from_2021_to_2024(
    small: dict[str, Simulation],
):
    got = {
        g: rows(
            s.paths["Apr2020"], "select ixxPSF, iyyPSF, ixyPSF from DiaSource order by diaSourceId"
        )
        for g, s in small.items()
    }
    reference = np.array(got["10.0.0"])
    # 0.2636 arcsec/pixel: 15 micron at 17.575 arcsec/mm
    assert np.array(got["2020"]) == pytest.approx(reference / 0.263625**2, rel=1e-6)
    for generation in ("2023", "0.1.1"):
        defective = np.array(got[generation])
        assert np.array_equal(defective[:, 0], reference[:, 0])
        assert np.array_equal(defective[:, 1], reference[:, 2])
    assert np.array_equal(np.array(got["1.0.0"]), reference)
    seeing = 2 * np.sqrt(2 * np.log(2)) * np.sqrt(reference[:, :2].mean(axis=1))
    assert 0.6 < seeing.min() < seeing.max() < 2.2


def test_solar_system_detections_have_no_object(small: dict[str, Simulation]):
    for generation, nothing in (("2020", "= 0"), ("10.0.0", "is null")):
        path = small[generation].paths["Apr2020"]
        no_object = rows(path, f"select count(*) from DiaSource where diaObjectId {nothing}")
        moving = rows(
            path,
            f"select count(*) from DiaSource where ssObjectId > 0 and diaObjectId {nothing}",
        )
        assert no_object == moving != [(0,)]


def test_an_object_has_one_current_version_that_follows_the_older_ones(simulation: Simulation):
    path = simulation.paths["May2020"]
    start, end = (
        next(c for c in columns(path, "DiaObject") if c.startswith(f"validity{which}"))
        for which in ("Start", "End")
    )
    assert rows(
        path,
        f"""select count(*) from (select diaObjectId from DiaObject
            group by diaObjectId having sum({end} is null) <> 1)""",
    ) == [(0,)]
    assert rows(
        path,
        f"""select count(*) > 100, sum(o.{start} <> v.{end}), min(o.nDiaSources - v.nDiaSources)
            from DiaObject v join DiaObject o using (diaObjectId)
            where v.{end} is not null and o.{end} is null""",
    ) == [(1, 0, 1)]


def test_an_object_lies_at_the_mean_of_its_sources_and_counts_them(small: dict[str, Simulation]):
    path = small["10.0.0"].paths["May2020"]
    wrong = rows(
        path,
        """select count(*), sum(abs(o.ra - s.ra) > 1e-9), sum(abs(o.dec - s.dec) > 1e-9),
                  sum(o.nDiaSources <> s.n), sum(abs(o.g_psfFluxMin - s.low) > 1e-3)
           from DiaObject o join (
               select diaObjectId, avg(ra) as ra, avg(dec) as dec, count(*) as n,
                      min(psfFlux) as low
               from DiaSource group by diaObjectId) s using (diaObjectId)
           where o.validityEndMjdTai is null""",
    )[0]
    assert wrong[0] > 1000
    assert wrong[1:] == (0, 0, 0, 0)


def test_forced_sources_have_an_object_and_one_row_a_visit(small: dict[str, Simulation]):
    path = small["10.0.0"].paths["May2020"]
    assert rows(
        path,
        """select count(*) - count(distinct diaObjectId || '/' || visit),
                  count(*) > (select count(*) from DiaSource where diaObjectId is not null),
                  (select count(*) from DiaForcedSource f where not exists (
                      select 1 from DiaObject o where o.diaObjectId = f.diaObjectId))
           from DiaForcedSource""",
    ) == [(0, 1, 0)]


def test_ids_follow_the_visit_and_detector(small: dict[str, Simulation]):
    # DECam: ccdVisitId = visit * 100 + ccd; the low 32 bits count within the image
    path = small["2020"].paths["Apr2020"]
    assert rows(path, "select count(*) from DiaSource where diaSourceId >> 32 <> ccdVisitId") == [
        (0,)
    ]
    visits = {r[0] for r in rows(path, "select distinct ccdVisitId / 100 from DiaSource")}
    assert {410985, 410987, 421590} <= visits
    detectors = {r[0] for r in rows(path, "select distinct ccdVisitId % 100 from DiaSource")}
    assert detectors <= set(range(1, 63)) - {2, 61}


def test_the_seeds_windows_hold_all_sources(small: dict[str, Simulation]):
    path = small["10.0.0"].paths["May2020"]
    assert rows(
        path,
        """select count(*) from DiaSource where not (
               (ra between 148.9 and 151.4 and dec between 1.1 and 3.3)
               or (ra between 153.8 and 156.7 and dec between -7.7 and -3.8))""",
    ) == [(0,)]


def test_everything_says_that_it_is_simulated(simulation: Simulation):
    assert (simulation.directory / "SIMULATED.txt").read_text().startswith("SIMULATED DATA")
    result = simulation.reruns["Apr2020"]
    assert rows(result.path, "pragma application_id") == [(APPLICATION_ID,)]
    marks = pl.read_parquet_metadata(result.truth)
    assert marks["simulated"] == "true"
    if load_generation(simulation.generation).has_table("metadata"):
        metadata = dict(rows(result.path, "select name, value from metadata"))
        assert metadata["instrument"] == "DECam"
        assert metadata["version:schema"] == simulation.generation
        assert metadata["simulated"] == "true"
    catalogue = next(result.path.parent.rglob("src-*.fits"))
    for hdu in (0, 1):
        assert fits.getheader(catalogue, hdu)["SIMULATD"] is True


def test_a_rerun_folder_holds_one_database_and_the_truth_beside_it(simulation: Simulation):
    for result in simulation.reruns.values():
        folder = result.path.parent
        files = sorted(p.name for p in folder.iterdir() if p.is_file())
        assert files == ["association.db", "lost.parquet", "truth.parquet"]


def test_src_catalogues_have_the_seeds_layout_and_the_same_rows_in_all_reruns(tmp_path: Path):
    result = simulate(tmp_path, preset="hits2015", scale=0.005)
    asked = {"0410985/src/src-0410985_47.fits": 2251, "0410987/src/src-0410987_51.fits": 2128}
    for name, published in asked.items():
        counted = {fits.getheader(p.parent / name, 1)["NAXIS2"] for p in result.paths.values()}
        assert counted == {round(published * 0.005)}
        header = fits.getheader(result.paths["Apr2020"].parent / name, 1)
        assert (header["AFW_TYPE"], header["TTYPE2"], header["TUNIT3"]) == ("SOURCE", "id", "rad")


def test_the_seeds_three_catalogues_have_the_published_rows(tmp_path: Path):
    from hitsduck.simulator.src_catalogs import src_rows

    preset = load_preset("hits2015")
    small_list = [r[1:] for r in src_rows(preset, "small", 1.0, preset.seed)]
    assert small_list == [(410985, 47, 2251), (410987, 51, 2128), (421590, 4, 1620)]
    every = list(src_rows(preset, "all", 1.0, preset.seed))
    assert len(every) == 84 * 60
    assert set(small_list) <= {r[1:] for r in every}
    assert list(src_rows(preset, "none", 1.0, preset.seed)) == []


def test_all_catalogues_are_written_on_request(tmp_path: Path):
    preset = tmp_path / "short.toml"
    night = "{ first_visit = 410929, first_mjd_tai = 57071.045, epochs = 1 }"
    preset.write_text(f'extends = "small"\n[schedule]\nnights = [{night}]\n')
    result = simulate(tmp_path, preset=str(preset), src_catalogs="all", reruns=["Apr2020"])
    found = list((tmp_path / "Apr2020").rglob("src-*.fits"))
    assert len(found) == result.reruns["Apr2020"].src_files == 3 * 60


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, small: dict[str, Simulation]):
    again = simulate(tmp_path / "again", preset="small", generation="10.0.0")
    assert digest(again.directory) == digest(small["10.0.0"].directory)
    other = simulate(tmp_path / "other", preset="small", generation="10.0.0", seed=7)
    ours, theirs = digest(again.directory), digest(other.directory)
    assert ours["Apr2020/truth.parquet"] != theirs["Apr2020/truth.parquet"]


def test_a_rerun_written_alone_is_the_same(tmp_path: Path, small: dict[str, Simulation]):
    alone = simulate(tmp_path, preset="small", generation="2020", reruns=["May2020"])
    assert list(alone.paths) == ["May2020"]
    assert not (tmp_path / "Apr2020").exists()
    whole = small["2020"].paths["May2020"]
    assert alone.paths["May2020"].read_bytes() == whole.read_bytes()


def test_counts_at_a_small_scale_are_the_published_ones_scaled_and_rounded(tmp_path: Path):
    for generation in ("2020", "10.0.0"):
        result = simulate(
            tmp_path / generation, preset="hits2015", scale=0.01, generation=generation
        )
        for rerun, published in PUBLISHED.items():
            assert four_counts(result.paths[rerun]) == tuple(round(c * 0.01) for c in published)


@pytest.mark.parametrize("seed", range(4))
def test_targets_are_met_with_any_seed(seed: int):
    frames = simulate_frames("hits2015", scale=0.003, seed=seed)
    for rerun, published in PUBLISHED.items():
        sources, objects = frames[rerun]["DiaSource"], frames[rerun]["DiaObject"]
        good = sources.filter(
            ~(
                pl.col("pixelFlags_bad")
                | pl.col("pixelFlags_suspect")
                | pl.col("pixelFlags_saturatedCenter")
            )
        )
        current = objects.filter(pl.col("validityEndMjdTai").is_null())
        counted = (
            len(sources),
            len(good),
            len(current),
            len(current.join(good, on="diaObjectId", how="semi")),
        )
        assert counted == tuple(round(c * 0.003) for c in published)


def test_a_simulation_above_scale_1_adds_sky_and_meets_the_targets(tmp_path: Path):
    # two blocks of 0.6 would be slow at full density: the preset's numbers are cut first
    preset = tmp_path / "thin.toml"
    kinds = {k.name: round(k.number * 0.01) + 60 for k in load_preset("hits2015").kinds}
    lines = ['extends = "hits2015"', 'name = "thin"']
    for name, number in kinds.items():
        lines += [f"[kinds.{name}]", f"number = {number}"]
    targets = "{ sources = 6185, good_sources = 2107, objects = 1769, good_objects = 483 }"
    lines += ["[[rerun]]", 'name = "Apr2020"', f"targets = {targets}"]
    preset.write_text("\n".join(lines))
    result = simulate(tmp_path / "sim", preset=str(preset), scale=2.0)
    path = result.paths["Apr2020"]
    assert four_counts(path) == (12370, 4214, 3538, 966)
    assert rows(path, "select count(distinct ccdVisitId / 100) from DiaSource") == [(168,)]
    spans = rows(path, "select max(ra) - min(ra) from DiaSource where decl > 0")
    assert 3.4 + 2 < spans[0][0] < 3.5 + 2.4  # the second block lies 3.45 deg to the east


def test_parquet_holds_canonical_columns_and_a_manifest(tmp_path: Path):
    result = simulate(tmp_path, preset="small", format="parquet")
    reference = simulate_frames("small", scale=1.0, tables=("DiaSource", "DiaForcedSource"))
    for rerun in RERUNS:
        folder = result.paths[rerun]
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["simulated"] == "true"
        for table, frame in reference[rerun].items():
            read = pl.read_parquet(folder / table / "*.parquet")
            assert read.equals(frame)
            assert manifest["tables"][table]["rows"] == len(frame)
        assert duckdb.sql(
            f"select count(*) from read_parquet('{folder}/DiaObject/*.parquet')"
        ).fetchall() == [(result.reruns[rerun].rows["DiaObject"],)]
    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.parametrize(("format_", "columns_"), [("sqlite", "all"), ("sqlite", "notebook")])
@pytest.mark.parametrize("generation", ["2020", "10.0.0"])
def test_the_size_is_estimated_before_anything_is_written(
    tmp_path: Path, format_: str, columns_: str, generation: str
):
    how = {"scale": 0.02, "format": format_, "columns": columns_, "generation": generation}
    expected = estimate_size("hits2015", **how)
    assert not list(tmp_path.iterdir())
    result = simulate(tmp_path, preset="hits2015", **how, reruns=["Apr2020"])
    size = sum(p.stat().st_size for p in result.paths["Apr2020"].parent.rglob("*") if p.is_file())
    assert expected["Apr2020"] == pytest.approx(size, rel=0.15)


def test_only_the_notebooks_columns_are_written_on_request(tmp_path: Path):
    result = simulate(tmp_path, preset="small", columns="notebook", reruns=["Apr2020"])
    path = result.paths["Apr2020"]
    found = columns(path, "DiaSource")
    assert len(found) < 25
    assert {"diaSourceId", "ccdVisitId", "decl", "psFlux", "totFluxErr", "flags"} <= set(found)
    assert four_counts(path)[0] == result.reruns["Apr2020"].rows["DiaSource"]


def test_progress_is_told_in_order_and_ends_at_one(tmp_path: Path):
    told: list[tuple[str, float]] = []
    simulate(tmp_path, preset="small", progress=lambda what, part: told.append((what, part)))
    parts = [part for _, part in told]
    assert parts == sorted(parts)
    assert told[-1] == ("done", 1.0)
    assert any("May2020" in what for what, _ in told)


def test_a_killed_simulation_leaves_no_database(tmp_path: Path):
    code = (
        "import os, signal, sys\n"
        "from hitsduck.simulator import simulate\n"
        "def told(what, part):\n"
        "    if what == 'May2020: written':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"simulate({str(tmp_path / 'sim')!r}, preset='small', progress=told)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == -9
    assert not [p for p in (tmp_path / "sim").rglob("*") if p.suffix in (".db", ".parquet")]
    # and the next one is not hindered by the remains
    result = simulate(tmp_path / "sim", preset="small")
    assert not list(result.directory.rglob("*.part"))


def test_an_error_leaves_no_file_behind(tmp_path: Path):
    def told(what: str, part: float) -> None:
        if "May2020" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path, preset="small", progress=told)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["SIMULATED.txt"]


def test_a_full_disk_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(self: SqliteRerun, frames: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(SqliteRerun, "write", full)
    with pytest.raises(SimulationError, match=r"sim: cannot be written: database or disk is full"):
        simulate(tmp_path / "sim", preset="small")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["SIMULATED.txt"]


def test_an_earlier_simulation_is_replaced_but_nothing_else(tmp_path: Path):
    simulate(tmp_path, preset="small", seed=1, reruns=["Apr2020"])
    first = (tmp_path / "Apr2020" / "association.db").read_bytes()
    simulate(tmp_path, preset="small", seed=2, reruns=["Apr2020"])
    path = tmp_path / "Apr2020" / "association.db"
    assert path.read_bytes() != first
    simulate(tmp_path, preset="small", format="parquet", reruns=["Apr2020"])
    assert not path.exists()
    simulate(tmp_path, preset="small", src_catalogs="none", reruns=["Apr2020"])
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "association.db",
        "lost.parquet",
        "truth.parquet",
    ]
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table precious (x)")
    with pytest.raises(SimulationError, match=r"association\.db: was not simulated"):
        simulate(tmp_path, preset="small")
    assert rows(path, "select count(*) from precious") == [(0,)]


def test_a_folder_that_is_no_simulation_is_left_alone(tmp_path: Path):
    # a Gen2 repository without a database, whose catalogues would be replaced
    real = tmp_path / "Apr2020" / "0410985" / "src" / "src-0410985_47.fits"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"precious")
    with pytest.raises(SimulationError, match="Apr2020: was not simulated"):
        simulate(tmp_path, preset="small")
    assert real.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "large"}, "unknown preset 'large'; known: hits2015"),
        ({"preset": "nowhere.toml"}, "preset file nowhere.toml: cannot be read"),
        ({"scale": 0.0}, "scale is 0.0; it must lie between 0.001 and 100"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"scale": 11}, "scale 11 is too large for SQLite"),
        ({"generation": "2019"}, "unknown generation '2019'; known: 2020"),
        ({"format": "csv"}, "format is 'csv'; it must be one of sqlite, parquet"),
        ({"columns": "few"}, "columns is 'few'"),
        ({"src_catalogs": "some"}, "src_catalogs is 'some'"),
        ({"reruns": ["Jul2020"]}, "no rerun 'Jul2020'; it has Apr2020, May2020, Jun2020"),
        ({"reruns": []}, "no rerun is asked for"),
        ({"seed": -1}, "seed is -1"),
        ({"causes": {"Apr2020": [edge_excess()]}}, "Apr2020 is based on nothing"),
        ({"causes": [{"kind": "gremlins"}]}, "cause 'gremlins' is unknown; known: none"),
    ],
)
def test_impossible_requests_are_refused_before_anything_is_written(
    tmp_path: Path, arguments: dict[str, Any], message: str
):
    with pytest.raises(SimulationError) as caught:
        simulate(tmp_path / "sim", **({"preset": "small"} | arguments))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sim").exists()


def test_every_packaged_preset_can_be_read_and_says_what_it_is():
    assert {"hits2015", "small", "pair", "lsstcam"} <= set(preset_names())
    for name in preset_names():
        assert load_preset(name).description


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("this is no TOML", "not valid TOML"),
        ('extends = "small"\ncolour = 3', "Preset knows no colour"),
        ('extends = "small"\n[kinds.variable]\nshade = 1', "Kind knows no shade"),
        ('extends = "small"\nx_axis = "up"', "x_axis and y_axis must each be one of"),
        ('extends = "small"\n[[rerun]]\nname = "a/b"', "'a/b' can be no rerun's name"),
        ('extends = "small"\n[[rerun]]\nname = "a"\n[[rerun]]\nname = "b"', "must be based on"),
        ('name = "bare"', "lacks 'rerun'"),
        (
            'extends = "small"\n[[rerun]]\nname = "a"\ncauses = [{ kind = "ccd" }]',
            "cause 'ccd' needs detector",
        ),
    ],
)
def test_a_preset_with_a_mistake_is_refused_in_one_line(tmp_path: Path, text: str, message: str):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SimulationError) as caught:
        load_preset(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_targets_that_cannot_be_met_are_an_error_that_says_what_is_lacking(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "hits2015"\n[kinds.dipole]\nnumber = 10\n[kinds.variable]\nnumber=5')
    with pytest.raises(SimulationError, match=r"repeated good sources needed"):
        simulate(tmp_path / "sim", preset=str(path), scale=0.02)
    assert not list((tmp_path / "sim").rglob("*.db"))


def test_another_camera_is_a_preset(tmp_path: Path):
    result = simulate(tmp_path, preset="lsstcam", reruns=["Apr2020"])
    path = result.paths["Apr2020"]
    detectors = {r[0] for r in rows(path, "select distinct detector from DiaSource")}
    assert len(detectors) == 189  # all science detectors, none of the corners
    assert rows(path, "select max(x) < 4100, max(y) < 4100 from DiaSource") == [(1, 1)]
    assert dict(rows(path, "select name, value from metadata"))["instrument"] == "LSSTCam"


def test_a_cause_is_data_in_a_preset_and_a_function_in_python():
    preset = load_preset("small")
    assert preset.rerun("May2020").causes[0] == edge_excess(64, 0.08)
    assert isinstance(preset.rerun("Jun2020").causes[0], Cause)


def test_pixel_ids_are_those_of_the_spherical_geometry_library(small: dict[str, Simulation]):
    sphgeom = pytest.importorskip("lsst.sphgeom")
    pixels = sphgeom.HtmPixelization(20)
    for table in ("DiaSource", "DiaObject"):
        for pixel, ra, dec in rows(
            small["10.0.0"].paths["Apr2020"],
            f"select pixelId, ra, dec from {table} order by ra limit 300",
        ):
            point = sphgeom.UnitVector3d(sphgeom.LonLat.fromDegrees(ra, dec))
            assert pixels.index(point) == pixel


def test_the_client_of_the_pipeline_reads_a_region_of_the_newest_schema(
    small: dict[str, Simulation],
):
    pytest.importorskip("lsst.dax.apdb")
    from dax_apdb_files import dax_sources_in_region

    path = small["10.0.0"].paths["May2020"]
    found = dax_sources_in_region(path, 150.1, 2.2, 0.3)
    # the same circle, by the haversine of each row
    ids, ra, dec = (
        np.array(c)
        for c in zip(*rows(path, "select diaSourceId, ra, dec from DiaSource"), strict=True)
    )
    d_ra, dec = np.radians(ra - 150.1), np.radians(dec)
    centre = np.radians(2.2)
    h = np.sin((dec - centre) / 2) ** 2 + np.cos(dec) * np.cos(centre) * np.sin(d_ra / 2) ** 2
    inside = np.degrees(2 * np.arcsin(np.sqrt(h))) <= 0.3
    expected = np.sort(ids[inside])
    assert len(expected) > 50
    assert found["diaSourceId"].to_list() == expected.tolist()
