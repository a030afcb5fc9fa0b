"""What a change is made of: the values whose sources changed more than their share.

Frames in, a frame and sentences out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from hitsduck.counting import Rows
from hitsduck.dimensions import build_dimensions, known_pairs
from hitsduck.errors import MatchError, SchemaError
from hitsduck.limits import check_number, shown
from hitsduck.resampling import resampling_units
from hitsduck.results import frame_html
from hitsduck.selection import Search
from hitsduck.wording import margin_words, no_cause_sentence, sentence, total_sentence

Part = Literal["all", "detection", "masking"]

SIDES = ("left", "right")
STATUSES = ("matched", "new", "gone", "reflagged")
PARTS = get_args(Part)
_COUNT = "give a whole number from 0 on"
_JSON_KEYS = (
    "dimension",
    "value",
    "n_left",
    "n_right",
    "change",
    "share_of_change",
    "excess",
    "p_value",
    "q_value",
)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the change between two reruns is made of.

    Attributes
    ----------
    frame : polars.DataFrame
        One row per value, in order of `rank`; see :func:`explain`.
    n_left, n_right : int
        Sources compared.
    n_new, n_gone, n_reflagged_left, n_reflagged_right : int
        Sources that one rerun alone has: not detected in the other, or detected there
        and failing its flags.
    alpha : float
        False discovery rate at which a value is called significant.
    min_change, min_share : float
        The margin that p_value and q_value test against; see :func:`explain`.
    resampling_unit : str
        ``visit`` or ``image``.
    n_units : int
        Units there are.
    reason : str or None
        Why p-values are null.
    skipped : tuple of str
        Dimensions, and flags, that could not be looked along: the sources have no such
        column, or those of one side have no value in it.
    """

    frame: pl.DataFrame
    n_left: int
    n_right: int
    n_new: int
    n_gone: int
    n_reflagged_left: int
    n_reflagged_right: int
    alpha: float
    min_change: float
    min_share: float
    resampling_unit: str
    n_units: int
    reason: str | None
    skipped: tuple[str, ...]

    @property
    def causes(self) -> pl.DataFrame:
        """The rows that are significant and no consequence of a stronger one."""
        return self.frame.filter("is_cause")

    @property
    def margin(self) -> str:
        """What p_value and q_value test an excess against, in words."""
        return margin_words(self.min_change, self.min_share)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows in order of rank, with the keys of ``explain --json``."""
        return self.frame.select(_JSON_KEYS).to_dicts()

    def sentences(self, *, most: int = 5) -> list[str]:
        """Return the total, then each cause, with its numbers and what follows from it.

        Parameters
        ----------
        most : int
            Number of causes told.

        Raises
        ------
        MatchError
            `most` is no number of causes.
        """
        check_number("most", most, _COUNT, lambda n: n >= 0, whole=True)
        lines = [
            total_sentence(
                n_left=self.n_left,
                n_right=self.n_right,
                n_new=self.n_new,
                n_gone=self.n_gone,
                n_reflagged_left=self.n_reflagged_left,
                n_reflagged_right=self.n_reflagged_right,
            )
        ]
        causes = self.causes
        if causes.is_empty():
            why = f" ({self.reason})" if self.reason else ""
            lines.append(
                f"Nothing can be said about chance{why}."
                if self.reason
                else no_cause_sentence(
                    self.frame.filter("is_small"),
                    min_change=self.min_change,
                    min_share=self.min_share,
                )
            )
        for row in causes.head(most).iter_rows(named=True):
            name = f"{row['dimension']}={row['value']}"
            follows = self.frame.filter(pl.col("consequence_of") == name)
            lines.append(sentence(row, follows, change=self.n_right - self.n_left))
        if causes.height > most:
            lines.append(f"{causes.height - most} weaker causes are in the table.")
        return lines

    def __repr__(self) -> str:
        """Return how much was tested and what was found."""
        causes = ", ".join(
            f"{row['dimension']}={row['value']}" for row in self.causes.iter_rows(named=True)
        )
        return (
            f"<Explanation of {self.n_right - self.n_left:+,} sources: {self.frame.height} values "
            f"tested, causes: {causes or 'none'}>"
        )

    def _repr_html_(self) -> str:
        columns = ("rank", "dimension", "value", "change", "expected", "excess", "error")
        lines = "".join(f"<li>{escape(line)}</li>" for line in self.sentences())
        return f"<ul>{lines}</ul>\n{frame_html(self.causes.select(columns), digits=1)}"


def explain(
    sources: pl.DataFrame,
    *,
    images: pl.DataFrame,
    geometry: pl.DataFrame | None = None,
    flags: Sequence[str] | None = None,
    extra: Sequence[str] = (),
    depth: int = 1,
    part: Part = "all",
    min_change: float = 0.05,
    min_share: float = 0.005,
    alpha: float = 0.05,
    most_causes: int = 10,
) -> Explanation:
    """Rank what the change between two reruns is made of.

    The most telling value is the one that explains most of the change by itself (see
    `gain` in :class:`~hitsduck.significance.Tests`), among those that are significant
    and changed more than their share. Its sources are then taken out of both reruns, with
    their partners, and all others are tested again: what is no longer significant was its
    consequence. So it goes on until nothing is significant. What becomes significant only
    when others are taken out (its own `p_value` is not below `alpha`, or its excess had
    the other sign) is no cause.

    Parameters
    ----------
    sources : polars.DataFrame
        One row per source of either rerun on an image that both have. Needed: ``side``
        (``left``, ``right``), ``status`` (``matched``; ``new``: right only; ``gone``: left
        only; ``reflagged``: detected in both, good in this one alone), ``visit``,
        ``detector``. Dimensions, as far as there are columns: ``edge_distance_px``,
        ``edge_side``, ``night``, ``field``, ``band``, ``x``, ``focal_radius_mm``,
        ``psf_snr``, ``psfFlux`` (nJy; magnitude and sign), ``psf_fwhm_arcsec``,
        ``isDipole``, ``n_dia_sources`` (of the source's object), boolean flags.
        ``match_id``: the same number for both sources of a pair.
    images : polars.DataFrame
        One row per image that both have: ``visit``, ``detector``.
    geometry : polars.DataFrame, optional
        One row per detector: ``detector``, ``left_px``, ``right_px``.
    flags : sequence of str, optional
        Boolean columns; by default all but ``isDipole`` and `extra`.
    extra : sequence of str
        Further columns to look along.
    depth : {1, 2}
        2 looks at pairs of values too.
    part : {"all", "detection", "masking"}
        ``detection`` leaves out reflagged sources, ``masking`` new and gone ones.
    min_change, min_share : float
        An excess matters from `min_change` of the value's own sources in left, or from
        `min_share` of all of them, whichever is less; the p-value is that of an excess
        no larger. With both zero any excess counts that is not chance, however small.
    alpha : float
        False discovery rate.
    most_causes : int
        The search ends there.

    Returns
    -------
    Explanation
        Its `frame` has one row per value that any source has, in order of `rank`
        (causes, then their consequences, then what is small, then the rest by p-value):
        ``dimension``, ``value``, ``n_left``, ``n_right``, ``change`` (n_right - n_left),
        ``share_of_change`` (null where nothing changed in all), ``change_detection``
        (new - gone), ``change_masking`` (reflagged right - left; the rest of the change
        is matched sources that had another value), ``expected`` (the change that
        is the value's share of the whole), ``excess`` (change - expected), ``error`` (its
        standard error), ``p_value`` and ``q_value`` (of the excess being too small to
        matter), ``p_nonzero`` and ``q_nonzero`` (of there being none at all),
        ``excess_conditional``, ``error_conditional``, ``p_conditional``,
        ``q_conditional`` (excess, error, p_value and q_value once the causes of higher
        rank are taken out; null for their consequences that have no source left),
        ``is_cause``, ``is_small`` (there is an excess, by `q_nonzero`, and nothing says that
        it is large enough to matter), ``consequence_of`` (name of a cause, as
        ``dimension=value``), ``rank``. A value ``within w px`` takes in the narrower
        ones. ``n_dia_sources`` of a matched source is that of its partner in left.

    Raises
    ------
    SchemaError
        Columns are missing, or hold something else.
    MatchError
        A source lies on none of the images, or an option is impossible.
    QueryError
        `flags` or `extra` are no names.
    """
    _check(sources, images)
    _check_options(depth, part, min_change, min_share, alpha, most_causes)
    if part == "detection":
        sources = sources.filter(pl.col("status") != "reflagged")
    elif part == "masking":
        sources = sources.filter(pl.col("status").is_in(["matched", "reflagged"]))
    units = resampling_units(images)
    dimensions, skipped = build_dimensions(sources, geometry=geometry, flags=flags, extra=extra)
    is_right = (sources["side"] == "right").to_numpy()
    rows = Rows(
        units.of(sources) + is_right * len(units),
        (sources["status"] != "matched").to_numpy(),
        known_pairs(sources),
        len(units),
    )
    search = Search(
        dimensions,
        rows,
        depth=depth,
        min_change=min_change,
        min_share=min_share,
        alpha=alpha,
        most_causes=most_causes,
        chance=units.reason is None,
    )
    number = {
        (side, status): n
        for side, status, n in sources.group_by("side", "status").len().iter_rows()
    }
    return Explanation(
        frame=_frame(search, sources["status"], is_right, alpha),
        n_left=int((~is_right).sum()),
        n_right=int(is_right.sum()),
        n_new=number.get(("right", "new"), 0),
        n_gone=number.get(("left", "gone"), 0),
        n_reflagged_left=number.get(("left", "reflagged"), 0),
        n_reflagged_right=number.get(("right", "reflagged"), 0),
        alpha=alpha,
        min_change=min_change,
        min_share=min_share,
        resampling_unit=units.kind,
        n_units=len(units),
        reason=units.reason,
        skipped=tuple(skipped),
    )


def _frame(search: Search, status: pl.Series, is_right: np.ndarray, alpha: float) -> pl.DataFrame:
    tests, values = search.tests, search.values
    total = int(is_right.sum()) - int((~is_right).sum())
    names = [v.name for v in values]
    place = np.full(len(values), len(values))
    place[search.causes] = np.arange(len(search.causes))
    cause_of = search.consequence_of
    parts = {}
    for column, kinds in (
        ("change_detection", ("new", "gone")),
        ("change_masking", ("reflagged",)),
    ):
        chosen = status.is_in(kinds).to_numpy()
        parts[column] = search.change_of(chosen) if chosen.any() else np.zeros(len(values))
    frame = pl.DataFrame(
        {
            "dimension": pl.Series([v.dimension for v in values], dtype=pl.String),
            "value": pl.Series([v.value for v in values], dtype=pl.String),
            "n_left": tests.n_left.astype(np.int64),
            "n_right": tests.n_right.astype(np.int64),
            "change": tests.change.astype(np.int64),
            "share_of_change": tests.change / total if total else np.full(len(values), np.nan),
            "change_detection": parts["change_detection"].astype(np.int64),
            "change_masking": parts["change_masking"].astype(np.int64),
            "expected": tests.expected,
            "excess": tests.excess,
            "error": tests.error,
            "p_value": tests.p_value,
            "q_value": search.q_value,
            "p_nonzero": tests.p_nonzero,
            "q_nonzero": search.q_nonzero,
            "excess_conditional": search.excess_conditional,
            "error_conditional": search.error_conditional,
            "p_conditional": search.p_conditional,
            "q_conditional": search.q_conditional,
            "is_cause": place < len(values),
            "is_small": (search.q_nonzero < alpha)
            & (search.q_value >= alpha)
            & (place == len(values)),
            "consequence_of": pl.Series(
                [names[search.causes[c]] if c >= 0 else None for c in cause_of], dtype=pl.String
            ),
            "_cause": place,
            "_cause_of": np.where(cause_of >= 0, cause_of, len(values)),
            "_gain": tests.gain * search.weight,
        }
    ).with_columns(pl.selectors.float().fill_nan(None))
    return (
        frame.filter(pl.col("n_left") + pl.col("n_right") > 0)
        .sort(
            "_cause",
            "_cause_of",
            ~pl.col("is_small"),
            pl.when("is_small").then("p_nonzero").otherwise("p_value").fill_null(2.0),
            -pl.col("_gain"),
            maintain_order=True,
        )
        .drop("_cause", "_cause_of", "_gain")
        .with_columns(pl.int_range(1, pl.len() + 1).alias("rank"))
    )


def _check(sources: pl.DataFrame, images: pl.DataFrame) -> None:
    for what, frame, needed in (
        ("sources", sources, ("side", "status", "visit", "detector")),
        ("images", images, ("visit", "detector")),
    ):
        missing = [name for name in needed if name not in frame.columns]
        if missing:
            raise SchemaError(
                f"the {what} lack {', '.join(missing)}; they have {', '.join(frame.columns)}"
            )
    for column, known in (("side", SIDES), ("status", STATUSES)):
        strange = set(sources[column].unique().to_list()) - set(known)
        if strange:
            raise SchemaError(
                f"column {column} of the sources holds {', '.join(map(str, strange))}; "
                f"known: {', '.join(known)}"
            )


def _check_options(
    depth: int, part: str, min_change: float, min_share: float, alpha: float, most_causes: int
) -> None:
    of_depth = "it must be 1 (values) or 2 (pairs of them too)"
    check_number("depth", depth, of_depth, lambda n: n in (1, 2), whole=True)
    if part not in PARTS:
        raise MatchError(f"part is {shown(part)}; it must be all, detection or masking")
    for name, value in (("min_change", min_change), ("min_share", min_share)):
        check_number(
            name, value, "give a part from 0 on, such as 0.05", lambda x: 0 <= x < math.inf
        )
    check_number("alpha", alpha, "it must lie between 0 and 1", lambda x: 0 < x < 1)
    check_number("most_causes", most_causes, _COUNT, lambda n: n >= 0, whole=True)
