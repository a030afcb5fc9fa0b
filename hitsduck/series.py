"""Many reruns: each against a baseline, or step by step, to see which step changed."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from hitsduck import missing_ids
from hitsduck.comparison import SUMMARY_COLUMNS, Comparison
from hitsduck.crossmatch import How
from hitsduck.errors import (
    BadValueError,
    HitsduckError,
    IncompleteWarning,
    InstrumentError,
    MatchError,
    OrderWarning,
    QueryError,
    RerunNameError,
    SchemaError,
)
from hitsduck.large import compare_sides
from hitsduck.limits import shown
from hitsduck.matching import Rule
from hitsduck.results import frame_html
from hitsduck.sides import Side

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

ORDERS = ("opening", "time")
#: A month by its name, then a year: May2020, 2020_processing_june_2020.
_MONTH = re.compile(
    r"(?<![a-z])(?:(jan)(?:uary)?|(feb)(?:ruary)?|(mar)(?:ch)?|(apr)(?:il)?|(may)|(jun)e?|(jul)y?|"
    r"(aug)(?:ust)?|(sep)(?:t(?:ember)?)?|(oct)(?:ober)?|(nov)(?:ember)?|(dec)(?:ember)?)"
    r"[-_ .]?(?P<year>(?:19|20)\d\d)",
    re.IGNORECASE,
)
#: What is wrong with one file, so that other pairs can be compared all the same.
_OF_ONE_PAIR = (BadValueError, InstrumentError, MatchError, SchemaError)


_TABLE = {
    "left": pl.String,
    "right": pl.String,
    "n_left": pl.Int64,
    "n_right": pl.Int64,
    "change": pl.Int64,
    "change_percent": pl.Float64,
    "n_matched": pl.Int64,
    "n_left_only": pl.Int64,
    "n_right_only": pl.Int64,
    "n_left_only_reflagged": pl.Int64,
    "n_right_only_reflagged": pl.Int64,
    "turnover_percent": pl.Float64,
    "problem": pl.String,
}


@dataclass(frozen=True)
class Uncompared:
    """A pair of reruns that could not be compared.

    Attributes
    ----------
    left, right : str
        Names of the reruns.
    reason : str
    """

    left: str
    right: str
    reason: str


@dataclass(frozen=True, eq=False)
class Series:
    """Comparisons of many reruns, one after the other.

    Attributes
    ----------
    pairs : tuple of Comparison or Uncompared
        Each baseline (left) with a rerun (right), or each rerun with the next.
    kind : str
        ``baseline`` or ``steps``.
    """

    pairs: tuple[Comparison | Uncompared, ...]
    kind: str

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The pairs that could be compared, in order."""
        return tuple(pair for pair in self.pairs if isinstance(pair, Comparison))

    @property
    def uncompared(self) -> tuple[Uncompared, ...]:
        """The pairs that could not, in order, with the reasons."""
        return tuple(pair for pair in self.pairs if isinstance(pair, Uncompared))

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
            One row per pair, in order: ``left``, ``right``, ``n_left``,
            ``n_right``, ``change`` (n_right - n_left), ``change_percent``,
            ``n_matched``, ``n_left_only``, ``n_right_only``,
            ``n_left_only_reflagged``, ``n_right_only_reflagged``, ``turnover_percent``
            (unmatched sources of both over all sources of both), ``is_largest``
            (the comparison with the largest part of unmatched sources; false
            everywhere where all sources are matched), ``problem`` (why the pair cannot
            be compared, and has no numbers; NULL where it can).
        """
        rows: list[dict[str, Any]] = []
        for pair in self.pairs:
            if isinstance(pair, Uncompared):
                rows.append({"left": pair.left, "right": pair.right, "problem": pair.reason})
                continue
            counts = pair.counts()
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
        table = pl.DataFrame(rows, schema=_TABLE)
        largest = pl.col("turnover_percent").arg_max()
        is_largest = (pl.int_range(pl.len()) == largest) & (pl.col("turnover_percent") > 0)
        return table.with_columns(is_largest.fill_null(False).alias("is_largest")).select(
            pl.exclude("problem"), "problem"
        )

    def verdict(self) -> str:
        """Say in one line which comparison changed most.

        Returns
        -------
        str
            ``Apr2020 to May2020 changed most: ...`` with that comparison's own verdict,
            and the pairs that cannot be compared, with the reasons.
        """
        problems = "".join(
            f"; {pair.left} to {pair.right} cannot be compared: {pair.reason}"
            for pair in self.uncompared
        )
        table = self.table().filter(pl.col("problem").is_null())
        if not table["is_largest"].any():
            return f"nothing new and nothing gone in {len(self)} comparisons{problems}"
        largest = self.comparisons[int(table["is_largest"].arg_true()[0])]
        return (
            f"{largest.left} to {largest.right} changed most of {len(self)}: "
            f"{largest.verdict()}{problems}"
        )

    def __repr__(self) -> str:
        """Return which reruns are compared."""
        pairs = ", ".join(
            f"{pair.left} to {pair.right}"
            + (" (not comparable)" if isinstance(pair, Uncompared) else "")
            for pair in self.pairs
        )
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
    rows_at_once: int | None = None,
) -> Series:
    """Compare every rerun with one baseline.

    Parameters
    ----------
    reruns : Reruns
        At least two.
    baseline : str, optional
        Name of the rerun on the left of each comparison; the first one by default.
    radius_arcsec, radius_px, good, how, where, rows_at_once
        As for `hitsduck.large.compare`.

    Returns
    -------
    Series
        One comparison per other rerun, in the order of opening. Each file is read
        once; all of them stay in memory (about 80 MB per 670,000 sources).

    Warns
    -----
    IncompleteWarning
        A pair cannot be compared, for what is wrong with a file; `Series.uncompared`.

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
    pairs = [(left, Side(reruns, name, where)) for name in names if name != baseline]
    return Series(_compared(pairs, rule, good=good, rows_at_once=rows_at_once), "baseline")


def series(
    reruns: Reruns,
    *,
    order: str | Sequence[str] = "opening",
    radius_arcsec: float = 0.5,
    radius_px: float | None = None,
    good: bool = True,
    how: How = "mutual",
    where: str | None = None,
    rows_at_once: int | None = None,
) -> Series:
    """Compare every rerun with the next one.

    Parameters
    ----------
    reruns : Reruns
        At least two.
    order : {"opening", "time"} or sequence of str
        ``time``: by when the sources were processed, as the files record it
        (timeProcessedMjdTai, since 2021); or names of reruns in the order wanted.
    radius_arcsec, radius_px, good, how, where, rows_at_once
        As for `hitsduck.large.compare`.

    Returns
    -------
    Series
        One comparison per step. Each file is read once.

    Warns
    -----
    IncompleteWarning
        A pair cannot be compared, for what is wrong with a file; `Series.uncompared`.
    OrderWarning
        As for `warn_of_order`.

    Raises
    ------
    RerunNameError
        Fewer than two reruns, no rerun of such a name, or one that is named twice.
    QueryError
        An unknown order, or a file does not record when it was processed.
    """
    names = _ordered(reruns, order)
    if order == "opening":
        warn_of_order(names)
    rule = Rule(radius_arcsec, radius_px, how)
    sides = [Side(reruns, name, where) for name in names]
    pairs = list(itertools.pairwise(sides))
    return Series(_compared(pairs, rule, good=good, rows_at_once=rows_at_once), "steps")


def warn_of_order(names: Sequence[str]) -> None:
    """Warn where reruns called by months come in another order, as a shell's ``*`` gives them.

    Parameters
    ----------
    names : sequence of str
        In the order in which they are to be compared.

    Warns
    -----
    OrderWarning
    """
    found = [_MONTH.search(name) for name in names]
    # The number of the group that matched is that of the month.
    when = [(int(m["year"]), next(n for n in range(1, 13) if m[n])) for m in found if m]
    if len(when) == len(names) and when != sorted(when):
        warnings.warn(
            f"the reruns are compared in the order in which they were given, {', '.join(names)}, "
            "which is not that of their months (a * of the shell gives the order of the alphabet); "
            "name them one after the other",
            OrderWarning,
            stacklevel=3,
        )


def _compared(
    pairs: Sequence[tuple[Side, Side]], rule: Rule, *, good: bool, rows_at_once: int | None
) -> tuple[Comparison | Uncompared, ...]:
    """Compare some pairs; a pair that cannot be compared does not hinder the others.

    Raises
    ------
    HitsduckError
        None can: the reason of the first.
    """
    found: list[Comparison | Uncompared] = []
    errors: list[HitsduckError] = []
    for left, right in pairs:
        try:
            found.append(
                compare_sides(
                    left,
                    right,
                    rule,
                    good=good,
                    columns=SUMMARY_COLUMNS,
                    rows_at_once=rows_at_once,
                )
            )
        except _OF_ONE_PAIR as error:
            told = missing_ids.named(left.reruns, (left.name, right.name), error)
            errors.append(told)
            found.append(Uncompared(left.name, right.name, str(told)))
    if len(errors) == len(pairs):
        raise errors[0]
    for pair in found:
        if isinstance(pair, Uncompared):
            warnings.warn(
                f"{pair.left} to {pair.right} cannot be compared: {pair.reason}",
                IncompleteWarning,
                stacklevel=4,
            )
    return tuple(found)


def _at_least_two(reruns: Reruns, names: Sequence[str] | None = None) -> list[str]:
    found = list(reruns.names if names is None else names)
    if len(found) < 2:
        raise RerunNameError(
            f"only {', '.join(found) or 'no rerun'} to compare; open at least two reruns"
        )
    return found


def _ordered(reruns: Reruns, order: str | Sequence[str]) -> list[str]:
    if isinstance(order, str) and order == "opening":
        return _at_least_two(reruns)
    if isinstance(order, str) and order == "time":
        names = _at_least_two(reruns)
        times = {name: _processed(reruns, name) for name in names}
        return sorted(names, key=lambda name: times[name])
    if isinstance(order, str | set | frozenset) or not isinstance(order, Iterable):
        raise QueryError(
            f"the order is {shown(order)}; it is one of {', '.join(ORDERS)}, or a list of names"
        )
    named = [reruns.attached(name).name for name in order]
    for place, name in enumerate(named):
        if name in named[:place]:
            raise RerunNameError(f"the order names {name!r} twice; name each rerun once")
    return _at_least_two(reruns, named)


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
