"""``python -m benchmarks``: run the races and print a table of medians and ratios.

With ``--short`` only the races against pandas, connectorx and astropy are run, on smaller
reruns, and the exit status is 1 when a ratio falls under half of its goal. Without it the
table is written to ``benchmarks/RESULTS.md`` too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import compared, counts, focal, importing, loading, lookups, reporting, sky
from benchmarks.harness import HEADER, Contender, Standing, machine, race, standings
from hitsduck import cameras

HERE = Path(__file__).parent
DATA = HERE / "data"
RESULTS = HERE / "RESULTS.md"
NAMES = ("Apr2020", "May2020", "Jun2020")
#: What a short run leaves out.
SHORT = ("counts", "columns", "compare", "sky 0.25")
SHORT_SCALE = 0.25
MILLIONS = (0.25, 0.67, 2.0)


def simulated(scale: float) -> Path:
    """Return the folder of three simulated reruns, made when it is not there."""
    folder = DATA / f"hits2015-{scale:g}"
    if not (folder / "Jun2020" / "association.db").exists():
        from hitsduck.simulator import simulate

        simulate(folder, preset="hits2015", scale=scale)
    return folder


def races(folder: Path, scratch: Path) -> dict[str, tuple[str, Callable[[], list[Contender]]]]:
    """Return {name: what is done, and who does it}."""
    files = [folder / name / "association.db" for name in NAMES]
    april, _, june = files
    camera = Path(cameras.__file__).parent / "data" / "cameras" / "decam.csv"
    found: dict[str, tuple[str, Callable[[], list[Contender]]]] = {
        "counts": ("counts of one rerun", lambda: counts.contenders(june)),
        "columns": ("the seed's 18 columns into memory", lambda: loading.contenders(june)),
        "workspace": (
            "workspace of three reruns, all columns",
            lambda: importing.contenders(files, scratch),
        ),
        "compare": (
            "good sources of two reruns compared",
            lambda: compared.contenders(april, june),
        ),
        "focal": (
            "focal-plane positions and density",
            lambda: focal.contenders(june, camera),
        ),
        "light curve": ("one object's light curve from SQLite", lambda: lookups.contenders(june)),
        "report": ("report of three reruns", lambda: reporting.contenders(files, scratch)),
    }
    for millions in MILLIONS:
        found[f"sky {millions:g}"] = (
            f"{millions:g} million objects matched on the sky",
            lambda millions=millions: sky.contenders(round(millions * 1e6)),  # type: ignore[misc]
        )
    return found


def main() -> int:
    """Run the races that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, help="1 is HiTS2015's size, and the default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, help="a folder of simulated reruns, used as it is")
    parser.add_argument("--only", nargs="*", metavar="RACE", help="some races alone")
    parser.add_argument("--short", action="store_true", help="what the checks of a change run")
    options = parser.parse_args()
    scale = options.scale or (SHORT_SCALE if options.short else 1.0)
    folder = options.data or simulated(scale)
    size = (folder / "Jun2020" / "association.db").stat().st_size / 1e6
    found: list[Standing] = []
    title = f"{machine()}; hits2015 simulated, Jun2020 {size:,.0f} MB"
    print(f"{title}\n\n{HEADER}")
    with tempfile.TemporaryDirectory(prefix="hitsduck-benchmarks-") as scratch:
        of_all = races(folder, Path(scratch))
        unknown = sorted(set(options.only or ()) - set(of_all))
        if unknown:
            parser.error(f"no race {', '.join(unknown)}; there are: {', '.join(of_all)}")
        for name in options.only or (SHORT if options.short else of_all):
            work, contenders = of_all[name]
            entered = contenders()
            race(entered, repeats=options.repeats)
            results = standings(work, entered)
            found += results
            print("\n".join(standing.row() for standing in results), flush=True)
    short = [standing for standing in found if standing.shortfall() < 1]
    for standing in short:
        print(
            f"{standing.work}: {standing.who} is {standing.shortfall():.0%} of the goal",
            file=sys.stderr,
        )
    if not options.short and not options.only:
        write_results(title, found)
    return int(options.short and any(standing.shortfall() < 0.5 for standing in short))


def write_results(title: str, found: list[Standing]) -> None:
    """Write the table with machine, versions and day."""
    day = datetime.now(UTC).date().isoformat()
    lines = [
        "# Speed, side by side",
        "",
        f"Measured on {day} by `python -m benchmarks`: whole processes in turn, medians, warm page",
        f"cache. {title}.",
        "",
        "*Inside* is the work alone, after the imports; the whole process holds those too. A ratio",
        "says how many times longer than hitsduck another way took in the same run; the goal is",
        "what we set out to reach.",
        "",
        HEADER,
        *(standing.row() for standing in found),
        "",
        (HERE / "limits.md").read_text(encoding="utf-8"),
    ]
    RESULTS.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
