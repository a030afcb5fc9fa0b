"""Meeting the counts that a rerun must have, by choosing what exists.

The counting itself is that of any user (sources, good sources, objects with a
source, objects with a good source); nothing here changes a flag or an object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsduck.errors import SimulationError
from hitsduck.simulator.presets import Targets

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Classes of groups in `choose_groups`.
GOOD_ONCE, BAD_ONCE, BAD_REPEATED, GOOD_REPEATED, MIXED = range(5)


@dataclass(frozen=True)
class Counts:
    """Sources, good sources, objects, and objects with a good source."""

    sources: int
    good_sources: int
    objects: int
    good_objects: int


def count(objects: Ints, good: Bools) -> Counts:
    """Return the four counts of sources with these objects (-1: none) and goodness."""
    return Counts(
        len(objects),
        int(good.sum()),
        len(np.unique(objects[objects >= 0])),
        len(np.unique(objects[good & (objects >= 0)])),
    )


def choose_groups(
    group: Ints,
    objects: Ints,
    good: Bools,
    group_class: npt.NDArray[np.int8],
    priority: Floats,
    targets: Targets,
) -> Bools:
    """Return which groups of things exist, so that the counts meet the targets.

    Parameters
    ----------
    group, objects, good : arrays, one element a source
        Group (-1: moving, always there), object and goodness of each source.
    group_class, priority : arrays, one element a group
        Class of each group, and a random number that orders the groups.
    targets : Targets

    Returns
    -------
    bool array, one element a group
        Objects and good objects meet the targets exactly; sources and good sources
        exceed them by less than one group's, for `removals` to trim.
    """
    n = len(group_class)
    on = group >= 0
    sources = np.bincount(group[on], minlength=n)
    good_sources = np.bincount(group[on & good], minlength=n)
    first = np.unique(objects[on], return_index=True)[1]
    n_objects = np.bincount(group[on][first], minlength=n)
    first = np.unique(objects[on & good], return_index=True)[1]
    good_objects = np.bincount(group[on & good][first], minlength=n)
    loose, loose_good = int((~on).sum()), int((~on & good).sum())
    spare_good = good_sources - good_objects
    spare_bad = (sources - good_sources) - (n_objects - good_objects)

    chosen = np.zeros(n, dtype=bool)
    chosen[group_class == MIXED] = priority[group_class == MIXED] < targets.sources / max(
        len(group), 1
    )
    steps = (
        (GOOD_REPEATED, spare_good, targets.good_sources - targets.good_objects - loose_good),
        (
            BAD_REPEATED,
            spare_bad,
            (targets.sources - targets.good_sources)
            - (targets.objects - targets.good_objects)
            - (loose - loose_good),
        ),
        (GOOD_ONCE, good_objects, targets.good_objects),
        (BAD_ONCE, n_objects - good_objects, targets.objects - targets.good_objects),
    )
    for which, value, wanted in steps:
        need = wanted - int(value[chosen].sum())
        rows = np.flatnonzero(group_class == which)
        rows = rows[np.argsort(priority[rows], kind="stable")]
        total = np.cumsum(value[rows])
        if need < 0 or (need > 0 and (len(rows) == 0 or total[-1] < need)):
            raise SimulationError(
                f"the targets cannot be met: {need} of class {_CLASS_NAMES[which]} needed, "
                f"{int(total[-1]) if len(rows) else 0} there; change the numbers of the kinds"
            )
        chosen[rows[: int(np.searchsorted(total, need)) + 1 if need else 0]] = True
    return chosen


_CLASS_NAMES = {
    GOOD_ONCE: "good artefacts",
    BAD_ONCE: "bad artefacts",
    BAD_REPEATED: "repeated bad sources",
    GOOD_REPEATED: "repeated good sources",
    MIXED: "crowded",
}


def removals(objects: Ints, good: Bools, key: Floats, targets: Targets) -> Bools:
    """Return which sources must go so that no count exceeds its target.

    Parameters
    ----------
    objects, good : arrays, one element a source
    key : float array
        Sources with larger keys go first.
    targets : Targets

    Notes
    -----
    In this order: objects with one good source and no other; objects with one bad
    source; good sources of objects with another good one; bad sources of objects
    with another source. Each step lowers only the counts that it should.
    """
    gone = np.zeros(len(objects), dtype=bool)
    size = _per_object(objects, np.ones(len(objects), dtype=bool))
    excess = count(objects, good).good_objects - targets.good_objects
    gone |= _largest(key, (size == 1) & good, excess, "good objects of one source")
    left = ~gone
    excess = count(objects[left], good[left]).objects - targets.objects
    gone |= _largest(key, (size == 1) & ~good, excess, "bad objects of one source")
    left = ~gone
    excess = int((good & left).sum()) - targets.good_sources
    rank = _rank_in_object(objects, key, good & left)
    gone |= _largest(key, good & left & (rank > 0), excess, "repeated good sources")
    left = ~gone
    excess = int(left.sum()) - targets.sources
    has_good = _per_object(objects, good & left) > 0
    rank = _rank_in_object(objects, key, ~good & left)
    spare = ~good & left & (objects >= 0) & (has_good | (rank > 0))
    gone |= _largest(key, spare, excess, "repeated bad sources")
    return gone


def _per_object(objects: Ints, what: Bools) -> Ints:
    n = int(objects.max()) + 1 if len(objects) else 0
    counted = what & (objects >= 0)
    per = np.bincount(objects[counted], minlength=max(n, 1))
    return np.where(objects >= 0, per[np.maximum(objects, 0)], 0)


def _rank_in_object(objects: Ints, key: Floats, what: Bools) -> Ints:
    """Return 0 for the source of each object that stays longest, and so on; -1 outside `what`."""
    rank = np.full(len(objects), -1, dtype=np.int64)
    at = np.flatnonzero(what & (objects >= 0))
    at = at[np.lexsort((key[at], objects[at]))]
    start = np.r_[True, objects[at][1:] != objects[at][:-1]] if len(at) else np.zeros(0, bool)
    place = np.arange(len(at))
    rank[at] = place - np.maximum.accumulate(np.where(start, place, 0)) if len(at) else 0
    return rank


def _largest(key: Floats, allowed: Bools, number: int, what: str) -> Bools:
    chosen = np.zeros(len(key), dtype=bool)
    if number <= 0:
        return chosen
    at = np.flatnonzero(allowed)
    if len(at) < number:
        raise SimulationError(
            f"the targets cannot be met: {number} {what} would have to go, {len(at)} are there"
        )
    chosen[at[np.argsort(-key[at], kind="stable")[:number]]] = True
    return chosen
