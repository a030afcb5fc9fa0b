"""Counts of sources and objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from hitsduck.chartdata.asking import of_each
from hitsduck.chartdata.keeping import is_kept

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

#: Column of `Reruns.counts` -> how a picture names it.
QUANTITIES = {
    "n_dia_sources": "DIA sources",
    "n_good_dia_sources": "good DIA sources",
    "n_dia_objects": "DIA objects",
    "n_good_dia_objects": "good DIA objects",
}


def counts(reruns: Reruns, *, where: str | None = None) -> pl.DataFrame:
    """Count sources and objects, all and good, of every rerun.

    Parameters
    ----------
    reruns : Reruns
    where : str, optional
        One expression on ``dia_source``.

    Returns
    -------
    polars.DataFrame
        One row per rerun and quantity, in the order of opening: ``rerun``,
        ``quantity``, ``n``, and ``n_first`` (of the first rerun).
    """
    rows = counts_wide(reruns, where=where)
    return pl.DataFrame(
        [
            {"rerun": row["rerun"], "quantity": words, "n": row[name], "n_first": rows[0][name]}
            for row in rows
            for name, words in QUANTITIES.items()
        ],
        schema={"rerun": pl.String, "quantity": pl.String, "n": pl.Int64, "n_first": pl.Int64},
    )


def counts_wide(reruns: Reruns, *, where: str | None = None) -> list[dict[str, Any]]:
    """Return `Reruns.counts`, of the sources in memory where pictures have read them.

    Returns
    -------
    list of dict
        One per rerun, in the order of opening.
    """
    if not all(is_kept(reruns, name, where) for name in reruns.names):
        return reruns.counts(where=where).rows()
    return of_each(
        reruns, "rerun_counts", "select * exclude (rerun) from {view}", where=where
    ).to_dicts()
