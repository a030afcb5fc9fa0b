"""``report``, ``chart``, ``simulate`` and ``demo``: what is written."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from hitsduck.cli.app import cli
from hitsduck.cli.options import busy, opened_reruns, opening_options, reruns_argument, where_option

compare_option = click.option(
    "--compare",
    nargs=2,
    metavar="LEFT RIGHT",
    help="Names of the two reruns to compare; the last two by default.",
)


@cli.command()
@reruns_argument
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "json", "pdf"]),
    help="By the suffix of the output where it is not given.",
)
@click.option("--title", help="Title of the page.")
@compare_option
@click.option("--radius-arcsec", type=float, default=0.5, show_default=True)
@where_option
@opening_options
def report(
    reruns: Sequence[str],
    output: Path,
    form: str | None,
    title: str | None,
    compare: tuple[str, str] | None,
    radius_arcsec: float,
    where: str | None,
    **options: Any,
) -> None:
    """Write one page that a colleague can open: counts, comparison, edges, charts."""
    from hitsduck.report import write_report

    with opened_reruns(reruns, options) as opened, busy("writing the report"):
        path = write_report(
            opened,
            output,
            title=title,
            compare=compare,
            radius_arcsec=radius_arcsec,
            where=where,
            command=shlex.join(["hitsduck", *sys.argv[1:]]),
            form=form,
        )
    click.echo(path)


@cli.command()
@click.argument("name")
@reruns_argument
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to write: .html, .png, .svg, .pdf or .json (Vega-Lite).",
)
@click.option(
    "--rerun",
    help="The rerun that a chart of a single one shows; by default the right one of --compare, "
    "else the last.",
)
@compare_option
@click.option("--all", "every", is_flag=True, help="Every source, not only good ones.")
@click.option("--radius-arcsec", type=float, default=0.5, show_default=True)
@click.option("--detector", type=int, help="For detector_frame: one CCD in place of all.")
@click.option("--object", "object_id", type=int, help="For object_sources and light_curve.")
@click.option(
    "--table",
    type=click.Choice(["sources", "objects"]),
    default="sources",
    show_default=True,
    help="For the maps of the sky: what they show.",
)
@click.option(
    "--window",
    type=float,
    nargs=4,
    metavar="RA_LOW RA_HIGH DEC_LOW DEC_HIGH",
    help="For sky_zoom: the window, in degrees; the middle of the first field by default.",
)
@where_option
@opening_options
def chart(
    name: str,
    reruns: Sequence[str],
    output: Path,
    rerun: str | None,
    compare: tuple[str, str] | None,
    every: bool,
    radius_arcsec: float,
    detector: int | None,
    object_id: int | None,
    table: str,
    window: tuple[float, float, float, float] | None,
    where: str | None,
    **options: Any,
) -> None:
    """Draw the chart NAME.

    The names are those of the pictures in docs/gallery.md; a wrong one lists them all.
    """
    from hitsduck import gallery

    gallery.picture(name)
    with opened_reruns(reruns, options) as opened, busy(f"drawing {name}"):
        drawn = opened.chart(
            name,
            rerun=rerun,
            compare=compare,
            good=not every,
            radius_arcsec=radius_arcsec,
            detector=detector,
            object_id=object_id,
            table=table,
            window=window,
            where=where,
        )
        path = gallery.save(drawn, output)
    click.echo(path)


@cli.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--preset",
    default="hits2015",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="hits2015, small, another packaged one, or a TOML file of your own.",
)
@click.option("--scale", type=float, default=1.0, show_default=True, help="Factor on the sources.")
@click.option("--generation", help="Schema generation: 2020, 2023, 0.1.1, 1.0.0 or 10.0.0.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["sqlite", "parquet"]),
    help="SQLite up to scale 10 (the default there), above it Parquet.",
)
@click.option("--columns", type=click.Choice(["notebook", "all"]), default="all", show_default=True)
@click.option("--seed", type=int, help="The preset's own by default.")
@click.option(
    "--src-catalogs",
    type=click.Choice(["small", "all", "none"]),
    default="small",
    show_default=True,
    help="Calexp src catalogues: of three images, of all, or none.",
)
def simulate(
    directory: Path,
    preset: str,
    scale: float,
    generation: str | None,
    form: str | None,
    columns: str,
    seed: int | None,
    src_catalogs: str,
) -> None:
    """Write simulated reruns to DIRECTORY, with the truth of every source beside them."""
    from hitsduck import simulator

    how: dict[str, Any] = {
        "preset": preset,
        "scale": scale,
        "generation": generation,
        "format": form or ("sqlite" if scale <= simulator.SQLITE_SCALE_LIMIT else "parquet"),
        "columns": columns,
        "src_catalogs": src_catalogs,
    }
    sizes = simulator.estimate_size(**how)
    click.echo(
        f"about {sum(sizes.values()) / 1e6:,.0f} MB for {', '.join(sizes)} in {directory}", err=True
    )
    with _progress() as told:
        done = simulator.simulate(directory, seed=seed, progress=told, **how)
    for name, rerun in done.reruns.items():
        click.echo(f"{name}={rerun.path}")


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """Give a callback that draws a bar on stderr, when a person watches."""
    if not sys.stderr.isatty():
        yield lambda what, fraction: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, fraction: bar.update(task, description=what, completed=fraction)


@cli.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=Path("demo"))
def demo(directory: Path) -> None:
    """Simulate three small reruns in DIRECTORY and write a report on them."""
    from hitsduck.demo import run_demo

    with busy("simulating three small reruns"):
        path = run_demo(directory)
    click.echo(path)
