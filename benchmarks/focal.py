"""Focal-plane positions of the good sources of a rerun, and their density on each CCD.

From the APDB, reading included; and from columns on disk: our workspace, and for pandas a
Parquet file of the columns that it needs. There the row loop, the seed's (`benchmarks.seed`),
and a second numpy have the sources in memory already, reading not counted.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks import seed
from benchmarks.harness import Contender, workspace

HITSDUCK = """
import json, sys, time
import hitsduck, hitsduck.opening, numpy.ma, polars, pyarrow
started = time.perf_counter()
with hitsduck.open_reruns({"rerun": sys.argv[1]}, instrument="DECam") as reruns:
    places = reruns.sql(
        "select focal_x_mm, focal_y_mm, detector from dia_source_focal_plane where is_good"
    ).polars()
    counts = places["detector"].value_counts()["count"]
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "answer": [
    places.height, round(places["focal_x_mm"].mean(), 6), counts.max()]}))
"""

HITSDUCK_LOADED = HITSDUCK.replace("started = time.perf_counter()\n", "").replace(
    "    places = ", "    started = time.perf_counter()\n    places = "
)

_READ = """
import csv, json, math, sqlite3, sys, time
import numpy as np
import pandas as pd
with open(sys.argv[2]) as file:
    chips = {int(row["detector"]): {k: float(row[k]) for k in (
        "pixel_size_x_mm", "pixel_size_y_mm", "ref_x_px", "ref_y_px", "offset_x_mm",
        "offset_y_mm", "yaw_deg")} for row in csv.DictReader(file)}
started = time.perf_counter()
sources = pd.read_sql_query("select ccdVisitId, x, y, flags from DiaSource",
    sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True))
good = sources[(sources["flags"] & 704) == 0]
"""

NUMPY = f"""{_READ}
ccd = (good["ccdVisitId"] % 100).to_numpy()
chip = {{k: np.zeros(100) for k in next(iter(chips.values()))}}
for number, values in chips.items():
    for k, value in values.items():
        chip[k][number] = value
dx = (good["x"].to_numpy() - chip["ref_x_px"][ccd]) * chip["pixel_size_x_mm"][ccd]
dy = (good["y"].to_numpy() - chip["ref_y_px"][ccd]) * chip["pixel_size_y_mm"][ccd]
yaw = np.radians(chip["yaw_deg"][ccd])
x = chip["offset_x_mm"][ccd] + np.cos(yaw) * dx - np.sin(yaw) * dy
y = chip["offset_y_mm"][ccd] + np.sin(yaw) * dx + np.cos(yaw) * dy
counts = np.bincount(ccd)
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": [
    len(x), round(float(x.sum()) / len(x), 6), int(counts.max())]}}))
"""

# As the helpers of the seed analysis did: one row of the whole table after the other.
_WALK = f"""
import csv, json, math, sqlite3, sys, time
import numpy as np
import pandas as pd
camera_file = sys.argv[2]
{seed.CHIPS}{seed.LOAD}{seed.WALK}
started = time.perf_counter()
good = load(sys.argv[1])[3]
"""

LOOP = f"""{_WALK}
xs, ys = placed(good)
counts = density(good)
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": [
    len(xs), round(sum(xs) / len(xs), 6), int(max(counts.values()))]}}))
"""


PARQUET = NUMPY.replace(
    """sources = pd.read_sql_query("select ccdVisitId, x, y, flags from DiaSource",
    sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True))
""",
    """sources = pd.read_parquet(sys.argv[1])
""",
)

_TO_PARQUET = """
import sqlite3, sys
import pandas as pd
pd.read_sql_query("select ccdVisitId, x, y, flags from DiaSource",
    sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)).to_parquet(sys.argv[2])
"""


def contenders(apdb: Path, camera: Path) -> list[Contender]:
    """Return the ways to place sources of an APDB in the focal plane, ours first."""
    arguments = [str(apdb), str(camera)]
    return [
        Contender("hitsduck", HITSDUCK, arguments),
        Contender("numpy after pandas", NUMPY, arguments, goal_inside=1.0),
        Contender("the seed's row loop", LOOP, arguments, goal_inside=100.0),
    ]


def contenders_of_columns(apdb: Path, camera: Path, scratch: Path) -> list[Contender]:
    """Return the ways to place sources from columns on disk, or in memory; ours first."""
    stored = workspace(scratch / "focal.duckdb", {"rerun": apdb})
    parquet = scratch / "focal.parquet"
    if not parquet.exists():
        # By a process of its own: what is started later would count its memory as their peak.
        subprocess.run([sys.executable, "-c", _TO_PARQUET, str(apdb), str(parquet)], check=True)
    arguments = [str(apdb), str(camera)]
    return [
        Contender("hitsduck, from a workspace", HITSDUCK_LOADED, [str(stored)]),
        Contender(
            "numpy after pandas, from Parquet",
            PARQUET,
            [str(parquet), str(camera)],
            goal_inside=1.0,
        ),
        Contender(
            "numpy, of sources in memory",
            _loaded(NUMPY, 'good = sources[(sources["flags"] & 704) == 0]'),
            arguments,
        ),
        Contender(
            "the seed's row loop, of sources in memory",
            _loaded(LOOP, "good = load(sys.argv[1])[3]"),
            arguments,
            goal_inside=100.0,
        ),
    ]


def _loaded(code: str, last: str) -> str:
    """Begin to count the time when the good sources are there, after the line `last`."""
    start = "started = time.perf_counter()\n"
    return code.replace(start, "").replace(f"{last}\n", f"{last}\n{start}")
