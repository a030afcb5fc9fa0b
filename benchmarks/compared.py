"""Good sources of two reruns compared: hitsduck against a loop over (visit, detector)."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.harness import Contender

HITSDUCK = """
import json, sys, time
# Neither program's imports are timed; hitsduck would do these when first needed.
import hitsduck, hitsduck.large, hitsduck.opening, numpy.ma, pyarrow
started = time.perf_counter()
with hitsduck.open_reruns({"left": sys.argv[1], "right": sys.argv[2]}) as reruns:
    comparison = reruns.compare("left", "right", radius_arcsec=0.5)
    answer = [comparison.n_left, comparison.n_right, comparison.n_matched,
        comparison.n_left_only, comparison.n_right_only]
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "answer": answer}))
"""

# A mask for each image and astropy's match in both directions, as a notebook would.
LOOP = """
import json, sqlite3, sys, time
import astropy.units as u
import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
started = time.perf_counter()
tables = []
for path in sys.argv[1:3]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    table = pd.read_sql_query(
        "select diaSourceId, ra, decl, ccdVisitId, flags from DiaSource", connection)
    table["visit"], table["ccd"] = table["ccdVisitId"] // 100, table["ccdVisitId"] % 100
    tables.append(table[(table["flags"] & 704) == 0])
left, right = tables
images = set(zip(left["visit"], left["ccd"])) | set(zip(right["visit"], right["ccd"]))
n_matched = 0
for visit, ccd in images:
    of_left = left[(left["visit"] == visit) & (left["ccd"] == ccd)]
    of_right = right[(right["visit"] == visit) & (right["ccd"] == ccd)]
    if of_left.empty or of_right.empty:
        continue
    a = SkyCoord(of_left["ra"].values * u.deg, of_left["decl"].values * u.deg)
    b = SkyCoord(of_right["ra"].values * u.deg, of_right["decl"].values * u.deg)
    to_right, separation, _ = a.match_to_catalog_sky(b)
    to_left, _, _ = b.match_to_catalog_sky(a)
    mutual = to_left[to_right] == np.arange(len(a))
    n_matched += int((mutual & (separation.arcsec <= 0.5)).sum())
seconds = time.perf_counter() - started
answer = [len(left), len(right), n_matched, len(left) - n_matched, len(right) - n_matched]
print(json.dumps({"seconds": seconds, "answer": answer}))
"""


# Reading the good sources is part of the work; stilts matches within an image and takes the
# best pair of all first, where hitsduck asks for each other's nearest.
STILTS = """
import json, sqlite3, subprocess, sys, tempfile, time
import numpy as np
from astropy.table import Table
with tempfile.TemporaryDirectory() as folder:
    started = time.perf_counter()
    numbers = []
    for name, path in zip(("left", "right"), sys.argv[1:3]):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        rows = np.array(connection.execute(
            "select ccdVisitId, ra, decl from DiaSource where flags & 704 = 0").fetchall())
        table = Table({"image": rows[:, 0].astype(int), "ra": rows[:, 1], "dec": rows[:, 2]})
        table.write(f"{folder}/{name}.fits")
        numbers.append(len(table))
    subprocess.run(["stilts", "tmatch2", "matcher=sky+1d", "params=0.5 0.5", "find=best",
        "join=1and2", f"in1={folder}/left.fits", f"in2={folder}/right.fits",
        "values1=ra dec image", "values2=ra dec image", f"out={folder}/out.fits",
        "progress=none"], check=True)
    seconds = time.perf_counter() - started
    n_matched = len(Table.read(f"{folder}/out.fits"))
print(json.dumps({"seconds": seconds, "answer": None}))
"""


def contenders(left: Path, right: Path) -> list[Contender]:
    """Return the ways to compare, ours first."""
    arguments = [str(left), str(right)]
    found = [
        Contender("hitsduck", HITSDUCK, arguments),
        Contender("loop: pandas + astropy", LOOP, arguments, goal_inside=30.0),
    ]
    if shutil.which("stilts"):
        found.append(Contender("stilts tmatch2", STILTS, arguments, goal_inside=3.0, is_slow=True))
    return found
