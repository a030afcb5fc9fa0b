"""Does a rerun lack an image, or did it only find nothing there: frames in, odds out.

A file without DetectorVisitProcessingSummary does not list its images, so that an image
without any source looks like one that was never processed. How sure one can be that it
was not follows from what the other rerun found there.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from hitsduck.significance import Floats

#: An image without sources is called missing when it is so with more than this probability.
SURE = 0.95

_IMAGE = ("visit", "detector")
_SMALLEST = 1e-300


def image_counts(left: pl.DataFrame, right: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Count sources and matched pairs by image.

    Parameters
    ----------
    left, right : polars.DataFrame
        All sources of each rerun, good or not: ``visit``, ``detector``.
    pairs : polars.DataFrame
        Which of them are the same: ``left_index`` (row number), one row per pair.

    Returns
    -------
    polars.DataFrame
        One row per image with a source in either, sorted: ``visit``, ``detector``,
        ``n_left``, ``n_right``, ``n_matched``.
    """
    parts = {"n_left": left, "n_right": right, "n_matched": left[pairs["left_index"]]}
    counts = [
        frame.select(_IMAGE).drop_nulls().group_by(_IMAGE).len(name)
        for name, frame in parts.items()
    ]
    together = pl.concat(counts, how="diagonal_relaxed").group_by(_IMAGE)
    return together.agg(pl.col(*parts).sum().cast(pl.Int64)).sort(_IMAGE)


def missing_odds(counts: pl.DataFrame, lacking: Literal["left", "right"]) -> pl.DataFrame:
    """Say how probably a rerun lacks each image on which only the other has sources.

    Let n be the other rerun's sources on an image. That this rerun has the image and yet
    not one source on it happens with the probability

    p_empty = min((1 - q)^n, exp(-r n)),

    where q is the part of the other rerun's sources that this one finds again, and r the
    ratio of the two numbers of sources on images where both have some (a Poisson number
    of sources with the mean r n). With m pairs on an image, q is
    (sum m (m - 1) + 1) / (sum m (n - 1) + 2): how often the others of an image are found
    again where one is, so that an image that is missing says nothing about it.

    The part f of images that are missing has the largest likelihood, the product of
    1 - f over the images with sources and of f + (1 - f) p_empty over those without; and
    an image without is missing with the probability f / (f + (1 - f) p_empty) (Bayes).

    Parameters
    ----------
    counts : polars.DataFrame
        As :func:`image_counts` gives it, of the visits that this rerun has.
    lacking : {"left", "right"}
        This rerun.

    Returns
    -------
    polars.DataFrame
        One row per image where this rerun has no source, sorted: ``visit``,
        ``detector``, ``p_empty``, ``p_missing``.
    """
    here, there = ("n_left", "n_right") if lacking == "left" else ("n_right", "n_left")
    seen = counts.filter(pl.col(there) > 0)
    m, n, own = (seen[name].to_numpy().astype(np.float64) for name in ("n_matched", there, here))
    found_again = ((m * (m - 1)).sum() + 1) / ((m * (n - 1)).sum() + 2)
    both = own > 0
    ratio = own[both].sum() / n[both].sum() if both.any() else 0.0
    with np.errstate(divide="ignore"):
        p_empty = np.minimum((1 - found_again) ** n, np.exp(-ratio * n))[~both]
    part = _missing_part(np.maximum(p_empty, _SMALLEST), int(both.sum()))
    odds = pl.DataFrame(
        {
            "p_empty": p_empty,
            "p_missing": part / np.maximum(part + (1 - part) * p_empty, _SMALLEST),
        }
    )
    return pl.concat([seen.filter(pl.col(here) == 0).select(_IMAGE), odds], how="horizontal")


def _missing_part(p_empty: Floats, n_with_sources: int) -> float:
    """Return the f of :func:`missing_odds`, where the likelihood's slope is zero."""
    from scipy.optimize import brentq

    def slope(part: float) -> float:
        gained = ((1 - p_empty) / (part + (1 - part) * p_empty)).sum()
        return float(gained - n_with_sources / (1 - part))

    if slope(0.0) <= 0:
        return 0.0
    nearly_one = 1 - 1e-12
    if slope(nearly_one) >= 0:
        return nearly_one
    return float(brentq(slope, 0.0, nearly_one, xtol=1e-12))
