"""Runs whole processes in turn and keeps their wall time and peak memory."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass
class Contender:
    """One way to do the work: a name and the Python code of a whole process.

    The code gets its arguments in ``sys.argv[1:]``. It may print a JSON object with
    ``seconds``, the time of the work inside the process, and ``answer``, which must
    be the same for all contenders.
    """

    name: str
    code: str
    arguments: list[str]
    wall_s: list[float] = field(default_factory=list)
    inside_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    answer: object = None

    def run(self) -> None:
        """Run once, as a process of its own."""
        with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as file:
            file.write(self.code)
        try:
            started = time.perf_counter()
            with subprocess.Popen(
                [sys.executable, file.name, *self.arguments], stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                text = process.stdout.read()
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            self.wall_s.append(time.perf_counter() - started)
            if process.returncode:
                raise RuntimeError(f"{self.name} failed with status {process.returncode}")
            self.peak_mb.append(usage.ru_maxrss / 1024)
            told = json.loads(text)
            self.inside_s.append(float(told["seconds"]))
            self.answer = told["answer"]
        finally:
            Path(file.name).unlink()


def race(contenders: list[Contender], *, repeats: int) -> None:
    """Run all contenders once to warm up, then `repeats` times in turn.

    Raises
    ------
    RuntimeError
        Two contenders give different answers.
    """
    for contender in contenders:
        contender.run()
        contender.wall_s.clear()
        contender.inside_s.clear()
        contender.peak_mb.clear()
    for _ in range(repeats):
        for contender in contenders:
            contender.run()
    first = contenders[0]
    for other in contenders[1:]:
        if other.answer != first.answer:
            raise RuntimeError(
                f"{other.name} answers {other.answer}, {first.name} answers {first.answer}"
            )


def rows(work: str, contenders: list[Contender]) -> list[str]:
    """Return the Markdown rows of one race, the first contender being ours."""
    ours = contenders[0]
    lines = []
    for contender in contenders:
        wall, inside = map(statistics.median, (contender.wall_s, contender.inside_s))
        ratios = ""
        if contender is not ours:
            ratio_wall = wall / statistics.median(ours.wall_s)
            ratio_inside = inside / statistics.median(ours.inside_s)
            ratios = f"{ratio_inside:.1f} / {ratio_wall:.1f}"
        lines.append(
            f"| {work} | {contender.name} | {inside:.2f} | {wall:.2f} "
            f"({min(contender.wall_s):.2f} to {max(contender.wall_s):.2f}) | "
            f"{max(contender.peak_mb):,.0f} | {ratios} |"
        )
    return lines


HEADER = (
    "| work | who | inside, s | whole process, s (range) | peak, MB | times slower than hitsduck "
    "(inside / whole) |\n|---|---|---|---|---|---|"
)


def machine() -> str:
    """Return one line on the machine and the versions."""
    packages = []
    for name in ("duckdb", "polars", "pandas", "astropy", "connectorx", "scipy"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(packages)
    )
