"""Where reruns of the same images contradict each other: frames in, frames out."""

from __future__ import annotations

import numpy as np
import polars as pl

from hitsduck.crossmatch import match_pixels
from hitsduck.crossmatch_sky import unit_vectors

#: A visit whose pixels lie farther apart on the sky than this in two reruns is in the wrong
#: place in one of them; astrometric solutions of one image differ by arcseconds at most.
APART_ARCSEC = 60.0
#: So many detectors of each visit, those with the most sources, stand for it.
_DETECTORS = 5
#: Detections of one thing in two reruns of one image lie closer than this.
_SAME_PX = 2.0
#: Fewer pairs than this, or than this part of the sources, may be chance.
_FEWEST_PAIRS = 3
_FEWEST_PART = 0.1
#: Where so many sources are expected, a detector without any is no chance (exp(-10)).
_FEWEST_EXPECTED = 10
_IMAGE = ["visit", "detector"]


def standing_for_visits(sources: pl.DataFrame) -> pl.DataFrame:
    """Return the sources on the few detectors of each visit that have the most of them.

    Parameters
    ----------
    sources : polars.DataFrame
        One row per source: ``visit``, ``detector``, ``ra``, ``dec`` (deg), ``x``, ``y``
        (px).

    Returns
    -------
    polars.DataFrame
        Those rows that have an image and all four coordinates, numbered: ``row``.
    """
    places = ("ra", "dec", "x", "y")
    usable = sources.drop_nulls([*_IMAGE, *places]).filter(
        pl.all_horizontal(pl.col(name).is_finite() for name in places),
        pl.col("dec").abs() <= 90.0,
    )
    counted = usable.group_by(_IMAGE).len().sort("visit", "len", "detector", descending=True)
    chosen = counted.group_by("visit").head(_DETECTORS)
    kept = usable.join(chosen, on=_IMAGE, how="semi", maintain_order="left")
    return kept.with_row_index("row")  # an id may be NULL


def visits_apart(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """Measure how far apart on the sky two reruns put the same pixels of each visit.

    Parameters
    ----------
    left, right : polars.DataFrame
        As :func:`standing_for_visits` returns them.

    Returns
    -------
    polars.DataFrame
        One row per visit that both have and of which enough sources lie on the same
        pixels, sorted: ``visit``, ``ra_left``, ``dec_left``, ``ra_right``, ``dec_right``
        (deg, of those sources in the middle), ``sep_arcsec`` (median).
    """
    pairs = match_pixels(left, right, radius_px=_SAME_PX, id_column="row").pairs
    both = (left[pairs["left_index"]], right[pairs["right_index"]])
    vectors = [unit_vectors(side["ra"].to_numpy(), side["dec"].to_numpy()) for side in both]
    half_chord = np.sqrt(((vectors[0] - vectors[1]) ** 2).sum(axis=0)) / 2
    sep_arcsec = np.degrees(2 * np.arcsin(np.minimum(half_chord, 1.0))) * 3600
    paired = pl.DataFrame({"visit": both[0]["visit"], "sep_arcsec": sep_arcsec}).with_columns(
        pl.Series(f"{axis}_{side}", vector)
        for side, of_side in zip(("left", "right"), vectors, strict=True)
        for axis, vector in zip("xyz", of_side, strict=True)
    )
    found = paired.group_by("visit").agg(pl.len().alias("n_pairs"), pl.exclude("visit").median())
    for side in (left, right):
        found = found.join(side.group_by("visit").len(f"n_{len(found.columns)}"), on="visit")
    fewest = pl.min_horizontal(pl.selectors.matches(r"^n_\d")) * _FEWEST_PART
    enough = found.filter(pl.col("n_pairs") >= pl.max_horizontal(fewest, _FEWEST_PAIRS))
    return enough.select(
        "visit",
        *(term for side in ("left", "right") for term in _on_sky(side)),
        "sep_arcsec",
    ).sort("visit")


def _on_sky(side: str) -> tuple[pl.Expr, pl.Expr]:
    x, y, z = (pl.col(f"{axis}_{side}") for axis in "xyz")
    ra = (pl.arctan2(y, x).degrees() + 360.0) % 360.0
    dec = pl.arctan2(z, (x**2 + y**2).sqrt()).degrees()
    return ra.alias(f"ra_{side}"), dec.alias(f"dec_{side}")


def detectors_lacked(images: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """List the detectors that a rerun has in no visit, and another in most of its visits.

    Parameters
    ----------
    images, others : polars.DataFrame
        The images of the rerun and of the other: ``visit``, ``detector``,
        ``n_dia_sources``.

    Returns
    -------
    polars.DataFrame
        One row per detector that the other has in more than half of the visits that both
        have, and on which this one would have `_FEWEST_EXPECTED` sources if it found as many
        there as elsewhere, sorted: ``detector``, ``n_visits_with_detector``, ``n_visits``
        (of both).
    """
    shared = others.join(images, on="visit", how="semi")
    own = int(images.join(others, on="visit", how="semi")["n_dia_sources"].sum())
    found_again = own / max(int(shared["n_dia_sources"].sum()), 1)
    return (
        shared.join(images, on="detector", how="anti")
        .group_by("detector")
        .agg(
            pl.col("visit").n_unique().cast(pl.Int64).alias("n_visits_with_detector"),
            (pl.col("n_dia_sources").sum() * found_again).alias("n_expected"),
        )
        .with_columns(pl.lit(shared["visit"].n_unique(), dtype=pl.Int64).alias("n_visits"))
        .filter(
            pl.col("n_visits_with_detector") * 2 > pl.col("n_visits"),
            pl.col("n_expected") >= _FEWEST_EXPECTED,
        )
        .drop("n_expected")
        .sort("detector")
    )
