"""DiaObject versions and forced photometry, computed from the sources of a rerun."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from hitsduck.simulator.reruns import Realisation
from hitsduck.simulator.state import Instrument

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_PERCENTILES = (5, 25, 50, 75, 95)


def object_frame(instrument: Instrument, sources: pl.DataFrame) -> pl.DataFrame:
    """Return DiaObject: one row per kept version of each object.

    Version k of an object rests on its first k sources; it is valid from the time of
    the k-th to that of the next. The preset's `superseded_versions` older ones are
    kept at most (negative: all). Order: diaObjectId, validityStartMjdTai.

    Means are weighted with 1/psfFluxErr**2, Sigma is the standard deviation (n - 1),
    Chi2 is about the mean, as in lsst/meas_base (DiaObjectCalculation).
    """
    on = sources.filter(pl.col("diaObjectId").is_not_null()).sort("diaObjectId", "diaSourceId")
    object_id = on["diaObjectId"].to_numpy()
    n = len(object_id)
    start = np.flatnonzero(np.r_[True, object_id[1:] != object_id[:-1]]) if n else np.zeros(0, int)
    size = np.diff(np.r_[start, n])
    keep = instrument.preset.superseded_versions
    versions = size if keep < 0 else np.minimum(size, keep + 1)
    begin = np.repeat(start, versions)
    whole = np.repeat(size, versions)
    serial = np.arange(len(begin)) - np.repeat(np.cumsum(versions) - versions, versions)
    used = whole - np.repeat(versions, versions) + 1 + serial
    stop = begin + used

    pairs = np.column_stack([begin, stop]).ravel()

    def reduce(operation: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the operation over the sources of each version, [begin, stop)."""
        if not len(begin):
            return values[:0]
        # the last stop may be the end of the array, so one element is added
        reduced: npt.NDArray[Any] = operation.reduceat(np.r_[values, values[-1]], pairs)[::2]
        return reduced

    def add(values: Floats) -> Floats:
        return reduce(np.add, values)

    mjd = on["midpointMjdTai"].to_numpy()
    ra, dec = on["ra"].to_numpy(), on["dec"].to_numpy()
    pos_weight = 1.0 / on["raErr"].to_numpy().astype(np.float64) ** 2
    last = mjd[stop - 1] if n else mjd
    after = mjd[np.minimum(stop, max(n - 1, 0))] if n else mjd
    current = used == whole
    # means of positions are taken about the first source, which keeps their digits
    mean_ra = ra[begin] + add(ra - np.repeat(ra[start], size)) / used
    mean_dec = dec[begin] + add(dec - np.repeat(dec[start], size)) / used
    flagged = add((on["flags"].to_numpy() != 0).astype(np.float64)) > 0.5
    band = instrument.preset.band
    columns: dict[str, object] = {
        "diaObjectId": object_id[begin] if n else object_id,
        "validityStartMjdTai": last,
        "validityEndMjdTai": pl.Series(np.where(current, np.nan, after)).fill_nan(None),
        "ra": mean_ra,
        "raErr": 1.0 / np.sqrt(np.maximum(add(pos_weight), 1e-30)),
        "dec": mean_dec,
        "decErr": 1.0 / np.sqrt(np.maximum(add(pos_weight), 1e-30)),
        "radecMjdTai": last,
        "firstDiaSourceMjdTai": mjd[begin] if n else mjd,
        "lastDiaSourceMjdTai": last,
        "lastNonForcedSourceMjdTai": last,
        "nDiaSources": used.astype(np.int32),
        "flags": flagged.astype(np.int64),
        f"{band}_psfFluxNdata": used.astype(np.int32),
    }
    single = ["raErr", "decErr"]
    for name, flux_column, error_column in (
        ("psfFlux", "psfFlux", "psfFluxErr"),
        ("scienceFlux", "scienceFlux", "scienceFluxErr"),
    ):
        flux = on[flux_column].to_numpy()
        error = on[error_column].to_numpy().astype(np.float64)
        means = _flux_means(flux.astype(np.float64), error, used, add)
        for suffix, values in means.items():
            if name == "psfFlux" or suffix in ("Mean", "MeanErr", "Sigma"):
                columns[f"{band}_{name}{suffix}"] = values
                single.append(f"{band}_{name}{suffix}")
    flux = on["psfFlux"].to_numpy()
    columns[f"{band}_psfFluxMin"] = reduce(np.minimum, flux)
    columns[f"{band}_psfFluxMax"] = reduce(np.maximum, flux)
    columns[f"{band}_psfFluxErrMean"] = add(on["psfFluxErr"].to_numpy().astype(np.float64)) / used
    single.append(f"{band}_psfFluxErrMean")
    for name, values in _percentiles(flux.astype(np.float64), begin, used).items():
        columns[f"{band}_psfFlux{name}"] = values
        single.append(f"{band}_psfFlux{name}")
    return pl.DataFrame(columns).with_columns(pl.col(single).cast(pl.Float32).fill_nan(None))


def _flux_means(
    flux: Floats, error: Floats, used: Ints, add: Callable[[Floats], Floats]
) -> dict[str, Floats]:
    weight = 1.0 / error**2
    total = np.maximum(add(weight), 1e-300)
    mean = add(weight * flux) / total
    plain = add(flux) / used
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.maximum(add(flux * flux) - used * plain**2, 0.0) / (used - 1)
    return {
        "Mean": mean,
        "MeanErr": 1.0 / np.sqrt(total),
        "Sigma": np.where(used > 1, np.sqrt(variance), np.nan),
        "Chi2": np.where(
            used > 1, np.maximum(add(weight * flux * flux) - mean * mean * total, 0.0), 0.0
        ),
    }


def _percentiles(flux: Floats, begin: Ints, used: Ints) -> dict[str, Floats]:
    """Return percentiles (linear) and the median absolute deviation of each version."""
    row = np.repeat(np.arange(len(used)), used)
    first = np.cumsum(used) - used
    within = np.arange(len(row)) - np.repeat(first, used)
    values = flux[np.repeat(begin, used) + within]

    def at(ordered: Floats, percent: float) -> Floats:
        place = (used - 1) * (percent / 100.0)
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, used - 1)
        a, b = ordered[first + low], ordered[first + high]
        value: Floats = a + (b - a) * (place - low)
        return value

    ordered = values[np.lexsort((values, row))]
    result = {f"Percentile{p:02d}": at(ordered, p) for p in _PERCENTILES}
    deviation = np.abs(values - result["Percentile50"][row])
    result["MAD"] = at(deviation[np.lexsort((deviation, row))], 50)
    return result


def _mean_positions(on: pl.DataFrame) -> pl.DataFrame:
    """Return diaObjectId, mean ra and dec (deg), and first visit of every object."""
    ordered = on.select("diaObjectId", "diaSourceId", "ra", "dec", "visit").sort(
        "diaObjectId", "diaSourceId"
    )
    object_id = ordered["diaObjectId"].to_numpy()
    start = np.flatnonzero(np.r_[len(object_id) > 0, object_id[1:] != object_id[:-1]])
    size = np.diff(np.r_[start, len(object_id)])
    # summed here one after the other: the same digits whatever the number of threads
    means = {
        name: np.add.reduceat(ordered[name].to_numpy(), start) / size if len(start) else []
        for name in ("ra", "dec")
    }
    return (
        ordered[start]
        .select("diaObjectId", "visit")
        .with_columns(
            pl.Series("ra", means["ra"], dtype=pl.Float64),
            pl.Series("dec", means["dec"], dtype=pl.Float64),
        )
    )


def forced_frame(
    instrument: Instrument, realisation: Realisation, sources: pl.DataFrame, shift: int
) -> pl.DataFrame:
    """Return DiaForcedSource: forced photometry at the objects' positions.

    One row for each source with an object, and for `forced_extra_per_object` times the
    number of objects a row in a later visit of the same field where the object was
    not detected. (The real pipeline forces every object in every later visit.) Order:
    diaForcedSourceId.
    """
    preset, visits, plane = instrument.preset, instrument.visits, instrument.plane
    rng = instrument.stream(f"forced {realisation.spec.name}")
    on = sources.filter(pl.col("diaObjectId").is_not_null())
    objects = _mean_positions(on)
    ids = objects["diaObjectId"].to_numpy()
    wanted = round(preset.forced_extra_per_object * len(ids))
    pick = rng.integers(0, max(len(ids), 1), 3 * wanted if len(ids) else 0)
    ra, dec = objects["ra"].to_numpy()[pick], objects["dec"].to_numpy()[pick]
    first = np.searchsorted(visits.visit, objects["visit"].to_numpy()[pick])
    visit = rng.integers(0, len(visits), len(pick))
    chip = np.full(len(pick), -1, dtype=np.int64)
    x, y = np.zeros(len(pick)), np.zeros(len(pick))
    fits = (visit > first) & (visits.field[visit] == visits.field[first])
    for v in range(len(visits)):
        at = np.flatnonzero(fits & (visit == v))
        if len(at):
            wcs = plane.wcs(visits.ra[v], visits.dec[v])
            mm = wcs.wcs_world2pix(np.column_stack([ra[at], dec[at]]), 0)
            chip[at], x[at], y[at] = plane.locate(mm[:, 0], mm[:, 1])
    chips = len(plane.chips)
    gone = np.array([a * chips + b for a, b in realisation.state.missing], dtype=np.int64)
    fits &= (chip >= 0) & ~np.isin(visit * chips + chip, gone)
    extra = pl.DataFrame(
        {
            "diaObjectId": ids[pick][fits],
            "visit": visits.visit[visit[fits]],
            "detector": plane.numbers[chip[fits]].astype(np.int16),
            "ra": ra[fits],
            "dec": dec[fits],
            "x": x[fits].astype(np.float32),
            "y": y[fits].astype(np.float32),
            "midpointMjdTai": visits.mjd_tai[visit[fits]],
            "err": visits.noise_njy[visit[fits]],
            "noise": rng.standard_normal(int(fits.sum())),
        }
    )
    factor = 10 ** (-0.4 * realisation.state.mag)
    extra = (
        extra.unique(["diaObjectId", "visit"], keep="first", maintain_order=True)
        .join(
            on.select("diaObjectId", "visit"),
            on=["diaObjectId", "visit"],
            how="anti",
            maintain_order="left",
        )
        .head(wanted)
        .with_columns(
            (pl.col("noise") * pl.col("err") * factor).alias("psfFlux"),
            (pl.col("err") * factor).alias("psfFluxErr"),
        )
        .with_columns(
            (pl.col("psfFlux") * 0.99).alias("scienceFlux"),
            (pl.col("psfFluxErr") * 1.01).alias("scienceFluxErr"),
        )
    )
    detected = on.join(
        objects.select(
            "diaObjectId", pl.col("ra").alias("object_ra"), pl.col("dec").alias("object_dec")
        ),
        on="diaObjectId",
        how="left",
        maintain_order="left",
    ).select(
        "diaObjectId",
        "visit",
        "detector",
        pl.col("object_ra").alias("ra"),
        pl.col("object_dec").alias("dec"),
        "x",
        "y",
        "midpointMjdTai",
        (pl.col("psfFlux") * 0.997).alias("psfFlux"),
        "psfFluxErr",
        "scienceFlux",
        "scienceFluxErr",
    )
    frame = pl.concat(
        [
            detected.with_columns(
                pl.col("psfFlux", "psfFluxErr", "scienceFlux", "scienceFluxErr").cast(pl.Float32)
            ),
            extra.select(detected.columns).with_columns(
                pl.col("psfFlux", "psfFluxErr", "scienceFlux", "scienceFluxErr").cast(pl.Float32)
            ),
        ]
    ).sort("visit", "detector", "diaObjectId")
    image = pl.col("visit") * (plane.camera.id_factor or 1000) + pl.col("detector").cast(pl.Int64)
    serial = pl.int_range(1, pl.len() + 1).over("visit", "detector")
    place = frame["visit"].unique().sort()
    index = np.searchsorted(place.to_numpy(), frame["visit"].to_numpy())
    order = np.searchsorted(visits.visit, place.to_numpy())[index] if len(place) else index
    return frame.select(
        (image * (1 << shift) + serial).alias("diaForcedSourceId"),
        pl.all(),
        pl.lit(preset.band).alias("band"),
        pl.Series("timeProcessedMjdTai", realisation.spec.processed_mjd_tai + 0.01 * order + 0.001),
        pl.lit(0, dtype=pl.Int64).alias("flags"),
    )
