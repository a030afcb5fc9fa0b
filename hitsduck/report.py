"""One page on some reruns that a colleague opens offline: composes, asks and draws nothing itself."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import hitsduck
from hitsduck import chartdata, charts
from hitsduck.charts.theme import many
from hitsduck.errors import InstrumentError, QueryError, SchemaError
from hitsduck.page import Cell, Column, Facts, Figure, Page, Section, Table, Text, html
from hitsduck.page import write_atomically

if TYPE_CHECKING:
    from hitsduck.comparison import Comparison
    from hitsduck.reruns import Reruns

#: Sources this near a side count as beside the edge, in sentences.
NEAR_EDGE_PX = 64
_PACKAGES = ("duckdb", "duckdb-extension-sqlite-scanner", "polars", "altair")


def write_report(
    reruns: Reruns,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    compare: Sequence[str] | None = None,
    radius_arcsec: float = 0.5,
    where: str | None = None,
    command: str | None = None,
) -> Path:
    """Write one self-contained HTML page on some reruns.

    Parameters
    ----------
    reruns : Reruns
    path : path-like
        The file; it is replaced at once, when the page is complete.
    title : str, optional
    compare : pair of str, optional
        Names of the two reruns that are compared; the last two by default.
    radius_arcsec : float
        Largest separation of a matched pair.
    where : str, optional
        One expression on ``dia_source``: only such sources are counted and compared.
    command : str, optional
        What made the report, for its provenance.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RerunNameError, QueryError, MatchError
        A name, the condition or the radius is not possible. What merely cannot be told
        of these files (edges without a known camera, say) is stated on the page.

    Examples
    --------
    >>> write_report(reruns, "report.html")  # doctest: +SKIP
    """
    page = compose(
        reruns,
        title=title,
        compare=compare,
        radius_arcsec=radius_arcsec,
        where=where,
        command=command,
    )
    file = Path(path)
    if not file.parent.is_dir():
        raise QueryError(f"the report cannot be written to {file}: {file.parent} is no folder")
    write_atomically(file, html(page))
    return file


def compose(
    reruns: Reruns,
    *,
    title: str | None = None,
    compare: Sequence[str] | None = None,
    radius_arcsec: float = 0.5,
    where: str | None = None,
    command: str | None = None,
) -> Page:
    """Gather everything that the page says; parameters as for `write_report`."""
    names = reruns.names
    pair = _pair(names, compare)
    counts = reruns.counts(where=where).rows()
    comparison: Comparison | None = None
    missing = "Only one rerun was given, so there is nothing to compare. Name a second one."
    if pair is not None:
        try:
            comparison = reruns.compare(*pair, radius_arcsec=radius_arcsec, where=where)
        except (InstrumentError, SchemaError) as error:
            missing = f"The reruns cannot be compared: {error}"
    edges: pl.DataFrame | None = None
    edges_missing = "Edge distances are those of matched and new sources; see the comparison."
    if comparison is not None:
        try:
            edges = chartdata.edge_distances(reruns, comparison)
        except InstrumentError as error:
            edges_missing = f"The distances to the edges cannot be told: {error}"
    return Page(
        title=title or (f"DIA sources of {names[0]}" if len(names) == 1 else _listed(names)),
        subtitle=_subtitle(reruns, where),
        findings=[
            *_count_findings(counts),
            *_comparison_findings(comparison),
            *_edge_findings(edges),
        ],
        sections=[
            _counts_section(counts, where),
            Section("comparison", "Comparison", missing=missing)
            if comparison is None
            else _comparison_section(comparison),
            Section("edges", "Distance to the edges", missing=edges_missing)
            if comparison is None or edges is None
            else _edges_section(comparison, edges),
            _provenance_section(reruns, where, command),
        ],
        version=hitsduck.__version__,
        made_at=_moment(datetime.now(UTC).timestamp()),
    )


def _pair(names: Sequence[str], compare: Sequence[str] | None) -> tuple[str, str] | None:
    if compare is not None:
        if isinstance(compare, str) or len(compare) != 2:
            raise QueryError(f"compare is {compare!r}; it names two reruns, (left, right)")
        return compare[0], compare[1]
    return (names[-2], names[-1]) if len(names) > 1 else None


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _percent(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _growth(new: int, old: int) -> str:
    return f"{(new - old) / old:+.1%}" if old else "from none"


def _moment(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _subtitle(reruns: Reruns, where: str | None) -> str:
    flags = ", ".join(reruns.bad_flags)
    good = f"A good source has none of these flags set: {flags} (set {reruns.flag_set})."
    return f"{good} Only sources with {where} are counted." if where else good


# -- findings ------------------------------------------------------------------


def _count_findings(counts: Sequence[dict[str, Any]]) -> list[str]:
    first, last = counts[0], counts[-1]
    if len(counts) == 1:
        return [
            f"{last['rerun']} has {many(last['n_dia_sources'])} DIA sources, of them "
            f"{many(last['n_good_dia_sources'])} good, and {many(last['n_dia_objects'])} DIA "
            f"objects, {many(last['n_good_dia_objects'])} of them with a good source."
        ]
    changes = [
        f"{many(last[name])} {words} against {many(first[name])} "
        f"({_growth(last[name], first[name])})"
        for name, words in chartdata.QUANTITIES.items()
        if "good" not in name
    ]
    return [f"{last['rerun']} has {changes[0]} in {first['rerun']}, and {changes[1]}."]


def _comparison_findings(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return []
    n_matched = comparison.matched.height
    return [
        f"Of the {many(comparison.n_right)} good sources of {comparison.right}, "
        f"{many(n_matched)} ({_percent(n_matched, comparison.n_right)}) match one of "
        f"{comparison.left} in the same image within {comparison.radius_arcsec:g} arcsec; "
        f"{many(comparison.right_only.height)} are new, and "
        f"{many(comparison.left_only.height)} of {comparison.left} are gone."
    ]


def _edge_findings(edges: pl.DataFrame | None) -> list[str]:
    if edges is None:
        return []
    near = chartdata.near_edge(edges, within_px=NEAR_EDGE_PX)
    if "new" not in near:
        return []
    told = [
        f"{kind} sources lie {near[kind]['ratio']:.2f} times as densely as an even spread "
        f"(95% interval {near[kind]['ratio_low']:.2f} to {near[kind]['ratio_high']:.2f})"
        for kind in ("new", "matched")
        if kind in near
    ]
    if near["new"]["ratio_low"] > 1:
        verdict = "so new sources do crowd beside the edges"
    elif near["new"]["ratio_high"] < 1:
        verdict = "so new sources avoid the edges"
    else:
        verdict = "so no excess of new sources beside the edges is shown"
    return [f"Within {NEAR_EDGE_PX} px of an edge of the CCD {' and '.join(told)}, {verdict}."]


# -- sections ------------------------------------------------------------------


def _counts_section(counts: Sequence[dict[str, Any]], where: str | None) -> Section:
    first = counts[0]
    rows = [
        [
            Cell(row["rerun"]),
            *(
                Cell(
                    many(row[name]),
                    row[name],
                    f"{row[name] - first[name]:+,} ({_growth(row[name], first[name])})"
                    if row is not first
                    else None,
                )
                for name in chartdata.QUANTITIES
            ),
        ]
        for row in counts
    ]
    table = Table(
        caption=f"Counts, with the difference to {first['rerun']}" if len(counts) > 1 else "Counts",
        columns=[
            Column("rerun", is_number=False),
            *(Column(words) for words in chartdata.QUANTITIES.values()),
        ],
        rows=rows,
    )
    long = pl.DataFrame(
        [
            {"rerun": row["rerun"], "quantity": words, "n": row[name], "n_first": first[name]}
            for row in counts
            for name, words in chartdata.QUANTITIES.items()
        ]
    )
    figure = Figure(
        "counts",
        charts.counts(long),
        "Numbers of DIA sources and of current DIA objects. A good object is a current one with "
        "at least one good source.",
    )
    note = [Text(f"Only sources that fulfil {where} are counted, and objects with such a source.")]
    return Section("counts", "Counts", [*(note if where else []), table, figure])


def _comparison_section(comparison: Comparison) -> Section:
    n_matched = comparison.matched.height
    sides = (
        (comparison.left, comparison.left_path, comparison.n_left, comparison.left_only),
        (comparison.right, comparison.right_path, comparison.n_right, comparison.right_only),
    )
    rows = [
        [
            Cell(name),
            Cell(many(n), n),
            Cell(many(n_matched), n_matched, _percent(n_matched, n)),
            Cell(many(only.height), only.height, _percent(only.height, n)),
            Cell(path),
        ]
        for name, path, n, only in sides
    ]
    table = Table(
        caption=f"Good sources, matched within {comparison.radius_arcsec:g} arcsec",
        columns=[
            Column("rerun", is_number=False),
            Column("good sources"),
            Column("matched"),
            Column("only here"),
            Column("file", is_number=False),
        ],
        rows=rows,
        sortable=False,
    )
    separations = comparison.matched["sep_arcsec"]
    parts: list[Text | Table] = [
        Text(
            "Sources of the same visit and detector are matched when each is the other's nearest "
            f"within {comparison.radius_arcsec:g} arcsec. Sources that only {comparison.right} has "
            f"are called new, those that only {comparison.left} has gone."
        ),
        table,
    ]
    if n_matched:
        parts.append(
            Text(
                f"Half of the pairs are closer than {separations.median():.3f} arcsec. Pairs with "
                f"another neighbour within the radius: {many(comparison.n_ambiguous)}."
            )
        )
    unusable = comparison.n_left_unusable + comparison.n_right_unusable
    if unusable:
        parts.append(
            Text(
                f"{many(comparison.n_left_unusable)} sources of {comparison.left} and "
                f"{many(comparison.n_right_unusable)} of {comparison.right} have no usable "
                "position; they count as unmatched."
            )
        )
    title = f"{comparison.left} against {comparison.right}"
    return Section("comparison", title, parts)


def _edges_section(comparison: Comparison, edges: pl.DataFrame) -> Section:
    figure = Figure(
        "edge-distances",
        charts.edge_distances(edges),
        "Sources per area of detector at each distance from the nearest edge of the CCD, "
        "relative to the same sources spread evenly over their CCDs. Thin lines are 95% Poisson "
        f"intervals. Matched: in {comparison.left} and {comparison.right}; new: only in "
        f"{comparison.right}. Good sources.",
    )
    binned = edges.filter(pl.col("edge_low_px").is_not_null())
    rows = []
    for (low, high), part in binned.group_by("edge_low_px", "edge_high_px", maintain_order=True):
        by_kind = {row["kind"]: row for row in part.rows(named=True)}
        cells = [Cell(f"{low:g} to {high:g}", float(low))]
        for kind in chartdata.KINDS:
            cells += _edge_cells(by_kind.get(kind))
        rows.append(cells)
    table = Table(
        caption="Sources by distance to the nearest edge; density in sources per 10^6 pixels of "
        "all processed images, ratio to an even spread below it",
        columns=[
            Column("distance (px)", is_number=False),
            *(
                column
                for kind in chartdata.KINDS
                for column in (Column(kind), Column(f"{kind} per Mpx"))
            ),
        ],
        rows=rows,
        folded="The numbers behind the picture",
    )
    parts: list[Figure | Table | Text] = [figure]
    aside = edges.filter(pl.col("edge_low_px").is_null())
    for row in aside.rows(named=True):
        place = "outside of the pixel area" if row["edge_high_px"] is not None else "nowhere known"
        parts.append(
            Text(
                f"{many(row['n'])} {row['kind']} sources of {row['rerun']} lie {place} and are "
                "not in the picture."
            )
        )
    return Section("edges", "Distance to the edges", [*parts, table])


def _edge_cells(row: dict[str, Any] | None) -> list[Cell]:
    if row is None:
        return [Cell("-"), Cell("-")]
    density = row["density_per_mpx"]
    ratio = f"{row['ratio']:.2f}" if row["ratio"] is not None else None
    return [
        Cell(many(row["n"]), row["n"]),
        Cell("-" if density is None else f"{density:.3g}", density, ratio),
    ]


def _provenance_section(reruns: Reruns, where: str | None, command: str | None) -> Section:
    parts = [_rerun_facts(reruns, info) for info in reruns.info()]
    versions = [f"{name} {_version(name)}" for name in _PACKAGES]
    run = Facts(
        "This report",
        [
            ("command", command or "not recorded (made from Python)"),
            ("condition", where or "none: every source"),
            ("good", f"{reruns.flag_set}: none of {', '.join(reruns.bad_flags)}"),
            (
                "versions",
                ", ".join(
                    [
                        f"hitsduck {hitsduck.__version__}",
                        *versions,
                        f"Python {platform.python_version()}",
                    ]
                ),
            ),
        ],
    )
    return Section("provenance", "Where the numbers come from", [*parts, run])


def _rerun_facts(reruns: Reruns, info: dict[str, Any]) -> Facts:
    file = reruns[info["rerun"]].path.stat()
    rows = ", ".join(f"{table} {many(n)}" for table, n in info["n_rows"].items())
    candidates = ", ".join(info["instrument_candidates"])
    instrument = (
        f"{info['instrument']} ({info['instrument_found_by']})"
        if info["instrument"]
        else f"not known; {candidates} fit. State it with --instrument NAME (instrument=)."
    )
    span = "no times"
    if info["first_mjd_tai"] is not None:
        span = f"MJD {info['first_mjd_tai']:.5f} to {info['last_mjd_tai']:.5f} (TAI)"
    seeing = info["median_seeing_arcsec"]
    pairs = [
        ("file", info["path"]),
        ("size", f"{many(file.st_size)} bytes"),
        ("last changed", _moment(file.st_mtime)),
        ("generation", f"{info['generation']} (schema {info['schema_version'] or 'not recorded'})"),
        ("instrument", instrument),
        ("flags", f"{info['flag_encoding']}, {', '.join(info['bad_flags'])} used"),
        ("rows", rows),
        ("images", _images(info)),
        ("time", span),
        (
            "seeing",
            f"median {seeing:.2f} arcsec FWHM ({info['psf_moments']})"
            if seeing is not None
            else "not known",
        ),
    ]
    lacks = info["skipped_flags"]
    if lacks:
        pairs.append(("flags it lacks", ", ".join(lacks)))
    for name, words in (
        ("n_bad_positions", "without a usable position"),
        ("n_null_flags", "with a NULL flag, so not good"),
        ("n_null_visits", "without visit or detector"),
    ):
        if info[name]:
            pairs.append(("beware", f"{many(info[name])} sources {words}"))
    if info["is_private_copy"]:
        pairs.append(("beware", "read through a private copy"))
    return Facts(info["rerun"], pairs)


def _images(info: dict[str, Any]) -> str:
    if info["visits"] is None:
        return "visits and detectors are not known without the instrument"
    bands = ", ".join(info["bands"]) or "no band"
    return f"{many(len(info['visits']))} visits, {len(info['detectors'])} detectors, {bands}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
