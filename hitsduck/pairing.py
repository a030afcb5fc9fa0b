"""Frames of a comparison: matched pairs with their differences, and what is left over.

Frames in, frames out.
"""

from __future__ import annotations

import polars as pl

from hitsduck.coverage import IMAGE

_DEGREE_ARCSEC = 3600.0
#: What the differences of two equal reruns are around.
_NO_DIFFERENCE = {
    "psf_flux_ratio": 1.0,
    "delta_ra_arcsec": 0.0,
    "delta_dec_arcsec": 0.0,
    "delta_x_px": 0.0,
    "delta_y_px": 0.0,
}
#: What `differences` sums up.
QUANTITIES = tuple(_NO_DIFFERENCE)
#: What `counts_by` counts, in the order of its columns.
COUNTS = ("n_left", "n_right", "n_matched", "n_left_only", "n_right_only", "change")
_ALONE = "hitsduck_is_alone"
#: Standard deviation of a normal distribution over its median absolute deviation, and
#: standard error of its median over that of its mean.
_SIGMA_PER_MAD = 1.4826
_MEDIAN_PER_MEAN = 1.2533
#: With fewer visits the error of a median comes from the pairs themselves.
_FEWEST_VISITS = 10


def pair_frame(left: pl.DataFrame, right: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Put the two sources of every pair side by side, with their differences.

    Parameters
    ----------
    left, right : polars.DataFrame
        One row per compared source: ``visit``, ``detector``, ``ra``, ``dec`` (deg),
        ``x``, ``y`` (px), ``psfFlux`` (nJy) and any others.
    pairs : polars.DataFrame
        One row per pair: ``left_index``, ``right_index``, ``sep_arcsec`` or
        ``sep_px``, ``is_ambiguous``.

    Returns
    -------
    polars.DataFrame
        One row per pair: ``visit``, ``detector``, every other column once with
        ``_left`` and once with ``_right``, the separation, ``is_ambiguous``, and,
        right less left, ``delta_ra_arcsec`` (on the sky: times the cosine of the mean
        declination, through RA 0 the short way), ``delta_dec_arcsec``,
        ``delta_x_px``, ``delta_y_px``, ``delta_psf_flux_njy``; and
        ``psf_flux_ratio``, right over left, NULL where left is 0.
    """
    others = [name for name in left.columns if name not in IMAGE]
    side_by_side = pl.concat(
        [
            left[pairs["left_index"]].rename({name: f"{name}_left" for name in others}),
            right[pairs["right_index"]]
            .select(others)
            .rename({name: f"{name}_right" for name in others}),
            pairs.drop("left_index", "right_index"),
        ],
        how="horizontal",
    )
    return side_by_side.with_columns(
        _delta_ra_arcsec().alias("delta_ra_arcsec"),
        ((pl.col("dec_right") - pl.col("dec_left")) * _DEGREE_ARCSEC).alias("delta_dec_arcsec"),
        (pl.col("x_right") - pl.col("x_left")).alias("delta_x_px"),
        (pl.col("y_right") - pl.col("y_left")).alias("delta_y_px"),
        (pl.col("psfFlux_right") - pl.col("psfFlux_left")).alias("delta_psf_flux_njy"),
        pl.when(pl.col("psfFlux_left") != 0)
        .then(pl.col("psfFlux_right") / pl.col("psfFlux_left"))
        .alias("psf_flux_ratio"),
    )


def _delta_ra_arcsec() -> pl.Expr:
    turn = pl.col("ra_right") - pl.col("ra_left")
    short_way = turn - 360.0 * (turn / 360.0).round()
    mean_dec = (pl.col("dec_left") + pl.col("dec_right")) / 2.0
    return short_way * mean_dec.radians().cos() * _DEGREE_ARCSEC


def differences(matched: pl.DataFrame) -> pl.DataFrame:
    """Sum up how the two sources of a pair differ in flux and position.

    A change of the zero point shows in ``psf_flux_ratio``, one of the astrometry in the
    others.

    Parameters
    ----------
    matched : polars.DataFrame
        One row per pair, of :func:`pair_frame`: ``visit`` and `QUANTITIES`.

    Returns
    -------
    polars.DataFrame
        One row per quantity: ``quantity``, ``n_pairs`` (with a value), ``median``,
        ``scatter`` (1.4826 times the median absolute deviation), ``error`` (of the
        median: from the medians of whole visits, as pairs of one visit are not
        independent; from the pairs where there are fewer than 10 visits),
        ``no_difference`` (1 or 0), ``n_sigma`` (median less that, over the error; NULL
        where the error is 0).
    """
    rows = []
    for quantity, expected in _NO_DIFFERENCE.items():
        known = matched.filter(pl.col(quantity).is_finite()).select("visit", quantity)
        values = known[quantity]
        of_visits = known.group_by("visit").agg(pl.col(quantity).median())[quantity]
        error = _error_of_median(of_visits if of_visits.len() >= _FEWEST_VISITS else values)
        median = values.median()
        rows.append(
            {
                "quantity": quantity,
                "n_pairs": values.len(),
                "median": median,
                "scatter": _scatter(values),
                "error": error,
                "no_difference": expected,
                "n_sigma": (median - expected) / error
                if isinstance(median, float) and error
                else None,
            }
        )
    numbers = ("median", "scatter", "error", "no_difference", "n_sigma")
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(numbers, pl.Float64))


def _scatter(values: pl.Series) -> float | None:
    deviation = (values - values.median()).abs().median()
    return _SIGMA_PER_MAD * deviation if isinstance(deviation, float) else None


def _error_of_median(values: pl.Series) -> float | None:
    scatter = _scatter(values)
    return None if scatter is None else _MEDIAN_PER_MEAN * scatter / values.len() ** 0.5


def counts_by(
    keys: tuple[pl.DataFrame, pl.DataFrame],
    only: tuple[pl.Series, pl.Series],
    pairs: pl.DataFrame,
) -> pl.DataFrame:
    """Count the sources of a comparison by the values of some columns.

    Parameters
    ----------
    keys : tuple of polars.DataFrame
        Of left and of right: one row per compared source, the columns to count by.
    only : tuple of polars.Series
        Whether each source is without a partner.
    pairs : polars.DataFrame
        ``left_index`` and ``right_index``.

    Returns
    -------
    polars.DataFrame
        One row per value, sorted by it, NULL last: the columns, ``n_left``,
        ``n_right``, ``n_matched`` (pairs of which both sources have the value),
        ``n_left_only``, ``n_right_only``, ``change`` (n_right - n_left).
    """
    names = keys[0].columns
    parts = []
    for side, frame, alone in zip(("left", "right"), keys, only, strict=True):
        parts.append(
            frame.with_columns(alone.alias(_ALONE))
            .group_by(names)
            .agg(pl.len().alias(f"n_{side}"), pl.col(_ALONE).sum().alias(f"n_{side}_only"))
        )
    of_left, of_right = keys[0][pairs["left_index"]], keys[1][pairs["right_index"]]
    agrees = pl.Series([True]).new_from_index(0, pairs.height)
    for name in names:
        agrees &= of_left[name].eq_missing(of_right[name])
    parts.append(of_left.filter(agrees).group_by(names).len("n_matched"))
    table = parts[0]
    for part in parts[1:]:
        table = table.join(part, on=names, how="full", coalesce=True, nulls_equal=True)
    return (
        table.select(*names, *(pl.col(name).fill_null(0).cast(pl.Int64) for name in COUNTS[:-1]))
        .with_columns((pl.col("n_right") - pl.col("n_left")).alias("change"))
        .sort(names, nulls_last=True)
    )
