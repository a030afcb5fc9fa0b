"""Objects: on the sky by their sources, one of them from near, its light curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from hitsduck.chartdata.asking import chosen, of_each
from hitsduck.chartdata.keeping import relation

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

MOST_OBJECTS = 3_000
#: Fewest sources of an object on the sky map, where objects have so many.
USUAL_SOURCES = 15
_OBJECT_SOURCES = {
    "rerun": pl.String,
    "object": pl.String,
    "id": pl.String,
    "visit": pl.String,
    "east_arcsec": pl.Float64,
    "north_arcsec": pl.Float64,
    "is_good": pl.Boolean,
    "psf_snr": pl.Float64,
    "psf_fwhm_arcsec": pl.Float64,
}
_LIGHT_CURVE = {
    "rerun": pl.String,
    "object": pl.String,
    "kind": pl.String,
    "id": pl.String,
    "midpointMjdTai": pl.Float64,
    "band": pl.String,
    "psfFlux": pl.Float64,
    "psfFluxErr": pl.Float64,
    "is_good": pl.Boolean,
}


def objects_on_sky(
    reruns: Reruns,
    name: str | None = None,
    *,
    min_sources: int | None = None,
    most: int = MOST_OBJECTS,
    where: str | None = None,
) -> pl.DataFrame:
    """Return the objects with many sources, none of which has a flag of the definition.

    Parameters
    ----------
    name : str, optional
        The rerun; the last by default.
    min_sources : int, optional
        Fewest sources. By default 15, for the helper module of the seed analysis took
        more than 14; half as many as the object with the most has, where that is less.
    most : int
        Of more objects those with the most sources are taken.
    where : str, optional
        One expression on ``dia_source``.

    Returns
    -------
    polars.DataFrame
        One row per object, most sources first: ``rerun``, ``id`` (as text), ``ra``,
        ``dec`` (deg), ``n_sources``, ``n_total`` (such objects in all),
        ``min_sources``.
    """
    (name,) = chosen(reruns, name or reruns.names[-1])
    sources = relation(reruns, name, "dia_source", where)
    return of_each(
        reruns,
        "dia_object",
        f"""
        select
            cast(object.diaObjectId as varchar) as id,
            object.ra,
            object.dec,
            per_object.n_sources,
            count(*) over () as n_total,
            per_object.min_sources
        from {{view}} as object
        inner join (
            select
                diaObjectId,
                count(*) as n_sources,
                coalesce(
                    cast($min_sources as bigint),
                    least({USUAL_SOURCES}, (max(n_sources) over () + 1) // 2)
                ) as min_sources
            from {sources}
            where diaObjectId is not null
            group by diaObjectId
            having bool_and(is_good)
            qualify n_sources >= min_sources
        ) as per_object using (diaObjectId)
        where isfinite(object.ra) and isfinite(object.dec)
        qualify row_number() over (order by n_sources desc, object.diaObjectId) <= $most
        order by n_sources desc, object.diaObjectId
        """,
        names=[name],
        where=where,
        parameters={"min_sources": min_sources, "most": most},
    )


def object_sources(reruns: Reruns, object_id: int | None, name: str | None = None) -> pl.DataFrame:
    """Return the sources of one object around it.

    Parameters
    ----------
    object_id : int or None
        Its diaObjectId; of None there is no row.
    name : str, optional
        The rerun; the last by default.

    Returns
    -------
    polars.DataFrame
        One row per source: ``rerun``, ``object``, ``id`` (as text), ``visit`` (as text),
        ``east_arcsec``, ``north_arcsec`` (from the object), ``is_good``, ``psf_snr``,
        ``psf_fwhm_arcsec``.

    Raises
    ------
    ResultNotFoundError
        There is no such object.
    """
    (name,) = chosen(reruns, name or reruns.names[-1])
    if object_id is None:
        return pl.DataFrame(schema=_OBJECT_SOURCES)
    rerun = reruns[name]
    thing = rerun.object(object_id, ["ra", "dec"])
    columns = ["diaSourceId", "visit", "ra", "dec", "is_good", "psf_snr", "psf_fwhm_arcsec"]
    sources = rerun.sources_for_object(object_id, columns).polars()
    apart = (pl.col("ra") - thing["ra"] + 540) % 360 - 180
    cos = pl.lit(thing["dec"], dtype=pl.Float64).radians().cos()
    return sources.select(
        pl.lit(name).alias("rerun"),
        pl.lit(str(object_id)).alias("object"),
        pl.col("diaSourceId").cast(pl.String).alias("id"),
        pl.col("visit").cast(pl.String),
        (apart * cos * 3600).alias("east_arcsec"),
        ((pl.col("dec") - thing["dec"]) * 3600).alias("north_arcsec"),
        "is_good",
        "psf_snr",
        "psf_fwhm_arcsec",
    )


def light_curve(reruns: Reruns, object_id: int | None, name: str | None = None) -> pl.DataFrame:
    """Return the difference fluxes of one object, of its sources and forced ones.

    Parameters
    ----------
    object_id : int or None
        Its diaObjectId; of None there is no row.
    name : str, optional
        The rerun; the last by default.

    Returns
    -------
    polars.DataFrame
        One row per measurement in order of time: ``rerun``, ``object``, ``kind``
        (``DIA source`` or ``forced``), ``id`` (as text), ``midpointMjdTai`` (d),
        ``band``, ``psfFlux``, ``psfFluxErr`` (nJy), ``is_good`` (NULL of a forced one).

    Raises
    ------
    ResultNotFoundError
        There is no such object.
    """
    (name,) = chosen(reruns, name or reruns.names[-1])
    if object_id is None:
        return pl.DataFrame(schema=_LIGHT_CURVE)
    rerun = reruns[name]
    rerun.object(object_id, ["diaObjectId"])  # raises where there is none
    shared = ["midpointMjdTai", "band", "psfFlux", "psfFluxErr"]
    parts = [
        rerun.sources_for_object(object_id, ["diaSourceId", *shared, "is_good"])
        .polars()
        .rename({"diaSourceId": "id"})
        .with_columns(pl.lit("DIA source").alias("kind")),
        rerun.forced_sources_for_object(object_id, ["diaForcedSourceId", *shared])
        .polars()
        .rename({"diaForcedSourceId": "id"})
        .with_columns(
            pl.lit("forced").alias("kind"), pl.lit(None, dtype=pl.Boolean).alias("is_good")
        ),
    ]
    typed = [
        part.with_columns(pl.lit(name).alias("rerun"), pl.lit(str(object_id)).alias("object"))
        .select(*_LIGHT_CURVE)
        .cast(_LIGHT_CURVE)  # type: ignore[arg-type]
        for part in parts
    ]
    return pl.concat(typed).sort("midpointMjdTai", "kind", maintain_order=True)
