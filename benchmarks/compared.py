"""Good sources of two reruns compared: hitsduck against a loop over (visit, detector)."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Contender

HITSDUCK = """
import json, sys, time
# Neither program's imports are timed; hitsduck would do these when first needed.
import hitsduck, hitsduck.comparison, hitsduck.opening, pyarrow
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


def contenders(left: Path, right: Path) -> list[Contender]:
    """Return the two ways to compare, ours first."""
    arguments = [str(left), str(right)]
    return [
        Contender("hitsduck", HITSDUCK, arguments),
        Contender("loop: pandas + astropy", LOOP, arguments, goal_inside=30.0),
    ]
