"""How the data functions ask: one rerun after the other, each row with its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hitsduck.chartdata.keeping import relation

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns


def of_each(
    reruns: Reruns,
    view: str,
    select: str,
    *,
    names: Sequence[str] | None = None,
    where: str | None = None,
    parameters: dict[str, Any] | None = None,
) -> pl.DataFrame:
    """Run one SELECT over a view of each rerun and put the rows one below the other.

    Parameters
    ----------
    view : str
    select : str
        SQL in which ``{view}`` stands for the rerun's view.
    names : sequence of str, optional
        All reruns by default.
    where : str, optional
        One expression on ``dia_source``.
    parameters : dict, optional
        Values for ``$name``.

    Returns
    -------
    polars.DataFrame
        ``rerun``, then the columns of the SELECT; in the order of the reruns.
    """
    parts = []
    for name in reruns.names if names is None else names:
        sql = select.replace("{view}", relation(reruns, name, view, where))
        frame = reruns.query(sql, parameters).polars()
        parts.append(frame.select(pl.lit(name).alias("rerun"), pl.all()))
    return pl.concat(parts)


def position_problem(reruns: Reruns, name: str) -> str | None:
    """Return why positions on the detectors of a rerun cannot be told, or None."""
    problem: str | None = reruns.definitions.row(name)["position_problem"]
    return problem


def chosen(reruns: Reruns, names: Sequence[str] | str | None) -> list[str]:
    """Return the names asked for, all by default; an unknown one is an error.

    Raises
    ------
    RerunNameError
    """
    wanted = reruns.names if names is None else [names] if isinstance(names, str) else list(names)
    for name in wanted:
        reruns.attached(name)
    return wanted


def in_order(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Return the rows in the order of some columns of whole numbers, no two rows alike.

    Those of a store are in order already, which is seen sooner than they are sorted.
    """
    is_after = np.zeros(max(frame.height - 1, 0), dtype=bool)
    for column in reversed(columns):
        values = frame[column].to_numpy()
        is_after &= values[1:] == values[:-1]
        is_after |= values[1:] > values[:-1]
    return frame if is_after.all() else frame.sort(columns)
