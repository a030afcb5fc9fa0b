"""What edges and explanations are told from: the sources on images that both reruns have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from hitsduck import schema
from hitsduck.coverage import IMAGE
from hitsduck.dimensions import NAMES, already_looked_along
from hitsduck.errors import QueryError
from hitsduck.fields import fields_of, visit_extents
from hitsduck.limits import shown
from hitsduck.listing import values_of
from hitsduck.masking import UNUSABLE
from hitsduck.matching import Compared
from hitsduck.sides import Side

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

_FOCAL_PLANE = {"focal_x_mm": pl.Float64, "focal_y_mm": pl.Float64}
_EXTRA_WANTED = (
    'names with a column or an expression each are wanted, extra={"near": "edge_distance_px < 32"} '
    "(--extra NAME=EXPRESSION)"
)
#: Columns of the evidence alone, which no view has.
_OWN_NAMES = ("side", "status", "match_id", "row")
_ALWAYS = ("diaSourceId", "band", "x", "y", "psfFlux", "psf_snr", "isDipole")
#: Name of a status in a frame over both reruns: that of an unmatched source, by side.
_ABSENT = {"left": "gone", "right": "new"}


@dataclass(frozen=True)
class Problems:
    """What cannot be told of one rerun, in words for the user; None where it can.

    Attributes
    ----------
    position : str or None
        Edge distances and the focal plane.
    night : str or None
        Nights, for want of the site.
    seeing : str or None
        The PSF's size in arcsec.
    """

    position: str | None
    night: str | None
    seeing: str | None

    @classmethod
    def of(cls, reruns: Reruns, name: str) -> Problems:
        """Ask the definition of one rerun."""
        row = reruns.definitions.row(name)
        return cls(row["position_problem"], row["site_problem"], row["seeing_problem"])


def geometry_of(reruns: Reruns, name: str) -> pl.DataFrame:
    """Return the detectors of a rerun's camera, none where the camera is not known.

    Returns
    -------
    polars.DataFrame
        The view ``detector_geometry``: one row per detector.
    """
    return reruns.query(f"select * from {reruns.scope(name, 'detector_geometry')}").polars()


def check_extra(extra: Mapping[str, str | pl.Expr]) -> None:
    """Refuse what is no mapping of free names to a user's own dimensions.

    Raises
    ------
    QueryError
    """
    if not isinstance(extra, Mapping):
        raise QueryError(f"extra is {shown(extra)}; {_EXTRA_WANTED}")
    for name, key in extra.items():
        if not isinstance(name, str) or not name.strip():
            raise QueryError(f"extra: {shown(name)} is no name of a dimension; {_EXTRA_WANTED}")
        if name in NAMES:
            raise QueryError(already_looked_along([name]))
        is_itself = isinstance(key, str) and key == name
        if name in _OWN_NAMES or (name in Side.column_names() and not is_itself):
            raise QueryError(
                f"extra (--extra) {name}: a column of the sources is called so; choose another name"
            )


def named_values(
    sides: Sequence[Side], extra: Mapping[str, str | pl.Expr]
) -> dict[str, list[pl.Series]]:
    """Return the values of a user's own dimensions.

    Parameters
    ----------
    sides : sequence of Side
    extra : mapping
        Name -> column or expression.

    Returns
    -------
    dict
        Name -> values of all sources of each side.

    Raises
    ------
    QueryError
        `extra` is no such mapping, a name is taken, or an expression gives lists.
    """
    check_extra(extra)
    values = {name: [values_of(side, key) for side in sides] for name, key in extra.items()}
    for name, (column, *_) in values.items():
        if column.dtype.is_nested():
            raise QueryError(
                f"extra (--extra) {name}: gives {column.dtype} values; single values are "
                "wanted to explain by"
            )
    return values


class Evidence:
    """The sources of a comparison on images that both reruns have, as frames.

    Of reruns too large to hold, `hitsduck.held.HeldEvidence` is the same.

    Parameters
    ----------
    compared : mapping
        ``left`` and ``right``.
    images : polars.DataFrame
        The images that both reruns have: ``visit``, ``detector``.
    """

    def __init__(self, compared: Mapping[str, Compared], images: pl.DataFrame) -> None:
        self.compared = compared
        self.images = images

    @cached_property
    def geometry(self) -> pl.DataFrame:
        """The detectors of the right rerun's camera (view ``detector_geometry``)."""
        side = self.compared["right"].side
        return geometry_of(side.reruns, side.name)

    @cached_property
    def edge_problem(self) -> str | None:
        """Why nothing can be said about edges; None where it can."""
        sides = [each.side for each in self.compared.values()]
        return edge_problem(
            [(side.reruns, side.name) for side in sides], self.geometry, self.images
        )

    @cached_property
    def edge(self) -> pl.DataFrame:
        """What an edge excess is measured from; see `edge_evidence`."""
        return edge_evidence(self.compared, self.images)

    @cached_property
    def explanation(self) -> pl.DataFrame:
        """What an explanation is told from; see `explanation_evidence`."""
        return explanation_evidence(self.compared, self.images, self.edge)

    def explanation_with(self, extra: Mapping[str, str | pl.Expr]) -> pl.DataFrame:
        """Return `explanation` with dimensions of the user's own.

        Parameters
        ----------
        extra : mapping
            Name -> column or expression; see `named_values`.
        """
        values = named_values([each.side for each in self.compared.values()], extra)
        return with_values(self.explanation, values)


def with_values(evidence: pl.DataFrame, values: Mapping[str, Sequence[pl.Series]]) -> pl.DataFrame:
    """Return what an explanation is told from with further columns.

    Parameters
    ----------
    evidence : polars.DataFrame
        See `explanation_evidence`.
    values : mapping
        Name -> values of all sources of left, and of right.
    """
    for name, of_sides in values.items():
        parts = [
            side_values.gather(evidence.filter(pl.col("side") == side)["row"])
            for side, side_values in zip(_ABSENT, of_sides, strict=True)
        ]
        evidence = evidence.with_columns(pl.concat(parts).alias(name))
    return evidence


def edge_problem(
    reruns: Sequence[tuple[Reruns, str]], geometry: pl.DataFrame, images: pl.DataFrame
) -> str | None:
    """Return why nothing can be said about edges; None where it can.

    Parameters
    ----------
    reruns : sequence of (Reruns, str)
        Those that are compared.
    geometry : polars.DataFrame
        The view ``detector_geometry``.
    images : polars.DataFrame
        The images that both have: ``visit``, ``detector``.
    """
    for opened, name in reruns:
        problem = Problems.of(opened, name).position
        if problem is not None:
            return problem
    on_known = images["detector"].is_in(geometry["detector"].to_list())
    return None if on_known.any() else "no image of a known detector is in both reruns"


def edge_evidence(compared: Mapping[str, Compared], images: pl.DataFrame) -> pl.DataFrame:
    """Return what an edge excess is measured from.

    Parameters
    ----------
    compared : mapping
        ``left`` and ``right``.
    images : polars.DataFrame
        The images that both reruns have: ``visit``, ``detector``.

    Returns
    -------
    polars.DataFrame
        One row per compared source of either rerun on one of `images`; those without
        a usable position are left out. ``side`` (``left``, ``right``), ``status``
        (``matched``, ``new``: right only, ``gone``: left only, ``reflagged``),
        ``match_id`` (shared by the two sources of a pair), ``row`` (in the side),
        ``visit``, ``detector``, ``edge_distance_px``, ``edge_side`` (NULL where the
        geometry is not known).
    """
    parts = []
    for name, each in compared.items():
        kept = _placed(name, each).filter(pl.col("status") != UNUSABLE)
        parts.append(kept.join(images, on=IMAGE, how="semi", maintain_order="left"))
    return pl.concat(parts)


def edge_cells(compared: Mapping[str, Compared], bounds_px: Sequence[float]) -> pl.DataFrame:
    """Count the compared sources by image, status and nearness to an edge.

    Parameters
    ----------
    compared : mapping
        ``left`` and ``right``.
    bounds_px : sequence of float
        Distances to the nearest side (pixel) up to which is to be counted.

    Returns
    -------
    polars.DataFrame
        `edge_evidence` of all images, sources without a usable position (``unusable``)
        with it, as counts: ``side``, ``status``, ``visit``, ``detector``,
        ``edge_distance_px`` (the largest bound that the distance reaches, 0 below all;
        NULL where it is not known), ``n_sources``.
    """
    distance = pl.col("edge_distance_px")
    reached: pl.Expr = pl.when(distance.is_finite()).then(0.0)
    for bound in sorted(bounds_px):
        reached = pl.when(distance.is_finite() & (distance >= bound)).then(bound).otherwise(reached)
    nearness = reached.alias("edge_distance_px")
    return pl.concat(
        [
            _placed(name, each)
            .with_columns(nearness)
            .group_by("side", "status", *IMAGE, "edge_distance_px")
            .agg(pl.len().cast(pl.Int64).alias("n_sources"))
            for name, each in compared.items()
        ]
    )


def _placed(name: str, each: Compared) -> pl.DataFrame:
    """Return the compared sources of one side with status and distance to an edge."""
    geometry = geometry_of(each.side.reruns, each.side.name)
    frame = edge_distances(each.side.frame(*IMAGE, "x", "y")[each.rows], geometry)
    return frame.select(
        pl.lit(name).alias("side"),
        pl.Series("status", each.why).replace("absent", _ABSENT[name]).fill_null("matched"),
        each.match_id.alias("match_id"),
        each.rows.alias("row"),
        *IMAGE,
        "edge_distance_px",
        "edge_side",
    )


def edge_distances(positions: pl.DataFrame, geometry: pl.DataFrame) -> pl.DataFrame:
    """Add the distance to the nearest side of the detector, as ``dia_source_edge`` has it.

    In memory already, so no file is read again; a test holds both definitions equal.

    Parameters
    ----------
    positions : polars.DataFrame
        ``detector``, ``x``, ``y`` (px) and any others.
    geometry : polars.DataFrame
        The view ``detector_geometry``.

    Returns
    -------
    polars.DataFrame
        The rows and columns of `positions`, ``edge_distance_px`` (negative outside)
        and ``edge_side``: NULL where the detector or the position is not known.
    """
    to_side = {
        "left": pl.col("x") - pl.col("left_px"),
        "right": pl.col("right_px") - pl.col("x"),
        "bottom": pl.col("y") - pl.col("bottom_px"),
        "top": pl.col("top_px") - pl.col("y"),
    }
    sides = geometry.select("detector", *(f"{side}_px" for side in to_side))
    placed = positions.join(sides, on="detector", how="left", maintain_order="left").with_columns(
        distance.alias(f"to_{side}") for side, distance in to_side.items()
    )
    distances = [pl.col(f"to_{side}") for side in to_side]
    is_known = pl.all_horizontal(distance.is_not_null() for distance in distances)
    nearest = pl.when(is_known).then(pl.min_horizontal(distances))
    side_of = pl.lit(None, pl.String)
    for side in reversed(to_side):
        side_of = pl.when(nearest == pl.col(f"to_{side}")).then(pl.lit(side)).otherwise(side_of)
    return placed.select(
        *positions.columns, nearest.alias("edge_distance_px"), side_of.alias("edge_side")
    )


def explanation_evidence(
    compared: Mapping[str, Compared], images: pl.DataFrame, base: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return what an explanation is told from.

    Parameters
    ----------
    compared, images
        As for :func:`edge_evidence`.
    base : polars.DataFrame, optional
        What that function gave.

    Returns
    -------
    polars.DataFrame
        The rows of :func:`edge_evidence`, left before right, and further columns:
        ``diaSourceId``, ``band``, ``x``, ``y`` (px), ``psfFlux`` (nJy), ``psf_snr``,
        ``isDipole``, ``night``, ``psf_fwhm_arcsec``, ``field`` (`hitsduck.fields`),
        ``focal_radius_mm``, ``n_dia_sources`` (of the source's object, in its own
        rerun), and every flag that one of the files holds. What cannot be told is
        NULL.
    """
    base = edge_evidence(compared, images) if base is None else base
    sides = [each.side for each in compared.values()]
    with ThreadPoolExecutor(len(sides)) as pool:
        sizes = list(pool.map(lambda side: sources_of_objects(side.reruns, side.name), sides))
    return with_fields(with_details(base, sides, sizes), extents_of(sides))


def extents_of(sides: Sequence[Side]) -> pl.DataFrame:
    """Return where the visits of some sides lie (`hitsduck.fields.visit_extents`)."""
    positions = [side.frame("visit", "ra", "dec") for side in sides]
    return visit_extents(pl.concat(positions, how="vertical_relaxed"))


def with_fields(evidence: pl.DataFrame, extents: pl.DataFrame) -> pl.DataFrame:
    """Add the ``field`` of each source's visit."""
    return evidence.join(fields_of(extents), on="visit", how="left", maintain_order="left")


def with_details(
    base: pl.DataFrame, sides: Sequence[Side], sizes: Sequence[pl.DataFrame]
) -> pl.DataFrame:
    """Add what an explanation looks along, but for ``field``.

    Parameters
    ----------
    base : polars.DataFrame
        See `edge_evidence`.
    sides : sequence of Side
        Left and right.
    sizes : sequence of polars.DataFrame
        `sources_of_objects` of each.
    """
    flags = _flags(sides)
    with ThreadPoolExecutor(len(sides)) as pool:
        details = list(pool.map(lambda side, of: _details(side, flags, of), sides, sizes))
    parts = []
    for name, of_side in zip(_ABSENT, details, strict=True):
        rows = base.filter(pl.col("side") == name)
        parts.append(pl.concat([rows, of_side[rows["row"]]], how="horizontal"))
    return pl.concat(parts, how="vertical_relaxed")


def _flags(sides: Sequence[Side]) -> tuple[str, ...]:
    """Return the flags that at least one of the files holds, in the order of the schema."""
    held = {
        flag
        for side in sides
        for flag in schema.flags_in_file(side.reruns.attached(side.name).file.tables["DiaSource"])
    }
    return tuple(flag for flag in schema.flag_names() if flag in held)


def _problems(side: Side) -> Problems:
    return Problems.of(side.reruns, side.name)


def _details(side: Side, flags: tuple[str, ...], sizes: pl.DataFrame) -> pl.DataFrame:
    """Return the further columns of all sources of one rerun."""
    problems = _problems(side)
    unknown: dict[str, pl.DataType | type[pl.DataType]] = {}
    asked = [*_ALWAYS, *flags]
    for column, kind, problem in (
        ("night", pl.Date, problems.night),
        ("psf_fwhm_arcsec", pl.Float64, problems.seeing),
    ):
        if problem:
            unknown[column] = kind
        else:
            asked.append(column)
    if problems.position:
        unknown["focal_radius_mm"] = pl.Float64
        radius = []
    else:
        focal = side.frame(*_FOCAL_PLANE)
        radius = [(focal["focal_x_mm"] ** 2 + focal["focal_y_mm"] ** 2).sqrt()]
    frame = side.frame(*asked).with_columns(
        *(series.alias("focal_radius_mm") for series in radius),
        *(pl.lit(None, kind).alias(name) for name, kind in unknown.items()),
        _sizes(side, sizes).alias("n_dia_sources"),
    )
    order = (*_ALWAYS, "night", "psf_fwhm_arcsec", "focal_radius_mm", "n_dia_sources", *flags)
    return frame.select(order)


def sources_of_objects(reruns: Reruns, name: str) -> pl.DataFrame:
    """Count the sources of each object of a rerun, whatever the condition on sources.

    Returns
    -------
    polars.DataFrame
        One row per object with a source: ``diaObjectId``, ``n_dia_sources``.
    """
    view = reruns.scope(name, "dia_source")
    return reruns.query(
        f"select diaObjectId, count(*) as n_dia_sources from {view} "
        "where diaObjectId is not null group by diaObjectId"
    ).polars()


def _sizes(side: Side, sizes: pl.DataFrame) -> pl.Series:
    """Return for each source how many its object has."""
    own = side.frame("diaObjectId")
    return own.join(sizes, on="diaObjectId", how="left", maintain_order="left")["n_dia_sources"]
