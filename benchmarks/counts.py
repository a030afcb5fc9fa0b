"""Counts of one full-size rerun from SQLite: hitsduck against the way of the seed analysis.

Timed inside: opening and counting, after the imports; the whole process holds those too.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Contender

HITSDUCK = """
import json, sys, time
import hitsduck, hitsduck.opening
started = time.perf_counter()
with hitsduck.open_reruns({"rerun": sys.argv[1]}) as reruns:
    row = reruns.counts().rows()[0]
seconds = time.perf_counter() - started
answer = [row[k] for k in
    ("n_dia_sources", "n_good_dia_sources", "n_dia_objects", "n_good_dia_objects")]
print(json.dumps({"seconds": seconds, "answer": answer}))
"""

# The 18 columns of DiaSource that the notebook's helper read, and the current objects.
PANDAS = """
import json, sqlite3, sys, time
import pandas as pd
started = time.perf_counter()
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
names = [row[1] for row in connection.execute("pragma table_info(DiaSource)")]
wanted = ["diaSourceId", "diaObjectId", "ra", "decl", "ccdVisitId", "midPointTai", "apFlux",
    "psFlux", "apFluxErr", "psFluxErr", "totFlux", "totFluxErr", "x", "y", "ixxPSF", "iyyPSF",
    "filterName", "flags"]
columns = ", ".join(name for name in wanted if name in names)
sources = pd.read_sql_query(f"select {columns} from DiaSource", connection)
objects = pd.read_sql_query(
    "select diaObjectId, ra, decl, nDiaSources from DiaObject where validityEnd is null",
    connection)
good = sources[(sources["flags"] & 704) == 0]
good_objects = objects[objects["diaObjectId"].isin(good["diaObjectId"])]
seconds = time.perf_counter() - started
answer = [len(sources), len(good), len(objects), len(good_objects)]
print(json.dumps({"seconds": seconds, "answer": answer}))
"""


def contenders(apdb: Path) -> list[Contender]:
    """Return the two ways to count, ours first."""
    return [
        Contender("hitsduck", HITSDUCK, [str(apdb)]),
        Contender("pandas + sqlite3", PANDAS, [str(apdb)], goal_inside=20.0, goal_whole=10.0),
    ]
