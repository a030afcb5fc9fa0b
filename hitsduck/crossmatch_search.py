"""The neighbour search behind the cross-match: arrays in, arrays of row pairs out.

A place is one position of one image (or of the sky); rows at exactly the same position
share it, so that a heap of duplicates costs no more than one row. Places are put in order
of (image, zone, position along the zone), packed into one integer; the candidates of a
place are then one slice of the other side's order.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hitsduck.crossmatch_sky import Floats, Indices, Part, sort_with_order

# One side, the other side, and the squared distance between them.
Pairs = tuple[Indices, Indices, Floats]

# Pairs looked at in one go, about 100 bytes each: this bounds the memory of a search.
_CHUNK_CANDIDATES = 1 << 20
# Candidates per place above which the nearest are first sought within a smaller radius.
_CANDIDATES_PER_PLACE = 32
# A zone is this many radii high: higher means fewer copies of targets, more candidates.
_ZONE_RADII = 6
_STEPS_PER_RADIUS = 8
_NONE = -1
_NOTHING: Indices = np.zeros(0, dtype=np.int64)
# No two directions of interest give the same sum with these weights but by accident.
_CHECKSUM_WEIGHTS = (0.7548776662466927, 0.5698402909980532, 0.4301597090019468)


@dataclass(frozen=True)
class Catalog:
    """The usable rows of one frame.

    Attributes
    ----------
    first, second
        Coordinates as they are in the frame, shape (n,).
    to_axes
        Turns them into coordinates between which distance is Euclidean, shape (2 or 3, n),
        all multiples of one tiny grain, so that only equal positions have distance 0.
    image
        Number of each row's image, from 0 on, shape (n,); None if all are in one.
    row
        Row numbers in the frame, shape (n,).
    ids
        Ids of all rows of the frame, to break ties; None for the order of rows.
    order
        The rows in the order in which they are searched, shape (n,). Position in this
        order is called a slot.
    """

    first: Floats
    second: Floats
    to_axes: Callable[[Floats, Floats], Floats]
    image: Indices | None
    row: Indices
    ids: pl.Series | None
    order: Indices

    def axes_and_image(self, slots: Indices) -> tuple[Floats, Indices]:
        """Give the coordinates and image numbers of some rows."""
        rows = self.order[slots]
        axes = self.to_axes(self.first[rows], self.second[rows])
        return axes, np.zeros_like(rows) if self.image is None else self.image[rows]

    def frame_rows(self, slots: Indices) -> Indices:
        """Give the row numbers in the frame of some rows."""
        return self.row[self.order[slots]]

    def id_ranks(self, slots: Indices) -> Indices:
        """Rank the ids of some rows; equal ids have equal ranks."""
        rows = self.frame_rows(slots)
        if self.ids is None:
            return rows
        return self.ids.gather(rows).rank("dense").to_numpy().astype(np.int64)


@dataclass(frozen=True)
class Nearest:
    """For each row of one catalogue, its nearest neighbour in the other.

    Attributes
    ----------
    partner
        Row of the neighbour, -1 where there is none within the radius, shape (n,).
    distance2
        Square of the distance to it, shape (n,).
    has_others
        Whether more than one row of the other catalogue is within the radius, shape (n,).
    """

    partner: Indices
    distance2: Floats
    has_others: NDArray[np.bool_]

    @classmethod
    def empty(cls, n_rows: int) -> "Nearest":
        """Make room for the rows of a catalogue."""
        return cls(
            np.full(n_rows, _NONE), np.full(n_rows, np.inf), np.zeros(n_rows, dtype=np.bool_)
        )


def image_parts(
    left_image: Indices, right_image: Indices, *, part_rows: int
) -> tuple[Indices, Indices, Iterator[Part]]:
    """Cut two catalogues into parts of whole images.

    Parameters
    ----------
    left_image, right_image
        Number of the image of each row, from 0 on, shapes (n,) and (m,).
    part_rows
        About how many rows of both together a part shall have; at least one image.

    Returns
    -------
    left_order, right_order
        The rows of each catalogue in the order of their images, shapes (n,) and (m,).
    parts
        (left slots, their number, right slots, their number) of each part, where slots
        count in the orders above.
    """
    n_images = int(max(left_image.max(initial=-1), right_image.max(initial=-1))) + 1
    n_left = np.bincount(left_image, minlength=n_images)
    n_right = np.bincount(right_image, minlength=n_images)
    part = np.cumsum(n_left + n_right) // part_rows
    last = np.flatnonzero(np.diff(part, append=-1)) + 1
    edges = [np.append(0, np.cumsum(count)[last - 1]).tolist() for count in (n_left, n_right)]

    def parts() -> Iterator[Part]:
        for left_edges, right_edges in zip(
            itertools.pairwise(edges[0]), itertools.pairwise(edges[1]), strict=True
        ):
            slots, others = np.arange(*left_edges), np.arange(*right_edges)
            yield slots, slots.size, others, others.size

    left_order = np.argsort(left_image, kind="stable")
    return left_order, np.argsort(right_image, kind="stable"), parts()


class _Places:
    """The different positions of one side of a part, and the rows at each of them."""

    def __init__(self, catalog: Catalog, slots: Indices) -> None:
        """Group the rows by position; the members of a place are in the order of ids."""
        self.catalog, self.slots = catalog, slots
        self.axes, self.image = catalog.axes_and_image(slots)
        repeated = _maybe_repeated(self.axes, self.image)
        self.is_shared = repeated.size > 0
        # place of each row and its number there; rows in the order of (place, number)
        self.place = self.member = self.start = np.arange(slots.size)
        self.number, self.n_rows = np.zeros_like(slots), np.ones_like(slots)
        if self.is_shared:
            self._share(repeated)

    def _share(self, repeated: Indices) -> None:
        axes, image, slots = self.axes, self.image, self.slots[repeated]
        tie_breaks = self.catalog.frame_rows(slots), self.catalog.id_ranks(slots)
        repeated = repeated[np.lexsort((*tie_breaks, *axes[:, repeated], image[repeated]))]
        fields = np.vstack([axes[:, repeated], image[repeated]])
        is_new = np.append(True, (fields[:, 1:] != fields[:, :-1]).any(axis=0))
        is_alone = np.ones(self.slots.size, dtype=np.bool_)
        is_alone[repeated] = False
        alone = np.flatnonzero(is_alone)
        self.member = np.concatenate([repeated, alone])
        is_new = np.append(is_new, np.ones(alone.size, dtype=np.bool_))
        self.start = np.flatnonzero(is_new)
        self.n_rows = np.diff(self.start, append=self.slots.size)
        place = np.cumsum(is_new) - 1
        self.place, self.number = np.empty_like(self.slots), np.empty_like(self.slots)
        self.place[self.member] = place
        self.number[self.member] = np.arange(self.slots.size) - self.start[place]
        self.axes = axes[:, self.member[self.start]]
        self.image = image[self.member[self.start]]


def _maybe_repeated(axes: Floats, image: Indices) -> Indices:
    """List the positions whose checksum occurs more than once: all that are repeated do."""
    checksum = image.astype(np.float64)
    for axis, weight in zip(axes, _CHECKSUM_WEIGHTS, strict=False):
        checksum += axis * weight
    ordered = np.sort(checksum)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(np.isin(checksum, repeated)) if repeated.size else _NOTHING


@dataclass(frozen=True)
class _Plane:
    """Places laid out on a plane on which no pair is further apart than in space."""

    axes: Floats
    image: Indices
    u: Floats
    v: Floats

    def take(self, places: Indices) -> "_Plane":
        return _Plane(self.axes[:, places], self.image[places], self.u[places], self.v[places])


def _planes(left: _Places, right: _Places) -> tuple[_Plane, _Plane]:
    """Lay out both sides: each image around its middle, seen along its own direction.

    Unit vectors lose the axis that points most towards the image, which distorts areas by
    less than a factor 1.8 and brings nothing further apart.
    """
    n_axes = left.axes.shape[0]
    n_images = int(max(left.image.max(), right.image.max())) + 1
    total = np.array(
        [
            np.bincount(left.image, left.axes[axis], n_images)
            + np.bincount(right.image, right.axes[axis], n_images)
            for axis in range(n_axes)
        ]
    )
    n_places = np.bincount(left.image, minlength=n_images)
    n_places += np.bincount(right.image, minlength=n_images)
    middle = total / np.maximum(n_places, 1)
    dropped = np.argmax(np.abs(middle), axis=0) if n_axes == 3 else np.full(n_images, 2)

    def plane(side: _Places) -> _Plane:
        coordinates = []
        for step in (1, 2):
            axis = (dropped + step) % 3
            if n_images == 1:
                coordinates.append(side.axes[axis[0]] - middle[axis[0], 0])
            else:
                own_axis = axis[side.image]
                coordinates.append(
                    side.axes[own_axis, np.arange(own_axis.size)] - middle[own_axis, side.image]
                )
        return _Plane(side.axes, side.image, coordinates[0], coordinates[1])

    return plane(left), plane(right)


@dataclass(frozen=True)
class _Windows:
    """For each query (in sorted order) the slice of the sorted targets to look at."""

    query: Indices
    start: Indices
    count: Indices
    target: Indices


def _windows(query: _Plane, target: _Plane, reach: float) -> _Windows:
    """Find, for every query, the targets that may lie within `reach` of it."""
    n_images = int(max(query.image.max(), target.image.max())) + 1
    low_u, low_v = min(query.u.min(), target.u.min()), min(query.v.min(), target.v.min())
    extent_u = max(query.u.max(), target.u.max()) - low_u
    extent_v = max(query.v.max(), target.v.max()) - low_v
    step, height = reach / _STEPS_PER_RADIUS, reach * _ZONE_RADII
    # targets near the edge of their zone are copied, so there are up to twice as many
    key_bits = 63 - (2 * max(query.u.size, 2 * target.u.size)).bit_length()
    while True:
        window = int(reach / step + 1e-6) + 1
        n_zones, n_steps = int(extent_v / height) + 3, int(extent_u / step) + 2 * window + 2
        if n_images * n_zones * n_steps < 1 << key_bits:
            break
        step, height = step * 2, height * 2

    def keys(side: _Plane) -> tuple[Indices, Floats]:
        scaled = (side.v - low_v) / height
        zone = scaled.astype(np.int64)
        along = ((side.u - low_u) / step).astype(np.int64)
        key = (side.image * n_zones + zone + 1) * n_steps + along + window
        return key, scaled - zone

    key, height_in_zone = keys(target)
    margin = reach / height + 1e-6
    above = np.flatnonzero(height_in_zone > 1.0 - margin)
    below = np.flatnonzero(height_in_zone < margin)
    key = np.concatenate([key, key[above] + n_steps, key[below] - n_steps])
    index = np.concatenate([np.arange(target.u.size), above, below])
    target_key, target_order = sort_with_order(key, index)
    query_key, query_order = sort_with_order(keys(query)[0])
    start = np.searchsorted(target_key, query_key - window, side="left")
    end = np.searchsorted(target_key, query_key + window, side="right")
    return _Windows(query_order, start, end - start, target_order)


def _pairs_within(
    query: _Plane, target: _Plane, windows: _Windows, limit2: float, above2: float = -1.0
) -> Iterator[Pairs]:
    """Yield (queries, targets, squared distances) with above2 < distance2 <= limit2."""
    ends = np.cumsum(windows.count)
    query_axes, target_axes = query.axes[:, windows.query], target.axes[:, windows.target]
    first, done = 0, 0
    while first < ends.size and done < ends[-1]:
        last = int(np.searchsorted(ends, done + _CHUNK_CANDIDATES, side="right"))
        last = max(last, first + 1)
        count = windows.count[first:last]
        offset = windows.start[first:last] - (ends[first:last] - count - done)
        slots = np.repeat(offset, count) + np.arange(int(ends[last - 1]) - done)
        distance2 = np.zeros(slots.size)
        for from_axis, to_axis in zip(query_axes, target_axes, strict=True):
            difference = np.repeat(from_axis[first:last], count) - to_axis[slots]
            distance2 += difference * difference
        near = np.flatnonzero((distance2 <= limit2) & (distance2 > above2))
        queries = np.repeat(windows.query[first:last], count)[near]
        yield queries, windows.target[slots[near]], distance2[near]
        first, done = last, int(ends[last - 1])


class _Search:
    """What is known so far about the neighbours of one side's places."""

    def __init__(self, places: _Places, others: _Places) -> None:
        n_places = places.n_rows.size
        self.places, self.others = places, others
        self.distance2 = np.full(n_places, np.inf)
        self.n_near = np.zeros(n_places, dtype=np.int64)
        self.found: list[Pairs] = [(_NOTHING, _NOTHING, np.zeros(0))]

    def add(self, mine: Indices, theirs: Indices, distance2: Floats) -> None:
        """Count new pairs, and keep those that may be the nearest."""
        np.minimum.at(self.distance2, mine, distance2)
        np.add.at(self.n_near, mine, self.others.n_rows[theirs])
        keep = np.flatnonzero(distance2 <= self.distance2[mine])
        self.found.append((mine[keep], theirs[keep], distance2[keep]))

    def partner(self) -> Indices:
        """Give the nearest place of each place: by distance, lowest id, then position."""
        mine, theirs, distance2 = (
            np.concatenate(column) for column in zip(*self.found, strict=True)
        )
        nearest = np.flatnonzero(distance2 == self.distance2[mine])
        mine, theirs = mine[nearest], theirs[nearest]
        partner = np.full(self.n_near.size, _NONE)
        partner[mine] = theirs
        tied = np.flatnonzero(np.bincount(mine, minlength=partner.size)[mine] > 1)
        if tied.size:
            mine, theirs, others = mine[tied], theirs[tied], self.others
            ids = others.catalog.id_ranks(others.slots[others.member[others.start[theirs]]])
            order = np.lexsort((*others.axes[::-1, theirs], ids, mine))
            mine, theirs = mine[order], theirs[order]
            is_first = np.append(True, mine[1:] != mine[:-1])
            partner[mine[is_first]] = theirs[is_first]
        return partner

    def write(self, result: Nearest, n_own: int) -> None:
        """Turn places into rows: the k-th row of a place goes with the k-th of the other."""
        places, others = self.places, self.others
        own, partner = places.slots[:n_own], self.partner()
        distance2, has_others = self.distance2, self.n_near > 1
        if places.is_shared:
            place = places.place[:n_own]
            partner, distance2, has_others = partner[place], distance2[place], has_others[place]
        partner = partner[:n_own]
        is_matched = partner != _NONE
        if others.is_shared:
            number = np.where(
                places.number[:n_own] < others.n_rows[partner], places.number[:n_own], 0
            )
            partner = others.member[others.start[partner] + number]
        result.partner[own] = np.where(is_matched, others.slots[partner], _NONE)
        result.distance2[own] = distance2[:n_own]
        result.has_others[own] = has_others[:n_own]


def _affordable(
    query: _Plane, target: _Plane, reach: float, floor: float
) -> tuple[float, _Windows]:
    """Give the largest radius up to `reach` with few enough candidates, and its windows."""
    affordable = _CHUNK_CANDIDATES + _CANDIDATES_PER_PLACE * (query.u.size + target.u.size)
    while True:
        windows = _windows(query, target, reach)
        n_candidates = int(windows.count.sum())
        if n_candidates <= affordable or reach <= floor:
            return reach, windows
        shrink = min(0.5, 0.9 * (affordable / n_candidates) ** 0.5)
        reach = max(reach * shrink, floor)


def nearest_rows(
    left: Catalog, right: Catalog, parts: Iterable[Part], *, reach: float
) -> tuple[Nearest, Nearest]:
    """Find the nearest neighbour of every row, both ways.

    Parameters
    ----------
    left, right
        The two catalogues.
    parts
        Parts of them such that every row is own in one, with all its neighbours.
    reach
        Largest distance, inclusive, in the unit of the axes.

    Returns
    -------
    tuple of Nearest
        For the rows of the left catalogue, and for those of the right.
    """
    results = Nearest.empty(left.order.size), Nearest.empty(right.order.size)

    def search_part(part: Part) -> None:
        left_slots, n_left, right_slots, n_right = part
        if not left_slots.size or not right_slots.size:
            return
        places = _Places(left, left_slots), _Places(right, right_slots)
        of_left, of_right = _nearest_places(*places, reach)
        of_left.write(results[0], n_left)
        of_right.write(results[1], n_right)

    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        # the parts write to different rows; list() raises what a part raised
        list(pool.map(search_part, parts))
    return results


def _nearest_places(left: _Places, right: _Places, reach: float) -> tuple[_Search, _Search]:
    """Search both sides at once, then further out for places that need it."""
    searches = _Search(left, right), _Search(right, left)
    planes = _planes(left, right)
    # A crowd within a large radius has far too many pairs to look at, but most of its
    # places have their nearest, and a second, within a small one.
    first_reach, windows = _affordable(*planes, reach, reach * 1e-6)
    for mine, theirs, distance2 in _pairs_within(*planes, windows, first_reach**2):
        searches[0].add(mine, theirs, distance2)
        searches[1].add(theirs, mine, distance2)
    for search, here, there in zip(searches, planes, planes[::-1], strict=True):
        done = first_reach
        while done < reach and (undecided := np.flatnonzero(search.n_near < 2)).size:
            query = here.take(undecided)
            next_reach, windows = _affordable(query, there, reach, 2.0 * done)
            for mine, theirs, distance2 in _pairs_within(
                query, there, windows, next_reach**2, done**2
            ):
                search.add(undecided[mine], theirs, distance2)
            done = next_reach
    return searches


def all_rows(left: Catalog, right: Catalog, parts: Iterable[Part], *, reach: float) -> Pairs:
    """Find every pair of rows within a distance.

    Parameters
    ----------
    left, right, parts, reach
        As for :func:`nearest_rows`.

    Returns
    -------
    tuple of numpy.ndarray
        Left slots, right slots and squared distances, in no particular order.
    """

    def search_part(part: Part) -> list[Pairs]:
        left_slots, n_left, right_slots, _ = part
        if not n_left or not right_slots.size:
            return []
        places = _Places(left, left_slots[:n_left]), _Places(right, right_slots)
        planes = _planes(*places)
        found = []
        for pairs in _pairs_within(*planes, _windows(*planes, reach), reach**2):
            mine, theirs, distance2 = _all_members(*places, pairs)
            found.append((left_slots[mine], right_slots[theirs], distance2))
        return found

    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        found = list(itertools.chain.from_iterable(pool.map(search_part, parts)))
    found.append((_NOTHING, _NOTHING, np.zeros(0)))
    of_left, of_right, distance2 = (np.concatenate(column) for column in zip(*found, strict=True))
    return of_left, of_right, distance2


def _all_members(left: _Places, right: _Places, pairs: Pairs) -> Pairs:
    """Turn pairs of places into all pairs of their rows."""
    if not left.is_shared and not right.is_shared:
        return pairs
    left_place, right_place, distance2 = pairs
    n_right = right.n_rows[right_place]
    n_pairs = left.n_rows[left_place] * n_right
    pair = np.repeat(np.arange(n_pairs.size), n_pairs)
    number = np.arange(pair.size) - np.repeat(np.cumsum(n_pairs) - n_pairs, n_pairs)
    left_number, right_number = np.divmod(number, n_right[pair])
    left_member = left.member[left.start[left_place[pair]] + left_number]
    right_member = right.member[right.start[right_place[pair]] + right_number]
    return left_member, right_member, distance2[pair]
