"""The dimensions along which a change is looked at, and the value of each source in them.

A value is a short text, as it appears in :func:`hitsduck.explanation.explain`. Bins are
fixed beforehand, never drawn from the data, so that results of different pairs compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from hitsduck.errors import SchemaError
from hitsduck.listing import checked_columns

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.signedinteger[Any]]

#: The dimensions that are looked along wherever the sources have the columns.
NAMES = (
    "edge_within_px",
    "edge_side",
    "detector",
    "visit",
    "night",
    "field",
    "band",
    "column_band",
    "focal_radius_mm",
    "psf_snr",
    "magnitude",
    "seeing_arcsec",
    "flux_sign",
    "isDipole",
    "flag",
    "n_dia_sources",
)
#: Number of equal parts of a detector's columns.
COLUMN_BANDS = 16
#: AB magnitude of 1 nJy: 2.5 log10(3631e9), to the digits the APDB's users quote.
AB_MAGNITUDE_OF_1_NJY = 31.4
#: Value of a flux at or below zero, which has no magnitude.
NO_MAGNITUDE = "none (flux <= 0)"
#: Value of a source of which the quantity is not known.
UNKNOWN = "unknown"

_EDGE_WITHIN_PX = (8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
_SNR_BOUNDS = (5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 50.0, 100.0)
_OBJECT_BOUNDS = (1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0)
_SEEING_STEP_ARCSEC = 0.1
_MAGNITUDE_STEP = 0.5
_RADIUS_STEP_MM = 25.0
_USER_BINS = 10
#: A user's column that is no number has no more values.
MOST_USER_VALUES = 100

# How telling a dimension is, as a factor on the evidence. Where and when a source lies, and
# how bright it is, is a fact about the image; flags, shape and sign are verdicts of the
# pipeline, which follow from a place (an edge sets the flag `edge`) more often than they
# cause anything; and a detection that nobody made before makes an object of one source,
# whatever it comes from.
PLACE, VERDICT, ASSOCIATION = 1.0, 0.5, 0.1


@dataclass(frozen=True, eq=False)
class Dimension:
    """One dimension, and the value of every row in it.

    Attributes
    ----------
    name : str
    labels : tuple of str
        The values.
    codes : numpy.ndarray
        Position in `labels` of each row's value; -1 where it has none of them. In the
        smallest integers that hold one more than there are labels.
    nested : bool
        Each value takes in the earlier ones ("within 32 px" those within 16 px).
    weight : float
        How telling the dimension is.
    alike : bool
        Nothing tells its values apart but a number or date: they are expected to
        scatter alike.
    """

    name: str
    labels: tuple[str, ...]
    codes: Codes
    nested: bool = False
    weight: float = PLACE
    alike: bool = False

    def part(self, chosen: npt.NDArray[np.bool_]) -> Dimension:
        """Return the dimension of a part of the rows."""
        return replace(self, codes=self.codes[chosen])

    def rows_of(self, value: int) -> npt.NDArray[np.bool_]:
        """Return which rows have a value."""
        if self.nested:
            return np.asarray((self.codes >= 0) & (self.codes <= value))
        return np.asarray(self.codes == value)


def known_pairs(sources: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Return the rows of the left and right source of each pair, ``(n_pairs, 2)``.

    Pairs are told by ``match_id``, the same number on both sides; a number that one side
    has twice (several partners) tells none. Without that column none is known.
    """
    if "match_id" not in sources.columns:
        return np.empty((0, 2), dtype=np.int64)
    known = sources["match_id"].is_not_null().to_numpy()
    right = (sources["side"] == "right").to_numpy()
    number = sources["match_id"].fill_null(0).to_numpy()
    found = []
    for side in (~right, right):
        rows = np.flatnonzero(known & side)
        rows = rows[np.argsort(number[rows], kind="stable")]
        differs = number[rows][1:] != number[rows][:-1]
        found.append(rows[np.r_[True, differs][: len(rows)] & np.r_[differs, True][: len(rows)]])
    left_rows, right_rows = found
    _, i, j = np.intersect1d(
        number[left_rows], number[right_rows], assume_unique=True, return_indices=True
    )
    return np.stack([left_rows[i], right_rows[j]], axis=1).astype(np.int64)


def build_dimensions(
    sources: pl.DataFrame,
    *,
    geometry: pl.DataFrame | None = None,
    flags: Sequence[str] | None = None,
    extra: Sequence[str] = (),
) -> tuple[list[Dimension], list[str]]:
    """Return the dimensions of the sources, and the names of those that cannot be had.

    Parameters
    ----------
    sources : polars.DataFrame
        One row per source of either rerun; columns as for
        :func:`hitsduck.explanation.explain`.
    geometry : polars.DataFrame, optional
        One row per detector: ``detector``, ``left_px``, ``right_px``; for the column band.
    flags : sequence of str, optional
        Boolean columns; by default all but ``isDipole`` and `extra`.
    extra : sequence of str
        Columns of the user: numbers with many values are cut at their deciles.

    Raises
    ------
    SchemaError
        A column of `flags` or `extra` is missing, `flags` are not boolean, or a column of
        `extra` has the name of a dimension that is looked along anyway.
    QueryError
        `flags` or `extra` are no names.
    """
    extra = tuple(dict.fromkeys(checked_columns(extra, "extra")))
    twice = [name for name in extra if name in NAMES]
    if twice:
        raise SchemaError(already_looked_along(twice))
    if flags is None:
        flags = [
            name
            for name, kind in sources.schema.items()
            if kind == pl.Boolean and name != "isDipole" and name not in extra
        ]
    flags = tuple(dict.fromkeys(checked_columns(flags, "flags")))
    missing = [name for name in (*flags, *extra) if name not in sources.columns]
    if missing:
        raise SchemaError(
            f"the sources lack {', '.join(missing)}; they have {', '.join(sources.columns)}"
        )
    wrong = [name for name in flags if sources.schema[name] != pl.Boolean]
    if wrong:
        raise SchemaError(f"flags must be boolean columns; {', '.join(wrong)} are not")

    dimensions: list[Dimension] = []
    skipped: list[str] = []

    known = _known_on_both_sides(sources)

    def add(name: str, columns: Sequence[str], make: Callable[[], Dimension]) -> None:
        if known.issuperset(columns):
            dimensions.append(make())
        elif not sources.is_empty():
            skipped.append(name)

    def numbers(column: str) -> Floats:
        return sources[column].cast(pl.Float64).to_numpy()

    def category(column: str, weight: float = PLACE) -> Dimension:
        return _category(column, sources[column], weight)

    add("edge_within_px", ["edge_distance_px"], lambda: _edge_zones(numbers("edge_distance_px")))
    add("edge_side", ["edge_side"], lambda: category("edge_side"))
    for name in ("detector", "visit", "night", "field", "band"):
        add(name, [name], lambda name=name: replace(category(name), alike=True))  # type: ignore[misc]
    if geometry is None:
        skipped.append("column_band")
    else:
        add("column_band", ["x", "detector"], lambda: _column_bands(sources, geometry))
    add(
        "focal_radius_mm",
        ["focal_radius_mm"],
        lambda: _steps("focal_radius_mm", numbers("focal_radius_mm"), _RADIUS_STEP_MM),
    )
    add(
        "psf_snr",
        ["psf_snr"],
        lambda: _bins("psf_snr", np.abs(numbers("psf_snr")), _SNR_BOUNDS),
    )
    add("magnitude", ["psfFlux"], lambda: _magnitudes(numbers("psfFlux")))
    add(
        "seeing_arcsec",
        ["psf_fwhm_arcsec"],
        lambda: _steps("seeing_arcsec", _image_seeing(sources), _SEEING_STEP_ARCSEC),
    )
    for name in extra:
        add(name, [name], lambda name=name: _user(name, sources[name]))  # type: ignore[misc]
    add("flux_sign", ["psfFlux"], lambda: _signs(numbers("psfFlux")))
    add(
        "isDipole",
        ["isDipole"],
        lambda: _truths("isDipole", "true", sources["isDipole"]),
    )
    for name in flags:
        add(name, [name], lambda name=name: _truths("flag", name, sources[name]))  # type: ignore[misc]
    add("n_dia_sources", ["n_dia_sources"], lambda: _object_sizes(sources))
    return dimensions, skipped


def _known_on_both_sides(sources: pl.DataFrame) -> set[str]:
    """Return the columns that have a value in some source of each side that has sources.

    What one side was never asked (its generation lacks the column, or it was not stored)
    would look like a change of every one of its sources.
    """
    known = set(sources.columns)
    sides = sources["side"].unique() if "side" in sources.columns else [None]
    for side in sides:
        # One column after another: a copy of all would take as much memory again.
        of_side = pl.lit(value=True) if side is None else pl.col("side") == side
        counts = sources.select(pl.all().filter(of_side).null_count()).row(0, named=True)
        height = sources.height if side is None else int((sources["side"] == side).sum())
        known -= {name for name, n_null in counts.items() if n_null == height}
    return known if sources.height else set()


def already_looked_along(names: Sequence[str]) -> str:
    """Say that dimensions of these names are there without being asked for."""
    return (
        f"extra (--extra) {', '.join(names)}: an explanation looks along that in any case; leave "
        "it out, or choose another name for a dimension of your own"
    )


def _used(name: str, labels: Sequence[str], codes: Codes, *, weight: float = PLACE) -> Dimension:
    """Return the dimension without the values that no row has."""
    there = np.bincount(codes[codes >= 0], minlength=len(labels)) > 0
    new_code = np.where(there, np.cumsum(there) - 1, -1)
    # code -1 stays -1
    new_code = np.r_[new_code, -1].astype(np.min_scalar_type(-1 - int(there.sum())))
    return Dimension(
        name,
        tuple(label for label, used in zip(labels, there, strict=True) if used),
        new_code[codes],
        weight=weight,
    )


def _category(name: str, values: pl.Series, weight: float = PLACE) -> Dimension:
    kinds = values.drop_nulls().unique().sort()
    codes = values.replace_strict(
        kinds, pl.Series(np.arange(len(kinds), dtype=np.int32)), default=None, return_dtype=pl.Int32
    ).fill_null(len(kinds))
    labels = [*kinds.cast(pl.String).to_list(), UNKNOWN]
    return _used(name, labels, codes.to_numpy(), weight=weight)


def _text(bound: float) -> str:
    return f"{bound:g}"


def _bins(
    name: str, values: Floats, bounds: Sequence[float], *, weight: float = PLACE
) -> Dimension:
    """Cut at `bounds`; a bin holds its lower bound and not its upper one."""
    labels = [
        f"<{_text(bounds[0])}",
        *(f"{_text(a)}-{_text(b)}" for a, b in pairwise(bounds)),
        f">={_text(bounds[-1])}",
        UNKNOWN,
    ]
    codes = np.searchsorted(np.asarray(bounds), values, side="right").astype(np.int32)
    codes[np.isnan(values)] = len(labels) - 1
    return _used(name, labels, codes, weight=weight)


def _steps(name: str, values: Floats, step: float) -> Dimension:
    """Cut into bins of one width."""
    # a value on a bound, such as 1.1 = 11 * 0.1, must not fall below it by its last bit
    index = np.floor(values / step + 1e-9)
    is_known = np.isfinite(index)
    used = np.unique(index[is_known])  # of all bins up to an absurd value there may be billions
    decimals = max(0, -math.floor(math.log10(step)))
    labels = [f"{k * step:.{decimals}f}-{(k + 1) * step:.{decimals}f}" for k in map(int, used)]
    codes = np.where(is_known, np.searchsorted(used, index), len(labels)).astype(np.int32)
    return _used(name, [*labels, UNKNOWN], codes)


def _image_seeing(sources: pl.DataFrame) -> Floats:
    """Return the seeing of each source's image: the median over its sources of both reruns.

    Seeing is a fact about the image. Taken source by source, all sources of an image near
    a bound would change bins together from rerun to rerun.
    """
    seeing = pl.col("psf_fwhm_arcsec").cast(pl.Float64).fill_nan(None)
    of_image = sources.group_by("visit", "detector").agg(seeing.median())
    return (
        sources.select("visit", "detector")
        .join(of_image, on=["visit", "detector"], how="left", maintain_order="left")
        .to_series(2)
        .to_numpy()
    )


def _edge_zones(distance: Floats) -> Dimension:
    """Return the zones "within w px of an edge", each taking in the narrower ones."""
    codes = np.searchsorted(np.asarray(_EDGE_WITHIN_PX), distance, side="right").astype(np.int32)
    codes[(codes == len(_EDGE_WITHIN_PX)) | np.isnan(distance)] = -1
    codes = codes.astype(np.int8)
    return Dimension("edge_within_px", tuple(map(_text, _EDGE_WITHIN_PX)), codes, nested=True)


def _column_bands(sources: pl.DataFrame, geometry: pl.DataFrame) -> Dimension:
    sides = sources.select("detector", "x").join(
        geometry.select(
            pl.col("detector").cast(sources.schema["detector"]), "left_px", "right_px"
        ).unique("detector"),
        on="detector",
        how="left",
        maintain_order="left",
    )
    part = (sides["x"] - sides["left_px"]) / (sides["right_px"] - sides["left_px"])
    band = np.floor(part.cast(pl.Float64).to_numpy() * COLUMN_BANDS)
    codes = np.where(np.isfinite(band), np.clip(band, 0, COLUMN_BANDS - 1), COLUMN_BANDS)
    labels = [*(str(k) for k in range(COLUMN_BANDS)), UNKNOWN]
    return replace(_used("column_band", labels, codes.astype(np.int32)), alike=True)


def magnitudes(flux_njy: Floats) -> Floats:
    """Return AB magnitudes, 31.4 - 2.5 log10(flux / nJy); NaN where the flux is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flux_njy > 0, AB_MAGNITUDE_OF_1_NJY - 2.5 * np.log10(flux_njy), np.nan)


def _magnitudes(flux_njy: Floats) -> Dimension:
    dimension = _steps("magnitude", magnitudes(flux_njy), _MAGNITUDE_STEP)
    codes, labels = dimension.codes.copy(), [*dimension.labels, NO_MAGNITUDE]
    codes[flux_njy <= 0] = len(labels) - 1
    return _used("magnitude", labels, codes)


def _signs(flux_njy: Floats) -> Dimension:
    codes = np.select([flux_njy > 0, flux_njy < 0, flux_njy == 0], [0, 1, 2], 3)
    labels = ["positive", "negative", "zero", UNKNOWN]
    return _used("flux_sign", labels, codes.astype(np.int32), weight=VERDICT)


def _truths(name: str, label: str, values: pl.Series) -> Dimension:
    """Return a dimension of one value; NULL counts as not set."""
    is_set = values.cast(pl.Boolean).fill_null(value=False).to_numpy()
    return Dimension(name, (label,), is_set.astype(np.int8) - np.int8(1), weight=VERDICT)


def _object_sizes(sources: pl.DataFrame) -> Dimension:
    """Return the number of sources of each source's object.

    One more source of an object puts all its others in another bin, in every visit of
    theirs: they are one event, not many. So a matched source has the number that its
    partner in left has, where column ``match_id`` tells the partner.
    """
    values = sources["n_dia_sources"].cast(pl.Float64).to_numpy().copy()
    pairs = known_pairs(sources)
    values[pairs[:, 1]] = values[pairs[:, 0]]
    bounds = _OBJECT_BOUNDS
    labels = ["0"]
    for low, high in pairwise(bounds):
        labels.append(_text(low) if high == low + 1 else f"{_text(low)}-{_text(high - 1)}")
    labels += [f">={_text(bounds[-1])}", UNKNOWN]
    codes = np.searchsorted(np.asarray(bounds), values, side="right").astype(np.int32)
    codes[np.isnan(values)] = len(labels) - 1
    return _used("n_dia_sources", labels, codes, weight=ASSOCIATION)


def too_many_values(name: str, n_values: int) -> SchemaError:
    """Return the error of a user's column of so many values, or more, that are no numbers."""
    return SchemaError(
        f"column {name} has {n_values} different values or more; to explain a change by it, "
        f"it must be a number or have at most {MOST_USER_VALUES} values"
    )


def _user(name: str, values: pl.Series) -> Dimension:
    """Return a user's column: its values, or ten bins at the deciles of many numbers."""
    if values.n_unique() <= MOST_USER_VALUES and not values.dtype.is_float():
        return _category(name, values)
    if values.dtype.is_numeric():
        numbers = values.cast(pl.Float64).to_numpy()
        known = numbers[np.isfinite(numbers)]
        if len(np.unique(known)) <= _USER_BINS:
            return _category(name, values)
        cuts = np.unique(np.quantile(known, np.linspace(0, 1, _USER_BINS + 1)[1:-1]))
        return _bins(name, np.where(np.isfinite(numbers), numbers, np.nan), cuts.tolist())
    raise too_many_values(name, values.n_unique())
