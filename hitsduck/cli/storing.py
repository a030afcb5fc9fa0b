"""``workspace`` and ``export``: reruns in columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitsduck.cli.app import cli
from hitsduck.cli.options import json_option, opened_reruns, opening_options, reruns_argument
from hitsduck.cli.printing import print_json, print_table

if TYPE_CHECKING:
    from hitsduck.storing import Progress

columns_option = click.option(
    "--columns",
    default="all",
    show_default=True,
    metavar="notebook|all|LIST",
    help="What is stored beside what views, comparisons and pictures ask for: all, what the "
    "analysis of 2020 reads, or names with commas.",
)


@contextmanager
def _told() -> Iterator[Progress | None]:
    """Show rows, rate and time left on stderr, when a person watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task("reading", total=None, rate="")

        def told(rerun: str, table: str, done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:,.0f} rows/s" if speed else ""
            bar.update(task, completed=done, total=total, description=f"{rerun} {table}", rate=rate)

        yield told


@cli.group()
def workspace() -> None:
    """Keep reruns in one file of columns, where every question is fast."""


@workspace.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@reruns_argument
@columns_option
@click.option("--overwrite", is_flag=True, help="Replace a workspace of this name.")
@opening_options
def create(
    file: Path, reruns: Sequence[str], columns: str, overwrite: bool, **options: Any
) -> None:
    """Read each RERUN once into the new workspace FILE.

    The rows are checked against SQLite's own counts and sums. FILE appears when all is there;
    it opens as RERUN in every command, and in any DuckDB of its version. To add a rerun to a
    workspace, make a new one of both: create NEW.duckdb OLD.duckdb RERUN.
    """
    with opened_reruns(reruns, options) as opened, _told() as progress:
        path = opened.materialize(file, columns=columns, overwrite=overwrite, progress=progress)
    click.echo(path)


@workspace.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def status(file: Path, as_json: bool) -> None:
    """Say what FILE holds, and whether its APDBs are still what was read.

    Views are "current" where this hitsduck computed them when the rerun was stored (they are used
    under the same flags and instrument), "earlier" where another did, so that every question
    computes them until FILE is refreshed.
    """
    from dataclasses import asdict

    from hitsduck.storing import status as status_of

    found = status_of(file)
    if as_json:
        print_json([asdict(stored) for stored in found])
        return
    print_table(
        ["rerun", "state", "views", "DIA sources", "generation", "columns", "read from"],
        [
            [
                stored.rerun,
                stored.state,
                stored.views,
                f"{stored.n_rows['DiaSource']:,}",
                stored.generation,
                stored.columns,
                stored.path,
            ]
            for stored in found
        ],
        right=3,
        left_again=4,
    )


@workspace.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@opening_options
def refresh(file: Path, **options: Any) -> None:
    """Read again those reruns of FILE whose APDB has changed, and only those.

    A rerun whose APDB is gone stays as it is. Views that an earlier hitsduck computed are
    computed anew. Options that FILE was created with (--bad-flags, --instrument, --camera,
    --moments) are to be given again; where they lack, that is said and FILE stays.
    """
    from hitsduck.opening import refresh_workspace
    from hitsduck.storing import status as status_of

    for name in ("cache", "no_cache"):  # of no use where the workspace is the cache
        options.pop(name)
    before = status_of(file)
    for stored in before:
        if stored.state == "gone":
            click.echo(f"{stored.rerun}: {stored.path} is gone; kept as it is", err=True)
    with _told() as progress:
        changed = refresh_workspace(file, progress=progress, **options)
    aged = [s.rerun for s in before if s.views == "earlier" and s.rerun not in changed]
    done = {"read again": changed, "views computed anew": aged}
    said = [f"{', '.join(names)} {what}" for what, names in done.items() if names]
    click.echo(f"{file}: {'; '.join(said) or 'nothing changed'}")


@cli.command()
@click.argument("rerun")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--format", "form", type=click.Choice(["parquet"]), default="parquet")
@columns_option
@click.option("--overwrite", is_flag=True, help="Replace an earlier export in DIRECTORY.")
@opening_options
def export(
    rerun: str, directory: Path, form: str, columns: str, overwrite: bool, **options: Any
) -> None:
    """Write RERUN as Parquet files with a manifest into DIRECTORY, which is a rerun too."""
    with opened_reruns([rerun], options) as opened, _told() as progress:
        if len(opened) > 1:
            raise click.UsageError(
                f"{rerun} holds {len(opened)} reruns; name one: {rerun}:{opened.names[0]}"
            )
        path = opened.export(
            opened.names[0], directory, columns=columns, overwrite=overwrite, progress=progress
        )
    click.echo(path)
