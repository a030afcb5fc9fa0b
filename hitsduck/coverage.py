"""Coverage: which images each of two reruns has, kept apart from which sources.

A rerun has an image when

1. it is listed: in DetectorVisitProcessingSummary, or, where that is empty, by at least
   one DiaSource (good or not) or DiaForcedSource; or
2. nothing lists it and the file has no DetectorVisitProcessingSummary, but it has sources
   in other images of the visit, and that it found none in this one may be chance: with
   all that both reruns found, it is not missing with more than 95% probability
   (`hitsduck.absence.missing_odds` has the formula). Such an image is *presumed*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from hitsduck.absence import SURE, missing_odds

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns
    from hitsduck.sides import Side

IMAGE = ("visit", "detector")
#: Why a rerun is said not to have an image.
NOT_LISTED = "not in DetectorVisitProcessingSummary"
NO_VISIT = "nothing of the visit"
NOT_BY_CHANCE = "no source, and hardly by chance"
_Listed = tuple[pl.DataFrame, bool]
_ODDS = {"p_empty": pl.Float64, "p_missing": pl.Float64}


@dataclass(frozen=True, eq=False)
class Images:
    """The images of one rerun.

    Attributes
    ----------
    listed : polars.DataFrame
        One row per image: ``visit``, ``detector``, sorted.
    is_complete : bool
        They are all there are: the file has a DetectorVisitProcessingSummary.
    presumed : polars.DataFrame
        One row per image that it is taken to have without being listed: ``visit``,
        ``detector``, ``p_empty``, ``p_missing``, sorted.
    missing : polars.DataFrame
        One row per image that only the other rerun has: ``visit``, ``detector``,
        ``rule`` (why this one has not), ``p_missing`` (NULL where that is certain).
    """

    listed: pl.DataFrame
    is_complete: bool
    presumed: pl.DataFrame
    missing: pl.DataFrame

    @property
    def every(self) -> pl.DataFrame:
        """All images that the rerun has, sorted: ``visit``, ``detector``."""
        return pl.concat([self.listed, self.presumed.select(IMAGE)]).sort(IMAGE)


def listed_images(side: Side) -> tuple[pl.DataFrame, bool]:
    """Return the images that a rerun lists, whatever the condition on sources.

    Returns
    -------
    polars.DataFrame
        One row per image: ``visit``, ``detector``, sorted. Those of the view
        ``image``, put together from what has been read already; and any other image
        with a source.
    bool
        The file has a DetectorVisitProcessingSummary.
    """
    seen = side.frame(*IMAGE) if side.where is None else None
    return images_listed(side.reruns, side.name, seen)


def images_listed(
    reruns: Reruns, name: str, seen: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, bool]:
    """Return the images that a rerun lists, as `listed_images` does.

    Parameters
    ----------
    reruns : Reruns
    name : str
        Of the rerun.
    seen : polars.DataFrame, optional
        The images with sources, ``visit`` and ``detector``, where they are known already.
    """
    seen = _distinct(reruns, name, "dia_source") if seen is None else seen
    recorded = _distinct(reruns, name, "processing_summary")
    is_complete = not recorded.is_empty()
    if not is_complete:
        recorded = _distinct(reruns, name, "dia_forced_source")
    images = pl.concat([seen, recorded.cast(seen.schema)])
    return images.drop_nulls().unique().sort(IMAGE), is_complete


def images_of_both(
    left: _Listed,
    right: _Listed,
    counts: Callable[[], pl.DataFrame],
) -> dict[str, Images]:
    """Say which images each of two reruns has.

    Parameters
    ----------
    left, right : tuple
        As :func:`listed_images` gives it.
    counts : callable
        Gives `hitsduck.absence.image_counts` of all sources of both; called only where
        an image may be presumed.

    Returns
    -------
    dict of str to Images
        ``left`` and ``right``.
    """
    found: dict[str, Images] = {}
    both: tuple[tuple[Literal["left", "right"], _Listed, _Listed], ...] = (
        ("left", left, right),
        ("right", right, left),
    )
    for name, (listed, is_complete), (other, _) in both:
        alone = other.join(listed, on=IMAGE, how="anti", maintain_order="left")
        of_visits = pl.col("visit").is_in(listed["visit"].unique().implode())
        alone = alone.with_columns(of_visits.alias("has_visit"))
        odds = pl.DataFrame(schema={**listed.schema, **_ODDS})
        if not is_complete and alone["has_visit"].any():
            odds = missing_odds(counts().filter(of_visits), name).cast(listed.schema)
        # an image that the other rerun lists without a source says nothing against it
        is_presumed = pl.col("has_visit") & (pl.col("p_missing").fill_null(0.0) <= SURE)
        told = alone.join(odds, on=IMAGE, how="left", maintain_order="left").with_columns(
            (is_presumed & (not is_complete)).alias("is_presumed"),
            pl.when(is_complete)
            .then(pl.lit(NOT_LISTED))
            .when("has_visit")
            .then(pl.lit(NOT_BY_CHANCE))
            .otherwise(pl.lit(NO_VISIT))
            .alias("rule"),
        )
        found[name] = Images(
            listed,
            is_complete,
            presumed=told.filter("is_presumed").select(*IMAGE, *_ODDS),
            missing=told.filter(~pl.col("is_presumed")).select(*IMAGE, "rule", "p_missing"),
        )
    return found


def _distinct(reruns: Reruns, name: str, view: str) -> pl.DataFrame:
    relation = reruns.scope(name, view)
    return reruns.query(f"select distinct visit, detector from {relation}").polars()


def counts_of_images(sources: pl.DataFrame, only: pl.Series) -> pl.DataFrame:
    """Count the sources of one rerun by image.

    Parameters
    ----------
    sources : polars.DataFrame
        ``visit``, ``detector``, ``is_good``.
    only : polars.Series
        Row numbers of those that the other rerun has not.

    Returns
    -------
    polars.DataFrame
        One row per image: ``visit``, ``detector``, ``n_dia_sources``,
        ``n_good_dia_sources``, ``n_only``.
    """
    counted = sources.group_by(IMAGE).agg(
        pl.len().alias("n_dia_sources"), pl.col("is_good").sum().alias("n_good_dia_sources")
    )
    alone = sources.select(IMAGE)[only].group_by(IMAGE).len("n_only")
    return counted.join(alone, on=IMAGE, how="left", nulls_equal=True).with_columns(
        pl.col("n_only").fill_null(0)
    )


def shared_images(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """Return the images that both frames of images have, sorted."""
    return left.join(right, on=IMAGE, how="semi").sort(IMAGE)


def coverage_table(
    images: Mapping[str, Images], counts: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """List the images that only one of two reruns has.

    Parameters
    ----------
    images : mapping
        ``left`` and ``right``, of :func:`images_of_both`.
    counts : mapping
        Of each, :func:`counts_of_images`.

    Returns
    -------
    polars.DataFrame
        One row per image of only one rerun, sorted: ``visit``, ``detector``,
        ``side`` (``left`` or ``right``), ``n_dia_sources``,
        ``n_good_dia_sources``, ``n_only`` (the part of the comparison's sources
        of only that rerun which lies on the image), ``rule`` (why the other rerun is
        said not to have it: it is not in its DetectorVisitProcessingSummary; it has
        nothing of the visit; or it has no source there, which is hardly chance),
        ``p_missing`` (how probably, by the last of these; NULL by the others).
    """
    numbers = ("n_dia_sources", "n_good_dia_sources", "n_only")
    parts = []
    for side, other in (("left", "right"), ("right", "left")):
        told = images[other].missing.join(counts[side], on=IMAGE, how="left")
        parts.append(
            told.select(
                *IMAGE,
                pl.lit(side).alias("side"),
                *(pl.col(name).fill_null(0).cast(pl.Int64) for name in numbers),
                "rule",
                "p_missing",
            )
        )
    return pl.concat(parts).sort(*IMAGE, "side")


def coverage_counts(table: pl.DataFrame) -> dict[str, int]:
    """Return images, and sources on them, of each side: the summary's ``coverage``."""
    counts = {}
    for side in ("left", "right"):
        counts[f"{side}_only"] = table.filter(pl.col("side") == side).height
    for side in ("left", "right"):
        n_only = table.filter(pl.col("side") == side)["n_only"].sum()
        counts[f"n_sources_{side}_only"] = int(n_only)
    return counts


def n_elsewhere(sources: pl.DataFrame, alone: pl.DataFrame) -> int:
    """Count the sources that lie on none of the images of `alone`."""
    return sources.join(alone, on=IMAGE, how="anti").height
