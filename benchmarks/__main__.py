"""``python -m benchmarks``: run the races and print a table of medians and ratios."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import compared, counts
from benchmarks.harness import HEADER, machine, race, rows

DATA = Path(__file__).parent / "data"


def simulated(scale: float) -> Path:
    """Return the folder of three simulated reruns, made when it is not there."""
    folder = DATA / f"hits2015-{scale:g}"
    if not (folder / "Jun2020" / "association.db").exists():
        from hitsduck.simulator import simulate

        simulate(folder, preset="hits2015", scale=scale)
    return folder


def main() -> None:
    """Run every race."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is HiTS2015's size")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, help="a folder of simulated reruns, used as it is")
    parser.add_argument("--only", choices=["counts", "compare"], help="one race")
    options = parser.parse_args()
    folder = options.data or simulated(options.scale)
    april, june = (folder / name / "association.db" for name in ("Apr2020", "Jun2020"))
    races = {
        "counts": ("counts of one rerun", counts.contenders(june)),
        "compare": ("good sources of two reruns compared", compared.contenders(april, june)),
    }
    size = june.stat().st_size / 1e6
    print(f"{machine()}; hits2015, Jun2020 {size:,.0f} MB\n\n{HEADER}")
    for name, (work, contenders) in races.items():
        if options.only in (None, name):
            race(contenders, repeats=options.repeats)
            print("\n".join(rows(work, contenders)), flush=True)


if __name__ == "__main__":
    main()
