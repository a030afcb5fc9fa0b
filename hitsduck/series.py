"""Many reruns: each against a baseline, or step by step, to see which step changed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from hitsduck.comparison import SUMMARY_COLUMNS, Comparison
from hitsduck.crossmatch import How
from hitsduck.errors import QueryError, RerunNameError
from hitsduck.matching import Rule
from hitsduck.results import frame_html
from hitsduck.sides import Side

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

ORDERS = ("opening", "time")


@dataclass(frozen=True, eq=False)
class Series:
    """Comparisons of many reruns, one after the other.

    Attributes
    ----------
    comparisons : tuple of Comparison
        Each baseline (left) with a rerun (right), or each rerun with the next.
    kind : str
        ``baseline`` or ``steps``.
    """

    comparisons: tuple[Comparison, ...]
    kind: str

    def __len__(self) -> int:
        """Return the number of comparisons."""
        return len(self.comparisons)

    def __getitem__(self, index: int) -> Comparison:
        """Return one comparison."""
        return self.comparisons[index]

    def table(self) -> pl.DataFrame:
        """Put the comparisons side by side.

        Returns
        -------
        polars.DataFrame
            One row per comparison, in order: ``left``, ``right``, ``n_left``,
            ``n_right``, ``change`` (n_right - n_left), ``change_percent``,
            ``n_matched``, ``n_left_only``, ``n_right_only``,
            ``n_left_only_reflagged``, ``n_right_only_reflagged``, ``turnover_percent``
            (unmatched sources of both over all sources of both), ``is_largest``
            (the comparison with the largest part of unmatched sources; false
            everywhere where all sources are matched).
        """
        rows = []
        for comparison in self.comparisons:
            counts = comparison.counts()
            n_both = counts["n_left"] + counts["n_right"]
            change = counts["n_right"] - counts["n_left"]
            n_only = counts["n_left_only"] + counts["n_right_only"]
            rows.append(
                {
                    "left": counts["left"],
                    "right": counts["right"],
                    "n_left": counts["n_left"],
                    "n_right": counts["n_right"],
                    "change": change,
                    "change_percent": 100.0 * change / counts["n_left"]
                    if counts["n_left"]
                    else None,
                    "n_matched": counts["n_matched"],
                    "n_left_only": counts["n_left_only"],
                    "n_right_only": counts["n_right_only"],
                    "n_left_only_reflagged": counts["n_left_only_reflagged"],
                    "n_right_only_reflagged": counts["n_right_only_reflagged"],
                    "turnover_percent": 100.0 * n_only / n_both if n_both else 0.0,
                }
            )
        kinds = {"change_percent": pl.Float64, "turnover_percent": pl.Float64}
        table = pl.DataFrame(rows, schema_overrides=kinds, infer_schema_length=None)
        largest = pl.col("turnover_percent").arg_max()
        return table.with_columns(
            ((pl.int_range(pl.len()) == largest) & (pl.col("turnover_percent") > 0)).alias(
                "is_largest"
            )
        )

    def verdict(self) -> str:
        """Say in one line which comparison changed most.

        Returns
        -------
        str
            ``Apr2020 to May2020 changed most: ...`` with that comparison's own verdict.
        """
        table = self.table()
        if not table["is_largest"].any():
            return f"nothing new and nothing gone in {len(self)} comparisons"
        largest = self.comparisons[int(table["is_largest"].arg_true()[0])]
        return f"{largest.left} to {largest.right} changed most of {len(self)}: {largest.verdict()}"

    def __repr__(self) -> str:
        """Return which reruns are compared."""
        pairs = ", ".join(f"{c.left} to {c.right}" for c in self.comparisons)
        return f"<Series of {len(self)} comparisons: {pairs}>"

    def _repr_html_(self) -> str:
        return frame_html(self.table(), digits=2)


def compare_all(
    reruns: Reruns,
    *,
    baseline: str | None = None,
    radius_arcsec: float = 0.5,
    radius_px: float | None = None,
    good: bool = True,
    how: How = "mutual",
    where: str | None = None,
) -> Series:
    """Compare every rerun with one baseline.

    Parameters
    ----------
    reruns : Reruns
        At least two.
    baseline : str, optional
        Name of the rerun on the left of each comparison; the first one by default.
    radius_arcsec, radius_px, good, how, where
        As for `hitsduck.comparison.compare_sources`.

    Returns
    -------
    Series
        One comparison per other rerun, in the order of opening. Each file is read
        once; all of them stay in memory (about 80 MB per 670,000 sources).

    Raises
    ------
    RerunNameError
        Fewer than two reruns, or no rerun of that name.
    """
    names = _at_least_two(reruns)
    baseline = names[0] if baseline is None else baseline
    reruns.attached(baseline)
    rule = Rule(radius_arcsec, radius_px, how)
    left = Side(reruns, baseline, where)
    return Series(
        tuple(
            Comparison(left, Side(reruns, name, where), rule, good=good, columns=SUMMARY_COLUMNS)
            for name in names
            if name != baseline
        ),
        "baseline",
    )


def series(
    reruns: Reruns,
    *,
    order: str | Sequence[str] = "opening",
    radius_arcsec: float = 0.5,
    radius_px: float | None = None,
    good: bool = True,
    how: How = "mutual",
    where: str | None = None,
) -> Series:
    """Compare every rerun with the next one.

    Parameters
    ----------
    reruns : Reruns
        At least two.
    order : {"opening", "time"} or sequence of str
        ``time``: by when the sources were processed, as the files record it
        (timeProcessedMjdTai, since 2021); or names of reruns in the order wanted.
    radius_arcsec, radius_px, good, how, where
        As for `hitsduck.comparison.compare_sources`.

    Returns
    -------
    Series
        One comparison per step. Each file is read once.

    Raises
    ------
    RerunNameError
        Fewer than two reruns, or no rerun of such a name.
    QueryError
        An unknown order, or a file does not record when it was processed.
    """
    names = _ordered(reruns, order)
    rule = Rule(radius_arcsec, radius_px, how)
    sides = [Side(reruns, name, where) for name in names]
    return Series(
        tuple(
            Comparison(before, after, rule, good=good, columns=SUMMARY_COLUMNS)
            for before, after in itertools.pairwise(sides)
        ),
        "steps",
    )


def _at_least_two(reruns: Reruns, names: Sequence[str] | None = None) -> list[str]:
    found = list(reruns.names if names is None else names)
    if len(found) < 2:
        raise RerunNameError(
            f"only {', '.join(found) or 'no rerun'} to compare; open at least two reruns"
        )
    return found


def _ordered(reruns: Reruns, order: str | Sequence[str]) -> list[str]:
    if order == "opening":
        return _at_least_two(reruns)
    if order == "time":
        names = _at_least_two(reruns)
        times = {name: _processed(reruns, name) for name in names}
        return sorted(names, key=lambda name: times[name])
    if isinstance(order, str) or not isinstance(order, Iterable):
        raise QueryError(
            f"the order is {order!r}; it is one of {', '.join(ORDERS)}, or a list of names"
        )
    for name in order:
        reruns.attached(name)
    return _at_least_two(reruns, order)


def _processed(reruns: Reruns, name: str) -> float:
    """Return when the last source of a rerun was processed (MJD, TAI)."""
    view = reruns.scope(name, "dia_source")
    row: dict[str, Any] = reruns.query(
        f"select max(timeProcessedMjdTai) as processed from {view}"
    ).rows()[0]
    if row["processed"] is None:
        raise QueryError(
            f"rerun {name!r} ({reruns[name].path}): the file does not record when it was "
            "processed (timeProcessedMjdTai); give the names in order: order=[...]"
        )
    return float(row["processed"])
