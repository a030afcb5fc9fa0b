"""Is the change of a value more than its share, and more than chance: arrays in and out.

Every value of every dimension splits the sources in two, those that have it and the
others. Tested is whether both changed by the same factor between the reruns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: A count of one unit: exact up to 2^24 sources of a visit, and of pairs of values there are
#: many.
CELL = np.float32
Cells = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

# With fewer units than this behind a value, their own scatter says too little.
_FEWEST_OWN_UNITS = 10


@dataclass(frozen=True, eq=False)
class Counts:
    """Sources of both reruns by resampling unit and value.

    Attributes
    ----------
    left, right : numpy.ndarray
        ``(n_units, n_values)``: sources with the value, as `CELL`.
    left_all, right_all : numpy.ndarray
        ``(n_units,)``: all sources.
    unmatched : numpy.ndarray
        ``(n_values,)``: sources of either rerun that have the value and no partner that
        has it too.
    unmatched_all : float
        All sources without a partner.
    """

    left: Cells
    right: Cells
    left_all: Floats
    right_all: Floats
    unmatched: Floats
    unmatched_all: float

    @property
    def n_left(self) -> Floats:
        """Sources of left with each value."""
        return np.asarray(self.left.sum(axis=0, dtype=np.float64))

    @property
    def n_right(self) -> Floats:
        """Sources of right with each value."""
        return np.asarray(self.right.sum(axis=0, dtype=np.float64))

    def columns(self, at: npt.NDArray[np.intp] | slice) -> Counts:
        """Return the counts of some of the values."""
        return Counts(
            self.left[:, at],
            self.right[:, at],
            self.left_all,
            self.right_all,
            self.unmatched[at],
            self.unmatched_all,
        )

    def minus(self, other: Counts) -> Counts:
        """Return the counts without those of a part of the sources."""
        return Counts(
            self.left - other.left,
            self.right - other.right,
            self.left_all - other.left_all,
            self.right_all - other.right_all,
            self.unmatched - other.unmatched,
            self.unmatched_all - other.unmatched_all,
        )


@dataclass(frozen=True, eq=False)
class Tests:
    """The outcome for every value; arrays of ``n_values``.

    Attributes
    ----------
    n_left, n_right, change : numpy.ndarray
    expected : numpy.ndarray
        Change in proportion to all sources.
    excess : numpy.ndarray
        change - expected.
    error : numpy.ndarray
        Standard error of the excess.
    dispersion : numpy.ndarray
        The units' own scatter of the excess over that of the model, at least 1.
    p_value : numpy.ndarray
        Of the excess being no larger than the margin; NaN where it cannot be told.
    p_nonzero : numpy.ndarray
        Of there being no excess at all, whatever the margin.
    gain : numpy.ndarray
        Likelihood-ratio statistic (G) of the two parts having changed by different
        factors, over their having changed by the same: how much a value explains. What
        the common factor gives is taken as half a source at least.
    leads : numpy.ndarray
        The value changed in the direction of its excess: it is not merely diluted by a
        change elsewhere.
    """

    n_left: Floats
    n_right: Floats
    change: Floats
    expected: Floats
    excess: Floats
    error: Floats
    dispersion: Floats
    p_value: Floats
    p_nonzero: Floats
    gain: Floats
    leads: Bools


def score_values(
    counts: Counts,
    *,
    min_change: float,
    margin_sources: float,
    dispersion: Floats | float = 1.0,
    pooled: Bools | None = None,
) -> Tests:
    """Test every value.

    With l, r the sources of left and right with the value, d = r - l, and L, R, D those
    of all, the expected change is l D / L and the excess E = d - l D / L. With pi = l / L,
    rho_in = d / l, and rho_out the same of the sources without the value, E is
    (1 - pi) d_in - pi d_out, so that per unit u its scatter is that of
    (1 - pi) (d_in,u - rho_in l_in,u) - pi (d_out,u - rho_out l_out,u). Their squares,
    each part divided by 1 - leverage (the delete-one-unit jackknife; MacKinnon and White
    1985, J. Econometrics 29, 305, HC3; by cluster, Bell and McCaffrey 2002, Survey
    Methodology 28, 169), give a variance that allows for any dependence within a unit.

    A value that lives in few units (a visit, a short night) has no scatter of its own.
    So the variance is never less than that of a model: sources found in one rerun alone
    (or with the value in one alone) are at least Poisson, and the factor of a whole unit
    varies by as much as it does among the sources without the value,
    (1 - pi)^2 T_in + pi^2 T_out + tau^2 sum_u (l_in,u - pi L_u)^2, T being the unmatched
    sources (T_in at least |rho_out| l_in) and tau^2 from the moments of
    d_out,u - rho_out l_out,u.

    The p-value is that of |E| against the margin min(min_change l, margin_sources), by
    Student's t; with both zero it is the usual two-sided one.

    Parameters
    ----------
    counts : Counts
    min_change : float
        Part of the value's own sources that an excess must exceed to matter.
    margin_sources : float
        Number of sources that matters in any case.
    dispersion : numpy.ndarray or float
        Factor on the variance of the model: 1, or more where the scatter within units is
        known to be above Poisson.
    pooled : numpy.ndarray, optional
        Values for which the model with this factor is all: those that scatter as their
        siblings do, from which the factor is known. A value that stands out in a few units
        scatters more than they, because it stands out.
    """
    from scipy.special import stdtr, xlogy

    left, right = counts.left.astype(np.float64), counts.right.astype(np.float64)
    left_all, right_all = counts.left_all[:, None], counts.right_all[:, None]
    out_left, out_right = left_all - left, right_all - right
    n_units = len(left)
    l_in, r_in = counts.n_left, counts.n_right
    l_out, r_out = out_left.sum(axis=0), out_right.sum(axis=0)
    total_left, total_right = float(left_all.sum()), float(right_all.sum())
    change = r_in - l_in
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = (total_right - total_left) / total_left if total_left else np.nan
        share = l_in / total_left if total_left else np.full(len(l_in), np.nan)
        expected = l_in * factor
        excess = change - expected
        in_rest = _residuals(left, right, l_in, r_in)
        out_rest = _residuals(out_left, out_right, l_out, r_out)
        h_in, h_out = left / np.maximum(l_in, 1), out_left / np.maximum(l_out, 1)
        jackknife = (1 - share) * in_rest / np.where(h_in < 1, 1 - h_in, 1.0)
        jackknife -= share * out_rest / np.where(h_out < 1, 1 - h_out, 1.0)
        own = (jackknife**2).sum(axis=0)
        t_out = counts.unmatched_all - counts.unmatched
        units_out = (out_left > 0).sum(axis=0)
        scatter = (out_rest**2).sum(axis=0) * units_out / np.maximum(units_out - 1, 1)
        tau2 = np.maximum(scatter - t_out, 0.0) / np.maximum((out_left**2).sum(axis=0), 1.0)
        # a proportional change, too, would come with at least the noise of its own number
        by_share = np.abs(l_in * (r_out - l_out) / np.maximum(l_out, 1))
        t_in = np.maximum(counts.unmatched, by_share)
        model = (1 - share) ** 2 * t_in + share**2 * t_out
        model += tau2 * ((left - share * left_all) ** 2).sum(axis=0)
        expected_variance = dispersion * model
        by_siblings = np.zeros(len(l_in), dtype=bool) if pooled is None else pooled
        variance = np.where(by_siblings, expected_variance, np.maximum(own, expected_variance))
        own_units = 1.0 / np.maximum((h_in**2).sum(axis=0), 1.0 / max(n_units, 1))
        own_units = np.where(l_in > 0, own_units, 0.0)
        # ten equal units are ten, whatever the last bit of their sum
        few = (own_units < _FEWEST_OWN_UNITS - 1e-9) | by_siblings
        degrees = np.where(few, units_out, own_units) - 1
        margin = np.minimum(min_change * l_in, margin_sources)
        error = np.sqrt(variance)
        above = stdtr(degrees, -(np.abs(excess) - margin) / error)
        below = stdtr(degrees, -(np.abs(excess) + margin) / error)
        p_value = np.minimum(above + below, 1.0)
        p_nonzero = np.minimum(2 * stdtr(degrees, -np.abs(excess) / error), 1.0)
        gain = 2 * sum(
            xlogy(r, r / np.maximum(l_part * (1 + factor), 0.5))
            for l_part, r in ((l_in, r_in), (l_out, r_out))
        )
    # all sources, or none, have the value; or nothing at all changed
    idle = (l_out + r_out == 0) | (l_in + r_in == 0) | ~(error > 0)
    of_idle = np.where(np.abs(excess) > 0, np.nan, 1.0)
    p_value, p_nonzero = (np.where(idle, of_idle, p) for p in (p_value, p_nonzero))
    p_value[(total_left == 0) | (degrees < 1)] = np.nan
    p_nonzero[np.isnan(p_value)] = np.nan
    return Tests(
        n_left=l_in,
        n_right=r_in,
        change=change,
        expected=expected,
        excess=excess,
        error=error,
        dispersion=np.fmax(own / np.where(model > 0, model, np.nan), 1.0),
        p_value=p_value,
        p_nonzero=p_nonzero,
        gain=np.where(np.isfinite(gain), np.maximum(gain, 0.0), np.inf),
        leads=change * excess > 0,
    )


def _residuals(left: Floats, right: Floats, n_left: Floats, n_right: Floats) -> Floats:
    """Return each unit's change less what the overall factor gives, (n_units, n_values)."""
    factor = np.where(n_left > 0, (n_right - n_left) / np.maximum(n_left, 1), 0.0)
    return np.asarray(right - left - factor * left)


def false_discovery_rates(p_value: Floats) -> Floats:
    """Return q-values (Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57, 289).

    The smallest false discovery rate at which each is called significant; NaN for NaN,
    which does not count as tested. When nothing changed at all, the chance that anything
    is called significant is no more than that rate either.
    """
    q_value = np.full(len(p_value), np.nan)
    tested = np.flatnonzero(~np.isnan(p_value))
    order = tested[np.argsort(p_value[tested], kind="stable")]
    m = len(order)
    stepped = p_value[order] * m / np.arange(1, m + 1)
    q_value[order] = np.minimum.accumulate(stepped[::-1])[::-1].clip(max=1.0)
    return q_value
