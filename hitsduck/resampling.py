"""Resampling units, and intervals from resampling them.

Sources of one image, and images of one visit, are not independent. So what is drawn
again are whole visits, or images where there are too few visits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from hitsduck.errors import MatchError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: With fewer visits than this, images are the units.
FEWEST_VISITS = 20
#: With fewer units than this there is no interval and no p-value.
FEWEST_UNITS = 10
#: A ratio has no interval where one of its four counts comes from fewer units than this.
FEWEST_UNITS_WITH_SOURCES = 5

_DETECTORS_PER_VISIT = 100_000


@dataclass(frozen=True, eq=False)
class Units:
    """The units that are resampled.

    Attributes
    ----------
    kind : str
        ``visit`` or ``image`` (``detector`` only in :func:`units_of_kind`).
    keys : numpy.ndarray
        One number per unit, sorted.
    reason : str or None
        Why nothing can be said about chance; None where it can.
    """

    kind: str
    keys: Ints
    reason: str | None

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, sources: pl.DataFrame) -> Ints:
        """Return the unit (0 to n - 1) of every row, from its ``visit`` and ``detector``.

        Raises
        ------
        MatchError
            A source lies on none of the images.
        """
        keys = _keys(sources, self.kind)
        at = np.searchsorted(self.keys, keys)
        at = np.minimum(at, len(self.keys) - 1)
        if len(keys) and not (len(self.keys) and np.array_equal(self.keys[at], keys)):
            strange = keys if not len(self.keys) else keys[self.keys[at] != keys]
            raise MatchError(
                f"{len(strange)} sources lie on images that are not among the shared ones"
            )
        return at


def resampling_units(images: pl.DataFrame) -> Units:
    """Choose the units: visits, or images where there are fewer than 20 visits.

    Parameters
    ----------
    images : polars.DataFrame
        One row per image that both reruns have: ``visit``, ``detector``.
    """
    visits = np.unique(_keys(images, "visit"))
    kind = "visit" if len(visits) >= FEWEST_VISITS else "image"
    keys = visits if kind == "visit" else np.unique(_keys(images, "image"))
    reason = None
    if len(keys) < FEWEST_UNITS:
        reason = (
            f"{len(visits)} visits with {len(keys)} images: fewer than {FEWEST_UNITS} "
            "units to resample"
        )
    return Units(kind, keys, reason)


def units_of_kind(images: pl.DataFrame, kind: str) -> Units:
    """Return the visits, detectors or images, however few.

    Parameters
    ----------
    images : polars.DataFrame
        As for :func:`resampling_units`.
    kind : {"visit", "detector", "image"}
    """
    return Units(kind, np.unique(_keys(images, kind)), None)


def _keys(frame: pl.DataFrame, kind: str) -> Ints:
    if kind != "image":
        return frame[kind].to_numpy().astype(np.int64)
    visit = frame["visit"].to_numpy().astype(np.int64)
    return np.asarray(visit * _DETECTORS_PER_VISIT + frame["detector"].to_numpy().astype(np.int64))


def draw_weights(n_units: int, *, n_resamples: int, seed: int) -> Floats:
    """Return how often each resample drew each unit, ``(n_resamples, n_units)``.

    Every resample draws `n_units` units with replacement (Efron 1979, Ann. Stat. 7, 1).
    The same arguments give the same numbers.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, n_units, (n_resamples, n_units))
    drawn += np.arange(n_resamples)[:, None] * n_units
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n_units)
    return counts.reshape(n_resamples, n_units).astype(np.float64)


@dataclass(frozen=True, eq=False)
class RatioIntervals:
    """Double ratios with their intervals, one element per group.

    `ratio` is NaN where a count that divides is zero; `low`, `high` and `p_value` are NaN
    where `reasons` says why.
    """

    ratio: Floats
    low: Floats
    high: Floats
    p_value: Floats
    reasons: list[str | None]


def double_ratios(
    counts: Floats,
    *,
    widening: Floats | None = None,
    reason: str | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> RatioIntervals:
    """Return (a / b) / (c / d) of sums over units, with bootstrap-t intervals.

    The logarithm of the ratio is studentised in every resample by its own linearised
    standard error, and the quantiles of that pivot give the interval (Hall 1988, Ann.
    Stat. 16, 927; Davison and Hinkley 1997, section 5.2): second-order right, which
    percentiles of a skewed ratio of few units are not.

    Parameters
    ----------
    counts : numpy.ndarray
        ``(n_units, n_groups, 4)``: a, b, c and d of every unit and group.
    widening : numpy.ndarray, optional
        ``(n_groups,)``: factor on the standard error, from :func:`two_way_widening`; the
        interval grows by it on both sides, in the logarithm of the ratio.
    reason : str, optional
        Why there can be no interval at all, from :class:`Units`.
    n_resamples, seed, level
        The same seed gives the same interval.

    Returns
    -------
    RatioIntervals
        `p_value` is two-sided, of the ratio being 1.
    """
    n_units, n_groups, _ = counts.shape
    total = counts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (total[:, 0] * total[:, 3]) / (total[:, 1] * total[:, 2])
    ratio[(total[:, 1:] == 0).any(axis=1)] = np.nan
    with_sources = (counts > 0).sum(axis=0)
    reasons = [reason or _too_thin(total[g], with_sources[g]) for g in range(n_groups)]
    low, high, p_value = (np.full(n_groups, np.nan) for _ in range(3))
    usable = [g for g in range(n_groups) if reasons[g] is None]
    factors = np.ones(n_groups) if widening is None else widening
    if usable:
        weights = draw_weights(n_units, n_resamples=n_resamples, seed=seed)
        for g in usable:
            log_ratio = np.log(ratio[g])
            error = _log_ratio_and_error(np.ones((1, n_units)), counts[:, g])[1][0]
            if error <= 0:
                reasons[g] = "every unit has the same counts"
                continue
            drawn, drawn_error = _log_ratio_and_error(weights, counts[:, g])
            with np.errstate(divide="ignore", invalid="ignore"):
                pivot = (drawn - log_ratio) / drawn_error
            # a resample that drew no source of one kind says nothing of where the pivot ends
            pivot = np.sort(pivot[np.isfinite(pivot)])
            error *= factors[g]
            tail = (1 - level) / 2
            first, last = np.quantile(pivot, [tail, 1 - tail])
            low[g] = np.exp(log_ratio - last * error)
            high[g] = np.exp(log_ratio - first * error)
            beyond = np.count_nonzero(np.abs(pivot) >= abs(log_ratio / error))
            p_value[g] = (1 + beyond) / (1 + len(pivot))
    return RatioIntervals(ratio, low, high, p_value, reasons)


def two_way_widening(by_unit: Floats, by_detector: Floats, by_image: Floats) -> Floats:
    """Return by how much the error grows for what one detector shares over all units.

    The same stars and the same flaws of a detector come back in every visit, at nearly
    the same place, which resampling whole visits does not see. With clusters in two
    directions that cross, variances add up to V_unit + V_detector - V_image (Cameron,
    Gelbach and Miller 2011, J. Bus. Econ. Stat. 29, 238, eq. 2.9; each with n / (n - 1)
    of its own clusters). The factor is sqrt(max(1, that / V_unit)): an estimate from few
    detectors may fall below V_unit, and then V_unit stands.

    Parameters
    ----------
    by_unit, by_detector, by_image : numpy.ndarray
        ``(n, n_groups, 4)``: the counts of :func:`double_ratios` in every unit, in every
        detector, and in every image.

    Returns
    -------
    numpy.ndarray
        ``(n_groups,)``: at least 1; 1 where there is no variance to compare with.
    """
    unit, detector, image = (_variances(counts) for counts in (by_unit, by_detector, by_image))
    with np.errstate(divide="ignore", invalid="ignore"):
        grown = (unit + detector - image) / unit
    return np.sqrt(np.where(np.isfinite(grown), np.maximum(grown, 1.0), 1.0))


def _variances(counts: Floats) -> Floats:
    once = np.ones((1, len(counts)))
    errors = [_log_ratio_and_error(once, counts[:, g])[1][0] for g in range(counts.shape[1])]
    return np.square(errors)


def _too_thin(total: Floats, with_sources: Ints) -> str | None:
    names = ("new sources within", "new sources inside", "matched within", "matched inside")
    for name, n, n_units in zip(names, total, with_sources, strict=True):
        if n_units < FEWEST_UNITS_WITH_SOURCES:
            return f"{n:.0f} {name}, in {n_units} units: too few for an interval"
    return None


def _log_ratio_and_error(weights: Floats, parts: Floats) -> tuple[Floats, Floats]:
    """Return log((a / b) / (c / d)) and its linearised standard error for every resample.

    The influence of unit u is a_u/A - b_u/B - c_u/C + d_u/D; the variance is the sum of
    their squares over the units drawn.
    """
    signs = np.array([1.0, -1.0, -1.0, 1.0])
    total = weights @ parts
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(total) @ signs
        scaled = signs / total
    variance = np.zeros(len(weights))
    with np.errstate(invalid="ignore"):
        for i in range(4):
            for j in range(i, 4):
                moment = weights @ (parts[:, i] * parts[:, j])
                variance += (1 if i == j else 2) * moment * scaled[:, i] * scaled[:, j]
        n = len(parts)
        return log_ratio, np.sqrt(np.maximum(variance, 0.0) * n / max(n - 1, 1))
