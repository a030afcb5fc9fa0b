"""``python -m benchmarks``: run the races and print a table of medians and ratios.

With ``--short`` only the races against pandas, connectorx and astropy are run, the comparison
on a quarter of the sources, and the exit status is 1 when a ratio falls under half of its
goal. A whole run writes the table to ``benchmarks/RESULTS.md`` too, with how time and memory
grow to a hundred times the sources in ``benchmarks/growth.md``; that needs 9 GB of disk.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    compared,
    counts,
    focal,
    growth,
    importing,
    loading,
    lookups,
    notebook,
    reporting,
    sky,
)
from benchmarks.harness import HEADER, Contender, Standing, machine, race, standings
from hitsduck import cameras

HERE = Path(__file__).parent
DATA = HERE / "data"
RESULTS = HERE / "RESULTS.md"
NAMES = ("Apr2020", "May2020", "Jun2020")
#: What a short run holds; the sources of its comparison, as a part of HiTS2015's.
SHORT = ("counts", "columns", "compare", "sky 0.25")
SHORT_SCALE = 0.25
MILLIONS = (0.25, 0.67, 2.0, 10.0)
GROWTH = "growth"
#: A race whose three rounds take less goes on for so many seconds.
SPARE_S = 120.0


def simulated(scale: float, names: Sequence[str] = NAMES) -> Path:
    """Return the folder of simulated reruns; those that are not there are made."""
    folder = DATA / f"hits2015-{scale:g}"
    missing = [name for name in names if not (folder / name / "association.db").exists()]
    if missing:
        # A process of its own: what is started later would count its memory as their peak.
        code = (
            "import sys; from hitsduck.simulator import simulate; simulate(sys.argv[1], "
            "preset='hits2015', scale=float(sys.argv[2]), src_catalogs='none', reruns=sys.argv[3:])"
        )
        subprocess.run([sys.executable, "-c", code, str(folder), f"{scale}", *missing], check=True)
    return folder


def races(
    folder: Path, compared_folder: Path, scratch: Path
) -> dict[str, tuple[str, Callable[[], list[Contender]]]]:
    """Return {name: what is done, and who does it}."""
    files = [folder / name / "association.db" for name in NAMES]
    june = files[-1]
    pair = [compared_folder / name / "association.db" for name in (NAMES[0], NAMES[-1])]
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
            lambda: compared.contenders(*pair),
        ),
        "focal": (
            "focal-plane positions and density",
            lambda: focal.contenders(june, camera),
        ),
        "focal columns": (
            "focal-plane positions and density, from columns",
            lambda: focal.contenders_of_columns(june, camera, scratch),
        ),
        "notebook": (
            "numbers and chart data of the notebook, three reruns",
            lambda: notebook.contenders(files, camera, scratch),
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
    parser.add_argument("--repeats", type=int, help="3 to 9, of a short run 1")
    parser.add_argument("--data", type=Path, help="a folder of simulated reruns, used as it is")
    parser.add_argument("--only", nargs="*", metavar="RACE", help="some races alone")
    parser.add_argument(
        "--factors", type=int, nargs="+", default=growth.FACTORS, help="sizes of the race growth"
    )
    parser.add_argument("--short", action="store_true", help="what the checks of a change run")
    options = parser.parse_args()
    if options.data is not None:
        folder = of_pair = options.data
    elif options.short:
        folder = simulated(1.0, NAMES[-1:])
        of_pair = simulated(SHORT_SCALE, (NAMES[0], NAMES[-1]))
    else:
        folder = of_pair = simulated(options.scale or 1.0)
    size = (folder / "Jun2020" / "association.db").stat().st_size / 1e6
    found: list[Standing] = []
    title = f"{machine()}; hits2015 simulated, Jun2020 {size:,.0f} MB"
    print(f"{title}\n\n{HEADER}")
    with tempfile.TemporaryDirectory(prefix="hitsduck-benchmarks-") as scratch:
        of_all = races(folder, of_pair, Path(scratch))
        every = [*of_all, GROWTH]
        unknown = sorted(set(options.only or ()) - set(every))
        if unknown:
            parser.error(f"no race {', '.join(unknown)}; there are: {', '.join(every)}")
        for name in options.only or (SHORT if options.short else every):
            if name == GROWTH:
                pair = [folder / name / "association.db" for name in (NAMES[0], NAMES[-1])]
                grown = growth.race(pair, DATA / "growth", Path(scratch), options.factors)
                growth.write(grown, title)
                print(growth.table(grown))
                continue
            work, contenders = of_all[name]
            entered = [one for one in contenders() if not (options.short and one.is_slow)]
            race(
                entered,
                repeats=options.repeats or (1 if options.short else 3),
                spare_s=0.0 if options.repeats or options.short else SPARE_S,
            )
            results = standings(work, entered)
            if options.short and any(is_far(standing) for standing in results):
                race(entered, repeats=3)  # one run may have been disturbed
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
    return int(options.short and any(map(is_far, short)))


def is_far(standing: Standing) -> bool:
    """Return whether a ratio is under half of its goal."""
    return standing.shortfall() < 0.5


def write_results(title: str, found: list[Standing]) -> None:
    """Write the table with machine, versions and day."""
    day = datetime.now(UTC).date().isoformat()
    lines = [
        "# Speed, side by side",
        "",
        f"Measured on {day} by `python -m benchmarks`: whole processes in turn, medians of three",
        f"to nine times, warm page cache. {title}.",
        "",
        "*Inside* is the work alone, after the imports; the whole process holds those too. A ratio",
        "says how many times longer than hitsduck another way took in the same run; the goal is",
        "what we set out to reach.",
        "",
        HEADER,
        *(standing.row() for standing in found),
        "",
        "How time and memory grow with the sources: [growth.md](growth.md).",
        "",
        (HERE / "limits.md").read_text(encoding="utf-8"),
    ]
    RESULTS.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
