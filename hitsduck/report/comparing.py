"""The sections on what changed between two reruns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import polars as pl

from hitsduck import chartdata
from hitsduck.charts.theme import many, shown_of
from hitsduck.edges import EdgeExcess
from hitsduck.errors import TooLargeError
from hitsduck.gallery import Wanted
from hitsduck.page import Cell, Column, Part, Section, Table, Text
from hitsduck.report.pictures import figures
from hitsduck.wording import phrase

if TYPE_CHECKING:
    from hitsduck.comparison import Comparison

#: Distances (px) for which the edge excess is told; the first is the one of the verdict.
WITHIN_PX = (32.0, 16.0, 64.0, 128.0)
_MOST_VALUES = 25
_MOST_SOURCES = 15
_SIMBAD = "https://simbad.cds.unistra.fr/simbad/sim-coo?Coord={ra:.6f}%20{dec:+.6f}&Radius=5&Radius.unit=arcsec"
_ALADIN = "https://aladin.cds.unistra.fr/AladinLite/?target={ra:.6f}%20{dec:+.6f}&fov=0.03"
_TURNOVER_WORDS = {
    "same": "one object in both",
    "split": "split: one became several",
    "merged": "merged: several became one",
    "regrouped": "regrouped: several became several others",
    "gone": "gone",
    "new": "new",
}


def percent(part: float, whole: float) -> str:
    """Return a part in percent, a dash of nothing."""
    return f"{part / whole:.1%}" if whole else "-"


def number(value: float | None, form: str = ".2f") -> Cell:
    """Return a cell of a number that may not be known."""
    return Cell("-") if value is None else Cell(format(value, form), value)


def count(n: int, note: str | None = None) -> Cell:
    """Return a cell of a count."""
    return Cell(many(n), n, note)


def findings(wanted: Wanted) -> list[str]:
    """Return what the comparison found, in sentences with numbers."""
    comparison = wanted.comparison
    told = [
        f"Of the {many(comparison.n_right)} {_kind(comparison)} of {comparison.right}, "
        f"{many(comparison.n_matched)} ({percent(comparison.n_matched, comparison.n_right)}) match "
        f"one of {comparison.left} in the same image within {comparison.radius_arcsec:g} arcsec; "
        f"{many(comparison.n_right_only)} are only in {comparison.right}, "
        f"{many(comparison.n_left_only)} only in {comparison.left}."
    ]
    edge = comparison.edges(within_px=WITHIN_PX[0])
    if edge is not None:
        told.append(_edge_sentence(edge, comparison.n_right_unusable))
    if comparison.n_left or comparison.n_right:
        try:
            told += wanted.explanation.sentences(most=3)[1:]
        except TooLargeError as error:
            told.append(f"{str(error)[0].upper()}{str(error)[1:]}.")
    return told


def _kind(comparison: Comparison) -> str:
    return "good sources" if comparison.good else "sources"


def _edge_sentence(edge: EdgeExcess, n_unusable: int = 0) -> str:
    if edge.share_of_new is None:
        told = f"so none within {edge.within_px:g} px of an edge"
        if n_unusable:
            return (
                f"No new source with a usable position, {told}; {many(n_unusable)} new ones have "
                "none."
            )
        return f"No new source, {told}."
    told = (
        f"{edge.share_of_new:.1%} of the new sources lie within {edge.within_px:g} px of an edge "
        f"of their CCD, which is {edge.area_share:.1%} of the area"
    )
    if edge.excess_ratio is None:
        return f"{told}."
    told += f": {edge.excess_ratio:.2f} times as densely there, against inside, as matched ones"
    if edge.ci_low is None or edge.ci_high is None:
        return f"{told}; how sure that is cannot be told ({edge.reason})."
    told += f" (95% interval {edge.ci_low:.2f} to {edge.ci_high:.2f})"
    if edge.ci_low > 1:
        return f"{told}. So new sources do crowd at the edges."
    if edge.ci_high < 1:
        return f"{told}. So new sources avoid the edges."
    return f"{told}. So no excess at the edges is shown."


def comparison_section(wanted: Wanted) -> Section:
    """Return what the two reruns share, and what the difference is made of."""
    comparison = wanted.comparison
    counts = comparison.counts()
    sides = (
        (
            comparison.left,
            comparison.left_path,
            comparison.n_left,
            comparison.n_left_only,
            counts["n_left_only_reflagged"],
        ),
        (
            comparison.right,
            comparison.right_path,
            comparison.n_right,
            comparison.n_right_only,
            counts["n_right_only_reflagged"],
        ),
    )
    table = Table(
        caption=f"{_kind(comparison).capitalize()}, matched within "
        f"{comparison.radius_arcsec:g} arcsec",
        columns=[
            Column("rerun", is_number=False),
            Column(_kind(comparison)),
            Column("matched"),
            Column("only here"),
            Column("of these reflagged"),
            Column("file", is_number=False),
        ],
        rows=[
            [
                Cell(name),
                count(n),
                count(comparison.n_matched, percent(comparison.n_matched, n)),
                count(n_only, percent(n_only, n)),
                count(n_reflagged),
                Cell(path),
            ]
            for name, path, n, n_only, n_reflagged in sides
        ],
        is_sortable=False,
    )
    parts: list[Part] = [
        Text(
            "Sources of the same visit and detector are matched when each is the other's nearest "
            f"within {comparison.radius_arcsec:g} arcsec. A source that is only in one rerun is "
            "reflagged where the other has it as well, but not as a good one."
        ),
        table,
    ]
    if comparison.same_file:
        parts.append(Text("Both names are the same file.", is_missing=True))
    parts += [_decomposition(comparison), *_coverage(comparison)]
    # First, for it reads all columns of pairs that are wanted here.
    drawn = figures(wanted, ["matched_pairs"])
    if comparison.n_matched:
        told = f"Pairs with another neighbour within the radius: {many(comparison.n_ambiguous)}."
        with suppress(TooLargeError):
            median = comparison.pairs("sep_arcsec").select(pl.median("sep_arcsec")).item()
            told = f"Half of the pairs are closer than {median:.3f} arcsec. {told}"
        parts.append(Text(told))
    n_unusable = comparison.n_left_unusable + comparison.n_right_unusable
    if n_unusable:
        parts.append(
            Text(
                f"{many(comparison.n_left_unusable)} sources of {comparison.left} and "
                f"{many(comparison.n_right_unusable)} of {comparison.right} have no usable "
                "position or image; they count as unmatched."
            )
        )
    parts += drawn
    return Section("comparison", f"{comparison.left} against {comparison.right}", parts)


def _decomposition(comparison: Comparison) -> Table:
    change = comparison.decomposition()
    words = {
        "detection": "detected in one rerun alone, on images of both",
        "reflagged": "reflagged",
        "coverage": "on images that only one rerun has",
        "unusable": "without a usable position",
        "pairing": "matched more than once",
    }
    rows = [
        [Cell(words[name]), Cell(f"{n:+,}", n, percent(n, change.net) if n else None)]
        for name, n in vars(change).items()
        if name != "net" and (n or name in ("detection", "reflagged", "coverage"))
    ]
    rows.append([Cell("the whole change"), Cell(f"{change.net:+,}", change.net)])
    return Table(
        caption=f"What the change in {_kind(comparison)} is made of: only in {comparison.right}, "
        f"less only in {comparison.left}",
        columns=[Column("", is_number=False), Column("sources")],
        rows=rows,
        is_sortable=False,
    )


def _coverage(comparison: Comparison) -> list[Part]:
    only = comparison.coverage()
    n_presumed = comparison.presumed_images.height
    presumed = (
        f" On {many(n_presumed)} of them one rerun found nothing; they count as images of both, "
        "for that may be chance."
        if n_presumed
        else ""
    )
    if only.is_empty():
        same = f"Both reruns have the same {many(comparison.shared_images.height)} images."
        return [Text(f"{same}{presumed}")]
    n_of = dict(only.group_by("side").len().rows())
    return [
        Text(
            f"{many(comparison.shared_images.height)} images are in both reruns.{presumed} "
            f"{many(n_of.get('left', 0))} are only in {comparison.left}, "
            f"{many(n_of.get('right', 0))} only in {comparison.right}. Edges and the explanation "
            "look at images of both alone."
        )
    ]


def edges_section(wanted: Wanted) -> Section:
    """Return whether the new sources are concentrated at the edges, and how sure."""
    comparison = wanted.comparison
    if comparison.edge_problem is not None:
        return Section(
            "edges",
            "Distance to the edges",
            missing=f"The distances to the edges cannot be told: {comparison.edge_problem}",
        )
    measured = [edge for w in sorted(WITHIN_PX) if (edge := comparison.edges(within_px=w))]
    table = Table(
        caption="Edge excess: density of new sources within a distance of the edge over that "
        "inside, divided by the same of matched sources; an even-handed change has 1",
        columns=[
            Column("within (px)"),
            Column("part of the area"),
            Column("new within"),
            Column("part of all new"),
            Column("part of the increase"),
            Column("new, edge : inside"),
            Column("matched, edge : inside"),
            Column("excess"),
            Column("95% interval"),
        ],
        rows=[
            [
                number(edge.within_px, "g"),
                number(edge.area_share, ".1%"),
                count(edge.n_new_within),
                number(edge.share_of_new, ".1%"),
                number(edge.share_of_increase, ".1%"),
                number(edge.density_ratio_new),
                number(edge.density_ratio_matched),
                number(edge.excess_ratio),
                _interval(edge),
            ]
            for edge in measured
        ],
    )
    parts: list[Part] = [*figures(wanted, ["edge_distances"]), table]
    parts += [Text(words) for words in interval_sentences(measured)]
    with suppress(TooLargeError):
        parts += _edge_numbers(wanted)
    return Section("edges", "Distance to the edges", parts)


def _interval(edge: EdgeExcess) -> Cell:
    low, high = edge.ci_low, edge.ci_high
    if low is None or high is None:
        return Cell("-")
    return Cell(f"{low:.2f} to {high:.2f}", low, values=(low, high))


def interval_sentences(measured: Sequence[EdgeExcess]) -> list[str]:
    """Return how the intervals came about, and for which distances there is none, and why.

    Parameters
    ----------
    measured : sequence of EdgeExcess
        Of one comparison, by distance.
    """
    told, without = [], [edge for edge in measured if edge.ci_low is None or edge.ci_high is None]
    if len(without) < len(measured):
        edge = next(edge for edge in measured if edge not in without)
        unit = edge.resampling_unit
        told.append(
            f"Intervals from resampling {many(edge.n_units)} {unit}s, for sources of one "
            f"{unit} are not independent."
        )
    distances: dict[str | None, list[str]] = {}
    for edge in without:
        distances.setdefault(edge.reason, []).append(f"{edge.within_px:g}")
    for reason, within in distances.items():
        why = f": {reason}" if reason else ""
        told.append(
            f"No intervals{why}."
            if len(within) == len(measured)
            else f"No interval within {' and '.join(within)} px{why}."
        )
    return told


def _edge_numbers(wanted: Wanted) -> list[Part]:
    edges = chartdata.edge_distances(wanted.comparison)
    binned = edges.filter(pl.col("edge_low_px").is_not_null())
    rows = []
    for part in binned.partition_by("edge_low_px", maintain_order=True):
        by_kind = {row["kind"]: row for row in part.rows(named=True)}
        low, high = part["edge_low_px", "edge_high_px"].row(0)
        cells = [Cell(f"{low:g} to {high:g}", low, values=(low, high))]
        for kind in chartdata.KINDS:
            cells += _edge_cells(by_kind.get(kind))
        rows.append(cells)
    heads = [c for kind in chartdata.KINDS for c in (Column(kind), Column(f"{kind} per Mpx"))]
    table = Table(
        caption="Sources by distance to the nearest edge; density in sources per 10^6 pixels of "
        "all images of both, the ratio to an even spread below it",
        columns=[Column("distance (px)", is_number=False), *heads],
        rows=rows,
        folded="The numbers behind the picture",
    )
    aside: list[Part] = []
    for row in edges.filter(pl.col("edge_low_px").is_null()).rows(named=True):
        place = (
            "outside of the pixel area"
            if row["edge_high_px"] is not None
            else "nowhere on a known detector"
        )
        aside.append(
            Text(
                f"{many(row['n'])} {row['kind']} sources of {row['rerun']} lie {place} and are "
                "not in the picture."
            )
        )
    return [*aside, table]


def _edge_cells(row: dict[str, Any] | None) -> list[Cell]:
    if row is None:
        return [Cell("-"), Cell("-")]
    density = row["density_per_mpx"]
    ratio = f"{row['ratio']:.2f}" if row["ratio"] is not None else None
    return [
        count(row["n"]),
        Cell("-" if density is None else f"{density:.3g}", density, ratio),
    ]


def explanation_section(wanted: Wanted) -> Section:
    """Return what the change is made of, ranked."""
    explanation = wanted.explanation
    frame = explanation.frame.head(_MOST_VALUES)
    table = Table(
        caption=f"The {frame.height} values ranked highest of {explanation.frame.height}",
        columns=[
            Column("sources", is_number=False),
            Column(wanted.pair[0]),
            Column(wanted.pair[1]),
            Column("change"),
            Column("part of the change"),
            Column("its share would be"),
            Column("excess"),
            Column("q value"),
            Column("", is_number=False),
        ],
        rows=[
            [
                Cell(phrase(row["dimension"], row["value"])),
                count(row["n_left"]),
                count(row["n_right"]),
                Cell(f"{row['change']:+,}", row["change"]),
                number(row["share_of_change"], ".1%"),
                number(row["expected"], "+,.0f"),
                number(row["excess"], "+,.0f"),
                number(row["q_value"], ".2g"),
                Cell("cause" if row["is_cause"] else _follows(row["consequence_of"])),
            ]
            for row in frame.iter_rows(named=True)
        ],
        folded="The table behind the picture",
    )
    sentences = [Text(words) for words in explanation.sentences()]
    names = ", ".join(explanation.skipped)
    skipped = [Text(f"Not looked at, for want of values on both sides: {names}.")] if names else []
    parts = [*sentences, *figures(wanted, ["explanation"]), table, *skipped]
    return Section(
        "explanation", "What the change is made of", [*parts, *figures(wanted, ["dashboard"])]
    )


def _follows(cause: str | None) -> str:
    return f"follows from {phrase(*cause.split('=', 1))}" if cause else ""


def _all_objects(wanted: Wanted) -> str:
    """Say how many objects there are, of whatever sources: a change there is easily missed."""
    rows = {row["rerun"]: row for row in wanted.reruns.counts(where=wanted.where).rows()}
    left, right = (rows[name] for name in wanted.pair)
    n_objects = [row["n_dia_objects"] for row in (left, right)]
    n_sources = [row["n_dia_sources"] for row in (left, right)]
    return (
        f"Of all sources, good or not, there are {many(n_objects[0])} and {many(n_objects[1])} "
        f"objects ({_growth(*n_objects)}) with {many(n_sources[0])} and {many(n_sources[1])} "
        f"sources ({_growth(*n_sources)}); hitsduck compare --objects --all follows these."
    )


def _growth(before: int, now: int) -> str:
    return f"{(now - before) / before:+.1%}" if before else "none before"


def turnover_section(wanted: Wanted) -> Section:
    """Return what became of the objects."""
    turnover = wanted.comparison.turnover()
    rows = [
        [
            Cell(_TURNOVER_WORDS[row["kind"]]),
            count(row["n_groups"]),
            count(row["n_left_objects"]),
            count(row["n_right_objects"]),
            count(row["n_left_sources"]),
            count(row["n_right_sources"]),
        ]
        for row in turnover.table().iter_rows(named=True)
    ]
    left, right = wanted.pair
    table = Table(
        caption="Objects joined by matched sources",
        columns=[
            Column("what became of them", is_number=False),
            Column("groups"),
            Column(f"objects of {left}"),
            Column(f"objects of {right}"),
            Column(f"sources of {left}"),
            Column(f"sources of {right}"),
        ],
        rows=rows,
    )
    words = Text(
        "Two objects belong to one group when matched sources lead from one to the other. Only "
        f"objects with a compared source count: {many(turnover.n_left_objects)} of {left}, "
        f"{many(turnover.n_right_objects)} of {right}. {_all_objects(wanted)}"
    )
    parts: list[Part] = [words, table]
    homeless = (turnover.n_left_without_object, turnover.n_right_without_object)
    if any(homeless):
        parts.append(
            Text(
                f"Not in the table: compared sources without an object, {many(homeless[0])} of "
                f"{left} and {many(homeless[1])} of {right}."
            )
        )
    return Section("objects-turnover", "What became of the objects", parts)


def strongest_section(wanted: Wanted) -> Section:
    """Return the most significant sources that only one rerun has, with links to the sky."""
    comparison = wanted.comparison
    parts: list[Part] = []
    for frame, words in (
        (comparison.right_only, f"only in {comparison.right}"),
        (comparison.left_only, f"only in {comparison.left}"),
    ):
        strongest = frame.sort("psf_snr", "diaSourceId", descending=[True, False], nulls_last=True)
        parts.append(
            Table(
                caption=f"{shown_of(min(_MOST_SOURCES, frame.height), frame.height)} sources "
                f"{words}, the most significant first",
                columns=[
                    Column("diaSourceId", is_number=False),
                    Column("visit"),
                    Column("detector"),
                    Column("ra, dec (deg)"),
                    Column("x, y (px)"),
                    Column("psfFlux (nJy)"),
                    Column("psf_snr"),
                    Column("why", is_number=False),
                    Column("sky", is_number=False),
                ],
                rows=[_source_row(row) for row in strongest.head(_MOST_SOURCES).rows(named=True)],
            )
        )
    return Section("strongest", "The strongest new and gone sources", parts)


def _source_row(row: dict[str, Any]) -> list[Cell]:
    ra, dec, x, y = row["ra"], row["dec"], row["x"], row["y"]
    has_sky, has_pixel = ra is not None and dec is not None, x is not None and y is not None
    links = (
        [("SIMBAD", _SIMBAD.format(ra=ra, dec=dec)), ("Aladin", _ALADIN.format(ra=ra, dec=dec))]
        if has_sky
        else []
    )
    return [
        # As text: an id of 18 digits is no number in a browser.
        Cell(str(row["diaSourceId"])),
        Cell(str(row["visit"]), row["visit"]),
        Cell(str(row["detector"]), row["detector"]),
        Cell(f"{ra:.5f}, {dec:+.5f}", ra, values=(ra, dec)) if has_sky else Cell("-"),
        Cell(f"{x:.0f}, {y:.0f}", x, values=(x, y)) if has_pixel else Cell("-"),
        number(row["psfFlux"], ",.0f"),
        number(row["psf_snr"], ",.1f"),
        Cell(row["why"] or ""),
        Cell("", links=links),
    ]
