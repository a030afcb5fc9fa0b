"""``python -m benchmarks``: run the races and print a table of medians and ratios."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import counts
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
    parser.add_argument("--apdb", type=Path, help="an APDB of 2020 in place of a simulated one")
    options = parser.parse_args()
    apdb = options.apdb or simulated(options.scale) / "Jun2020" / "association.db"
    print(f"{machine()}; {apdb.name}, {apdb.stat().st_size / 1e6:,.0f} MB\n\n{HEADER}")
    contenders = counts.contenders(apdb)
    race(contenders, repeats=options.repeats)
    print("\n".join(rows("counts of one rerun", contenders)))


if __name__ == "__main__":
    main()
