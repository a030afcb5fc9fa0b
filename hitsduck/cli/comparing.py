"""``compare``: what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hitsduck.cli.app import cli
from hitsduck.cli.options import busy, json_option, opened_reruns, opening_options, where_option
from hitsduck.cli.printing import footer_text, print_json, print_table


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
@json_option
@where_option
@opening_options
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
    with opened_reruns([left, right], options) as opened:
        with busy("comparing"):
            comparison = opened.compare(
                *opened.names, radius_arcsec=radius_arcsec, good=not every, where=where
            )
        footer = footer_text(opened, where)
    written = _write_frames(comparison, output) if output else []
    summary = comparison.summary()
    if as_json:
        print_json(summary)
        return
    kind = "sources" if every else "good sources"
    name_left, name_right = summary["left"], summary["right"]
    print_table(
        ["", kind],
        [
            [name_left, f"{summary['n_left']:,}"],
            [name_right, f"{summary['n_right']:,}"],
            [f"matched within {radius_arcsec:g} arcsec", f"{summary['n_matched']:,}"],
            [f"only in {name_left}", f"{summary['n_left_only']:,}"],
            [f"only in {name_right}", f"{summary['n_right_only']:,}"],
        ],
    )
    click.echo(f"\n{footer}")
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
