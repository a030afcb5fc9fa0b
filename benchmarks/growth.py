"""Growth: the same work on 1, 10 and 100 times the sources, from Parquet files.

A rerun of 10 or 100 times the size is the simulated one laid side by side: each copy has
its own visits, ids, nights and strip of the sky, so that every answer is known to be 10 or
100 times that of one. No number of visits, images or objects stays small by being shared.
"""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import altair as alt
import duckdb
import polars as pl

from benchmarks.harness import Contender
from hitsduck import open_reruns
from hitsduck.charts.theme import PALETTE

FACTORS = (1, 10, 100)
MEMORY_LIMIT = "1500MB"
#: The goals: how time grows with the sources, and the largest memory in MB.
EXPONENT, PEAK_MB = 1.1, 4096
# Beyond the largest id, visit and night of one copy, and the width of its strip.
_ID_STEP = 12_000_000_000_000_000
_VISIT_STEP = 1_000_000
_NIGHT_STEP = 40
_TABLES = {
    "DiaSource": f"""
        select * replace (
            diaSourceId + cast($copy as bigint) * {_ID_STEP} as diaSourceId,
            case
                when diaObjectId > 0 then diaObjectId + cast($copy as bigint) * {_ID_STEP}
                else diaObjectId
            end as diaObjectId,
            ccdVisitId + cast($copy as bigint) * {_VISIT_STEP * 100} as ccdVisitId,
            midpointMjdTai + cast($copy as bigint) * {_NIGHT_STEP} as midpointMjdTai,
            (ra + cast($copy as bigint) * 3.6) % 360 as ra
        )
        from read_parquet($files)
        order by ccdVisitId, diaSourceId""",
    "DiaObject": f"""
        select * replace (
            diaObjectId + cast($copy as bigint) * {_ID_STEP} as diaObjectId,
            validityStartMjdTai + cast($copy as bigint) * {_NIGHT_STEP} as validityStartMjdTai,
            (ra + cast($copy as bigint) * 3.6) % 360 as ra
        )
        from read_parquet($files)
        order by diaObjectId""",
}

_WORK = """
import json, sys, time
import hitsduck, hitsduck.large, hitsduck.opening, pyarrow
left, right, limit, spill = sys.argv[1:]
started = time.perf_counter()
with hitsduck.open_reruns(
    {{"left": left, "right": right}}, memory_limit=limit, temp_directory=spill, cache=False
) as reruns:
    {work}
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "answer": answer}}))
"""
#: What is asked, and how; the answers are numbers that grow as the sources do.
WORK = {
    "counts": """answer = [
        row[name] for row in reruns.counts().rows() for name in row if name.startswith("n_")]""",
    "distance to the edges": """answer = list(reruns.sql(
        "select count(*) filter (edge_distance_px < 32) as within, count(*) as n "
        "from dia_source_edge where is_good").rows()[0].values())""",
    "density by detector": """answer = [
        sum(row["n_dia_sources"] for row in reruns.summary("detector_summary").rows())]""",
    "comparison of two": """summary = reruns.compare("left", "right").summary()
    answer = [value for name, value in summary.items() if name.startswith("n_")]
    answer.append(summary["edge"]["n_new_within"])""",
    "data of eight charts": """frames = [reruns.chart_data(name) for name in (
        "focal_plane", "detector_density", "detector_frame", "sky_map", "visits", "nights",
        "flags", "sources_per_object")]
    answer = [sum(row["n_dia_sources"] for row in reruns.counts().rows())]""",
}


def base(files: Sequence[Path], folder: Path) -> list[Path]:
    """Return reruns as Parquet files with the notebook's columns; made where missing."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for file in files:
        target = folder / file.parent.name
        if not target.exists():
            with open_reruns({"one": file}) as reruns:
                reruns.export("one", target, columns="notebook")
        found.append(target)
    return found


def multiplied(rerun: Path, factor: int, folder: Path) -> Path:
    """Return a rerun of so many copies of another, as Parquet files; made where missing."""
    target = folder / f"{rerun.name}-{factor}"
    if (target / "manifest.json").exists():
        return target
    manifest: dict[str, Any] = json.loads((rerun / "manifest.json").read_text(encoding="utf-8"))
    tables = {name: manifest["tables"][name] for name in _TABLES}
    with closing(duckdb.connect()) as connection:
        for table, query in _TABLES.items():
            (target / table).mkdir(parents=True, exist_ok=True)
            files = [str(rerun / name) for name in tables[table]["files"]]
            names = []
            for copy in range(factor):
                names.append(f"{table}/part-{copy:04d}.parquet")
                connection.execute(
                    f"copy ({query}) to '{target / names[-1]}' "
                    "(format parquet, compression zstd, row_group_size 122880)",
                    {"copy": copy, "files": files},
                )
            tables[table] = {"rows": tables[table]["rows"] * factor, "files": names}
    document = {key: value for key, value in manifest.items() if key != "origin"}
    (target / "manifest.json").write_text(json.dumps(document | {"tables": tables}))
    return target


def prepare(files: Sequence[Path], folder: Path, factors: Sequence[int]) -> dict[int, list[Path]]:
    """Return the reruns of every size; made where missing."""
    one = base(files, folder)
    return {factor: [multiplied(rerun, factor, folder) for rerun in one] for factor in factors}


def race(
    files: Sequence[Path], folder: Path, scratch: Path, factors: Sequence[int] = FACTORS
) -> pl.DataFrame:
    """Do every work at every size.

    Returns
    -------
    polars.DataFrame
        One row per work and size: ``work``, ``factor``, ``n_sources``, ``seconds``,
        ``peak_mb``.
    """
    # In a process of its own: what is started later would count its memory as their peak.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        of_factor = pool.submit(prepare, files, folder, factors).result()
    rows: list[dict[str, Any]] = []
    for work, code in WORK.items():
        first: list[float] = []
        for factor in factors:
            reruns = of_factor[factor]
            contender = Contender(
                work, _WORK.format(work=code), [*map(str, reruns), MEMORY_LIMIT, str(scratch)]
            )
            if factor < 100:
                contender.run(is_measured=False)  # warms the page cache, where the files fit
            contender.run()
            answer = contender.answer
            assert isinstance(answer, list)
            first = first or answer
            expected = [number * factor // factors[0] for number in first]
            if answer != expected:
                raise RuntimeError(f"{work}, {factor} times: {answer}, not {expected}")
            n_sources = sum(_n_sources(rerun) for rerun in reruns)
            rows.append(
                {
                    "work": work,
                    "factor": factor,
                    "n_sources": n_sources,
                    "seconds": contender.inside_s[0],
                    "peak_mb": contender.peak_mb[0],
                }
            )
            print(rows[-1], flush=True)
    return pl.DataFrame(rows)


def _n_sources(rerun: Path) -> int:
    manifest = json.loads((rerun / "manifest.json").read_text(encoding="utf-8"))
    return int(manifest["tables"]["DiaSource"]["rows"])


def exponent(of_work: pl.DataFrame) -> float:
    """Return the slope of log seconds against log sources, from the first size to the last."""
    ordered = of_work.sort("n_sources")
    seconds, n = ordered["seconds"], ordered["n_sources"]
    return math.log(seconds[-1] / seconds[0]) / math.log(n[-1] / n[0])


def table(measured: pl.DataFrame) -> str:
    """Return the Markdown table."""
    lines = [
        "| work | sources of both | inside, s | peak, MB | exponent |",
        "|---|---|---|---|---|",
    ]
    for (work,), rows in measured.group_by("work", maintain_order=True):
        for row in rows.iter_rows(named=True):
            is_last = row["factor"] == rows["factor"].max() and rows.height > 1
            told = f"{exponent(rows):.2f}" if is_last else ""
            lines.append(
                f"| {work} | {row['n_sources']:,} | {row['seconds']:.3g} | {row['peak_mb']:,.0f} "
                f"| {told} |"
            )
    return "\n".join(lines)


def missed(measured: pl.DataFrame) -> list[str]:
    """Return in words what misses its goal: the exponent, or the memory."""
    found = []
    for (work,), rows in measured.group_by("work", maintain_order=True):
        if rows.height > 1 and exponent(rows) > EXPONENT:
            found.append(f"{work}: grows with the power {exponent(rows):.2f}, not {EXPONENT}")
        peak = float(rows["peak_mb"].to_numpy().max())
        if peak > PEAK_MB:
            found.append(f"{work}: {peak:,.0f} MB, not {PEAK_MB:,}")
    return found


def picture(measured: pl.DataFrame, path: Path) -> None:
    """Draw time and memory against the number of sources."""
    decades = [10**k for k in range(10)]
    steps = [0.1, 0.2, 0.5, *(n * decade for decade in decades for n in (1, 2, 5))]
    works = sorted(set(measured["work"]))  # both scales, or the legend would be two
    every = alt.Chart(measured).encode(
        x=alt.X("n_sources:Q", title="DIA sources of both reruns")
        .scale(type="log", nice=False, padding=20)
        .axis(values=decades, format="~s"),
        color=alt.Color("work:N", title="work").scale(domain=works, range=PALETTE),
    )
    marked = every.mark_point(size=60, filled=True, opacity=1).encode(
        shape=alt.Shape("work:N", title="work").scale(domain=works)
    )
    titles = {
        "seconds": "time inside the process (s)",
        "peak_mb": "peak memory of the process (MB)",
    }
    panels = [
        (every.mark_line() + marked)
        .encode(
            y=alt.Y(f"{column}:Q", title=title)
            .scale(type="log", nice=False, padding=20)
            .axis(values=steps, format=",")
        )
        .properties(width=330, height=300)
        for column, title in titles.items()
    ]
    alt.hconcat(*panels).save(path, scale_factor=2)


def write(measured: pl.DataFrame, title: str) -> None:
    """Write table and picture beside this file."""
    here = Path(__file__).parent
    picture(measured, here / "growth.png")
    goals = missed(measured)
    told = "".join(f"\n- Not reached: {one}." for one in goals) or "\nEvery goal is reached."
    text = f"""# How time and memory grow

{title}

The simulated reruns Apr2020 and Jun2020 once, and 10 and 100 times side by side as Parquet files
with the notebook's columns; each copy has its own visits, nights, objects and strip of the sky, so
that every answer is known to be that of one, times the copies, and is checked to be so. Whole
processes with DuckDB limited to {MEMORY_LIMIT}; *inside* is the work after the imports. The
exponent is the slope of the logarithms, from the smallest size to the largest: 1 is proportional.
Counts come first at each size, so that theirs are the files that are read from disk.
The goals are an exponent of at most {EXPONENT} and a peak under {PEAK_MB:,} MB.

{table(measured)}

![Time and memory against the number of sources](growth.png)
{told}
"""
    (here / "growth.md").write_text(text, encoding="utf-8")
