"""The command group, and how it leaves: exit status and one line for an error.

Exit status: 0 done, 1 an error of ours (one line on stderr that begins ``error:``),
2 a wrong call, 3 a change above ``--fail-above``, 130 interrupted (Ctrl-C), 143 terminated
(as a batch system ends a job); what was half written is gone then.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from hitsduck import __version__
from hitsduck.errors import HitsduckError, HitsduckWarning


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hitsduck")
def cli() -> None:
    """Say what changed between reruns of the same telescope images, and whether it is real.

    A RERUN is NAME=PATH or PATH: an APDB (SQLite file), a folder that holds one, an exported
    folder, or a workspace (all its reruns; WORKSPACE:RERUN is one of them).
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    with warnings.catch_warnings(), _terminated_like_interrupted() as terminated:
        warnings.simplefilter("always", HitsduckWarning)
        warnings.showwarning = _show_warning
        _show_notes()
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
            click.echo(f"error: {'terminated' if terminated else 'interrupted'}", err=True)
            status = 143 if terminated else 130
        except BrokenPipeError:  # the reader of a pipe has seen enough
            sys.stderr.close()
            status = 0
        except OSError as error:  # a file that cannot be written
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {where}{error.strerror or error}", err=True)
            status = 1
    sys.exit(status if isinstance(status, int) else 0)


@contextmanager
def _terminated_like_interrupted() -> Iterator[list[int]]:
    """Make SIGTERM end the work as Ctrl-C does, so that nothing half written stays.

    Yields
    ------
    list of int
        The signals that came.
    """
    came: list[int] = []

    def leave(number: int, _: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


class _Notes(logging.Handler):
    """Shows what the package says of its own doing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line to stderr."""
        click.echo(f"note: {record.getMessage()}", err=True)


def _show_notes() -> None:
    logger = logging.getLogger("hitsduck")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _Notes) for handler in logger.handlers):
        logger.addHandler(_Notes())


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, HitsduckWarning):
        click.echo(f"warning: {message}", err=True)
