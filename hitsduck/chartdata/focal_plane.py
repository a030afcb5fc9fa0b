"""Where on the detectors and in the focal plane sources lie, in bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from hitsduck.chartdata.asking import chosen, in_order, of_each, position_problem
from hitsduck.errors import InstrumentError, QueryError

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

#: Bins of the stacked detectors, in pixels.
DETECTOR_BIN_PX = 16
#: Sources farther outside of a detector's pixels than this are not drawn, only counted.
_MARGIN_PX = 128


def detector_outlines(reruns: Reruns, name: str) -> pl.DataFrame:
    """Return the corners of the science detectors of a rerun's camera.

    Returns
    -------
    polars.DataFrame
        Five rows per detector, around it and back: ``detector``, ``name``, ``corner``
        (0 to 4), ``focal_x_mm``, ``focal_y_mm``.

    Raises
    ------
    InstrumentError
        The camera is not known.
    """
    problem = position_problem(reruns, name)
    if problem:
        raise InstrumentError(problem)
    return reruns.query(
        f"""
        select
            detector,
            name,
            corner,
            cos_yaw * u_mm - sin_yaw * v_mm + offset_x_mm as focal_x_mm,
            sin_yaw * u_mm + cos_yaw * v_mm + offset_y_mm as focal_y_mm
        from (
            select
                *,
                (if(corner in (1, 2), right_px, left_px) - ref_x_px) * pixel_size_x_mm as u_mm,
                (if(corner in (2, 3), top_px, bottom_px) - ref_y_px) * pixel_size_y_mm as v_mm
            from {reruns.scope(name, "detector_geometry")}
            cross join range(5) as corners(corner)
            where detector_type = 0
        ) as cornered
        order by detector, corner
        """
    ).polars()


def focal_plane(
    reruns: Reruns, name: str | None = None, *, good: bool = True, where: str | None = None
) -> pl.DataFrame:
    """Return the sources of a rerun in bins of the focal plane.

    Parameters
    ----------
    reruns : Reruns
    name : str, optional
        The rerun; the last by default.
    good : bool
        Only good sources.
    where : str, optional
        One expression on ``dia_source``.

    Returns
    -------
    polars.DataFrame
        One row per filled bin of the view ``focal_plane_bin``, in order of x and y:
        ``rerun``, ``x_bin``, ``y_bin`` (bin k covers ``k * bin_mm`` to ``(k + 1) * bin_mm``
        of the focal plane), ``n``, ``bin_mm``, ``n_total`` (all sources of the rerun, also
        those without a position).

    Raises
    ------
    InstrumentError
        The camera is not known, or the file has no x and y.
    """
    (name,) = chosen(reruns, name or reruns.names[-1])
    problem = position_problem(reruns, name)
    if problem:
        raise InstrumentError(problem)
    column = "n_good_dia_sources" if good else "n_dia_sources"
    bins = of_each(
        reruns,
        "focal_plane_bin",
        f"select x_bin, y_bin, {column} as n, bin_mm from {{view}} where {column} > 0",
        names=[name],
        where=where,
    )
    n_total = pl.lit(bins["n"].sum(), dtype=pl.Int64).alias("n_total")
    return in_order(bins.drop_nulls("x_bin"), "x_bin", "y_bin").with_columns(n_total)


def detector_density(
    reruns: Reruns, name: str | None = None, *, good: bool = True, where: str | None = None
) -> pl.DataFrame:
    """Return the density of sources on every detector.

    Returns
    -------
    polars.DataFrame
        One row per detector with images: ``rerun``, ``detector``, ``n_images``,
        ``n_visits``, ``n``, ``density_deg2`` (per processed image and square degree),
        ``density_per_visit_deg2`` (over all visits, as the seed analysis had it).

    Raises
    ------
    InstrumentError
        The camera is not known.
    """
    (name,) = chosen(reruns, name or reruns.names[-1])
    kind = "good_" if good else ""
    return of_each(
        reruns,
        "detector_summary",
        f"""
        select
            detector,
            n_images,
            n_visits,
            n_{kind}dia_sources as n,
            {kind}density_deg2 as density_deg2,
            {kind}density_per_visit_deg2 as density_per_visit_deg2
        from {{view}}
        where detector is not null
        order by detector
        """,
        names=[name],
        where=where,
    )


def detector_frame(
    reruns: Reruns,
    names: Sequence[str] | str | None = None,
    *,
    detector: int | None = None,
    bin_px: int = DETECTOR_BIN_PX,
    good: bool = True,
    where: str | None = None,
) -> pl.DataFrame:
    """Bin the sources of some reruns by their place on the detector, all stacked or one.

    Parameters
    ----------
    names : sequence of str, optional
        The reruns; all by default.
    detector : int, optional
        Only this one.
    bin_px : int
        Size of a bin in pixels.
    good : bool
        Only good sources.
    where : str, optional
        One expression on ``dia_source``.

    Returns
    -------
    polars.DataFrame
        One row per rerun and filled bin: ``rerun``, ``x_bin``, ``y_bin`` (bin k covers
        ``k * bin_px`` to ``(k + 1) * bin_px`` from the lower side of the pixel area),
        ``n``, ``bin_px``, ``width_px``, ``height_px`` (of the largest detector), and
        ``n_total`` (all sources, also those with no position on a detector).

    Raises
    ------
    InstrumentError
        The camera is not known, or a file has no x and y.
    """
    wanted = chosen(reruns, names)
    parts = []
    for name in wanted:
        problem = position_problem(reruns, name)
        if problem:
            raise InstrumentError(problem)
        camera = reruns.attached(name).instrument.camera
        if detector is not None and camera is not None and detector not in camera.detectors:
            raise QueryError(
                f"rerun {name!r}: {camera.name} has no detector {detector}; its detectors: "
                f"{min(camera.detectors)} to {max(camera.detectors)} (--detector)"
            )
        geometry = reruns.scope(name, "detector_geometry")
        parts.append(
            of_each(
                reruns,
                "dia_source",
                f"""
                select
                    x_bin,
                    y_bin,
                    n,
                    cast($bin_px as integer) as bin_px,
                    width_px,
                    height_px,
                    sum(n) over () as n_total
                from (
                    select
                        case when is_near
                            then cast(floor((x - left_px) / $bin_px) as integer) end as x_bin,
                        case when is_near
                            then cast(floor((y - bottom_px) / $bin_px) as integer) end as y_bin,
                        count(*) as n
                    from (
                        select
                            source.x,
                            source.y,
                            geometry.left_px,
                            geometry.bottom_px,
                            source.x between left_px - $margin and right_px + $margin
                            and source.y between bottom_px - $margin and top_px + $margin as is_near
                        from {{view}} as source
                        left join {geometry} as geometry using (detector)
                        where (source.is_good or not $good)
                            and ($detector is null or source.detector = $detector)
                    ) as placed
                    group by x_bin, y_bin
                ) as binned
                cross join (
                    select
                        cast(max(right_px - left_px) as double) as width_px,
                        cast(max(top_px - bottom_px) as double) as height_px
                    from {geometry}
                    where case when $detector is null
                        then detector_type = 0 else detector = $detector end
                ) as size
                qualify x_bin is not null and y_bin is not null
                """,
                names=[name],
                where=where,
                parameters={
                    "bin_px": bin_px,
                    "good": good,
                    "detector": detector,
                    "margin": _MARGIN_PX,
                },
            ).cast({"n": pl.Int64, "n_total": pl.Int64})
        )
    return pl.concat(parts)
