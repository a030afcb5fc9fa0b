"""One report on some reruns that a colleague opens offline: this composes it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from altair.utils.schemapi import debug_mode

import hitsduck
from hitsduck import chartdata
from hitsduck.charts.theme import many
from hitsduck.columnar import ColumnarRerun
from hitsduck.connection import import_ahead
from hitsduck.errors import OutputError
from hitsduck.gallery import Wanted
from hitsduck.outputs import check_output, write_atomically
from hitsduck.page import Cell, Column, Page, Part, Section, Table, Text
from hitsduck.report import comparing, formats, provenance
from hitsduck.report.in_memory import in_memory
from hitsduck.report.pictures import UNTOLD, figures
from hitsduck.series import warn_of_order

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

#: Sections of pictures: id, title, the pictures.
_PICTURES = (
    (
        "sky",
        "On the sky",
        ("sky_difference", "sky_overplot", "sky_zoom", "sky_map"),
    ),
    (
        "detectors",
        "On the detectors",
        ("detector_frame", "detector_density", "focal_plane"),
    ),
    ("visits", "Visits and nights", ("visits", "nights", "seeing", "visit_grid")),
    ("fluxes", "Flags and fluxes", ("flags", "distributions")),
    (
        "objects",
        "Objects",
        ("sources_per_object", "objects_on_sky", "object_sources", "light_curve"),
    ),
)
#: Steps of a series that the findings name.
_MOST_STEPS = 6
#: Pictures that take two reruns.
_COMPARING = ("sky_difference", "sky_overplot", "sky_zoom")


def write_report(
    reruns: Reruns,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    compare: Sequence[str] | None = None,
    radius_arcsec: float = 0.5,
    where: str | None = None,
    command: str | None = None,
    form: str | None = None,
) -> Path:
    """Write one self-contained report on some reruns.

    Parameters
    ----------
    reruns : Reruns
    path : path-like
        The file; it is replaced at once, when the report is complete. Folders above it
        are made.
    title : str, optional
    compare : pair of str, optional
        Names of the two reruns that are compared; the last two by default.
    radius_arcsec : float
        Largest separation of a matched pair.
    where : str, optional
        One expression on ``dia_source``: only such sources are counted and compared.
    command : str, optional
        What made the report, for its provenance.
    form : {"html", "md", "json", "pdf"}, optional
        By default by the file's suffix, HTML where it has none of these. The JSON holds
        every number of the page, of a map of more than 5,000 bins the totals; PDF needs
        a Chromium.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RerunNameError, QueryError, MatchError
        A name, the condition or the radius is not possible. What merely cannot be told
        of these files (edges without a known camera, say) is stated on the page.
    OutputError
        The file cannot be written there, or not in that form.

    Examples
    --------
    >>> write_report(reruns, "report.html")  # doctest: +SKIP
    """
    file = Path(path)
    chosen = formats.chosen_form(file, form)
    if file.absolute().parent.is_dir():
        check_output(file)
    if compare is None:
        warn_of_order(reruns.names)
    page = compose(
        reruns,
        title=title,
        compare=compare,
        radius_arcsec=radius_arcsec,
        where=where,
        command=command,
    )
    content = formats.rendered(page, chosen)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"the report cannot be written to {file}: {error.strerror}") from error
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
    """Gather everything that the report says; parameters as for `write_report`."""
    names = reruns.names
    # Every picture and table asks for the same sources: the files are read once.
    reruns = in_memory(reruns, where)
    wanted = Wanted(reruns, compare=compare, radius_arcsec=radius_arcsec, where=where)
    problem = _comparison_problem(wanted)
    counts = reruns.counts(where=where).rows()
    findings, verdict = _count_findings(counts), None
    import_ahead()
    pool = ThreadPoolExecutor(1)
    # Altair would check every part against the schema as it is made; tests do. Once for both
    # threads, for it is one setting.
    with debug_mode(False):
        try:
            sections = [_counts_section(wanted, counts)]
            draw = partial(_pictures, wanted, has_pair=problem is None)

            def begun() -> tuple[Future[list[dict[str, Any]]], list[Future[Section]]]:
                integrity = pool.submit(lambda: reruns.integrity().rows())
                return integrity, [pool.submit(draw, *group) for group in reversed(_PICTURES)][::-1]

            # The checks compute while the rest is compared, most of it on one core; who has
            # done with that draws, one from the first pictures on and the other from the last.
            # Where memory is limited the two do not share it: one after the other.
            is_limited = reruns.memory_limit_bytes is not None
            beside = None if is_limited else begun()
            if problem is None:
                sections += _changes(wanted)
                findings += [*_steps(wanted, counts), *comparing.findings(wanted)]
                verdict = _verdict(wanted)
                wanted.forget()
            else:
                sections.append(Section("comparison", "Comparison", missing=problem))
            integrity, drawn = beside or begun()
            sections += [
                draw(*group) if future.cancel() else future.result()
                for group, future in zip(_PICTURES, drawn, strict=True)
            ]
            sections.append(provenance.integrity_section(integrity.result()))
        finally:
            pool.shutdown(cancel_futures=True)
    src = provenance.src_section(wanted)
    sections += [src] if src else []
    sections.append(provenance.provenance_section(wanted, command))
    return Page(
        title=title or (f"DIA sources of {names[0]}" if len(names) == 1 else _listed(names)),
        verdict=verdict,
        subtitle=_subtitle(reruns, where),
        findings=findings,
        sections=sections,
        version=hitsduck.__version__,
        made_at=provenance.moment(datetime.now(UTC).timestamp()),
    )


def _changes(wanted: Wanted) -> list[Section]:
    """Return what changed between two reruns."""
    builders: tuple[tuple[str, str, Callable[[Wanted], Section]], ...] = (
        ("comparison", "Comparison", comparing.comparison_section),
        ("edges", "Distance to the edges", comparing.edges_section),
        ("explanation", "What the change is made of", comparing.explanation_section),
        ("turnover", "What became of the objects", comparing.turnover_section),
        ("strongest", "The strongest new and gone sources", comparing.strongest_section),
    )
    return [_told(wanted, *builder) for builder in builders]


def _pictures(
    wanted: Wanted, name: str, heading: str, pictures: Sequence[str], *, has_pair: bool
) -> Section:
    shown = [picture for picture in pictures if has_pair or picture not in _COMPARING]
    return Section(name, heading, figures(wanted, shown))


def _comparison_problem(wanted: Wanted) -> str | None:
    """Return why nothing can be compared, and what to do; None where it can."""
    if wanted.compare is None and len(wanted.reruns) < 2:
        return "Only one rerun was given, so there is nothing to compare. Name a second one."
    try:
        _ = wanted.comparison
    except UNTOLD as error:
        return f"The reruns cannot be compared: {error}"
    return None


def _told(wanted: Wanted, name: str, heading: str, build: Callable[[Wanted], Section]) -> Section:
    try:
        return build(wanted)
    except UNTOLD as error:
        return Section(name, heading, missing=str(error))


def _verdict(wanted: Wanted) -> str:
    left, right = wanted.pair
    return f"{left} to {right}: {wanted.comparison.verdict()}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _growth(new: int, old: int) -> str:
    return f"{(new - old) / old:+.1%}" if old else "from none"


def _subtitle(reruns: Reruns, where: str | None) -> str:
    flags = ", ".join(reruns.bad_flags)
    good = f"A good source has none of these flags set: {flags} (set {reruns.flag_set})."
    simulated = [name for name in reruns.names if reruns.attached(name).file.is_simulated]
    if simulated:
        whose = "Simulated data" if len(simulated) == len(reruns) else _listed(simulated)
        good = f"{whose}{'' if len(simulated) == len(reruns) else ' simulated'}. {good}"
    stale = [name for name in reruns.names if _is_stale(reruns, name)]
    if stale:
        changed = "changed since: the numbers are those of when it was stored"
        good = f"The APDB of {_listed(stale)} has {changed}. {good}"
    return f"{good} Only sources with {where} are counted." if where else good


def _is_stale(reruns: Reruns, name: str) -> bool:
    file = reruns.attached(name).file
    return isinstance(file, ColumnarRerun) and file.is_stale


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


def _steps(wanted: Wanted, counts: Sequence[dict[str, Any]]) -> list[str]:
    """Return what every step of three or more reruns changed, and which one is shown.

    Of the counts alone: only one step is compared source by source.
    """
    if len(counts) < 3:
        return []
    name, words = "n_good_dia_sources", "good sources"
    steps = list(itertools.pairwise(counts))
    shown = sorted(steps, key=lambda step: -abs(step[1][name] - step[0][name]))[:_MOST_STEPS]
    told = "; ".join(
        f"{old['rerun']} to {new['rerun']} {new[name] - old[name]:+,} "
        f"({_growth(new[name], old[name])})"
        for old, new in steps
        if (old, new) in shown
    )
    which = "" if len(shown) == len(steps) else f", the {len(shown)} largest of {len(steps)}"
    left, right = wanted.pair
    n = {row["rerun"]: row[name] for row in counts}
    before, after = shown[0][0]["rerun"], shown[0][1]["rerun"]
    is_larger = abs(n[after] - n[before]) > abs(n[right] - n[left])
    beside = f" The largest step is another, {before} to {after}." if is_larger else ""
    return [
        f"Step by step{which}, {words} net: {told}.",
        f"Only {left} to {right} is compared source by source below.{beside} A step's net may "
        "hide sources that came and others that went: --compare LEFT RIGHT (compare=) shows "
        "another pair in detail.",
    ]


def _counts_section(wanted: Wanted, counts: Sequence[dict[str, Any]]) -> Section:
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
    against = f", with the difference to {first['rerun']}" if len(counts) > 1 else ""
    table = Table(
        caption=f"Counts{against}",
        columns=[
            Column("rerun", is_number=False),
            *(Column(words) for words in chartdata.QUANTITIES.values()),
        ],
        rows=rows,
    )
    parts: list[Part] = [table, *figures(wanted, ["counts"])]
    if len(counts) > 2:
        parts += figures(wanted, ["trend"])
    if wanted.where:
        words = f"Only sources that fulfil {wanted.where} are counted, and objects with such one."
        parts.insert(0, Text(words))
    return Section("counts", "Counts", parts)


__all__ = ["compose", "write_report"]
