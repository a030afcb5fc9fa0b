"""Two reruns of the same images, compared source by source."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from hitsduck import listing
from hitsduck.coverage import (
    IMAGE,
    Images,
    counts_of_images,
    coverage_counts,
    coverage_table,
    images_of_both,
    listed_images,
    n_elsewhere,
    shared_images,
)
from hitsduck.errors import QueryError
from hitsduck.evidence import Evidence
from hitsduck.limits import shown
from hitsduck.masking import REFLAGGED, UNUSABLE
from hitsduck.matching import Matching, Rule
from hitsduck.pairing import QUANTITIES, counts_by, differences, pair_frame
from hitsduck.results import frame_html
from hitsduck.sides import Side, read_together
from hitsduck.verdict import Decomposition, verdict

if TYPE_CHECKING:
    from hitsduck.edges import EdgeExcess
    from hitsduck.explanation import Explanation
    from hitsduck.turnover import ObjectLinks, Turnover

#: Columns that come along with every source of a comparison.
SOURCE_COLUMNS = (
    "diaSourceId",
    "diaObjectId",
    "visit",
    "detector",
    "band",
    "midpointMjdTai",
    "ra",
    "dec",
    "x",
    "y",
    "psfFlux",
    "psfFluxErr",
    "psf_snr",
)
#: Columns that `summary` and `verdict` ask for, beyond those that are matched.
SUMMARY_COLUMNS = ("x", "y", "good_definition_bits")
#: Sources nearer than this to a side of their detector count as at the edge (px).
EDGE_WITHIN_PX = 32.0


def columns_of_pairs(columns: Sequence[str]) -> tuple[str, ...]:
    """Return names of columns of pairs, each once; refuse none."""
    if not columns:
        raise QueryError("pairs() gives columns of the matched pairs: name one at least")
    return tuple(dict.fromkeys(columns))


def is_same(left: Side, right: Side) -> bool:
    """Return whether two names stand for the rows of one file, read directly or from a store."""
    if left.name == right.name:
        return True
    files = [side.reruns.attached(side.name).file for side in (left, right)]
    if files[0].path == files[1].path:
        return True
    # Of a store the APDB counts, as it was when it was read.
    (one, of_one), (other, of_other) = (file.read_from() for file in files)
    is_one = one == other or (one.exists() and other.exists() and os.path.samefile(one, other))
    return is_one and of_one == of_other


class Comparison:
    """Sources that two reruns share, and those that only one of them has.

    Made by `hitsduck.large.compare` (``reruns.compare(left, right)``). What was matched is
    known at once; frames, coverage and the rest are worked out when first asked for.

    Attributes
    ----------
    left, right : str
        Names of the reruns.
    left_path, right_path : str
        The files that the numbers came from.
    radius_arcsec : float or None
        None where sources were matched in pixels.
    radius_px : float or None
    how : str
        Match semantics: ``mutual``, ``best1``, ``best2`` or ``all``.
    good : bool
        Only good sources were compared.
    where : str or None
        The condition on both reruns' sources.
    same_file : bool
        Both names are the same file.
    n_left, n_right : int
        Sources that were compared.
    n_matched : int
        Pairs.
    n_left_unusable, n_right_unusable : int
        Compared sources without a usable position or image; never matched.
    n_left_only, n_right_only : int
        Compared sources without a partner.
    n_ambiguous : int
        Pairs of which one source has another neighbour within the radius.
    """

    def __init__(
        self, left: Side, right: Side, rule: Rule, *, good: bool, columns: Sequence[str] = ()
    ) -> None:
        matching = Matching(left, right, rule, good=good, columns=columns)
        self.left, self.right = left.name, right.name
        self.left_path, self.right_path = str(left.path), str(right.path)
        self.radius_arcsec, self.radius_px = rule.radius_arcsec, rule.radius_px
        self.how = rule.how
        self.good = good
        self.where = left.where
        self.same_file = is_same(left, right)
        self.n_left, self.n_right = (rows.len() for rows in matching.rows)
        self.n_matched = matching.match.pairs.height
        self.n_left_unusable = matching.match.n_left_unusable
        self.n_right_unusable = matching.match.n_right_unusable
        self.n_left_only, self.n_right_only = matching.n_only
        self.n_ambiguous = matching.match.n_ambiguous
        self._rule, self._matching, self._sides = rule, matching, matching.sides
        self._schema: str | None = None

    # -- the sources -----------------------------------------------------------

    @cached_property
    def matched(self) -> pl.DataFrame:
        """One row per matched pair.

        ``visit``, ``detector``, each column of `SOURCE_COLUMNS` once with ``_left``
        and once with ``_right``, ``sep_arcsec`` (or ``sep_px``), ``is_ambiguous``
        (another neighbour within the radius), and the differences that
        `hitsduck.pairing.pair_frame` lists (``delta_psf_flux_njy``,
        ``delta_ra_arcsec`` ...). In order of the left, then of the right diaSourceId.
        """
        return pair_frame(self._sources(0), self._sources(1), self._matching.match.pairs)

    def pairs(self, *columns: str) -> pl.DataFrame:
        """Return columns of `matched`, in any order of the pairs.

        Of large reruns it holds no more than these.

        Parameters
        ----------
        *columns : str
            One named twice comes once.

        Returns
        -------
        polars.DataFrame
            One row per pair.

        Raises
        ------
        QueryError
            `matched` has no such column, or none is named.
        """
        columns = columns_of_pairs(columns)
        unknown = [name for name in columns if name not in self.matched.columns]
        if unknown:
            known = ", ".join(self.matched.columns)
            raise QueryError(f"pairs have no {', '.join(map(shown, unknown))}; they have {known}")
        return self.matched.select(columns)

    @cached_property
    def left_only(self) -> pl.DataFrame:
        """One row per source of left without a partner, in order of diaSourceId.

        `SOURCE_COLUMNS`, ``why`` (``reflagged``: the other rerun has it, but not as a
        good source; ``absent``: it does not; ``unusable``: no position or image) and
        ``differing_flags`` (flags of the good definition that its partner has set).
        """
        return self._only(0)

    @cached_property
    def right_only(self) -> pl.DataFrame:
        """One row per source of right without a partner; columns as `left_only`."""
        return self._only(1)

    def _sources(self, side: int) -> pl.DataFrame:
        read_together(self._sides, SOURCE_COLUMNS)
        return self._sides[side].frame(*SOURCE_COLUMNS)[self._matching.rows[side]]

    def _only(self, side: int) -> pl.DataFrame:
        unmatched = self._sources(side).filter(self._matching.is_only[side])
        return pl.concat([unmatched, self._matching.reasons[side]], how="horizontal")

    # -- images ----------------------------------------------------------------

    @cached_property
    def _images(self) -> dict[str, Images]:
        with ThreadPoolExecutor(2) as pool:
            left, right = pool.map(listed_images, self._sides)
        return images_of_both(left, right, self._matching.image_counts)

    @cached_property
    def shared_images(self) -> pl.DataFrame:
        """The images that both reruns have, sorted: ``visit``, ``detector``.

        With those of `presumed_images`.
        """
        return shared_images(self._images["left"].every, self._images["right"].every)

    @cached_property
    def presumed_images(self) -> pl.DataFrame:
        """The images that a rerun without any source there is taken to have.

        A file without DetectorVisitProcessingSummary does not list its images. An image
        on which only the other rerun has sources counts as one of both where this one
        has the visit and that it found none may be chance (`hitsduck.coverage`).

        One row per image, sorted: ``visit``, ``detector``, ``side`` (the rerun without
        sources: ``left`` or ``right``), ``p_empty`` (of finding none on it), ``p_missing``
        (how probably the image is missing after all; at most 0.95). Both are NULL where
        the other rerun has no source there either.
        """
        parts = [
            images.presumed.with_columns(pl.lit(side).alias("side"))
            for side, images in self._images.items()
        ]
        order = (*IMAGE, "side", "p_empty", "p_missing")
        return pl.concat(parts).select(order).sort(*IMAGE, "side")

    def coverage(self) -> pl.DataFrame:
        """List the images that only one of the reruns has.

        A difference in coverage is no difference in sources: edges and explanations
        look only at images that both have (`shared_images`). What counts as having an
        image is said in `hitsduck.coverage`.

        Returns
        -------
        polars.DataFrame
            One row per image, sorted: ``visit``, ``detector``, ``side`` (``left`` or
            ``right``), ``n_dia_sources``, ``n_good_dia_sources``, ``n_only`` (part of
            `left_only` or `right_only` on it), ``rule`` (why the other rerun is said not
            to have it: ``not in DetectorVisitProcessingSummary``, ``nothing of the
            visit``, or ``no source, and hardly by chance``), ``p_missing`` (how probably
            it is missing, by the last of these; NULL by the others).
        """
        return self._coverage

    @cached_property
    def _coverage(self) -> pl.DataFrame:
        counts = {name: self._counts_of_images(k) for k, name in enumerate(("left", "right"))}
        return coverage_table(self._images, counts)

    def _counts_of_images(self, side: int) -> pl.DataFrame:
        sources = self._sides[side].frame(*IMAGE, "is_good")
        return counts_of_images(sources, self._matching.unmatched(side))

    # -- what changed ----------------------------------------------------------

    def by(self, *keys: str | pl.Expr) -> pl.DataFrame:
        """Count sources by the values of columns or expressions.

        Parameters
        ----------
        *keys : str or polars.Expr
            A column of ``dia_source``, ``dia_source_edge`` or
            ``dia_source_focal_plane``; a Polars expression over these; or a text
            that is one SQL expression over these.

        Returns
        -------
        polars.DataFrame
            One row per value, sorted by it: the keys, ``n_left``, ``n_right``,
            ``n_matched`` (pairs of which both sources have the value),
            ``n_left_only``, ``n_right_only``, ``change``.

        Raises
        ------
        QueryError
            A key is no column and no expression, or there is none; or its name is that of
            another key or of a count.

        Examples
        --------
        >>> comparison.by("visit", pl.col("psf_snr") > 10)  # doctest: +SKIP
        """
        if not keys:
            raise QueryError("by() counts by something: name a column or an expression")
        left, right = (
            listing.values_by(side, keys)[rows]
            for side, rows in zip(self._sides, self._matching.rows, strict=True)
        )
        return counts_by((left, right), self._matching.is_only, self._matching.match.pairs)

    def differences(self) -> pl.DataFrame:
        """Sum up the differences in flux and position; see `hitsduck.pairing.differences`."""
        return differences(self.pairs("visit", *QUANTITIES))

    def edges(self, *, within_px: float = EDGE_WITHIN_PX) -> EdgeExcess | None:
        """Measure whether new sources are concentrated at detector edges.

        Parameters
        ----------
        within_px : float
            Distance to the nearest side of the detector (px), above 0.

        Returns
        -------
        EdgeExcess or None
            None where the geometry is not known; `edge_problem` says why.

        Raises
        ------
        MatchError
            `within_px` is no such distance.
        """
        from hitsduck.edges import check_within, edge_excess

        check_within(within_px)
        if self.edge_problem is not None:
            return None
        return edge_excess(
            self.evidence.edge,
            geometry=self.evidence.geometry,
            images=self.shared_images,
            within_px=within_px,
        )

    @cached_property
    def edge_problem(self) -> str | None:
        """Why nothing can be said about edges; None where it can."""
        return self.evidence.edge_problem

    @cached_property
    def evidence(self) -> Evidence:
        """The sources that `edges` and `explain` look at, as frames."""
        return Evidence(self._matching.compared, self.shared_images)

    def explain(
        self, *, extra: Mapping[str, str | pl.Expr] | None = None, **options: Any
    ) -> Explanation:
        """Rank what the change is made of.

        Parameters
        ----------
        extra : mapping of str to column or expression, optional
            Further dimensions, named; each as `by` takes it. A name that a column has
            already is only for that column itself; those of the dimensions that are always
            there (`hitsduck.dimensions.NAMES`) are taken.
        **options
            As `hitsduck.explanation.explain` takes them: ``depth``, ``part`` ...

        Returns
        -------
        Explanation

        Raises
        ------
        QueryError
            `extra` is no mapping, or a name is that of another column or dimension.
        MatchError
            Another option is impossible.
        """
        from hitsduck.explanation import explain

        extra = {} if extra is None else extra
        sources = self.evidence.explanation_with(extra)
        geometry = self.evidence.geometry
        return explain(
            sources,
            images=self.shared_images,
            geometry=None if geometry.is_empty() else geometry,
            extra=tuple(extra),
            **options,
        )

    def turnover(self) -> Turnover:
        """Tell which objects stayed the same, split, merged, regrouped, came or went."""
        return self._object_links().turnover()

    def _object_links(self) -> ObjectLinks:
        from hitsduck.turnover import ObjectLinks

        left, right = (
            side.frame("diaObjectId")["diaObjectId"].gather(rows)
            for side, rows in zip(self._sides, self._matching.rows, strict=True)
        )
        return ObjectLinks.of(left, right, self._matching.match.pairs)

    # -- in words and numbers --------------------------------------------------

    def summary(self, *, within_px: float = EDGE_WITHIN_PX) -> dict[str, Any]:
        """Return the numbers of the comparison.

        Parameters
        ----------
        within_px : float
            For ``edge``.

        Returns
        -------
        dict
            ``left``, ``right``, ``radius_arcsec``, ``n_left``, ``n_right``,
            ``n_matched``, ``n_left_only``, ``n_right_only``, ``match``,
            ``n_ambiguous``, ``n_left_only_reflagged``, ``n_right_only_reflagged``,
            ``same_file``, ``coverage`` (``left_only``, ``right_only``: images;
            ``n_sources_left_only``, ``n_sources_right_only``: the part of n_left_only
            and n_right_only on them), ``edge`` (see `edges`; None where the geometry
            is not known), ``edge_problem`` (why there is no edge, or no interval of it),
            ``n_presumed_images`` (`presumed_images`), ``radius_px``, ``n_left_unusable``,
            ``n_right_unusable``, ``good``, ``where``, ``left_path``, ``right_path``.
        """
        edge = self.edges(within_px=within_px)
        return self.counts() | {
            "coverage": coverage_counts(self._coverage),
            "edge": None if edge is None else edge.to_dict(),
            "edge_problem": self.edge_problem if edge is None else edge.reason,
            "n_presumed_images": self.presumed_images.height,
            "radius_px": self.radius_px,
            "n_left_unusable": self.n_left_unusable,
            "n_right_unusable": self.n_right_unusable,
            "good": self.good,
            "where": self.where,
            "left_path": self.left_path,
            "right_path": self.right_path,
        }

    def counts(self) -> dict[str, Any]:
        """Return the part of `summary` that asks nothing about images and edges.

        Returns
        -------
        dict
            The keys of `summary` from ``left`` to ``same_file``.
        """
        return {
            "left": self.left,
            "right": self.right,
            "radius_arcsec": self.radius_arcsec,
            "n_left": self.n_left,
            "n_right": self.n_right,
            "n_matched": self.n_matched,
            "n_left_only": self.n_left_only,
            "n_right_only": self.n_right_only,
            "match": self.how,
            "n_ambiguous": self.n_ambiguous,
            "n_left_only_reflagged": self._reflagged[0],
            "n_right_only_reflagged": self._reflagged[1],
            "same_file": self.same_file,
        }

    @cached_property
    def _reflagged(self) -> tuple[int, int]:
        """How many sources of left, and of right, the other rerun has with other flags."""
        left, right = (int((frame["why"] == REFLAGGED).sum()) for frame in self._matching.reasons)
        return left, right

    def decomposition(self) -> Decomposition:
        """Return the net change in sources and the parts that add up to it."""
        unusable = self._unusable_elsewhere
        counts = self.counts() | {"coverage": coverage_counts(self._coverage)}
        return Decomposition.of(counts, unusable=unusable["right"] - unusable["left"])

    @cached_property
    def _unusable_elsewhere(self) -> dict[str, int]:
        """Sources of each side without a position, but for those on images only it has."""
        return {
            name: n_elsewhere(
                each.side.frame(*IMAGE)[each.rows.filter((each.why == UNUSABLE).fill_null(False))],
                self._coverage.filter(pl.col("side") == name),
            )
            for name, each in self._matching.compared.items()
        }

    def verdict(self, *, within_px: float = EDGE_WITHIN_PX) -> str:
        """Say in one line what changed, and what the change is made of.

        Percentages are of the sources that are new (of those that are gone where the
        number fell), and at the edge of the increase; see `hitsduck.verdict.verdict`.
        """
        edge = self.edges(within_px=within_px)
        counts = self.counts() | {
            "good": self.good,
            "coverage": coverage_counts(self._coverage),
        }
        return verdict(
            counts,
            None if edge is None else edge.to_dict(),
            unusable=self._unusable_elsewhere,
            shares_images=not self.shared_images.is_empty(),
        )

    def write(self, folder: str | os.PathLike[str], *, form: str = "parquet") -> dict[str, Path]:
        """Write the three lists, the most significant sources first.

        Parameters
        ----------
        folder : path-like
            Made where it is missing.
        form : {"parquet", "csv"}
            In CSV ids are quoted text and lists of flags are joined with ``;``.

        Returns
        -------
        dict of str to Path
            ``matched``, ``left_only``, ``right_only``.

        Raises
        ------
        QueryError
            An unknown format.
        OutputError
            The folder cannot be made.
        """
        return listing.write_lists(self._lists(), folder, form=form)

    def _lists(self) -> dict[str, pl.DataFrame]:
        return {name: getattr(self, name) for name in ("matched", "left_only", "right_only")}

    def register(self, schema: str | None = None) -> str:
        """Make the three lists relations of the reruns' database, for SQL.

        Parameters
        ----------
        schema : str, optional
            Where they go; ``comparison_1``, ``comparison_2`` ... by default, the
            first that is free.

        Returns
        -------
        str
            The schema: ``{schema}.matched``, ``{schema}.left_only``,
            ``{schema}.right_only``. The same one when asked again without a name.

        Raises
        ------
        RerunNameError
            The schema exists.
        """
        if schema is None and self._schema is not None:
            return self._schema
        self._schema = listing.register(self._sides[0].reruns, [self._lists()], schema)
        return self._schema

    def __repr__(self) -> str:
        """Return the counts in one line."""
        return (
            f"<Comparison {self.left} with {self.right}: {self.n_matched} matched within "
            f"{self._rule}, {self.n_left_only} only in {self.left}, "
            f"{self.n_right_only} only in {self.right}>"
        )

    def _repr_html_(self) -> str:
        counts = self.counts()
        rows = pl.DataFrame(
            {
                "rerun": [self.left, self.right],
                "sources": [self.n_left, self.n_right],
                "matched": [self.n_matched] * 2,
                "only here": [self.n_left_only, self.n_right_only],
                "of them flagged in the other": [
                    counts["n_left_only_reflagged"],
                    counts["n_right_only_reflagged"],
                ],
                "file": [self.left_path, self.right_path],
            }
        )
        kind = "Good sources" if self.good else "Sources"
        where = f", where {self.where}" if self.where else ""
        same = "; both names are the same file" if self.same_file else ""
        return frame_html(rows, f"{kind}{where}, matched within {self._rule}{same}")
