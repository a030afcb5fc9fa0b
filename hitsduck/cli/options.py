"""What the commands share: how reruns are named and opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitsduck.errors import MatchError, RerunNotFoundError
from hitsduck.schema import DEFAULT_FLAG_SET, FLAG_SETS

if TYPE_CHECKING:
    from hitsduck.reruns import PathLike, Reruns

Command = Callable[..., Any]


def opening_options(command: Command) -> Command:
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
        click.option(
            "--temp-directory",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Where the engine puts what does not fit into its memory.",
        ),
        click.option(
            "--cache",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Read each APDB once into this folder, and from there ever after.",
        ),
        click.option(
            "--no-cache",
            is_flag=True,
            help="Charts and reports: ask the APDB anew for each picture, and keep less in memory.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


reruns_argument = click.argument("reruns", nargs=-1, required=True, metavar="RERUN...")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
where_option = click.option(
    "--where", metavar="CONDITION", help="Only sources that fulfil this condition on dia_source."
)


def named_reruns(argument: str) -> list[tuple[str, PathLike]]:
    """Return name and path of a RERUN argument, several where it is a workspace.

    If the whole argument exists it is a path; else it is split at the first ``=``.

    Raises
    ------
    RerunNotFoundError
    """
    from hitsduck.columnar import parted
    from hitsduck.opening import expanded

    if not argument:
        raise RerunNotFoundError("a RERUN is empty; give NAME=PATH or PATH")
    if Path(argument).exists() or parted(argument)[1] is not None:
        return expanded(argument)
    name, equals, path = argument.partition("=")
    if not equals:
        raise RerunNotFoundError(f"{argument}: no such file or folder")
    if not path:
        raise RerunNotFoundError(f"{argument}: the path is empty; give NAME=PATH or PATH")
    return [(name, path)]


def names_a_file(argument: str) -> bool:
    """Return whether an argument names what is there: PATH, NAME=PATH or WORKSPACE:RERUN."""
    paths = (argument, argument.partition("=")[2], argument.rpartition(":")[0])
    return any(path and os.path.exists(path) for path in paths)


@contextmanager
def opened_reruns(arguments: Sequence[str], options: dict[str, Any]) -> Iterator[Reruns]:
    """Open RERUN arguments; equal names and missing paths are told before anything else."""
    from hitsduck.opening import check_names, open_reruns

    pairs = [pair for argument in arguments for pair in named_reruns(argument)]
    check_names(pairs, asked=arguments)
    folder, no_cache = options.pop("cache"), options.pop("no_cache")
    if folder is not None and no_cache:
        raise click.UsageError("--cache and --no-cache exclude each other")
    with busy("opening" if len(pairs) == 1 else f"opening {len(pairs)} reruns"):
        opened = open_reruns(dict(pairs), cache=folder or not no_cache, **options)
    with opened:
        try:
            yield opened
        except MatchError as error:  # sources are matched whenever something asks for them
            from hitsduck import missing_ids

            ours = missing_ids.named(opened, opened.names, error)
            if ours is error:
                raise
            raise ours from error


@contextmanager
def opened_pair(left: str, right: str | None, options: dict[str, Any]) -> Iterator[Reruns]:
    """Open LEFT and RIGHT, which are two reruns, or one workspace of two."""
    from hitsduck.columnar import is_workspace

    if right is None and not is_workspace(left):
        raise click.UsageError("Missing argument 'RIGHT'.")  # as click itself says it
    arguments = [left] if right is None else [left, right]
    pairs = [pair for argument in arguments for pair in named_reruns(argument)]
    if len(pairs) != 2:
        there = ", ".join(str(path) for _, path in pairs)
        reruns = "1 rerun" if len(pairs) == 1 else f"{len(pairs)} reruns"
        raise click.UsageError(
            f"{' and '.join(arguments)}: {reruns} ({there}); two are compared, LEFT and RIGHT: "
            "name both"
        )
    with opened_reruns(arguments, options) as opened:
        yield opened


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show on stderr what is being done, when a person watches."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield
