"""Every chart by its name: the numbers, the picture, and the file it is saved in."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from hitsduck import chartdata, charts
from hitsduck.charts.theme import AnyChart
from hitsduck.connection import import_ahead
from hitsduck.errors import OutputError, QueryError

if TYPE_CHECKING:
    from hitsduck.comparison import Comparison
    from hitsduck.explanation import Explanation
    from hitsduck.reruns import Reruns

#: What a chart can be saved as.
FORMATS = ("html", "png", "svg", "pdf", "json")
_PNG_SCALE = 2.0


@dataclass
class Wanted:
    """What is asked for of some reruns; what several charts need is worked out once.

    Attributes
    ----------
    reruns : Reruns
    rerun : str or None
        The one that charts of a single rerun show; by default the right one of `compare`,
        the last where that is not given.
    compare : pair of str or None
        The two that are compared; the last two by default.
    over : sequence of str or None
        Two reruns or more that ``sky_overplot`` and ``sky_zoom`` draw over each other; by
        default those that are compared, and of `chart` all, if no `compare` is given.
    radius_arcsec : float
    good : bool
        Good sources, and objects with at least one.
    where : str or None
        One expression on ``dia_source``.
    detector : int or None
        For ``detector_frame``: only this one, else all stacked.
    table : {"sources", "objects"} or None
        What the maps of the sky show; by default ``sky_map`` and ``sky_difference`` show
        sources, ``sky_overplot`` and ``sky_zoom`` objects.
    window : (float, float, float, float) or None
        For ``sky_zoom``: lowest and highest ra, lowest and highest dec (deg).
    object_id : int or None
        For ``object_sources`` and ``light_curve``: a diaObjectId; by default the
        object with the most sources, all of them good.
    """

    reruns: Reruns
    rerun: str | None = None
    compare: Sequence[str] | None = None
    over: Sequence[str] | None = None
    radius_arcsec: float = 0.5
    good: bool = True
    where: str | None = None
    detector: int | None = None
    table: str | None = None
    window: Sequence[float] | None = None
    object_id: int | None = None

    @property
    def name(self) -> str:
        """The rerun that charts of a single one show.

        Raises
        ------
        QueryError
            `compare` is no pair.
        """
        return self.rerun or (self.reruns.names[-1] if self.compare is None else self.pair[1])

    @property
    def names(self) -> list[str]:
        """The reruns that charts of several show."""
        return [self.rerun] if self.rerun else self.reruns.names

    @cached_property
    def pair(self) -> tuple[str, str]:
        """The two reruns that are compared.

        Raises
        ------
        QueryError
            There is only one, or `compare` is no pair.
        """
        if self.compare is not None:
            if isinstance(self.compare, str) or len(self.compare) != 2:
                raise QueryError(
                    f"compare is {self.compare!r}; it names two reruns, left and right"
                )
            return self.compare[0], self.compare[1]
        names = self.reruns.names
        if len(names) < 2:
            raise QueryError("only one rerun was given; this compares two: name a second one")
        return names[-2], names[-1]

    @property
    def several(self) -> list[str]:
        """The reruns that are drawn over each other, two or more.

        Raises
        ------
        QueryError
            There is only one, or `over` names no two.
        """
        if self.over is None:
            return list(self.pair)
        if isinstance(self.over, str) or len(set(self.over)) < 2:
            raise QueryError(f"over is {self.over!r}; it names two reruns or more")
        return list(self.over)

    @cached_property
    def comparison(self) -> Comparison:
        """The comparison of the two."""
        from hitsduck.comparison import SUMMARY_COLUMNS

        return self.reruns.compare(
            *self.pair,
            radius_arcsec=self.radius_arcsec,
            good=self.good,
            where=self.where,
            columns=SUMMARY_COLUMNS,
        )

    @cached_property
    def explanation(self) -> Explanation:
        """What the change between the two is made of."""
        return self.comparison.explain()

    def forget(self) -> None:
        """Let go of the comparison, which of large reruns is large; it can be asked again."""
        for name in ("comparison", "explanation"):
            self.__dict__.pop(name, None)

    @cached_property
    def panels(self) -> pl.DataFrame:
        """The groups of overlapping fields."""
        return chartdata.sky_panels(self.reruns, where=self.where)

    @cached_property
    def outlines(self) -> pl.DataFrame:
        """The corners of the detectors."""
        return chartdata.detector_outlines(self.reruns, self.name)

    @property
    def points(self) -> str:
        """What ``sky_overplot`` and ``sky_zoom`` show."""
        return self._table("objects")

    @property
    def binned(self) -> str:
        """What ``sky_map`` and ``sky_difference`` show."""
        return self._table("sources")

    def _table(self, usual: str) -> str:
        if self.table not in (None, "sources", "objects"):
            raise QueryError(f"table is {self.table!r}; it is one of sources, objects")
        return self.table or usual

    @cached_property
    def zoomed(self) -> tuple[float, float, float, float]:
        """The window of ``sky_zoom``."""
        if self.window is not None:
            if isinstance(self.window, str) or len(self.window) != 4:
                raise QueryError(
                    f"window is {self.window!r}; it is lowest and highest ra, lowest and highest "
                    "dec (deg)"
                )
            low, high, bottom, top = self.window
            return low, high, bottom, top
        column = f"n_good_dia_{self.points}" if self.good else f"n_dia_{self.points}"
        n_points = sum(row[column] for row in self.reruns.counts(where=self.where).rows())
        return chartdata.middle_window(self.panels, n_points=n_points)

    @cached_property
    def object(self) -> int | None:
        """The object of ``object_sources`` and ``light_curve``.

        None where none was named, and there is none whose sources are all good.
        """
        if self.object_id is not None:
            return self.object_id
        best = chartdata.objects_on_sky(
            self.reruns, self.name, min_sources=1, most=1, where=self.where
        )
        return None if best.is_empty() else int(best["id"][0])


@dataclass(frozen=True)
class Picture:
    """One chart of the gallery.

    Attributes
    ----------
    purpose : str
        What it shows, in one line.
    data : callable
        The numbers behind it: `Wanted` to frame.
    draw : callable
        Frame and `Wanted` to chart.
    is_of_one : bool
        It shows a single rerun.
    is_of_comparison : bool
        It shows the comparison of two.
    is_on_sky : bool
        Its numbers are of groups of overlapping fields, which are found once for all.
    """

    purpose: str
    data: Callable[[Wanted], pl.DataFrame]
    draw: Callable[[pl.DataFrame, Wanted], AnyChart] = field(repr=False)
    is_of_one: bool = False
    is_of_comparison: bool = False
    is_on_sky: bool = False


def _on_sky(w: Wanted, names: Sequence[str], table: str) -> pl.DataFrame:
    return chartdata.sky_map(
        w.reruns, names, panels=w.panels, table=table, good=w.good, where=w.where
    )


def _of_object(
    draw: Callable[[pl.DataFrame], AnyChart],
) -> Callable[[pl.DataFrame, Wanted], AnyChart]:
    def drawn(frame: pl.DataFrame, w: Wanted) -> AnyChart:
        if w.object is None:
            return charts.theme.empty(
                f"{w.name} has no object all of whose sources are good; one can be named."
            )
        return draw(frame)

    return drawn


def _of_one(
    function: Callable[..., pl.DataFrame], **given: Any
) -> Callable[[Wanted], pl.DataFrame]:
    return lambda w: function(w.reruns, w.name, where=w.where, **given)


def _of_all(
    function: Callable[..., pl.DataFrame], **given: Any
) -> Callable[[Wanted], pl.DataFrame]:
    return lambda w: function(w.reruns, w.names, where=w.where, **given)


#: The charts by name, in the order in which a report shows them.
CHARTS: dict[str, Picture] = {
    "counts": Picture(
        "sources and objects of every rerun, all and good",
        lambda w: chartdata.counts(w.reruns, where=w.where),
        lambda frame, w: charts.counts(frame),
    ),
    "trend": Picture(
        "the counts against those of the first rerun",
        lambda w: chartdata.counts(w.reruns, where=w.where),
        lambda frame, w: charts.trend(frame),
    ),
    "edge_distances": Picture(
        "density of matched and new sources by distance to the edge of the CCD",
        lambda w: chartdata.edge_distances(w.comparison),
        lambda frame, w: charts.edge_distances(frame),
        is_of_comparison=True,
    ),
    "explanation": Picture(
        "what the change between two reruns is made of, ranked",
        lambda w: w.explanation.frame,
        lambda frame, w: charts.explanation(frame),
        is_of_comparison=True,
    ),
    "dashboard": Picture(
        "edge zones, detectors and fields of a comparison, linked by clicks",
        lambda w: chartdata.dashboard(w.comparison),
        lambda frame, w: charts.dashboard(
            frame, outlines=w.outlines, left=w.pair[0], right=w.pair[1]
        ),
        is_of_comparison=True,
    ),
    "matched_pairs": Picture(
        "separations and flux differences of matched pairs",
        lambda w: chartdata.matched_pairs(w.comparison),
        lambda frame, w: charts.matched_pairs(frame),
        is_of_comparison=True,
    ),
    "sky_difference": Picture(
        "where on the sky two reruns differ",
        lambda w: _on_sky(w, w.pair, w.binned),
        lambda frame, w: charts.sky_difference(
            frame, panels=w.panels, left=w.pair[0], right=w.pair[1], what=w.binned
        ),
        is_on_sky=True,
    ),
    "sky_overplot": Picture(
        "objects of two reruns or more over each other on the sky",
        lambda w: _on_sky(w, w.several, w.points),
        lambda frame, w: charts.sky_overplot(frame, panels=w.panels, what=w.points),
        is_on_sky=True,
    ),
    "sky_zoom": Picture(
        "objects of two reruns or more one by one in a small window of the sky",
        lambda w: chartdata.sky_points(
            w.reruns, w.several, window=w.zoomed, table=w.points, good=w.good, where=w.where
        ),
        lambda frame, w: charts.sky_zoom(frame, window=w.zoomed, what=w.points),
        is_on_sky=True,
    ),
    "sky_map": Picture(
        "where on the sky the sources of a rerun lie",
        lambda w: _on_sky(w, [w.name], w.binned),
        lambda frame, w: charts.sky_map(frame, panels=w.panels, what=w.binned),
        is_of_one=True,
        is_on_sky=True,
    ),
    "focal_plane": Picture(
        "where in the focal plane the sources of a rerun lie",
        lambda w: chartdata.focal_plane(w.reruns, w.name, good=w.good, where=w.where),
        lambda frame, w: charts.focal_plane(frame, outlines=w.outlines),
        is_of_one=True,
    ),
    "detector_density": Picture(
        "sources per square degree on every CCD",
        lambda w: chartdata.detector_density(w.reruns, w.name, good=w.good, where=w.where),
        lambda frame, w: charts.detector_density(frame, outlines=w.outlines),
        is_of_one=True,
    ),
    "detector_frame": Picture(
        "where on the detector sources lie, all CCDs stacked",
        lambda w: chartdata.detector_frame(
            w.reruns, w.names, detector=w.detector, good=w.good, where=w.where
        ),
        lambda frame, w: charts.detector_frame(frame),
    ),
    "visits": Picture(
        "density and seeing of every visit",
        lambda w: chartdata.visits(w.reruns, w.names, good=w.good, where=w.where),
        lambda frame, w: charts.visits(frame),
    ),
    "nights": Picture(
        "mean sources per visit, and visits, of every night",
        _of_all(chartdata.nights),
        lambda frame, w: charts.nights(frame, good=w.good),
    ),
    "seeing": Picture(
        "distribution of the seeing in arcsec and in pixels",
        _of_all(chartdata.seeing),
        lambda frame, w: charts.seeing(frame),
    ),
    "visit_grid": Picture(
        "the sky of every visit as a small tile",
        lambda w: chartdata.visit_grid(w.reruns, w.name, good=w.good, where=w.where),
        lambda frame, w: charts.visit_grid(frame),
        is_of_one=True,
    ),
    "flags": Picture(
        "how often each flag is set, the bad ones marked",
        _of_all(chartdata.flags),
        lambda frame, w: charts.flags(frame),
    ),
    "distributions": Picture(
        "distributions of flux, magnitude and signal-to-noise",
        lambda w: chartdata.distributions(w.reruns, w.names, good=w.good, where=w.where),
        lambda frame, w: charts.distributions(frame),
    ),
    "sources_per_object": Picture(
        "how many objects have how many sources, all over good",
        _of_one(chartdata.sources_per_object),
        lambda frame, w: charts.sources_per_object(frame),
        is_of_one=True,
    ),
    "objects_on_sky": Picture(
        "objects with many sources, all good, sized by their number",
        _of_one(chartdata.objects_on_sky),
        lambda frame, w: charts.objects_on_sky(frame, panels=w.panels),
        is_of_one=True,
    ),
    "object_sources": Picture(
        "the sources of one object around it, and the size of the PSF",
        lambda w: chartdata.object_sources(w.reruns, w.object, w.name),
        _of_object(charts.object_sources),
        is_of_one=True,
    ),
    "light_curve": Picture(
        "difference fluxes of one object over time",
        lambda w: chartdata.light_curve(w.reruns, w.object, w.name),
        _of_object(charts.light_curve),
        is_of_one=True,
    ),
}


def picture(name: str) -> Picture:
    """Return the picture called `name`.

    Raises
    ------
    QueryError
        There is none; the message lists them.
    """
    found = CHARTS.get(str(name).replace("-", "_"))
    if found is None:
        close = difflib.get_close_matches(str(name), CHARTS, n=1)
        hint = f", did you mean {close[0]}?" if close else ";"
        raise QueryError(f"no chart is called {name!r}{hint} there are: {', '.join(CHARTS)}")
    return found


def chart(reruns: Reruns, name: str, **options: Any) -> AnyChart:
    """Draw one chart of some reruns.

    Parameters
    ----------
    reruns : Reruns
    name : str
        Of `CHARTS`.
    **options
        The attributes of `Wanted`: ``rerun``, ``compare``, ``over``, ``radius_arcsec``, ``good``,
        ``where``, ``detector``, ``table``, ``window``, ``object_id``.

    Returns
    -------
    altair.Chart, or several together

    Raises
    ------
    QueryError
        No such chart or option.
    InstrumentError
        It needs the camera, which is not known.

    Examples
    --------
    >>> chart(reruns, "edge_distances", compare=("Apr2020", "May2020"))  # doctest: +SKIP
    """
    drawn = picture(name)
    wanted = wanted_of(reruns, options)
    return drawn.draw(drawn.data(wanted), wanted)


def chart_data(reruns: Reruns, name: str, **options: Any) -> pl.DataFrame:
    """Return the numbers behind one chart; parameters as for `chart`."""
    return picture(name).data(wanted_of(reruns, options))


def charts_data(reruns: Reruns, names: Iterable[str], **options: Any) -> dict[str, pl.DataFrame]:
    """Return the numbers behind several charts, which are worked out side by side.

    As many at a time as the engine has threads (``threads`` of `hitsduck.open_reruns`), each
    in the memory that it takes alone.

    Parameters
    ----------
    reruns : Reruns
    names : iterable of str
        Of `CHARTS`.
    **options
        As for `chart`, for all of them. Where no ``rerun`` is given, a chart of a single one
        has the rows of every rerun one below the other, in the order of opening; its column
        ``rerun`` tells them apart.

    Returns
    -------
    dict of str to polars.DataFrame
        As `chart_data` gives them, in the order of `names`.

    Raises
    ------
    QueryError, InstrumentError
        As `chart` raises, by the first of the charts that cannot be told.

    Examples
    --------
    >>> charts_data(reruns, ["sky_map", "focal_plane", "visits"])  # doctest: +SKIP
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise QueryError(f"names is {names!r}; a list of charts is wanted")
    pictures = {name: picture(name) for name in names}
    wanted = wanted_of(reruns, options)
    import_ahead()
    pool = ThreadPoolExecutor(reruns.connection.n_threads())
    try:
        # They share one comparison, so that they are worked out one after the other.
        compared = [name for name, drawn in pictures.items() if drawn.is_of_comparison]
        together = pool.submit(lambda: {name: pictures[name].data(wanted) for name in compared})
        if any(drawn.is_on_sky for drawn in pictures.values()):
            pool.submit(lambda: wanted.panels)  # while others are worked out, which go before
        alone = {
            name: [pool.submit(drawn.data, part) for part in _parts(wanted, drawn)]
            for name, drawn in sorted(pictures.items(), key=lambda item: item[1].is_on_sky)
            if name not in compared
        }
        return {
            name: together.result()[name]
            if name in compared
            else pl.concat([part.result() for part in alone[name]])
            for name in pictures
        }
    finally:
        pool.shutdown(cancel_futures=True)


def _parts(wanted: Wanted, drawn: Picture) -> list[Wanted]:
    """Return what is asked for a chart, rerun by rerun where it shows a single one."""
    names = wanted.names if drawn.is_of_one else [wanted.rerun]
    return [replace(wanted, rerun=name) for name in names]


def wanted_of(reruns: Reruns, options: dict[str, Any]) -> Wanted:
    """Return what some options ask for; an unknown one is an error that lists the others."""
    known = [name for name in Wanted.__dataclass_fields__ if name != "reruns"]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise QueryError(
            f"a chart has no option {', '.join(unknown)}; there are: {', '.join(known)}"
        )
    wanted = Wanted(reruns, **options)
    if wanted.compare is None and wanted.over is None and len(reruns.names) > 1:
        wanted.over = reruns.names
    reruns.attached(wanted.name)  # a rerun that is not open is told before anything is asked
    return wanted


def save(drawn: AnyChart, path: str | os.PathLike[str]) -> Path:
    """Save a chart in the format of the file's suffix.

    Parameters
    ----------
    drawn : altair chart
    path : path-like
        ``.html`` (opens without a network), ``.png``, ``.svg``, ``.pdf`` or ``.json``
        (the Vega-Lite specification).

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        An unknown format, or the file cannot be written.
    """
    from hitsduck.outputs import write_atomically
    from hitsduck.page import chart_html

    file = Path(path)
    form = file.suffix.lower().lstrip(".")
    if form not in FORMATS:
        raise OutputError(
            f"{file}: a chart is not saved as {form or 'a file without a suffix'}; "
            f"there are: {', '.join(FORMATS)}"
        )
    content: str | bytes
    if form == "html":
        content = chart_html(drawn)
    elif form == "json":
        content = drawn.to_json()
    else:
        import vl_convert

        spec = drawn.to_dict()
        if form == "png":
            content = vl_convert.vegalite_to_png(spec, scale=_PNG_SCALE)
        elif form == "svg":
            content = vl_convert.vegalite_to_svg(spec)
        else:
            content = vl_convert.vegalite_to_pdf(spec)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"the chart cannot be written to {file}: {error.strerror}") from error
    return file
