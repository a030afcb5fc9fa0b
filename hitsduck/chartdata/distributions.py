"""Distributions: sources per object, flags, fluxes, magnitudes, signal-to-noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from hitsduck.chartdata.asking import chosen, of_each

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

#: AB magnitude of 1 nJy: 2.5 log10(3631 Jy / 1 nJy).
AB_ZERO_POINT_NJY = 31.4
#: quantity -> (unit, what of a source, size of a bin of it)
_QUANTITIES = {
    # Fluxes are of either sign and of many sizes: bins of asinh, which is the logarithm
    # of the size on both sides and a straight line about zero.
    "flux": ("nJy", "asinh(psfFlux / 100)", 0.25),
    "magnitude": (
        "mag",
        f"case when psfFlux > 0 then {AB_ZERO_POINT_NJY} - 2.5 * log10(psfFlux) end",
        0.25,
    ),
    "psf_snr": ("", "case when psf_snr > 0 then log10(psf_snr) end", 0.05),
}
_FLUX_SCALE_NJY = 100.0


def sources_per_object(
    reruns: Reruns, name: str | None = None, *, where: str | None = None
) -> pl.DataFrame:
    """Count objects by their number of sources, all and good ones.

    Parameters
    ----------
    name : str, optional
        The rerun; the last by default.
    where : str, optional
        One expression on ``dia_source``.

    Returns
    -------
    polars.DataFrame
        One row per number of sources that occurs, and kind of object: ``rerun``,
        ``kind`` (``all`` or ``good``: current objects with at least one good source),
        ``n_sources`` (of the object, good or not), ``n_objects``. From 64 on numbers
        are put together in bins that grow by an eighth: ``n_sources`` is the lowest of
        the bin, ``n_sources_to`` the highest.
    """
    (name,) = chosen(reruns, name or reruns.names[-1])
    return of_each(
        reruns,
        "sources_per_object",
        """
        with binned as (
            select
                n_dia_sources as n_sources,
                n_dia_objects,
                n_good_dia_objects,
                case
                    when n_sources < 64 then n_sources
                    else cast(
                        ceil(64 * 1.125 ** floor(ln(n_sources / 64) / ln(1.125) + 1e-9)) as bigint
                    )
                end as n_low
            from {view}
        ),

        kinds as (
            select 'all' as kind, n_low, n_sources, n_dia_objects as n_objects from binned
            union all
            select 'good' as kind, n_low, n_sources, n_good_dia_objects as n_objects from binned
            where n_good_dia_objects > 0
        )

        select
            kind,
            n_low as n_sources,
            max(n_sources) as n_sources_to,
            cast(sum(n_objects) as bigint) as n_objects
        from kinds
        group by kind, n_low
        order by kind, n_low
        """,
        names=[name],
        where=where,
    )


def flags(
    reruns: Reruns, names: Sequence[str] | str | None = None, *, where: str | None = None
) -> pl.DataFrame:
    """Return how often each flag is set.

    Returns
    -------
    polars.DataFrame
        One row per rerun and flag that the file holds, in schema order: ``rerun``,
        ``flag``, ``is_bad`` (belongs to the good definition), ``n_set``,
        ``n_dia_sources``, ``fraction_set``.
    """
    return of_each(
        reruns,
        "flag_summary",
        """
        select flag, is_bad, n_set, n_dia_sources, fraction_set
        from {view}
        where is_in_file
        order by flag
        """,
        names=chosen(reruns, names),
        where=where,
    )


def distributions(
    reruns: Reruns,
    names: Sequence[str] | str | None = None,
    *,
    quantities: Sequence[str] = ("flux", "magnitude", "psf_snr"),
    good: bool = True,
    where: str | None = None,
) -> pl.DataFrame:
    """Bin fluxes, magnitudes and signal-to-noise of the DIA sources.

    Parameters
    ----------
    names : sequence of str, optional
        The reruns; all by default.
    quantities : sequence of str
        Of ``flux`` (psfFlux, nJy), ``magnitude`` (AB, of positive psfFlux) and
        ``psf_snr`` (abs(psfFlux) / psfFluxErr).
    good : bool
        Only good sources.
    where : str, optional
        One expression on ``dia_source``.

    Returns
    -------
    polars.DataFrame
        One row per rerun, quantity and filled bin: ``rerun``, ``quantity``, ``unit``,
        ``low``, ``high`` (of the bin), ``n``, ``n_without`` (sources that have no such
        value: a flux below zero has no magnitude).
    """
    condition = "is_good" if good else "true"
    parts = []
    for quantity in quantities:
        unit, expression, size = _QUANTITIES[quantity]
        parts.append(
            of_each(
                reruns,
                "dia_source",
                f"""
                select
                    bin,
                    n,
                    coalesce(sum(n) filter (where bin is null) over (), 0) as n_without
                from (
                    select
                        case
                            when isfinite(value) then cast(floor(value / {size}) as bigint)
                        end as bin,
                        count(*) as n
                    from (
                        select {expression} as value
                        from {{view}}
                        where {condition}
                    ) as valued
                    group by bin
                ) as binned
                qualify bin is not null
                order by bin
                """,
                names=chosen(reruns, names),
                where=where,
            )
            .with_columns(
                pl.lit(quantity).alias("quantity"),
                pl.lit(unit).alias("unit"),
                _undone(quantity, pl.col("bin") * size).alias("low"),
                _undone(quantity, (pl.col("bin") + 1) * size).alias("high"),
            )
            .select(
                "rerun",
                "quantity",
                "unit",
                "low",
                "high",
                pl.col("n", "n_without").cast(pl.Int64),
            )
        )
    return pl.concat(parts)


def _undone(quantity: str, value: pl.Expr) -> pl.Expr:
    """Return the quantity itself from what its bins are even in."""
    if quantity == "flux":
        return value.sinh() * _FLUX_SCALE_NJY
    if quantity == "psf_snr":
        return 10.0**value
    return value
