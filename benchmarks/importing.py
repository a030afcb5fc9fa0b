"""A workspace of three full-size reruns, all columns: hitsduck against a plain copy."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Contender

# Ordered, narrowed, checked against SQLite's counts and sums, with the views on top.
HITSDUCK = """
import json, sys, tempfile, time
import hitsduck, hitsduck.opening
with tempfile.TemporaryDirectory(dir=sys.argv[1]) as folder:
    started = time.perf_counter()
    with hitsduck.open_reruns(dict(zip("abc", sys.argv[2:]))) as reruns:
        reruns.materialize(f"{folder}/all.duckdb")
        seconds = time.perf_counter() - started
        answer = [row["n_rows"]["DiaSource"] for row in reruns.info()]
print(json.dumps({"seconds": seconds, "answer": answer}))
"""

# Neither ordered nor checked; the last row is lost where rows fill whole slices.
NAIVE = """
import json, sys, tempfile, time
import duckdb
from hitsduck.connection import _extension_file
with tempfile.TemporaryDirectory(dir=sys.argv[1]) as folder:
    started = time.perf_counter()
    connection = duckdb.connect(f"{folder}/all.duckdb")
    connection.execute(f"load '{_extension_file()}'")
    answer = []
    for name, path in zip("abc", sys.argv[2:]):
        connection.execute(f"attach '{path}' as {name}_file (type sqlite, read_only)")
        connection.execute(f"create schema {name}")
        for table in ("DiaSource", "DiaObject", "DiaForcedSource"):
            connection.execute(
                f"create table {name}.{table} as select * from {name}_file.{table}")
        answer.append(connection.execute(f"select count(*) from {name}.DiaSource").fetchone()[0])
    connection.execute("checkpoint")
    seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "answer": answer}))
"""


def contenders(files: list[Path], scratch: Path) -> list[Contender]:
    """Return the two ways to import, ours first."""
    arguments = [str(scratch), *map(str, files)]
    return [
        Contender("hitsduck", HITSDUCK, arguments),
        Contender("create table as select *", NAIVE, arguments, goal_inside=1.0),
    ]
