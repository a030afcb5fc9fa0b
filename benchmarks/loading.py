"""The seed analysis' 18 columns of one full-size rerun, read into memory."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Contender

HITSDUCK = """
import json, sys, time
import hitsduck, hitsduck.opening, pyarrow
with hitsduck.open_reruns({"rerun": sys.argv[1]}) as reruns:
    started = time.perf_counter()
    table = reruns["rerun"].sources(columns=[
        "diaSourceId", "diaObjectId", "ra", "dec", "ccdVisitId", "midpointMjdTai", "apFlux",
        "psfFlux", "apFluxErr", "psfFluxErr", "scienceFlux", "scienceFluxErr", "x", "y",
        "ixxPSF", "iyyPSF", "band", "flags"]).arrow()
    seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "answer": [table.num_rows, table.num_columns]}))
"""

_WANTED = """
names = ["diaSourceId", "diaObjectId", "ra", "decl", "ccdVisitId", "midPointTai", "apFlux",
    "psFlux", "apFluxErr", "psFluxErr", "totFlux", "totFluxErr", "x", "y", "ixxPSF", "iyyPSF",
    "filterName", "flags"]
query = f"select {', '.join(names)} from DiaSource"
"""

PANDAS = f"""
import json, sqlite3, sys, time
import pandas as pd
{_WANTED}
started = time.perf_counter()
table = pd.read_sql_query(query, sqlite3.connect(f"file:{{sys.argv[1]}}?mode=ro", uri=True))
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": list(table.shape)}}))
"""

CONNECTORX = f"""
import json, sys, time
import connectorx, pyarrow
{_WANTED}
started = time.perf_counter()
table = connectorx.read_sql(f"sqlite://{{sys.argv[1]}}", query, return_type="arrow")
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": [table.num_rows, table.num_columns]}}))
"""

ADBC = f"""
import json, sys, time
import adbc_driver_sqlite.dbapi, pyarrow
{_WANTED}
started = time.perf_counter()
with adbc_driver_sqlite.dbapi.connect(f"file:{{sys.argv[1]}}?mode=ro") as connection:
    with connection.cursor() as cursor:
        cursor.execute(query)
        table = cursor.fetch_arrow_table()
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": [table.num_rows, table.num_columns]}}))
"""

# No reader on one core can be faster than SQLite itself going over the same columns.
LIMIT = f"""
import json, sqlite3, sys, time
{_WANTED}
started = time.perf_counter()
connection = sqlite3.connect(f"file:{{sys.argv[1]}}?mode=ro", uri=True)
row = connection.execute(
    f"select count(*), {{', '.join(f'total({{name}})' for name in names)}} from DiaSource"
).fetchone()
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": [row[0], len(row) - 1]}}))
"""


def contenders(apdb: Path) -> list[Contender]:
    """Return the ways to load, ours first."""
    arguments = [str(apdb)]
    return [
        Contender("hitsduck", HITSDUCK, arguments),
        Contender("pandas + sqlite3", PANDAS, arguments),
        Contender("connectorx", CONNECTORX, arguments, goal_inside=1 / 1.25),
        Contender("ADBC SQLite", ADBC, arguments, is_slow=True),
        Contender("SQLite, sums alone", LIMIT, arguments, goal_inside=1 / 2.2),
    ]
