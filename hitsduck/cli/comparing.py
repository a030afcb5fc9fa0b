"""``compare`` and ``explain``: what changed, and what the change is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitsduck.cli.app import cli
from hitsduck.cli.options import (
    Command,
    busy,
    json_option,
    opened_pair,
    opening_options,
    where_option,
)
from hitsduck.cli.printing import cell_text, footer_text, print_json, print_table
from hitsduck.limits import check_number

if TYPE_CHECKING:
    import polars as pl

    from hitsduck.comparison import Comparison
    from hitsduck.crossmatch import How

#: What ``explain --json`` gives of each value.
EXPLANATION_KEYS = (
    "dimension",
    "value",
    "n_left",
    "n_right",
    "change",
    "share_of_change",
    "excess",
    "p_value",
    "q_value",
)
_FAILED = 3
#: Rows of an explanation that are shown without ``--all-rows``.
_SHOWN = 15


def _pair_options(command: Command) -> Command:
    """Add LEFT, RIGHT and how their sources are matched."""
    options = (
        click.argument("left"),
        click.argument("right", required=False),
        click.option(
            "--radius-arcsec",
            type=float,
            default=0.5,
            show_default=True,
            help="Largest separation of a pair, inclusive.",
        ),
        click.option(
            "--match",
            "how",
            type=click.Choice(["mutual", "best1", "best2", "all"]),
            default="mutual",
            show_default=True,
            help="mutual: each is the other's nearest; best1, best2: the nearest of each source "
            "of LEFT, of RIGHT; all: every pair.",
        ),
        click.option("--all", "every", is_flag=True, help="Every source, not only good ones."),
        click.option(
            "--edge-within",
            type=click.FloatRange(min=0, min_open=True),
            default=32.0,
            show_default=True,
            metavar="PX",
            help="Sources nearer than this to a side of their detector count as at its edge.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@cli.command()
@_pair_options
@click.option("--by", multiple=True, metavar="COLUMN", help="Count by this column, too.")
@click.option("--objects", is_flag=True, help="Tell how objects were split, merged, regrouped.")
@click.option(
    "--fail-above",
    type=click.FloatRange(min=0),
    metavar="PERCENT",
    help="Leave with status 3 when the number of sources changed by more than this.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the lists matched, left_only and right_only, strongest sources first.",
)
@click.option(
    "--format", "form", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True
)
@click.option(
    "--rows-at-once",
    type=click.IntRange(min=1),
    metavar="N",
    help="Sources of both reruns that may be held at once; of more, visits are compared group by "
    "group.  [default: 20 million, then groups of 4 million]",
)
@json_option
@where_option
@opening_options
def compare(
    left: str,
    right: str | None,
    radius_arcsec: float,
    how: How,
    every: bool,
    edge_within: float,
    by: Sequence[str],
    objects: bool,
    fail_above: float | None,
    output: Path | None,
    form: str,
    rows_at_once: int | None,
    as_json: bool,
    where: str | None,
    **options: Any,
) -> None:
    """Compare the sources of two reruns, image by image.

    LEFT alone may be a workspace of two.
    """
    from hitsduck.comparison import SUMMARY_COLUMNS

    if fail_above is not None:
        wanted = "a percentage of 0 or more is wanted (--fail-above)"
        check_number("fail_above", fail_above, wanted, lambda x: 0 <= x < math.inf)
    with opened_pair(left, right, options) as opened:
        with busy("comparing"):
            comparison = opened.compare(
                *opened.names,
                radius_arcsec=radius_arcsec,
                how=how,
                good=not every,
                where=where,
                columns=SUMMARY_COLUMNS,
                rows_at_once=rows_at_once,
            )
            summary = comparison.summary(within_px=edge_within)
            counted = {column: comparison.by(column) for column in by}
            turnover = comparison.turnover() if objects else None
            written = comparison.write(output, form=form) if output else {}
        verdict = comparison.verdict(within_px=edge_within)
        footer = footer_text(opened, where)
    if as_json:
        if by:
            summary["by"] = {column: frame.to_dicts() for column, frame in counted.items()}
        if turnover is not None:
            summary["objects"] = turnover.table().to_dicts()
        print_json(summary)
    else:
        click.echo(verdict)
        _print_summary(comparison, summary)
        for frame in counted.values():
            click.echo()
            _print_frame(frame)
        if turnover is not None:
            click.echo()
            _print_frame(turnover.table().drop("examples"))
            homeless = (turnover.n_left_without_object, turnover.n_right_without_object)
            if any(homeless):
                click.echo(
                    f"\nsources without an object: {homeless[0]:,} of {comparison.left}, "
                    f"{homeless[1]:,} of {comparison.right}"
                )
        click.echo(f"\n{footer}")
        for path in written.values():
            click.echo(f"written: {path}")
    _fail_above(summary, fail_above)


def _fail_above(summary: dict[str, Any], percent: float | None) -> None:
    if percent is None:
        return
    left, right = summary["n_left"], summary["n_right"]
    changed = 100 * abs(right - left) > percent * left
    if changed:
        click.echo(
            f"the number of sources changed from {left:,} to {right:,}, more than {percent:g}%",
            err=True,
        )
        raise click.exceptions.Exit(_FAILED)


def _print_summary(comparison: Comparison, summary: dict[str, Any]) -> None:
    left, right = summary["left"], summary["right"]
    kind = "good sources" if summary["good"] else "sources"
    coverage = summary["coverage"]
    rows = [
        (left, summary["n_left"]),
        (right, summary["n_right"]),
        (f"matched within {summary['radius_arcsec']:g} arcsec ({summary['match']})",
         summary["n_matched"]),
        ("of them ambiguous", summary["n_ambiguous"]),
        (f"only in {left}", summary["n_left_only"]),
        (f"of them in {right}, but flagged", summary["n_left_only_reflagged"]),
        (f"on {coverage['left_only']:,} images that {right} does not have",
         coverage["n_sources_left_only"]),
        (f"only in {right}", summary["n_right_only"]),
        (f"of them in {left}, but flagged", summary["n_right_only_reflagged"]),
        (f"on {coverage['right_only']:,} images that {left} does not have",
         coverage["n_sources_right_only"]),
    ]  # fmt: skip
    without_position = summary["n_left_unusable"] + summary["n_right_unusable"]
    if without_position:
        rows.append(("without a usable position, in both", without_position))
    click.echo()
    print_table(["", kind], [[name, f"{n:,}"] for name, n in rows])
    click.echo()
    if summary["n_presumed_images"]:
        click.echo(
            f"images: {summary['n_presumed_images']:,} on which one rerun found nothing count as "
            "images of both, for that may be chance"
        )
    edge = summary["edge"]
    if edge is None:
        click.echo(f"edges: {summary['edge_problem']}")
        return
    interval = (
        f" (95% interval {edge['ci_low']:.3g} to {edge['ci_high']:.3g})"
        if edge["ci_low"] is not None
        else f" (no interval: {summary['edge_problem']})"
        if summary["edge_problem"]
        else ""
    )
    if not edge["n_new"]:
        click.echo(
            "edges: no newly detected source with a position on an image of both, so none within "
            f"{edge['within_px']:g} px of an edge"
        )
        return
    ratio = "not defined" if edge["excess_ratio"] is None else f"{edge['excess_ratio']:.3g}"
    click.echo(
        f"edges: {edge['n_new_within']:,} of {edge['n_new']:,} new sources lie within "
        f"{edge['within_px']:g} px of an edge ({_percent(edge['share_of_new'])}, on "
        f"{_percent(edge['area_share'])} of the area); excess over matched {ratio}{interval}"
    )


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.1%}"


def _print_frame(frame: pl.DataFrame) -> None:
    rows: Iterable[tuple[Any, ...]] = frame.iter_rows()
    print_table(frame.columns, [[cell_text(value) for value in row] for row in rows], right=0)


@cli.command()
@_pair_options
@click.option(
    "--depth",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    help="2: pairs of dimensions, too.",
)
@click.option(
    "--extra",
    multiple=True,
    metavar="NAME=EXPRESSION",
    help="A dimension of your own: a column, or an SQL expression on columns of the sources.",
)
@click.option(
    "--all-rows",
    is_flag=True,
    help=f"Every value, not only the {_SHOWN} that tell most.",
)
@json_option
@where_option
@opening_options
def explain(
    left: str,
    right: str | None,
    radius_arcsec: float,
    how: How,
    every: bool,
    edge_within: float,
    depth: int,
    extra: Sequence[str],
    all_rows: bool,
    as_json: bool,
    where: str | None,
    **options: Any,
) -> None:
    """Rank what the change between two reruns is made of."""
    from hitsduck.comparison import SUMMARY_COLUMNS

    dimensions = _named_expressions(extra)
    with opened_pair(left, right, options) as opened:
        with busy("explaining"):
            comparison = opened.compare(
                *opened.names,
                radius_arcsec=radius_arcsec,
                how=how,
                good=not every,
                where=where,
                columns=SUMMARY_COLUMNS,
            )
            explanation = comparison.explain(extra=dimensions, depth=depth)
        verdict = comparison.verdict(within_px=edge_within)
        names = (comparison.left, comparison.right)
        footer = footer_text(opened, where)
    frame = explanation.frame
    if as_json:
        print_json(frame.select(EXPLANATION_KEYS).to_dicts())
        return
    click.echo(verdict)
    for line in explanation.sentences():
        click.echo(line)
    shown = frame if all_rows else frame.head(_SHOWN)
    click.echo()
    print_table(
        ["dimension", "value", *names, "change", "share", "excess", "+-", "q", ""],
        [_explained_row(row) for row in shown.iter_rows(named=True)],
        right=2,
        left_again=9,
    )
    n_causes, n_hidden = explanation.causes.height, frame.height - shown.height
    hidden = f"; {n_hidden:,} weaker ones are not shown (--all-rows)" if n_hidden else ""
    is_tested = frame["p_value"].count() > 0
    told = (
        f"{n_causes:,} of {frame.height:,} values are causes, with a false discovery rate of "
        f"{explanation.alpha:.0%}"
        if is_tested
        else f"none of {frame.height:,} values was tested for chance"
    )
    click.echo(
        f"\n{told}{hidden}\n"
        "share: of the whole change (below 0: against it); excess: over a proportional change, "
        "with its standard error\n"
        f"q: false discovery rate of an excess of more than {explanation.margin}\n"
        "small: an excess and not chance, but maybe of no more than that (p and q test for more)"
    )
    if explanation.skipped:
        click.echo(
            f"not looked at, for want of values on both sides: {', '.join(explanation.skipped)}"
        )
    click.echo(footer)


def _explained_row(row: dict[str, Any]) -> list[str]:
    """Return one value of an explanation as cells, rounded as far as its error allows."""
    error = row["error"]
    digits = 0 if error is None or error >= 10 else 1
    share = row["share_of_change"]
    follows = row["consequence_of"]
    return [
        row["dimension"],
        row["value"],
        f"{row['n_left']:,}",
        f"{row['n_right']:,}",
        f"{row['change']:+,}",
        "-" if share is None else f"{share:.1%}",
        _rounded(row["excess"], f"+,.{digits}f"),
        _rounded(error, f",.{digits}f"),
        _probability(row["q_value"]),
        "cause"
        if row["is_cause"]
        else f"follows {follows}"
        if follows
        else "small"
        if row["is_small"]
        else "",
    ]


def _rounded(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _probability(value: float | None) -> str:
    if value is None:
        return "-"
    return "<1e-10" if value < 1e-10 else f"{value:.2g}"


def _named_expressions(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, expression = text.partition("=")
        if not equals or not name or not expression:
            raise click.UsageError(f"--extra {text}: give NAME=EXPRESSION")
        if name in found:
            raise click.UsageError(f"--extra {text}: another --extra is called {name} already")
        found[name] = expression
    return found
