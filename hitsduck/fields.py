"""Fields on the sky: which visits look at the same place. Frames in, labels out."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from hitsduck.components import Ints, connected_components
from hitsduck.crossmatch_sky import Floats, unit_vectors

#: The radius of a visit holds this part of its sources, so that a few impossible
#: positions do not inflate it.
_PART_WITHIN_RADIUS = 0.98
_CHUNK = 1024
_CENTRE = ("cx", "cy", "cz")


def fields_of_visits(sources: pl.DataFrame) -> pl.DataFrame:
    """Group visits into fields by where their sources lie.

    Two visits overlap when the centre of one lies within the radius of the other;
    a field is a connected component of overlapping visits. So visits that share only
    a rim are different fields, and dithered visits of one pointing are one.

    Parameters
    ----------
    sources : polars.DataFrame
        One row per source: ``visit``, ``ra``, ``dec`` (deg). Rows without a visit or
        a usable position are left out.

    Returns
    -------
    polars.DataFrame
        One row per visit: ``visit``, ``field`` (right ascension and declination of
        the centre in degrees, such as ``150.1+2.2``), sorted by visit.
    """
    return fields_of(visit_extents(sources))


def visit_extents(sources: pl.DataFrame) -> pl.DataFrame:
    """Return where the sources of each visit lie.

    Parameters
    ----------
    sources : polars.DataFrame
        As for `fields_of_visits`.

    Returns
    -------
    polars.DataFrame
        One row per visit, sorted: ``visit``, ``cx``, ``cy``, ``cz`` (unit vector of the
        median), ``radius`` (the chord that nearly all sources lie within).
    """
    kept = sources.filter(
        pl.col("visit").is_not_null()
        & pl.col("ra").is_finite()
        & pl.col("dec").is_finite()
        & (pl.col("dec").abs() <= 90.0)
    )
    if kept.is_empty():
        numbers = dict.fromkeys((*_CENTRE, "radius"), pl.Float64)
        return pl.DataFrame(schema={"visit": sources.schema["visit"], **numbers})
    xyz = unit_vectors(kept["ra"].to_numpy(), kept["dec"].to_numpy())
    table = kept.select("visit", *(pl.Series(name, xyz[i]) for i, name in enumerate("xyz")))
    visits = table.group_by("visit").agg(pl.col("x", "y", "z").median()).sort("visit")
    centre = visits.select("x", "y", "z").to_numpy().T
    centre = centre / np.maximum(np.sqrt((centre**2).sum(axis=0)), 1e-9)
    visits = visits.select("visit", *(pl.Series(n, centre[i]) for i, n in enumerate(_CENTRE)))
    away = table.join(visits, on="visit").select(
        "visit",
        pl.sum_horizontal((pl.col(n) - pl.col(f"c{n}")) ** 2 for n in "xyz").sqrt().alias("chord"),
    )
    radius = away.group_by("visit").agg(
        pl.col("chord").quantile(_PART_WITHIN_RADIUS, "higher").alias("radius")
    )
    return visits.join(radius, on="visit").sort("visit")


def fields_of(extents: pl.DataFrame) -> pl.DataFrame:
    """Group visits into fields; see `fields_of_visits`.

    Parameters
    ----------
    extents : polars.DataFrame
        See `visit_extents`.

    Returns
    -------
    polars.DataFrame
        One row per visit, sorted: ``visit``, ``field``.
    """
    if extents.is_empty():
        return extents.select("visit", pl.lit(None, pl.String).alias("field"))
    centre = extents.select(_CENTRE).to_numpy().T
    component = _overlapping(centre, extents["radius"].to_numpy())
    return extents.select("visit", pl.Series("field", _labels(centre, component)))


def _overlapping(centre: Floats, radius: Floats) -> Ints:
    """Return the component of every visit."""
    n_visits = radius.size
    first, second = [], []
    for start in range(0, n_visits, _CHUNK):
        block = slice(start, start + _CHUNK)
        chord2 = np.maximum(2.0 - 2.0 * (centre[:, block].T @ centre), 0.0)
        reach = np.maximum(radius[block][:, None], radius[None, :])
        a, b = np.nonzero(chord2 <= reach**2)
        first.append(a + start)
        second.append(b)
    return connected_components(n_visits, np.concatenate(first), np.concatenate(second))


def _labels(centre: Floats, component: Ints) -> list[str]:
    """Return each visit's field as its middle in degrees, as precise as it must be."""
    n_fields = int(component.max()) + 1
    middle = [
        np.bincount(component, axis, n_fields) / np.bincount(component, minlength=n_fields)
        for axis in centre
    ]
    ra = np.degrees(np.arctan2(middle[1], middle[0])) % 360.0
    dec = np.degrees(np.arctan2(middle[2], np.hypot(middle[0], middle[1])))
    names: list[str] = []
    for digits in (1, 2, 4, 8):
        names = [f"{r:.{digits}f} {d + 0.0:+.{digits}f}" for r, d in zip(ra, dec, strict=True)]
        if len(set(names)) == n_fields:
            break
    else:
        width = math.ceil(math.log10(n_fields + 1))
        names = [f"{name} #{number:0{width}d}" for number, name in enumerate(names)]
    return [names[index] for index in component]
