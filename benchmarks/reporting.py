"""The whole report of three reruns, which nobody else makes."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Contender

HITSDUCK = """
import json, sys, time
import hitsduck, hitsduck.opening
from hitsduck.report import write_report
started = time.perf_counter()
with hitsduck.open_reruns(dict(zip(("Apr2020", "May2020", "Jun2020"), sys.argv[2:]))) as reruns:
    path = write_report(reruns, sys.argv[1] + "/report.html")
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "answer": path.stat().st_size > 100_000}))
"""


def contenders(files: list[Path], scratch: Path) -> list[Contender]:
    """Return ours alone: seconds and memory stand for themselves."""
    return [Contender("hitsduck", HITSDUCK, [str(scratch), *map(str, files)])]
