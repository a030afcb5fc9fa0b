"""Pairs of a comparison: separations, flux differences, and where the rest lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from hitsduck.chartdata.edges import KINDS, area_deeper, comparison_edges, detector_sides

if TYPE_CHECKING:
    from hitsduck.comparison import Comparison

_N_BINS = 60
#: Sides of the zones of the dashboard, in pixels from the nearest edge.
ZONES_PX = (0, 32, 64, 128, 256, 512)
MOST_ROWS = 4_500
_STATUSES = ("matched", "new", "gone")


def matched_pairs(comparison: Comparison) -> pl.DataFrame:
    """Bin the separations and the flux differences of the matched pairs.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    polars.DataFrame
        One row per quantity and bin: ``quantity`` (``separation`` in arcsec, or in px
        where the sources were matched in pixels; ``pull``:
        the difference of psfFlux, right less left, over its error, the errors of both
        added in square), ``low``, ``high``, ``n``, ``n_pairs``, ``n_outside`` (pairs
        beyond the bins), ``n_without`` (that have no such value).
    """
    separation = "sep_px" if comparison.radius_arcsec is None else "sep_arcsec"
    fluxes = [f"psfFlux{what}_{side}" for what in ("", "Err") for side in ("left", "right")]
    pairs = comparison.pairs(separation, *fluxes)
    error = (pl.col("psfFluxErr_left") ** 2 + pl.col("psfFluxErr_right") ** 2).sqrt()
    pull = (pl.col("psfFlux_right") - pl.col("psfFlux_left")) / error
    values = {
        "separation": pairs[separation],
        "pull": pairs.select(pull.alias("pull"))["pull"],
    }
    farthest = comparison.radius_arcsec or comparison.radius_px or values["separation"].max() or 1.0
    assert isinstance(farthest, float)
    # As far as nearly all pairs reach, in whole standard deviations.
    usual = values["pull"].filter(values["pull"].is_finite()).abs().quantile(0.995)
    reach = min(max(float(np.ceil(usual or 1.0)), 1.0), 20.0)
    sides = {
        "separation": np.linspace(0, farthest, _N_BINS + 1),
        "pull": np.linspace(-reach, reach, _N_BINS + 1),
    }
    parts = []
    for quantity, series in values.items():
        numbers = series.cast(pl.Float64).to_numpy()
        usable = numbers[np.isfinite(numbers)]
        counts, _ = np.histogram(usable, sides[quantity])
        parts.append(
            pl.DataFrame(
                {
                    "quantity": [quantity] * _N_BINS,
                    "low": sides[quantity][:-1],
                    "high": sides[quantity][1:],
                    "n": counts.astype(np.int64),
                    "n_pairs": [pairs.height] * _N_BINS,
                    "n_outside": [int(usable.size - counts.sum())] * _N_BINS,
                    "n_without": [int(numbers.size - usable.size)] * _N_BINS,
                }
            )
        )
    return pl.concat(parts)


def dashboard(comparison: Comparison) -> pl.DataFrame:
    """Count matched, new and gone sources by detector, distance to the edge and field.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    polars.DataFrame
        One row per detector, zone and field with images, at most 4,500: ``detector``,
        ``zone_px`` (its lower side), ``zone`` (in words), ``field`` (of many fields the
        smaller ones are ``others``), ``n_matched``, ``n_new``, ``n_gone`` (as in
        `edge_distances`), ``area_mpx`` (10^6 px, over the images that both reruns have).
        Sources without a place on a detector are not in it.

    Raises
    ------
    InstrumentError
        The camera is not known, or a file has no x and y.
    """
    comparison_edges(comparison)
    sources = comparison.evidence.explanation
    images = comparison.shared_images.cast({"detector": pl.Int64})
    fields = _fields(sources, images)
    is_kind = pl.any_horizontal(
        (pl.col("status") == kind) & (pl.col("side") == KINDS[kind]) for kind in _STATUSES
    )
    counts = (
        sources.filter(is_kind, pl.col("edge_distance_px") >= 0)
        .select("visit", pl.col("detector").cast(pl.Int64), "status", "edge_distance_px")
        .join(fields, on="visit")
        .with_columns(_zone(pl.col("edge_distance_px")).alias("zone_px"))
        .group_by("detector", "zone_px", "field")
        .agg(
            (pl.col("status") == kind).sum().cast(pl.Int64).alias(f"n_{kind}") for kind in _STATUSES
        )
    )
    n_images = images.join(fields, on="visit").group_by("detector", "field").len("n_images")
    ring = area_deeper(pl.col("zone_px")) - pl.when(pl.col("high_px").is_null()).then(
        0.0
    ).otherwise(area_deeper(pl.col("high_px")))
    return (
        detector_sides(comparison)
        .join(n_images, on="detector")
        .join(_zones(), how="cross")
        .with_columns((ring * pl.col("n_images") / 1e6).alias("area_mpx"))
        .filter(pl.col("area_mpx") > 0)
        .join(counts, on=["detector", "zone_px", "field"], how="left")
        .with_columns(pl.col("n_matched", "n_new", "n_gone").fill_null(0))
        .select("detector", "zone_px", "zone", "field", "n_matched", "n_new", "n_gone", "area_mpx")
        .sort("detector", "zone_px", "field")
    )


def _zones() -> pl.DataFrame:
    highs = [*ZONES_PX[1:], None]
    return pl.DataFrame(
        {
            "zone_px": list(ZONES_PX),
            "high_px": highs,
            "zone": [
                f"{low} and more" if high is None else f"{low} to {high}"
                for low, high in zip(ZONES_PX, highs, strict=True)
            ],
        },
        schema={"zone_px": pl.Int64, "high_px": pl.Int64, "zone": pl.String},
    )


def _fields(sources: pl.DataFrame, images: pl.DataFrame) -> pl.DataFrame:
    """Return the field of every visit; so many of them that the cube stays small."""
    fields = (
        images.select("visit")
        .unique()
        .join(
            sources.group_by("visit").agg(pl.first("field").cast(pl.String)),
            on="visit",
            how="left",
        )
        .with_columns(pl.col("field").fill_null("unknown"))
    )
    n_cells = images["detector"].n_unique() * len(ZONES_PX)
    most = max(MOST_ROWS // max(n_cells, 1), 1)
    largest = fields.group_by("field").len().sort("len", "field", descending=[True, False])
    if largest.height <= most:
        return fields
    kept = largest["field"].head(most - 1).to_list()
    return fields.with_columns(
        pl.when(pl.col("field").is_in(kept)).then("field").otherwise(pl.lit("others"))
    )


def _zone(distance: pl.Expr) -> pl.Expr:
    zone = pl.lit(ZONES_PX[0], dtype=pl.Int64)
    for low in ZONES_PX[1:]:
        zone = pl.when(distance >= low).then(pl.lit(low, dtype=pl.Int64)).otherwise(zone)
    return zone
