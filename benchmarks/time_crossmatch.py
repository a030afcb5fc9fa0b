"""Time the cross-match against astropy, a k-d tree, and a loop over images.

Run it as ``python -m benchmarks.time_crossmatch [--sizes 0.25 0.67 2] [--repeats 5]``. The
programs take turns, so that a busy machine slows all of them; medians and ratios of medians
are printed. ``wall`` is what a user waits, ``cpu`` is what all threads together used.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import astropy.units as u
import numpy as np
import pandas as pd
import polars as pl
from astropy.coordinates import SkyCoord
from scipy.spatial import cKDTree

from hitsduck.crossmatch import match_images, match_sky

RADIUS_SKY_ARCSEC = 1.0
RADIUS_IMAGES_ARCSEC = 0.5
SCATTER_DEG = 0.2 / 3600
N_VISITS, N_DETECTORS = 84, 60
N_SOURCES = 229_000
CCD_DEG = np.array([0.30, 0.15])


def objects(n: int, seed: int = 1) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scatter n objects over 3 square degrees, and again with 0.2 arcsec of noise."""
    rng = np.random.default_rng(seed)
    ra, dec = 150 + (rng.random((2, n)) - 0.5) * np.sqrt(3)
    dec = dec - 148
    order = rng.permutation(n)
    left = pl.DataFrame({"diaObjectId": rng.permutation(n), "ra": ra, "dec": dec})
    right = left[order].with_columns(
        pl.col("ra") + rng.normal(0, SCATTER_DEG, n), pl.col("dec") + rng.normal(0, SCATTER_DEG, n)
    )
    return left, right


def sources(n: int, seed: int = 2) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scatter n sources over the images of a survey; 9 in 10 are seen again."""
    rng = np.random.default_rng(seed)
    visit, detector = rng.integers(0, N_VISITS, n), rng.integers(0, N_DETECTORS, n)
    offset = rng.random((2, n)) * CCD_DEG[:, None]
    left = pl.DataFrame(
        {
            "diaSourceId": np.arange(n),
            "visit": 410_000 + visit,
            "detector": 1 + detector,
            "ra": 150 + detector % 8 * 0.3 + offset[0],
            "dec": 2 + detector // 8 * 0.15 + offset[1],
        }
    )
    moved = rng.random(n) < 0.1
    right = left.with_columns(
        pl.col("ra") + np.where(moved, 0.01, rng.normal(0, SCATTER_DEG, n)),
        pl.col("dec") + rng.normal(0, SCATTER_DEG, n),
    )
    return left, right[rng.permutation(n)]


def sky_hitsduck(left: pl.DataFrame, right: pl.DataFrame) -> int:
    """Match both ways."""
    return match_sky(left, right, radius_arcsec=RADIUS_SKY_ARCSEC).pairs.height


def sky_astropy(left: pl.DataFrame, right: pl.DataFrame) -> int:
    """Match one way only."""
    first, second = (
        SkyCoord(side["ra"].to_numpy(), side["dec"].to_numpy(), unit="deg")
        for side in (left, right)
    )
    _, separation, _ = first.match_to_catalog_sky(second)
    return int((separation <= RADIUS_SKY_ARCSEC * u.arcsec).sum())


def sky_tree(left: pl.DataFrame, right: pl.DataFrame) -> int:
    """Match one way only, without coordinates that know their units."""
    vectors = []
    for side in (left, right):
        ra, dec = np.radians(side["ra"].to_numpy()), np.radians(side["dec"].to_numpy())
        vectors.append(
            np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
        )
    distance, _ = cKDTree(vectors[1]).query(vectors[0])
    return int((distance <= np.radians(RADIUS_SKY_ARCSEC / 3600)).sum())


def images_hitsduck(left: pl.DataFrame, right: pl.DataFrame) -> int:
    """Match both ways within images."""
    return match_images(left, right, radius_arcsec=RADIUS_IMAGES_ARCSEC).pairs.height


def images_loop(left: pd.DataFrame, right: pd.DataFrame) -> int:
    """Match one way, image by image, as notebooks do."""
    n_matched = 0
    for visit, detector in left[["visit", "detector"]].drop_duplicates().to_numpy():
        here = left[(left["visit"] == visit) & (left["detector"] == detector)]
        there = right[(right["visit"] == visit) & (right["detector"] == detector)]
        if there.empty:
            continue
        first, second = (
            SkyCoord(side["ra"].to_numpy(), side["dec"].to_numpy(), unit="deg")
            for side in (here, there)
        )
        _, separation, _ = first.match_to_catalog_sky(second)
        n_matched += int((separation <= RADIUS_IMAGES_ARCSEC * u.arcsec).sum())
    return n_matched


def take_turns(title: str, programs: dict[str, Callable[[], int]], n_repeats: int) -> None:
    """Run the programs in turn, and print the median times and their ratio to the first."""
    wall: dict[str, list[float]] = {name: [] for name in programs}
    cpu: dict[str, list[float]] = {name: [] for name in programs}
    matched = {}
    for _ in range(n_repeats):
        for name, program in programs.items():
            start = time.perf_counter(), time.process_time()
            matched[name] = program()
            wall[name].append(time.perf_counter() - start[0])
            cpu[name].append(time.process_time() - start[1])
    print(title)
    ours = next(iter(programs))
    for name in programs:
        median = {key: statistics.median(times[name]) for key, times in (("w", wall), ("c", cpu))}
        base = {key: statistics.median(times[ours]) for key, times in (("w", wall), ("c", cpu))}
        print(
            f"  {name:34s} wall {median['w']:8.3f} s  x{median['w'] / base['w']:6.2f}"
            f"   cpu {median['c']:8.3f} s  x{median['c'] / base['c']:6.2f}"
            f"   {matched[name]:9,d} matched"
        )


def main() -> None:
    """Parse the command line and time everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="*", default=[0.25, 0.67, 2.0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-images", action="store_true", help="only the sky")
    arguments = parser.parse_args()
    for millions in arguments.sizes:
        n = round(millions * 1e6)
        left, right = objects(n)
        take_turns(
            f"match_sky, {n:,} against {n:,} in 3 square degrees, {RADIUS_SKY_ARCSEC} arcsec",
            {
                "hitsduck, mutual": lambda: sky_hitsduck(left, right),  # noqa: B023
                "astropy, one way": lambda: sky_astropy(left, right),  # noqa: B023
                "cKDTree, one way": lambda: sky_tree(left, right),  # noqa: B023
            },
            arguments.repeats,
        )
    if not arguments.no_images:
        left, right = sources(N_SOURCES)
        left_pandas, right_pandas = (
            pd.DataFrame(side.to_dict(as_series=False)) for side in (left, right)
        )
        take_turns(
            f"match_images, {N_SOURCES:,} against {N_SOURCES:,} "
            f"in {N_VISITS} x {N_DETECTORS} images, {RADIUS_IMAGES_ARCSEC} arcsec",
            {
                "hitsduck, mutual": lambda: images_hitsduck(left, right),
                "loop with masks and astropy, one way": lambda: images_loop(
                    left_pandas, right_pandas
                ),
            },
            1,
        )


if __name__ == "__main__":
    main()
