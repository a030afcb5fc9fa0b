"""``integrity`` and ``src-counts``: what contradicts itself, and what lies beside the APDBs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from hitsduck.cli.app import cli
from hitsduck.cli.options import (
    busy,
    json_option,
    opened_reruns,
    opening_options,
    reruns_argument,
)
from hitsduck.cli.printing import files_text, footer_text, print_json, print_table


@cli.command()
@reruns_argument
@json_option
@opening_options
def integrity(reruns: Sequence[str], as_json: bool, **options: Any) -> None:
    """Look for what contradicts itself: duplicate ids, lost objects, wrong positions ..."""
    from hitsduck.integrity import EXAMPLES

    with opened_reruns(reruns, options) as opened:
        with busy("checking"):
            found = opened.integrity().rows()
        footer = footer_text(opened, None)
    if as_json:
        print_json(
            [
                {key: row[key] for key in ("rerun", "check", "count", "examples")}
                | ({"reason": row["reason"]} if row["reason"] else {})
                for row in found
            ]
        )
        return
    print_table(
        ["rerun", "check", "count", f"examples (at most {EXAMPLES})"],
        [
            [
                row["rerun"],
                row["check"],
                "not checked" if row["count"] is None else f"{row['count']:,}",
                "; ".join(row["examples"]),
            ]
            for row in found
        ],
        right=2,
        left_again=3,
    )
    click.echo()
    for reason, checks in _reasons(found).items():
        click.echo(f"{', '.join(checks)}: {reason}")
    click.echo(footer)


def _reasons(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return {why a check could not be made, or what to know of it: checks}.

    A check names its reruns where the reason is not that of all.
    """
    n_reruns = len({row["rerun"] for row in found})
    of_checks: dict[tuple[str, str], list[str]] = {}
    for row in found:
        if row["reason"]:
            of_checks.setdefault((row["reason"], row["check"]), []).append(row["rerun"])
    reasons: dict[str, list[str]] = {}
    for (reason, check), names in of_checks.items():
        whose = "" if len(names) == n_reruns else f" of {', '.join(names)}"
        reasons.setdefault(reason, []).append(check + whose)
    return reasons


@cli.command("src-counts")
@reruns_argument
@json_option
@opening_options
def src_counts(reruns: Sequence[str], as_json: bool, **options: Any) -> None:
    """Count the calexp src catalogues beside the APDBs, from their FITS headers."""
    with opened_reruns(reruns, options) as opened:
        with busy("reading headers"):
            counts = opened.src_counts()
        names, footer = opened.names, files_text(opened)
    if as_json:
        print_json(counts.rows())
        return
    print_table(
        ["visit", "ccd", *names],
        [
            [str(row["visit"]), str(row["detector"]), *(_src_cell(row, name) for name in names)]
            for row in counts.rows()
        ],
        right=0,
    )
    click.echo(f"\n{counts.verdict()}")
    click.echo(f"rows of the src catalogues beside each APDB, whether good or not\n{footer}")


def _src_cell(row: dict[str, Any], name: str) -> str:
    n_rows = row["n_rows"][name]
    if n_rows is None:
        return str(row["status"][name])
    difference = row["difference"].get(name)
    return f"{n_rows:,}" + (f"  {difference:+,}" if difference is not None else "")
