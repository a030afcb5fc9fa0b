"""Counts of one full-size rerun from SQLite: hitsduck against the way of the seed analysis.

Timed inside: opening and counting, after the imports; the whole process holds those too.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import seed
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

# As the seed: its helper reads 18 columns of DiaSource and the current objects, splits the ids,
# unpacks the flags and filters by them; then lengths are printed.
PANDAS = f"""
import json, sqlite3, sys, time
import pandas as pd
{seed.LOAD}
started = time.perf_counter()
objects, sources, good_objects, good = load(sys.argv[1])
answer = [len(sources), len(good), len(objects), len(good_objects)]
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": answer}}))
"""


def contenders(apdb: Path) -> list[Contender]:
    """Return the two ways to count, ours first."""
    return [
        Contender("hitsduck", HITSDUCK, [str(apdb)]),
        Contender(
            "pandas + sqlite3, as the seed", PANDAS, [str(apdb)], goal_inside=20.0, goal_whole=10.0
        ),
    ]
