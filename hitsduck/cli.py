"""The command ``hitsduck``: parses, calls the library, prints.

Exit status: 0 done, 1 an error of ours (one line on stderr that begins ``error:``),
2 a wrong call, 3 a change above ``--fail-above``.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitsduck import __version__
from hitsduck.errors import HitsduckError, HitsduckWarning, RerunNotFoundError
from hitsduck.schema import DEFAULT_FLAG_SET, FLAG_SETS

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

Command = Callable[..., Any]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hitsduck")
def cli() -> None:
    """Say what changed between reruns of the same telescope images, and whether it is real.

    A RERUN is NAME=PATH or PATH: an APDB (SQLite file), or a folder that holds one.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", HitsduckWarning)
        warnings.showwarning = _show_warning
        try:
            status = cli.main(
                args=None if arguments is None else list(arguments),
                prog_name="hitsduck",
                standalone_mode=False,
            )
        except click.exceptions.Exit as leaving:
            status = leaving.exit_code
        except click.ClickException as error:
            error.show()
            status = error.exit_code
        except HitsduckError as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            status = 1
        except (KeyboardInterrupt, click.Abort):
            click.echo("error: interrupted", err=True)
            status = 130
        except BrokenPipeError:  # the reader of a pipe has seen enough
            sys.stderr.close()
            status = 0
    sys.exit(status if isinstance(status, int) else 0)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, HitsduckWarning):
        click.echo(f"warning: {message}", err=True)


# -- what the commands share -----------------------------------------------------


def _opening_options(command: Command) -> Command:
    """Add the options that say how reruns are opened."""
    options = (
        click.option("--instrument", help="DECam, HSC, LSSTCam, LSSTComCam or LSSTCam-imSim."),
        click.option(
            "--camera",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="A camera of your own: a CSV of one row per detector.",
        ),
        click.option(
            "--moments",
            type=click.Choice(["px2", "arcsec2"]),
            help="Unit of ixxPSF and its like; else told from the PSF sizes.",
        ),
        click.option(
            "--bad-flags",
            default=DEFAULT_FLAG_SET,
            show_default=True,
            metavar="NAME|LIST",
            help=f"A good source has none of: {' or '.join(FLAG_SETS)}, or flags with commas.",
        ),
        click.option("--threads", type=click.IntRange(min=1), help="Threads of the engine."),
        click.option("--memory-limit", metavar="SIZE", help="Memory of the engine, 2GB say."),
    )
    for option in reversed(options):
        command = option(command)
    return command


_reruns_argument = click.argument("reruns", nargs=-1, required=True, metavar="RERUN...")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_where_option = click.option(
    "--where", metavar="CONDITION", help="Only sources that fulfil this condition on dia_source."
)


def named_rerun(argument: str) -> tuple[str, Path]:
    """Return name and path of a RERUN argument.

    If the whole argument exists it is a path; else it is split at the first ``=``.

    Raises
    ------
    RerunNotFoundError
    """
    from hitsduck.reruns import rerun_name

    if Path(argument).exists():
        return rerun_name(argument), Path(argument)
    name, equals, path = argument.partition("=")
    if not equals:
        raise RerunNotFoundError(f"{argument}: no such file or folder")
    return name, Path(path)


@contextmanager
def _opened(arguments: Sequence[str], options: dict[str, Any]) -> Iterator[Reruns]:
    from hitsduck.reruns import check_names, open_reruns

    pairs = [named_rerun(argument) for argument in arguments]
    check_names(pairs)
    with _busy(f"opening {len(pairs)} reruns"):
        opened = open_reruns(dict(pairs), **options)
    with opened:
        yield opened


@contextmanager
def _busy(what: str) -> Iterator[None]:
    """Show on stderr what is being done, when a person watches."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield


def _json_text(value: Any) -> str:
    """Return JSON; NaN and infinity, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=2, default=str, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_json(value: Any) -> None:
    click.echo(_json_text(value))


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: int = 1) -> None:
    """Print a table in full, however wide: columns from number `right` on to the right."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(
            column, justify="right" if number >= right else "left", no_wrap=True, overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=100_000)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def _definition(reruns: Reruns, where: str | None) -> str:
    bad = ", ".join(flag.removeprefix("pixelFlags_") for flag in reruns.bad_flags)
    text = (
        f"good source: none of {bad} ({reruns.flag_set}); "
        "good object: current, with at least one good source"
    )
    return text if where is None else f"{text}\nwhere: {where}"


def _files(reruns: Reruns) -> str:
    return "\n".join(f"{name}: {reruns[name].path}" for name in reruns)


# -- the commands ----------------------------------------------------------------


@cli.command()
@_reruns_argument
@_json_option
@_opening_options
def info(reruns: Sequence[str], as_json: bool, **options: Any) -> None:
    """Say what each rerun is, and how that is known."""
    with _opened(reruns, options) as opened, _busy("reading"):
        found = opened.info()
    if as_json:
        _print_json(found)
        return
    for number, rerun in enumerate(found):
        if number:
            click.echo()
        _print_info(rerun)


def _print_info(rerun: dict[str, Any]) -> None:
    instrument = rerun["instrument"] or "not known: " + " or ".join(rerun["instrument_candidates"])
    flags = ", ".join(rerun["bad_flags"])
    skipped = rerun["skipped_flags"]
    lines = {
        "path": rerun["path"]
        + (" (read through a private copy)" if rerun["is_private_copy"] else ""),
        "generation": f"{rerun['generation']} (schema recorded: {rerun['schema_version'] or 'none'})",
        "table prefix": rerun["prefix"] or "none",
        "instrument": f"{instrument} (by {rerun['instrument_found_by']})",
        "flag encoding": rerun["flag_encoding"],
        "good": f"none of {flags} ({rerun['flag_set']})"
        + (f"; lacking in this file: {', '.join(skipped)}" if skipped else ""),
        "rows": ", ".join(f"{table} {n:,}" for table, n in rerun["n_rows"].items()),
        "visits": _many(rerun["visits"]),
        "detectors": _many(rerun["detectors"]),
        "bands": ", ".join(rerun["bands"]) or "none recorded",
        "MJD (TAI)": _span(rerun["first_mjd_tai"], rerun["last_mjd_tai"]),
        "moments unit": f"{rerun['moments_unit'] or 'not known'} (by {rerun['moments_found_by']})",
        "psf_moments": rerun["psf_moments"],
        "seeing": _seeing(rerun),
        "not usable": (
            f"{rerun['n_null_flags']:,} sources with a NULL flag, "
            f"{rerun['n_bad_positions']:,} with a NULL or impossible position"
        ),
        "without object": f"{rerun['n_without_object']:,} sources",
    }
    if rerun["unread_columns"]:
        lines["columns not read"] = "; ".join(
            f"{table}: {', '.join(names)}" for table, names in rerun["unread_columns"].items()
        )
    click.echo(rerun["rerun"])
    for key, value in lines.items():
        click.echo(f"  {key:<17} {value}")


def _many(values: list[int] | None) -> str:
    if values is None:
        return "not known without the instrument"
    if not values:
        return "none"
    if len(values) <= 6:
        return f"{len(values)}: {', '.join(map(str, values))}"
    return f"{len(values)}, from {values[0]} to {values[-1]} (all of them with --json)"


def _span(first: float | None, last: float | None) -> str:
    return "none" if first is None or last is None else f"{first:.5f} to {last:.5f}"


def _seeing(rerun: dict[str, Any]) -> str:
    if rerun["median_seeing_arcsec"] is None:
        return "not known"
    return (
        f"median {rerun['median_seeing_arcsec']:.2f}, mean {rerun['mean_seeing_arcsec']:.2f} "
        f"arcsec FWHM over the sources ({rerun['psf_moments']})"
    )


_COUNT_COLUMNS = {
    "n_dia_sources": "DIA sources",
    "n_good_dia_sources": "good DIA sources",
    "n_dia_objects": "DIA objects",
    "n_good_dia_objects": "good DIA objects",
}


@cli.command()
@_reruns_argument
@_json_option
@_where_option
@_opening_options
def counts(reruns: Sequence[str], as_json: bool, where: str | None, **options: Any) -> None:
    """Count sources and objects, all and good, with differences to the first rerun."""
    with _opened(reruns, options) as opened:
        with _busy("counting"):
            rows = opened.counts(where=where).rows()
        definition, files = _definition(opened, where), _files(opened)
    if as_json:
        _print_json([row | ({"where": where} if where else {}) for row in rows])
        return
    _print_table(
        ["rerun", *_COUNT_COLUMNS.values()],
        [
            [
                row["rerun"],
                *(_counted(row[key], rows[0][key], row is rows[0]) for key in _COUNT_COLUMNS),
            ]
            for row in rows
        ],
    )
    click.echo(f"\n{definition}\n{files}")


def _counted(value: int, first: int, is_first: bool) -> str:
    if is_first:
        return f"{value:,}"
    percent = f"{(value - first) / first:+.1%}" if first else "no percentage of 0"
    return f"{value:,}  {value - first:+,} ({percent})"


@cli.command()
@click.argument("left")
@click.argument("right")
@click.option(
    "--radius-arcsec",
    type=float,
    default=0.5,
    show_default=True,
    help="Largest separation of a pair, inclusive.",
)
@click.option("--all", "every", is_flag=True, help="Compare every source, not only good ones.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for matched, left_only and right_only as Parquet.",
)
@_json_option
@_where_option
@_opening_options
def compare(
    left: str,
    right: str,
    radius_arcsec: float,
    every: bool,
    output: Path | None,
    as_json: bool,
    where: str | None,
    **options: Any,
) -> None:
    """Compare the sources of two reruns, image by image."""
    with _opened([left, right], options) as opened:
        with _busy("comparing"):
            comparison = opened.compare(
                *opened.names, radius_arcsec=radius_arcsec, good=not every, where=where
            )
        definition, files = _definition(opened, where), _files(opened)
    written = _write_frames(comparison, output) if output else []
    summary = comparison.summary()
    if as_json:
        _print_json(summary)
        return
    kind = "sources" if every else "good sources"
    name_left, name_right = summary["left"], summary["right"]
    _print_table(
        ["", kind],
        [
            [name_left, f"{summary['n_left']:,}"],
            [name_right, f"{summary['n_right']:,}"],
            [f"matched within {radius_arcsec:g} arcsec", f"{summary['n_matched']:,}"],
            [f"only in {name_left}", f"{summary['n_left_only']:,}"],
            [f"only in {name_right}", f"{summary['n_right_only']:,}"],
        ],
    )
    click.echo(f"\n{definition}\n{files}")
    for path, n_rows in written:
        click.echo(f"{path}: {n_rows:,} rows")


def _write_frames(comparison: Any, folder: Path) -> list[tuple[Path, int]]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in ("matched", "left_only", "right_only"):
        frame = getattr(comparison, name)
        path = folder / f"{name}.parquet"
        partial = path.with_suffix(".parquet.part")
        frame.write_parquet(partial)
        partial.replace(path)
        written.append((path, frame.height))
    return written


@cli.command()
@click.argument("arguments", nargs=-1, required=True, metavar='RERUN... "QUERY"')
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="Value for $NAME in the query."
)
@_opening_options
def sql(
    arguments: Sequence[str],
    form: str,
    output: Path | None,
    params: Sequence[str],
    **options: Any,
) -> None:
    """Ask one SELECT over the views of the reruns (dia_source, good_dia_object ...)."""
    if len(arguments) < 2:
        raise click.UsageError('give at least one RERUN and the "QUERY"')
    if form == "parquet" and output is None:
        raise click.UsageError("--format parquet needs --output FILE")
    with _opened(arguments[:-1], options) as opened, _busy("asking"):
        result = opened.sql(arguments[-1], **dict(map(_parameter, params)))
    if form == "table":
        _write_or_print_table(result, output)
        return
    if form == "json":
        _write_text(output, _json_text(result.rows()) + "\n")
        return
    frame = result.polars()
    if form == "csv":
        _write_text(output, frame.write_csv())
    elif output is not None:
        partial = output.with_name(f"{output.name}.part")
        frame.write_parquet(partial)
        partial.replace(output)
        click.echo(f"{output}: {len(result):,} rows", err=True)


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--param {text}: give NAME=VALUE")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def _write_or_print_table(result: Any, output: Path | None) -> None:
    rows = [[_cell(value) for value in row.values()] for row in result.rows()]
    if output is None:
        _print_table(result.columns, rows, right=0)
        click.echo(f"{len(rows):,} rows", err=True)
        return
    widths = [max(map(len, column)) for column in zip(result.columns, *rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [result.columns, *rows]
    ]
    _write_text(output, "\n".join(lines) + "\n")


def _write_text(output: Path | None, text: str) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    partial = output.with_name(f"{output.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(output)


@cli.command()
@_reruns_argument
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
)
@click.option("--title", help="Title of the page.")
@click.option("--radius-arcsec", type=float, default=0.5, show_default=True)
@_where_option
@_opening_options
def report(
    reruns: Sequence[str],
    output: Path,
    title: str | None,
    radius_arcsec: float,
    where: str | None,
    **options: Any,
) -> None:
    """Write one page that a colleague can open: counts, comparison, edges, charts."""
    from hitsduck.report import write_report

    with _opened(reruns, options) as opened, _busy("writing the report"):
        path = write_report(
            opened,
            output,
            title=title,
            radius_arcsec=radius_arcsec,
            where=where,
            command=shlex.join(["hitsduck", *sys.argv[1:]]),
        )
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

    with _busy("simulating three small reruns"):
        path = run_demo(directory)
    click.echo(path)
