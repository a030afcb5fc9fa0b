"""Coverage: which images each of two reruns has, kept apart from which sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from hitsduck.sides import Side

IMAGE = ("visit", "detector")


def images_of(side: Side) -> pl.DataFrame:
    """Return the images that a rerun has, whatever the condition on sources.

    Returns
    -------
    polars.DataFrame
        One row per image: ``visit``, ``detector``, sorted. Those of the view
        ``image``, put together from what has been read already; and any other image
        with a source.
    """
    seen = side.frame(*IMAGE) if side.where is None else _distinct(side, "dia_source")
    recorded = _distinct(side, "processing_summary")
    if recorded.is_empty():
        recorded = _distinct(side, "dia_forced_source")
    images = pl.concat([seen, recorded.cast(seen.schema)])
    return images.drop_nulls().unique().sort(IMAGE)


def _distinct(side: Side, view: str) -> pl.DataFrame:
    relation = side.reruns.scope(side.name, view)
    return side.reruns.query(f"select distinct visit, detector from {relation}").polars()


def shared_images(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """Return the images that both frames of images have, sorted."""
    return left.join(right, on=IMAGE, how="semi").sort(IMAGE)


def coverage_table(
    images: Mapping[str, pl.DataFrame],
    sources: Mapping[str, pl.DataFrame],
    only: Mapping[str, pl.DataFrame],
) -> pl.DataFrame:
    """List the images that only one of two reruns has.

    Parameters
    ----------
    images : mapping
        ``left`` and ``right``: one row per image, ``visit`` and ``detector``.
    sources : mapping
        All sources of each: ``visit``, ``detector``, ``is_good``.
    only : mapping
        The sources that only it has: ``visit``, ``detector``.

    Returns
    -------
    polars.DataFrame
        One row per image of only one rerun, sorted: ``visit``, ``detector``,
        ``side`` (``left`` or ``right``), ``n_dia_sources``,
        ``n_good_dia_sources``, ``n_only`` (the part of the comparison's sources
        of only that rerun which lies on the image).
    """
    parts = []
    for side, other in (("left", "right"), ("right", "left")):
        alone = images[side].join(images[other], on=IMAGE, how="anti")
        counted = sources[side].group_by(IMAGE).agg(pl.len(), pl.col("is_good").sum())
        unmatched = only[side].group_by(IMAGE).len("n_only")
        parts.append(
            alone.join(counted, on=IMAGE, how="left")
            .join(unmatched, on=IMAGE, how="left")
            .select(
                *IMAGE,
                pl.lit(side).alias("side"),
                pl.col("len").fill_null(0).cast(pl.Int64).alias("n_dia_sources"),
                pl.col("is_good").fill_null(0).cast(pl.Int64).alias("n_good_dia_sources"),
                pl.col("n_only").fill_null(0).cast(pl.Int64),
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
