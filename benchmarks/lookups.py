"""One object's light curve from SQLite: its DIA sources and forced sources, as Python rows.

hitsduck gives them under the names of schema 10.0.0, its computed columns with them.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Contender

N_OBJECTS = 20

_OBJECTS = f"""
import json, sqlite3, sys, time
sqlite = sqlite3.connect(f"file:{{sys.argv[1]}}?mode=ro", uri=True)
n_rows = sqlite.execute("select max(rowid) from DiaObject").fetchone()[0]
objects = [sqlite.execute("select diaObjectId from DiaObject where rowid = ?",
    (1 + n_rows * k // {N_OBJECTS},)).fetchone()[0] for k in range({N_OBJECTS})]
assert len(set(objects)) == {N_OBJECTS}
"""

HITSDUCK = f"""{_OBJECTS}
import hitsduck, hitsduck.opening
with hitsduck.open_reruns({{"rerun": sys.argv[1]}}) as reruns:
    rerun = reruns["rerun"]
    # The statements are written with the first question.
    rerun.sources_for_object(objects[0]).rows(), rerun.forced_sources_for_object(objects[0]).rows()
    started = time.perf_counter()
    n = 0
    for o in objects:
        n += len(rerun.sources_for_object(o).rows())
        n += len(rerun.forced_sources_for_object(o).rows())
    seconds = (time.perf_counter() - started) / len(objects)
print(json.dumps({{"seconds": seconds, "answer": n}}))
"""

SQLITE = f"""{_OBJECTS}
started = time.perf_counter()
n = 0
for o in objects:
    for table in ("DiaSource", "DiaForcedSource"):
        n += len(sqlite.execute(f"select * from {{table}} where diaObjectId = ?", (o,)).fetchall())
seconds = (time.perf_counter() - started) / len(objects)
print(json.dumps({{"seconds": seconds, "answer": n}}))
"""

SCAN = f"""{_OBJECTS}
import duckdb
from hitsduck.connection import _extension_file
connection = duckdb.connect()
connection.execute(f"load '{{_extension_file()}}'")
connection.execute(f"attach '{{sys.argv[1]}}' as apdb (type sqlite, read_only)")
started = time.perf_counter()
n = 0
for o in objects:
    for table in ("DiaSource", "DiaForcedSource"):
        n += len(connection.execute(
            f"select * from apdb.{{table}} where diaObjectId = {{o}}").fetchall())
    if o == objects[2]:  # three tell enough of 20
        break
seconds = (time.perf_counter() - started) / 3
print(json.dumps({{"seconds": seconds, "answer": None}}))
"""


def contenders(apdb: Path) -> list[Contender]:
    """Return the ways to look an object up, ours first; seconds are those of one object."""
    return [
        Contender("hitsduck", HITSDUCK, [str(apdb)]),
        Contender("sqlite3 by index", SQLITE, [str(apdb)], goal_inside=0.2),
        Contender("DuckDB scan", SCAN, [str(apdb)], goal_inside=100.0),
    ]
