"""Simulations of full size: counts, time and memory.

Reduced (a twentieth of the size) unless HITSDUCK_CAMPAIGN=full; the limits of time and
memory are those of the full size. Time is that of the processor, and on a machine that does
little else that of the clock too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_simulator import PUBLISHED, four_counts

pytestmark = pytest.mark.campaign

FULL = os.environ.get("HITSDUCK_CAMPAIGN") == "full"

_CODE = """
import json, resource, sys, time
from hitsduck.simulator import simulate
how = json.loads(sys.argv[1])
begun, busy = time.monotonic(), time.process_time()
result = simulate(**how)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
rows = {n: r.rows for n, r in result.reruns.items()}
seconds, cpu = time.monotonic() - begun, time.process_time() - busy
print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak": peak, "rows": rows}))
"""


def run(**how: object) -> dict[str, object]:
    """Simulate in a process of its own; return its time (s), peak memory (bytes) and rows."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE, json.dumps(how)],
        check=True,
        capture_output=True,
        text=True,
        timeout=7200,
    )
    answer: dict[str, object] = json.loads(done.stdout)
    print(how, answer)
    return answer


@pytest.mark.parametrize("generation", ["2020", "1.0.0", "10.0.0"])
def test_hits2015_has_the_published_counts(tmp_path: Path, generation: str):
    scale = 1.0 if FULL else 0.05
    answer = run(directory=str(tmp_path), preset="hits2015", scale=scale, generation=generation)
    for rerun, published in PUBLISHED.items():
        counted = four_counts(tmp_path / rerun / "association.db")
        assert counted == tuple(round(c * scale) for c in published)
    assert answer["cpu_seconds"] < 180
    assert answer["seconds"] < 180 or os.getloadavg()[0] > 2.5
    assert answer["peak"] < 3e9


def test_the_command_line_prints_the_published_table(tmp_path: Path):
    scale = 1.0 if FULL else 0.02
    command = [sys.executable, "-m", "hitsduck"]
    folder = str(tmp_path / "sim")
    arguments = ["simulate", folder, "--preset", "hits2015", "--scale", str(scale)]
    done = subprocess.run(
        command + arguments, check=True, capture_output=True, text=True, timeout=3600
    )
    reruns = done.stdout.split()
    assert [r.split("=")[0] for r in reruns] == list(PUBLISHED)
    counted = subprocess.run(
        [*command, "counts", "--json", *reruns], check=True, capture_output=True, text=True
    )
    names = ("n_dia_sources", "n_good_dia_sources", "n_dia_objects", "n_good_dia_objects")
    for row in json.loads(counted.stdout):
        expected = tuple(round(c * scale) for c in PUBLISHED[row["rerun"]])
        assert tuple(row[name] for name in names) == expected


def test_a_hundredth_takes_seconds(tmp_path: Path):
    answer = run(directory=str(tmp_path), preset="hits2015", scale=0.01)
    assert answer["cpu_seconds"] < 10


@pytest.mark.parametrize(
    ("format_", "scale", "reruns"), [("sqlite", 10.0, None), ("parquet", 100.0, ["Apr2020"])]
)
@pytest.mark.skipif(not FULL, reason="minutes and tens of GB: HITSDUCK_CAMPAIGN=full")
def test_large_scales_stay_below_4_gb_of_memory(
    tmp_path: Path, format_: str, scale: float, reruns: list[str] | None
):
    answer = run(
        directory=str(tmp_path), preset="hits2015", scale=scale, format=format_, reruns=reruns
    )
    assert answer["peak"] < 4e9
    for rerun in reruns or PUBLISHED:
        assert answer["rows"][rerun]["DiaSource"] == round(PUBLISHED[rerun][0] * scale)
