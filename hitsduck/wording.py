"""The findings of an explanation in sentences, every one with its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

_PHRASES = {
    "edge_within_px": "within {} px of a detector edge",
    "edge_side": "nearest to the {} side of their detector",
    "detector": "on detector {}",
    "visit": "in visit {}",
    "night": "in the night {}",
    "field": "in field {}",
    "band": "in band {}",
    "column_band": "in sixteenth {} of the detector's columns (0 to 15)",
    "focal_radius_mm": "{} mm from the centre of the focal plane",
    "psf_snr": "with PSF S/N {}",
    "magnitude": "of magnitude {}",
    "seeing_arcsec": "at seeing {} arcsec",
    "flux_sign": "with {} flux",
    "isDipole": "that are dipoles",
    "flag": "with flag {}",
    "n_dia_sources": "whose object has {} sources",
}
_MOST_FOLLOWING = 4


def phrase(dimension: str, value: str) -> str:
    """Return in words which sources have a value.

    Examples
    --------
    >>> phrase("edge_within_px & band", "32 & g")
    'within 32 px of a detector edge, in band g'
    """
    names, values = dimension.split(" & "), value.split(" & ")
    if len(names) != len(values):
        return f"with {dimension} = {value}"
    told = [
        _PHRASES.get(name, f"with {name} = {{}}").format(part)
        for name, part in zip(names, values, strict=True)
    ]
    return ", ".join(told).replace(" has 1 sources", " has 1 source")


def total_sentence(
    *,
    n_left: int,
    n_right: int,
    n_new: int,
    n_gone: int,
    n_reflagged_left: int,
    n_reflagged_right: int,
) -> str:
    """Return the whole change in one sentence."""
    change = n_right - n_left
    percent = f" ({100 * change / n_left:+.1f}%)" if n_left else ""
    return (
        f"{n_left:,} to {n_right:,} sources: {change:+,}{percent}; "
        f"{n_new:,} new and {n_gone:,} gone, "
        f"{n_reflagged_right:,} unflagged and {n_reflagged_left:,} flagged."
    )


def no_cause_sentence(small: pl.DataFrame, *, min_change: float, min_share: float) -> str:
    """Return in one sentence that no value is a cause: by chance, or too small to matter.

    Parameters
    ----------
    small : polars.DataFrame
        The rows of the explanation's frame whose excess is certain but within the margin.
    min_change, min_share : float
        As in :func:`hitsduck.explanation.explain`.
    """
    if small.is_empty():
        return "No detector, edge, night, flag or brightness changed by more than its share."
    row = small.sort(pl.col("excess").abs(), descending=True, maintain_order=True).row(
        0, named=True
    )
    rest = f"; so are {small.height - 1:,} more" if small.height > 1 else ""
    return (
        "No detector, edge, night, flag or brightness changed by so much more than its share "
        f"that it matters (more than {margin_words(min_change, min_share)}). Too small for that, "
        f"but not chance: sources {phrase(row['dimension'], row['value'])}, excess "
        f"{row['excess']:+,.0f} +- {row['error']:,.0f} (p {_p(row['p_nonzero'])}){rest}."
    )


def margin_words(min_change: float, min_share: float) -> str:
    """Return in words from where on an excess matters.

    Examples
    --------
    >>> margin_words(0.05, 0.005)
    '5% of the sources with the value or 0.5% of all, whichever is less'
    """
    if min(min_change, min_share) <= 0:
        return "zero"
    return (
        f"{100 * min_change:g}% of the sources with the value or {100 * min_share:g}% of all, "
        "whichever is less"
    )


def sentence(row: Mapping[str, Any], follows: pl.DataFrame, *, change: int) -> str:
    """Return one cause in one sentence, and its consequences in another.

    The excess of all sources stands with its own p-value, and that of the sources that the
    causes of higher rank leave with its own.

    Parameters
    ----------
    row : mapping
        A row of the explanation's frame.
    follows : polars.DataFrame
        The rows that are its consequences.
    change : int
        Of all sources.
    """
    share = row["share_of_change"]
    of_change = (
        f", {100 * share:.0f}% of the change of {change:+,}"
        if share is not None and 0 <= share <= 2
        else ""
    )
    of_all = f"{row['excess']:+,.0f} +- {row['error']:,.0f} (p {_p(row['p_value'])})"
    alone = f"{row['excess_conditional']:+,.0f} +- {row['error_conditional']:,.0f}"
    text = (
        f"Sources {phrase(row['dimension'], row['value'])}: {row['n_left']:,} to "
        f"{row['n_right']:,} ({row['change']:+,}{of_change}); a proportional change would give "
        f"{row['expected']:+,.0f}, so the excess is {of_all}"
    )
    if row["p_conditional"] != row["p_value"]:
        text += f"; without the causes above, {alone} (p {_p(row['p_conditional'])})"
    text += "."
    if follows.is_empty():
        return text
    told = follows.filter(
        (pl.col("change") * pl.col("excess") > 0) & (pl.col("dimension") != row["dimension"])
    ).head(_MOST_FOLLOWING)
    if told.is_empty():
        return text
    names = "; ".join(phrase(d, v) for d, v in told.select("dimension", "value").iter_rows())
    return f"{text} The change of sources {names} follows from it."


def _p(value: float | None) -> str:
    if value is None:
        return "unknown"
    return "< 1e-10" if value < 1e-10 else f"= {value:.2g}"
