"""Runs whole processes in turn and keeps their wall time and peak memory."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Where nothing that is imported may be kept compiled, hitsduck alone would be compiled with
#: each start: the peers lie compiled where pip has put them.
_AS_USERS = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


#: A contender that takes less is run unmeasured before each time that it is measured.
_QUICK_S = 10.0


@dataclass
class Contender:
    """One way to do the work: a name and the Python code of a whole process.

    The code gets its arguments in ``sys.argv[1:]``. It may print a JSON object with
    ``seconds``, the time of the work inside the process, and ``answer``, which must
    be the same for all contenders; null where it gave up.
    """

    name: str
    code: str
    arguments: list[str]
    #: How many times slower than ours it has to be, inside and as a whole process.
    goal_inside: float | None = None
    goal_whole: float | None = None
    #: Left out of a short run.
    is_slow: bool = False
    wall_s: list[float] = field(default_factory=list)
    inside_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    answer: object = None

    def forget(self) -> None:
        """Begin anew."""
        self.wall_s.clear()
        self.inside_s.clear()
        self.peak_mb.clear()

    def run(self, *, is_measured: bool = True) -> None:
        """Run once, as a process of its own."""
        with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as file:
            file.write(self.code)
        try:
            started = time.perf_counter()
            with subprocess.Popen(
                [sys.executable, file.name, *self.arguments], stdout=subprocess.PIPE, env=_AS_USERS
            ) as process:
                assert process.stdout is not None
                text = process.stdout.read()
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            wall_s = time.perf_counter() - started
            if process.returncode:
                raise RuntimeError(f"{self.name} failed with status {process.returncode}")
            told = json.loads(text)
            self.answer = told["answer"]
            if is_measured:
                self.wall_s.append(wall_s)
                self.peak_mb.append(usage.ru_maxrss / 1024)
                self.inside_s.append(float(told["seconds"]))
        finally:
            Path(file.name).unlink()


def workspace(path: Path, files: Mapping[str, Path]) -> Path:
    """Return a workspace with the notebook's columns, made where it is missing.

    By a process of its own: what is started later would count its memory as their peak.
    """
    if not path.exists():
        reruns = [f"{name}={file}" for name, file in files.items()]
        command = [sys.executable, "-m", "hitsduck", "workspace", "create", str(path), *reruns]
        subprocess.run([*command, "--columns", "notebook"], check=True, capture_output=True)
    return path


def race(contenders: list[Contender], *, repeats: int, spare_s: float = 0.0) -> None:
    """Run all contenders `repeats` times in turn, each from a warm page cache.

    Three times as often at most, as long as `spare_s` seconds have not been spent: the median
    of three quick times is worth little on a machine whose speed changes by the minute.

    A contender runs once unmeasured before it is first measured, and a quick one before each
    time: where memory is taken back from who does not use it, a minute of another contender's
    work leaves its files cold.

    Raises
    ------
    RuntimeError
        Two contenders give different answers.
    """
    for contender in contenders:
        contender.forget()
    started = time.perf_counter()
    n_rounds = 0
    while n_rounds < repeats or (
        n_rounds < 3 * repeats and time.perf_counter() - started < spare_s
    ):
        n_rounds += 1
        for contender in contenders:
            if not contender.wall_s or max(contender.wall_s) < _QUICK_S:
                contender.run(is_measured=False)
            contender.run()
    first = contenders[0]
    for other in contenders[1:]:
        if other.answer is not None and other.answer != first.answer:
            raise RuntimeError(
                f"{other.name} answers {other.answer}, {first.name} answers {first.answer}"
            )


@dataclass(frozen=True)
class Standing:
    """How one contender stands against ours after a race.

    Attributes
    ----------
    work, who : str
    inside_s, wall_s : float
        Medians.
    wall_range_s : tuple of float
    peak_mb : float
    ratio_inside, ratio_whole : float or None
        How many times slower than ours; None for ours.
    goal_inside, goal_whole : float or None
    """

    work: str
    who: str
    inside_s: float
    wall_s: float
    wall_range_s: tuple[float, float]
    peak_mb: float
    ratio_inside: float | None
    ratio_whole: float | None
    goal_inside: float | None
    goal_whole: float | None

    def shortfall(self) -> float:
        """Return the smallest ratio as a part of its goal; infinity without a goal."""
        pairs = ((self.ratio_inside, self.goal_inside), (self.ratio_whole, self.goal_whole))
        return min((r / g for r, g in pairs if r is not None and g is not None), default=math.inf)

    def row(self) -> str:
        """Return the Markdown row."""
        ratios = goals = ""
        if self.ratio_inside is not None and self.ratio_whole is not None:
            ratios = f"{self.ratio_inside:.2g} / {self.ratio_whole:.2g}"
            told = [f"{goal:.3g}" if goal else "" for goal in (self.goal_inside, self.goal_whole)]
            goals = " / ".join(told) if any(told) else ""
        low, high = self.wall_range_s
        return (
            f"| {self.work} | {self.who} | {self.inside_s:.3g} | {self.wall_s:.3g} "
            f"({low:.3g} to {high:.3g}) | {self.peak_mb:,.0f} | {ratios} | {goals} |"
        )


def standings(work: str, contenders: list[Contender]) -> list[Standing]:
    """Return the results of one race, the first contender being ours."""
    ours = contenders[0]
    our_wall, our_inside = map(statistics.median, (ours.wall_s, ours.inside_s))
    found = []
    for contender in contenders:
        wall, inside = map(statistics.median, (contender.wall_s, contender.inside_s))
        found.append(
            Standing(
                work=work,
                who=contender.name,
                inside_s=inside,
                wall_s=wall,
                wall_range_s=(min(contender.wall_s), max(contender.wall_s)),
                peak_mb=max(contender.peak_mb),
                ratio_inside=None if contender is ours else inside / our_inside,
                ratio_whole=None if contender is ours else wall / our_wall,
                goal_inside=contender.goal_inside,
                goal_whole=contender.goal_whole,
            )
        )
    return found


HEADER = (
    "| work | who | inside, s | whole process, s (range) | peak, MB | times slower than hitsduck "
    "(inside / whole) | goal |\n|---|---|---|---|---|---|---|"
)


def machine() -> str:
    """Return one line on the machine and the versions."""
    packages = []
    for name in (
        "duckdb",
        "polars",
        "pandas",
        "astropy",
        "connectorx",
        "adbc-driver-sqlite",
        "scipy",
        "numpy",
    ):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(packages)
    )
