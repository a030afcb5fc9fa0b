"""Cross-match of two tables: frames in, pairs of row numbers and separations out.

Sources are matched within their image, on the sky or in pixels; objects and outside
catalogues anywhere on the sky. The search itself is the same for all of them, and is in
:mod:`hitsduck.crossmatch_search`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import polars as pl

from hitsduck.crossmatch_search import (
    Catalog,
    all_rows,
    nearest_rows,
)
from hitsduck.crossmatch_sky import Floats, Indices, Part, sky_parts, sort_with_order, unit_vectors
from hitsduck.errors import MatchError

How = Literal["mutual", "best1", "best2", "all"]
Unit = Literal["arcsec", "px"]

_RADIUS_RANGE: dict[Unit, tuple[float, float]] = {
    "arcsec": (0.01, 3600.0),
    "px": (0.001, 100_000.0),
}
# Coordinates are rounded to multiples of this, far below their own precision, so that the
# square of no difference underflows: only equal positions are at distance zero.
_GRAIN = 2.0**-60
_LARGEST_PX = 1e7
# A position in degrees, as a double, is good to 1e-10 arcsec. Two sources 0.5 arcsec apart
# match at 0.5, whichever way the last bits of their distance were rounded.
_ROUNDING = 1e-9
# Rows of both sides that are matched in one go, unless one image or cell has more. Rows at
# the rim of a part of the sky are in its neighbours too; no row is in two parts of images.
_SKY_PART_ROWS = 1 << 18
# So few rows of both catalogues are matched whole: to cut them takes half as long as the search.
_UNCUT_SKY_ROWS = 1 << 19
_IMAGE_PART_ROWS = 1 << 16
_MAX_NAMES_SHOWN = 30


@dataclass(frozen=True, eq=False)
class Match:
    """The result of a cross-match.

    Attributes
    ----------
    pairs
        One row per matched pair, sorted by left_index, then right_index: `left_index` and
        `right_index` (UInt32; row numbers in the frames given), `sep_arcsec` or `sep_px`
        (Float64), `is_ambiguous` (Boolean; one of the two has another neighbour within the
        radius).
    n_left_unusable, n_right_unusable
        Number of rows that can match nothing: position NULL, NaN, infinite or out of
        range, or NULL in a column that tells images apart.
    n_ambiguous
        Number of pairs that are flagged `is_ambiguous`.
    """

    pairs: pl.DataFrame
    n_left_unusable: int
    n_right_unusable: int
    n_ambiguous: int


def match_images(
    left: pl.DataFrame,
    right: pl.DataFrame,
    *,
    radius_arcsec: float,
    how: How = "mutual",
    by: Sequence[str] = ("visit", "detector"),
    id_column: str = "diaSourceId",
    ra: str = "ra",
    dec: str = "dec",
) -> Match:
    """Match the sources of the same image by their positions on the sky.

    Parameters
    ----------
    left, right
        Frames of one row per source, with the columns named below.
    radius_arcsec
        Largest separation in arcsec, from 0.01 to 3600, inclusive.
    how
        `mutual`: each is the other's nearest within the radius. `best1`: the nearest right
        row of each left row. `best2`: the nearest left row of each right row. `all`: every
        pair within the radius. Of two at the same separation the lower id is nearer. Rows
        at exactly the same position of an image pair off in the order of their ids, first
        with first and second with second; one that is left over has no `mutual` partner,
        and the first as its `best1` or `best2`.
    by
        Columns that tell images apart; only rows equal in all of them match.
    id_column
        Column of ids (integers or strings, none NULL) that break ties.
    ra, dec
        Columns of right ascension (of any size) and declination, degrees.

    Returns
    -------
    Match
        Pairs with `sep_arcsec`, and the counts of what could not be matched. The order of
        rows and the number of threads do not change what is matched.

    Raises
    ------
    MatchError
        The radius or the rule is impossible, or columns are missing (all of them are
        named) or of the wrong type.

    Notes
    -----
    The separation is 2 arcsin(c / 2), with c the chord between the unit vectors, which is
    accurate at small angles, across RA 0 and at the poles.

    Examples
    --------
    >>> old = pl.DataFrame(
    ...     {"diaSourceId": [1, 2], "visit": 7, "detector": 3, "ra": 10.0, "dec": [0.0, 0.1]}
    ... )
    >>> new = old.with_columns(pl.col("dec") + 0.0001)
    >>> match = match_images(old, new, radius_arcsec=0.5)
    >>> match.pairs.with_columns(pl.col("sep_arcsec").round(6)).rows()
    [(0, 0, 0.36, False), (1, 1, 0.36, False)]
    """
    _check_question("arcsec", radius_arcsec, how)
    columns = _Columns((ra, dec), id_column, _as_names(by))
    return _match_within_images(left, right, "arcsec", radius_arcsec, how, columns)


def match_pixels(
    left: pl.DataFrame,
    right: pl.DataFrame,
    *,
    radius_px: float,
    how: How = "mutual",
    by: Sequence[str] = ("visit", "detector"),
    id_column: str = "diaSourceId",
    x: str = "x",
    y: str = "y",
) -> Match:
    """Match the sources of the same image by their pixel coordinates.

    Parameters
    ----------
    left, right
        Frames of one row per source, with the columns named below.
    radius_px
        Largest distance in pixels, from 0.001 to 100,000, inclusive.
    how, by, id_column
        As for :func:`match_images`.
    x, y
        Columns of pixel coordinates; beyond 10 million pixels they are out of range.

    Returns
    -------
    Match
        Pairs with `sep_px`, and the counts of what could not be matched.

    Raises
    ------
    MatchError
        As for :func:`match_images`.

    Examples
    --------
    >>> old = pl.DataFrame(
    ...     {"diaSourceId": [1, 2], "visit": 7, "detector": 3, "x": [10.0, 90.0], "y": 5.0}
    ... )
    >>> new = old.with_columns(pl.col("x") + 3.0, pl.col("y") + 4.0)
    >>> match_pixels(old, new, radius_px=5.0).pairs.rows()
    [(0, 0, 5.0, False), (1, 1, 5.0, False)]
    """
    _check_question("px", radius_px, how)
    columns = _Columns((x, y), id_column, _as_names(by))
    return _match_within_images(left, right, "px", radius_px, how, columns)


def match_sky(
    left: pl.DataFrame,
    right: pl.DataFrame,
    *,
    radius_arcsec: float,
    how: How = "mutual",
    left_id: str | None = "diaObjectId",
    right_id: str | None = "diaObjectId",
    left_ra: str = "ra",
    left_dec: str = "dec",
    right_ra: str = "ra",
    right_dec: str = "dec",
) -> Match:
    """Match two catalogues anywhere on the sky.

    Parameters
    ----------
    left, right
        Frames of one row per object, with the columns named below.
    radius_arcsec
        Largest separation in arcsec, from 0.01 to 3600, inclusive.
    how
        As for :func:`match_images`, with the whole sky as one image.
    left_id, right_id
        Columns of ids (integers or strings, none NULL) that break ties; None for a
        catalogue without ids, whose order of rows then breaks them.
    left_ra, left_dec, right_ra, right_dec
        Columns of right ascension (of any size) and declination, degrees.

    Returns
    -------
    Match
        Pairs with `sep_arcsec`, and the counts of what could not be matched.

    Raises
    ------
    MatchError
        As for :func:`match_images`.

    Examples
    --------
    >>> objects = pl.DataFrame({"diaObjectId": [1, 2], "ra": [0.0, 50.0], "dec": [0.0, 90.0]})
    >>> variables = pl.DataFrame({"name": ["u", "v"], "ra": [-1e-4, 230.0], "dec": [0.0, 89.9999]})
    >>> match = match_sky(objects, variables, radius_arcsec=1.0, right_id="name")
    >>> match.pairs.with_columns(pl.col("sep_arcsec").round(6)).rows()
    [(0, 0, 0.36, False), (1, 1, 0.36, False)]
    """
    _check_question("arcsec", radius_arcsec, how)
    left_columns = _Columns((left_ra, left_dec), left_id)
    right_columns = _Columns((right_ra, right_dec), right_id)
    _check_columns(left, left_columns, right, right_columns)
    left_side = _read(left, left_columns, "arcsec", None)
    right_side = _read(right, right_columns, "arcsec", None)
    n_rows = left_side.position[0].size + right_side.position[0].size
    parts = sky_parts(
        left_side.position,
        right_side.position,
        radius_arcsec=float(radius_arcsec),
        part_rows=n_rows if n_rows <= _UNCUT_SKY_ROWS else _SKY_PART_ROWS,
    )
    return _match(left_side, right_side, parts, "arcsec", float(radius_arcsec), how)


@dataclass(frozen=True)
class _Columns:
    """The names of the columns of one side."""

    position: tuple[str, str]
    id: str | None
    by: tuple[str, ...] = ()

    def names(self) -> list[str]:
        names = [*self.by, *self.position]
        return names if self.id is None else [*names, self.id]


@dataclass(frozen=True)
class _Side:
    """The usable rows of one side."""

    position: tuple[Floats, Floats]
    image: Indices | None
    row: Indices | None
    ids: pl.Series | None
    n_unusable: int

    def catalog(self, order: Indices | None, unit: Unit) -> Catalog:
        """Hand the rows to the search."""
        to_axes = partial(_axes, unit)
        return Catalog(*self.position, to_axes, self.image, self.row, self.ids, order)


def _as_names(by: Sequence[str]) -> tuple[str, ...]:
    return (by,) if isinstance(by, str) else tuple(by)


def _check_question(unit: Unit, radius: float, how: str) -> None:
    """Refuse a radius or a rule that makes no sense."""
    low, high = _RADIUS_RANGE[unit]
    is_number = isinstance(radius, int | float | np.number) and not isinstance(radius, bool)
    if not is_number or not low <= radius <= high:
        option = " (--radius-arcsec)" if unit == "arcsec" else ""
        raise MatchError(
            f"radius_{unit} must be a number from {low:g} to {high:g}, not {radius!r}{option}"
        )
    if how not in get_args(How):
        raise MatchError(f"how must be one of {', '.join(get_args(How))}, not {how!r}")


def _check_columns(
    left: pl.DataFrame, left_columns: _Columns, right: pl.DataFrame, right_columns: _Columns
) -> None:
    """Name all missing columns at once, then all those whose values are of no use."""
    missing, wrong = [], []
    for name, frame, columns in (("left", left, left_columns), ("right", right, right_columns)):
        absent = [column for column in columns.names() if column not in frame.columns]
        if absent:
            shown = ", ".join(frame.columns[:_MAX_NAMES_SHOWN]) or "no columns"
            n_more = len(frame.columns) - _MAX_NAMES_SHOWN
            shown += f" and {n_more} more" if n_more > 0 else ""
            missing.append(f"the {name} table lacks {', '.join(absent)} (it has {shown})")
            continue
        for column in columns.position:
            dtype = frame.schema[column]
            if not (dtype.is_numeric() or dtype == pl.Null):
                wrong.append(f"{column} of the {name} table is {dtype}, not a number")
        if columns.id is not None and (n_null := frame[columns.id].null_count()):
            wrong.append(f"{columns.id} of the {name} table is NULL in {n_null} rows")
    if missing or wrong:
        raise MatchError("cannot match: " + "; ".join(missing or wrong))


def _match_within_images(
    left: pl.DataFrame, right: pl.DataFrame, unit: Unit, radius: float, how: How, columns: _Columns
) -> Match:
    """Match rows whose image is the same."""
    _check_columns(left, columns, right, columns)
    left_image, right_image = _image_numbers(left, right, columns.by)
    left_side = _read(left, columns, unit, left_image)
    right_side = _read(right, columns, unit, right_image)
    assert left_side.image is not None
    assert right_side.image is not None
    parts = _image_parts(left_side.image, right_side.image)
    return _match(left_side, right_side, parts, unit, float(radius), how)


def _image_numbers(
    left: pl.DataFrame, right: pl.DataFrame, by: tuple[str, ...]
) -> tuple[pl.Series, pl.Series]:
    """Give images that both sides have a number, others -1, NULL where a column is NULL."""
    if not by:
        zeros = pl.zeros(max(left.height, right.height), dtype=pl.Int64, eager=True)
        return zeros.head(left.height), zeros.head(right.height)
    names = [str(number) for number in range(len(by))]
    keys = [
        frame.select(pl.col(column).alias(name) for column, name in zip(by, names, strict=True))
        for frame in (left, right)
    ]
    types = [
        f"{column} is {left.schema[column]} on the left and {right.schema[column]} on the right"
        for column in by
        if not _are_comparable(left.schema[column], right.schema[column])
    ]
    if types:
        raise MatchError(f"cannot match within images: {'; '.join(types)}")
    schema = pl.concat([key.clear() for key in keys], how="vertical_relaxed").schema
    floats = [name for name, dtype in schema.items() if dtype.is_float()]
    keys = [
        key.cast(
            {name: pl.Int64 if t == pl.Null else t for name, t in schema.items()}
        ).with_columns(pl.col(floats).fill_nan(None))
        for key in keys
    ]
    (left_first, left_run), (right_first, right_run) = map(_runs, keys)
    shared = (
        left_first.unique().join(right_first.unique(), on=names).sort(names).with_row_index("image")
    )
    left_image, right_image = (
        first.join(shared, on=names, how="left", maintain_order="left")
        .select(
            pl.when(pl.all_horizontal(pl.col(names).is_not_null())).then(
                pl.col("image").cast(pl.Int64).fill_null(-1)
            )
        )["image"]
        .gather(run)
        for first, run in ((left_first, left_run), (right_first, right_run))
    )
    return left_image, right_image


def _runs(key: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Take one row of each run of equal rows, and say for every row which run it is in.

    Sources come image by image as a rule, so that far fewer rows are left to be joined.
    """
    is_first = key.select(
        pl.any_horizontal(pl.all().ne_missing(pl.all().shift())) | (pl.int_range(pl.len()) == 0)
    ).to_series()
    return key.filter(is_first), is_first.cum_sum() - 1


def _image_parts(
    left_image: Indices, right_image: Indices
) -> tuple[Indices, Indices, Iterator[Part]]:
    """Cut two tables into parts of whole images, as `sky_parts` does with the sky."""
    n_images = int(max(left_image.max(initial=-1), right_image.max(initial=-1))) + 1
    n_left = np.bincount(left_image, minlength=n_images)
    n_right = np.bincount(right_image, minlength=n_images)
    part = np.cumsum(n_left + n_right) // _IMAGE_PART_ROWS
    last = np.flatnonzero(np.diff(part, append=-1)) + 1
    edges = [np.append(0, np.cumsum(count)[last - 1]).tolist() for count in (n_left, n_right)]

    def parts() -> Iterator[Part]:
        for left_edges, right_edges in zip(*map(pairwise, edges), strict=True):
            slots, others = np.arange(*left_edges), np.arange(*right_edges)
            yield slots, slots.size, others, others.size

    orders = [sort_with_order(image.copy())[1] for image in (left_image, right_image)]
    return orders[0], orders[1], parts()


def _are_comparable(one: pl.DataType, other: pl.DataType) -> bool:
    return one == other or pl.Null in (one, other) or (one.is_numeric() and other.is_numeric())


def has_position(first: str, second: str, unit: Unit) -> pl.Expr:
    """Return whether columns hold a position that can match: known, finite, in range.

    Parameters
    ----------
    first, second
        Right ascension and declination (deg), or x and y (px).
    unit
        ``arcsec`` on the sky, ``px`` on a detector.
    """
    one, other = pl.col(first), pl.col(second)
    if unit == "arcsec":
        is_position = one.is_finite() & other.is_between(-90.0, 90.0)
    else:
        is_position = (one.abs() <= _LARGEST_PX) & (other.abs() <= _LARGEST_PX)
    return is_position.fill_null(False)


def _read(frame: pl.DataFrame, columns: _Columns, unit: Unit, image: pl.Series | None) -> _Side:
    """Take the rows that can match out of a frame, and count those that never can."""
    is_position = has_position("first", "second", unit)
    table = frame.select(
        pl.col(columns.position[0]).cast(pl.Float64).alias("first"),
        pl.col(columns.position[1]).cast(pl.Float64).alias("second"),
    ).with_columns(is_usable=is_position)
    is_usable = table["is_usable"]
    is_shared = is_usable
    if image is not None:
        is_usable &= image.is_not_null()
        is_shared = is_usable & (image >= 0)
    row = None
    if not is_shared.all():
        row = np.flatnonzero(is_shared.to_numpy())
        table = table.filter(is_shared)
        image = None if image is None else image.filter(is_shared)
    return _Side(
        position=(table["first"].to_numpy(), table["second"].to_numpy()),
        image=None if image is None else image.to_numpy(),
        row=row,
        ids=None if columns.id is None else frame[columns.id],
        n_unusable=frame.height - int(is_usable.sum()),
    )


def _axes(unit: Unit, first: Floats, second: Floats) -> Floats:
    """Put positions where distance is Euclidean, rounded to the grain."""
    axes = unit_vectors(first, second) if unit == "arcsec" else np.stack([first, second])
    axes /= _GRAIN
    np.rint(axes, out=axes)
    axes *= _GRAIN
    axes += 0.0  # turns -0.0 into 0.0
    return axes


def _separation(distance2: Floats, unit: Unit, radius: float) -> Floats:
    """Turn squared distances, in place, into separations of `radius` at most."""
    separation = np.sqrt(distance2, out=distance2)
    if unit == "arcsec":
        separation /= 2.0
        np.arcsin(separation, out=separation)
        separation *= 2.0
        np.degrees(separation, out=separation)
        separation *= 3600.0
    return np.minimum(separation, radius, out=separation)


def _match(
    left_side: _Side,
    right_side: _Side,
    partition: tuple[Indices | None, Indices | None, Iterable[Part]],
    unit: Unit,
    radius: float,
    how: How,
) -> Match:
    """Search the parts, apply the rule, and turn distances into separations."""
    left_order, right_order, parts = partition
    left, right = left_side.catalog(left_order, unit), right_side.catalog(right_order, unit)
    reach = radius + _ROUNDING
    if unit == "arcsec":
        reach = 2.0 * np.sin(np.radians(reach / 3600.0) / 2.0)
    if how == "all":
        rows, others, distance2 = all_rows(left, right, parts, reach=reach)
        is_ambiguous = (np.bincount(rows)[rows] > 1) | (np.bincount(others)[others] > 1)
    else:
        wants_nearest = how != "best2", how != "best1"
        of_left, of_right = nearest_rows(
            left, right, parts, reach=reach, wants_nearest=wants_nearest
        )
        if how == "best2":
            others = np.flatnonzero(of_right.partner >= 0)
            rows = of_right.partner[others]
            distance2 = of_right.distance2[others]
        else:
            rows = left.matched(of_left.partner)
            if how == "mutual":
                rows = rows[of_right.partner[of_left.partner[rows]] == rows]
            others = of_left.partner[rows]
            distance2 = of_left.distance2[rows]
        is_ambiguous = of_left.has_others[rows] | of_right.has_others[others]
    pairs = pl.DataFrame(
        {
            "left_index": left.frame_rows(rows).astype(np.uint32),
            "right_index": right.frame_rows(others).astype(np.uint32),
            f"sep_{unit}": _separation(distance2, unit, radius),
            "is_ambiguous": is_ambiguous,
        }
    )
    if how in ("best2", "all"):
        pairs = pairs.sort("left_index", "right_index")
    n_unusable = left_side.n_unusable, right_side.n_unusable
    return Match(pairs, *n_unusable, n_ambiguous=int(is_ambiguous.sum()))
