"""Association: which sources make one object, as the pipeline of the time did it.

Visits are taken in order of time. A source joins the nearest object within the
radius that has no source in that visit yet; otherwise it founds an object. An
object lies at the mean position of its sources (lsst/ap_association, AssociationTask).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def neighbours(ra: Floats, dec: Floats, link_arcsec: float) -> tuple[Ints, Ints]:
    """Return index pairs of positions closer than `link_arcsec` (deg, away from RA 0).

    Each pair is returned once; order is not guaranteed.
    """
    link = link_arcsec / 3600.0
    zone = np.floor((dec + 90.0) / link).astype(np.int64)
    # ra fills 43 bits at 1e-9 turn; zones of the whole sky stay below 2**20 for 0.7 arcsec on
    scaled = zone * (1 << 40) + (ra * (1e9 / 360.0)).astype(np.int64)
    order = np.argsort(scaled, kind="stable")
    key, r, d = scaled[order], ra[order], dec[order]
    cosine = np.cos(np.radians(d))
    window = (link / np.maximum(cosine, 0.01) * (1e9 / 360.0)).astype(np.int64) + 2
    found: list[tuple[Ints, Ints]] = []
    for shift, low in ((0, None), (1 << 40, -1)):
        if low is None:
            start = np.arange(1, len(key) + 1)
        else:
            start = np.searchsorted(key, key + shift - window, side="left")
        stop = np.searchsorted(key, key + shift + window, side="right")
        count = np.maximum(stop - start, 0)
        left = np.repeat(np.arange(len(key)), count)
        right = (
            np.arange(len(left))
            - np.repeat(np.cumsum(count) - count, count)
            + np.repeat(start, count)
        )
        dx, dy = (r[right] - r[left]) * cosine[left], d[right] - d[left]
        near = dx * dx + dy * dy < link * link
        found.append((order[left[near]], order[right[near]]))
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def linked_groups(ra: Floats, dec: Floats, link_arcsec: float) -> Ints:
    """Return for each position the smallest index that it is linked to (friends of friends)."""
    label = np.arange(len(ra))
    a, b = neighbours(ra, dec, link_arcsec)
    while len(a):
        before = label.copy()
        low = np.minimum(label[a], label[b])
        np.minimum.at(label, a, low)
        np.minimum.at(label, b, low)
        label = label[label]
        if np.array_equal(before, label):
            break
    return label


def associate(group: Ints, visit: Ints, dx: Floats, dy: Floats, radius_arcsec: float) -> Ints:
    """Return for each source the index of the source that founded its object.

    Parameters
    ----------
    group : int array
        Sources of different groups are never associated.
    visit : int array
        Visit index; must be in order of time.
    dx, dy : float array
        Offset on the sky (arcsec) from a point common to the group.
    radius_arcsec : float
        Association radius.

    Notes
    -----
    All groups advance together: step k takes the k-th source of every group, so the
    loop runs as often as the largest group has sources.
    """
    founder = np.arange(len(group))
    order, start, size = _groups_of_several(group, visit)
    if len(size) == 0:
        return founder
    table = _Objects(len(size))
    # groups are in order of falling size, so those with a k-th source come first
    active_at = np.searchsorted(-size, -np.arange(int(size[0])), side="left")
    for step in range(int(size[0])):
        active = int(active_at[step])
        source = order[start[:active] + step]
        founder[source] = table.take(source, dx[source], dy[source], visit[source], radius_arcsec)
    return founder


def _groups_of_several(group: Ints, visit: Ints) -> tuple[Ints, Ints, Ints]:
    """Return an order by group and time, and start and size of groups of two and more."""
    order = np.lexsort((np.arange(len(group)), visit, group))
    ordered = group[order]
    first = np.flatnonzero(np.r_[len(group) > 0, ordered[1:] != ordered[:-1]])
    size = np.diff(np.r_[first, len(group)])
    several = np.flatnonzero(size > 1)
    several = several[np.argsort(-size[several], kind="stable")]
    return order, first[several], size[several]


class _Objects:
    """The objects of all groups: one row a group, one slot an object."""

    def __init__(self, groups: int) -> None:
        self.sum_x, self.sum_y = np.zeros((groups, 4)), np.zeros((groups, 4))
        self.members = np.zeros((groups, 4), dtype=np.int64)
        self.last_visit = np.full((groups, 4), -1, dtype=np.int64)
        self.founder = np.zeros((groups, 4), dtype=np.int64)
        self.used = np.zeros(groups, dtype=np.int64)

    def take(self, source: Ints, x: Floats, y: Floats, visit: Ints, radius: float) -> Ints:
        """Take in one source of each of the first groups; return their objects' founders."""
        active = len(source)
        row = np.arange(active)
        slot = self._nearest(active, x, y, visit, radius)
        new = slot < 0
        slot = np.where(new, self.used[:active], slot)
        if int(slot.max()) >= self.members.shape[1]:
            self._grow()
        self.founder[row[new], slot[new]] = source[new]
        self.used[:active] += new
        self.sum_x[row, slot] += x
        self.sum_y[row, slot] += y
        self.members[row, slot] += 1
        self.last_visit[row, slot] = visit
        founder: Ints = self.founder[row, slot]
        return founder

    def _nearest(self, active: int, x: Floats, y: Floats, visit: Ints, radius: float) -> Ints:
        """Return the slot of the object that each source joins, -1 where it founds one."""
        top = int(self.used[:active].max())
        if top == 0:
            return np.full(active, -1, dtype=np.int64)
        count = self.members[:active, :top]
        safe = np.maximum(count, 1)
        gap = (self.sum_x[:active, :top] / safe - x[:, None]) ** 2
        gap += (self.sum_y[:active, :top] / safe - y[:, None]) ** 2
        gap[(count == 0) | (self.last_visit[:active, :top] == visit[:, None])] = np.inf
        best = np.argmin(gap, axis=1)
        return np.where(gap[np.arange(active), best] <= radius**2, best, -1)

    def _grow(self) -> None:
        more = ((0, 0), (0, self.members.shape[1]))
        self.sum_x, self.sum_y = np.pad(self.sum_x, more), np.pad(self.sum_y, more)
        self.members, self.founder = np.pad(self.members, more), np.pad(self.founder, more)
        self.last_visit = np.pad(self.last_visit, more, constant_values=-1)
