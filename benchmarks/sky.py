"""Objects of two catalogues matched on the sky within 1 arcsec."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

from benchmarks.harness import Contender

_CATALOGUES = """
import json, sys, time
import numpy as np
n = int(sys.argv[1])
rng = np.random.default_rng(1)
# Over 3 square degrees, from 2 million on over more; again with 0.2 arcsec of noise, in
# another order.
side = max(3.0, 1.5e-6 * n) ** 0.5
ra, dec = 150 + (rng.random(n) - 0.5) * side, 2 + (rng.random(n) - 0.5) * side
order = rng.permutation(n)
ra2 = ra[order] + rng.normal(0, 0.2 / 3600, n)
dec2 = dec[order] + rng.normal(0, 0.2 / 3600, n)
"""

HITSDUCK = f"""{_CATALOGUES}
import astropy.coordinates, astropy.units, cdshealpix.nested, numpy.ma
import polars as pl
from hitsduck.crossmatch import match_sky
left = pl.DataFrame({{"diaObjectId": np.arange(n), "ra": ra, "dec": dec}})
right = pl.DataFrame({{"diaObjectId": np.arange(n), "ra": ra2, "dec": dec2}})
started = time.perf_counter()
pairs = match_sky(left, right, radius_arcsec=1.0, how="best1").pairs
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": pairs.height}}))
"""

ASTROPY = f"""{_CATALOGUES}
from astropy.coordinates import SkyCoord
left, right = SkyCoord(ra, dec, unit="deg"), SkyCoord(ra2, dec2, unit="deg")
started = time.perf_counter()
_, separation, _ = left.match_to_catalog_sky(right)
n_matched = int((separation.arcsec <= 1.0).sum())
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": n_matched}}))
"""

TREE = f"""{_CATALOGUES}
from scipy.spatial import cKDTree
def vectors(ra, dec):
    ra, dec = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
started = time.perf_counter()
chord = 2 * np.sin(np.radians(1.0 / 3600) / 2)
distance, _ = cKDTree(vectors(ra2, dec2)).query(vectors(ra, dec), distance_upper_bound=chord)
n_matched = int(np.isfinite(distance).sum())
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": n_matched}}))
"""

# Cut into cells of the sky beforehand, and once matched to compile what it compiles.
LSDB = f"""{_CATALOGUES}
import contextlib, io, warnings
warnings.simplefilter("ignore")
import lsdb
import pandas as pd
def catalogue(ra, dec, name):
    return lsdb.from_dataframe(pd.DataFrame({{"ra": ra, "dec": dec}}), ra_column="ra",
        dec_column="dec", catalog_name=name, margin_threshold=5)
with contextlib.redirect_stdout(io.StringIO()):
    left, right = catalogue(ra, dec, "left"), catalogue(ra2, dec2, "right")
    left.crossmatch(right, radius_arcsec=1.0, n_neighbors=1).compute()
    started = time.perf_counter()
    n_matched = len(left.crossmatch(right, radius_arcsec=1.0, n_neighbors=1).compute())
    seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": n_matched}}))
"""

# Reading and writing files is part of what a user of stilts waits for; it matches both ways.
STILTS = f"""{_CATALOGUES}
import subprocess, tempfile
from astropy.table import Table
with tempfile.TemporaryDirectory() as folder:
    for name, (a, d) in {{"left": (ra, dec), "right": (ra2, dec2)}}.items():
        Table({{"ra": a, "dec": d}}).write(f"{{folder}}/{{name}}.fits")
    started = time.perf_counter()
    subprocess.run(["stilts", "tmatch2", "matcher=sky", "params=1", "find=best1", "join=1and2",
        f"in1={{folder}}/left.fits", f"in2={{folder}}/right.fits", "values1=ra dec",
        "values2=ra dec", f"out={{folder}}/out.fits", "progress=none"], check=True)
    seconds = time.perf_counter() - started
    n_matched = len(Table.read(f"{{folder}}/out.fits"))
print(json.dumps({{"seconds": seconds, "answer": n_matched}}))
"""


def contenders(n_objects: int) -> list[Contender]:
    """Return the ways to match, ours first; each left object with its nearest right one."""
    arguments = [str(n_objects)]
    found = [
        Contender("hitsduck", HITSDUCK, arguments),
        Contender("astropy", ASTROPY, arguments, goal_inside=3.0),
        Contender("scipy cKDTree", TREE, arguments, goal_inside=1.0),
    ]
    if find_spec("lsdb"):
        found.append(Contender("LSDB", LSDB, arguments, goal_inside=3.0, is_slow=True))
    if shutil.which("stilts"):
        found.append(Contender("stilts", STILTS, arguments, goal_inside=3.0, is_slow=True))
    return found
