"""Counts of sources and objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

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
    rows = reruns.counts(where=where).rows()
    return pl.DataFrame(
        [
            {"rerun": row["rerun"], "quantity": words, "n": row[name], "n_first": rows[0][name]}
            for row in rows
            for name, words in QUANTITIES.items()
        ],
        schema={"rerun": pl.String, "quantity": pl.String, "n": pl.Int64, "n_first": pl.Int64},
    )
