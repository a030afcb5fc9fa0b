"""What became of objects: groups by hand, a large graph against scipy, objects on the sky."""

from __future__ import annotations

import time
from pathlib import Path

import astropy.units as u
import numpy as np
import polars as pl
import pytest
from apdb_files import make_apdb
from astropy.coordinates import SkyCoord
from scipy.sparse import coo_array, csgraph

import hitsduck
from hitsduck.turnover import KINDS, object_turnover

#: Objects of the sources of left and right; source k of left matches source k of right.
SAME = ([1, 1], [10, 10])
SPLIT = ([2, 2, 2], [20, 21, 22])
MERGED = ([3, 4], [30, 30])
REGROUPED = ([5, 5, 6], [50, 51, 51])


def turnover(left: list[int | None], right: list[int | None], n_pairs: int):
    pairs = pl.DataFrame({"left_index": range(n_pairs), "right_index": range(n_pairs)})
    return object_turnover(pl.Series(left, dtype=pl.Int64), pl.Series(right, dtype=pl.Int64), pairs)


def test_objects_are_the_same_split_merged_regrouped_gone_or_new():
    groups = [SAME, SPLIT, MERGED, REGROUPED]
    left = [number for group in groups for number in group[0]]
    right = [number for group in groups for number in group[1]]
    # and one object of each rerun whose source found no partner
    found = turnover([*left, 7], [*right, 70, 70], len(left))
    assert (found.n_left_objects, found.n_right_objects) == (7, 8)
    rows = found.table().rows()
    assert rows == [
        # kind, groups, objects of left and right, their sources, examples
        ("same", 1, 1, 1, 2, 2, ["1 -> 10"]),
        ("split", 1, 1, 3, 3, 3, ["2 -> 20 + 21 + 22"]),
        ("merged", 1, 2, 1, 2, 2, ["3 + 4 -> 30"]),
        ("regrouped", 1, 2, 2, 3, 3, ["5 + 6 -> 50 + 51"]),
        ("gone", 1, 1, 0, 1, 0, ["7 ->"]),
        ("new", 1, 0, 1, 0, 2, ["-> 70"]),
    ]
    assert found.summary() == {"n_left_objects": 7, "n_right_objects": 8} | dict.fromkeys(KINDS, 1)
    assert "1 split" in repr(found)


def test_one_id_in_both_reruns_is_two_nodes():
    # ids of different reruns have nothing to do with each other
    found = turnover([1], [1], 0)
    assert found.summary() == {
        "n_left_objects": 1,
        "n_right_objects": 1,
        **dict.fromkeys(KINDS, 0),
        "gone": 1,
        "new": 1,
    }


def test_sources_without_an_object_link_nothing_and_are_counted():
    found = turnover([1, None], [None, 20], 2)
    assert (found.n_left_without_object, found.n_right_without_object) == (1, 1)
    assert (found.summary()["gone"], found.summary()["new"]) == (1, 1)


def test_nothing_at_all_gives_an_empty_table():
    found = turnover([], [], 0)
    assert [row[1] for row in found.table().rows()] == [0] * 6


def test_examples_are_few_and_counts_complete():
    found = turnover(list(range(100)), [number + 1000 for number in range(100)], 100)
    table = found.table()
    assert table["n_groups"][0] == 100
    assert table["examples"][0].to_list() == [f"{k} -> {k + 1000}" for k in range(5)]


def test_a_quarter_million_objects_are_grouped_as_scipy_does_within_seconds():
    rng = np.random.default_rng(5)
    n_objects, n_sources = 250_000, 600_000
    left, right = (rng.integers(0, n_objects, n_sources) for _ in range(2))
    right = np.where(rng.random(n_sources) < 0.97, left, right)
    started = time.perf_counter()
    found = turnover(left.tolist(), (right + 10**9).tolist(), n_sources)
    table = found.table()
    seconds = time.perf_counter() - started
    graph = coo_array((np.ones(n_sources), (left, right + n_objects)), shape=(2 * n_objects,) * 2)
    _, labels = csgraph.connected_components(graph, directed=False)
    used = np.unique(np.concatenate([left, right + n_objects]))
    sizes = pl.DataFrame({"group": labels[used], "is_left": used < n_objects})
    sizes = sizes.group_by("group").agg(
        pl.col("is_left").sum().alias("l"), (~pl.col("is_left")).sum().alias("r")
    )
    expected = {
        "same": sizes.filter((pl.col("l") == 1) & (pl.col("r") == 1)).height,
        "split": sizes.filter((pl.col("l") == 1) & (pl.col("r") > 1)).height,
        "merged": sizes.filter((pl.col("l") > 1) & (pl.col("r") == 1)).height,
        "regrouped": sizes.filter((pl.col("l") > 1) & (pl.col("r") > 1)).height,
        "gone": 0,
        "new": 0,
    }
    assert dict(zip(table["kind"], table["n_groups"], strict=True)) == expected
    assert seconds < 30  # a fraction of a second on a free machine


@pytest.fixture
def reruns(tmp_path: Path):
    def source(number: int, object_id: int, **cells):
        return {
            "diaSourceId": number, "diaObjectId": object_id, "visit": 1, "detector": 5,
            "ra": 10.0 + number * 0.01, "dec": 0.0, "x": 5.0, "y": 5.0,
        } | cells  # fmt: skip

    def thing(number: int, ra: float, dec: float = 0.0, **cells):
        return {"diaObjectId": number, "ra": ra, "dec": dec, "validityEndMjdTai": None} | cells

    arcsec = 1 / 3600
    paths = {
        "a": make_apdb(
            tmp_path / "a.db",
            sources=[source(1, 1), source(2, 1), source(3, 3, pixelFlags_bad=True)],
            objects=[
                thing(1, 10.0),
                thing(3, 20.0),
                thing(4, 30.0),
                thing(4, 40.0, validityStartMjdTai=0.5, validityEndMjdTai=1.0),
            ],
        ),
        "b": make_apdb(
            tmp_path / "b.db",
            sources=[source(1, 11), source(2, 12), source(3, 13)],
            objects=[
                thing(11, 10.0 + 0.3 * arcsec),
                thing(12, 50.0),
                thing(13, 20.0, 0.2 * arcsec),
            ],
        ),
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as opened:
        yield opened


def test_a_comparison_tells_its_turnover(reruns: hitsduck.Reruns):
    kinds = reruns.compare("a", "b").turnover().summary()
    # good sources: object 1 (sources 1, 2) became 11 and 12; 13 is new, as its partner is bad
    assert kinds == {"n_left_objects": 1, "n_right_objects": 3} | {
        **dict.fromkeys(KINDS, 0),
        "split": 1,
        "new": 1,
    }
    assert reruns.compare("a", "b", good=False).turnover().summary()["same"] == 1


def test_objects_are_matched_on_the_sky_too(reruns: hitsduck.Reruns):
    found = reruns.compare_objects("a", "b", good=False)
    assert found.matched.select("diaObjectId_left", "diaObjectId_right").rows() == [
        (1, 11),
        (3, 13),
    ]
    assert found.matched["sep_arcsec"].to_list() == pytest.approx([0.3, 0.2], abs=1e-6)
    assert found.left_only["diaObjectId"].to_list() == [4]
    assert found.right_only["diaObjectId"].to_list() == [12]
    good = reruns.compare_objects("a", "b").summary()  # 1 alone has a good source in a
    assert (good["n_left"], good["n_right"], good["n_matched"]) == (1, 3, 1)


def test_the_objects_of_the_real_pair_match_as_astropy_says(shared: Path):
    folder = shared / "data" / "apdb"
    files = {"i23": "imsim-2023-packed.sqlite3", "i24": "imsim-2024-schema-0.1.1.sqlite3"}
    with hitsduck.open_reruns({n: folder / f for n, f in files.items()}) as real:
        found = real.compare_objects("i23", "i24", radius_arcsec=1.0, good=False)
        sky = []
        for name in files:
            frame = real[name].objects(["diaObjectId", "ra", "dec"]).polars().sort("diaObjectId")
            sky.append(SkyCoord(frame["ra"].to_numpy() * u.deg, frame["dec"].to_numpy() * u.deg))
    there, separation, _ = sky[0].match_to_catalog_sky(sky[1])
    back, _, _ = sky[1].match_to_catalog_sky(sky[0])
    mutual = (back[there] == np.arange(len(there))) & (separation <= 1 * u.arcsec)
    assert found.matched.height == mutual.sum() > 0
    assert (found.n_left, found.n_right) == (436, 259)
    assert np.allclose(np.sort(found.matched["sep_arcsec"]), np.sort(separation[mutual].arcsec))
