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

# No reader can be faster than SQLite itself going over the same columns, each half of the rows
# in a thread. It does not tell which objects are good, so that it has no answer to compare.
LIMIT = """
import json, sqlite3, sys, time
from concurrent.futures import ThreadPoolExecutor

def ask(query, bounds=()):
    connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
    try:
        return connection.execute(query, bounds).fetchone()
    finally:
        connection.close()

def in_halves(table, terms):
    low, high = ask(f"select (select min(rowid) from {table}), (select max(rowid) from {table})")
    halves = [(low, (low + high) // 2), ((low + high) // 2 + 1, high)]
    query = f"select {terms} from {table} where rowid between ? and ?"
    with ThreadPoolExecutor(2) as pool:
        return [sum(found) for found in zip(*pool.map(lambda half: ask(query, half), halves))]

started = time.perf_counter()
in_halves("DiaSource", "count(*), count(case when flags & 704 = 0 then diaObjectId end)")
in_halves("DiaObject", "count(case when validityEnd is null then diaObjectId end)")
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "answer": None}))
"""


def contenders(apdb: Path) -> list[Contender]:
    """Return the ways to count, ours first."""
    return [
        Contender("hitsduck", HITSDUCK, [str(apdb)]),
        Contender(
            "pandas + sqlite3, as the seed", PANDAS, [str(apdb)], goal_inside=20.0, goal_whole=10.0
        ),
        Contender("SQLite in two threads, counts alone", LIMIT, [str(apdb)]),
    ]
