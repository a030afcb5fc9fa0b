"""The neighbour search behind the cross-match: arrays in, arrays of row pairs out.

A place is one position of one image (or of the sky); rows at exactly the same position
share it, so that a heap of duplicates costs no more than one row. Places are put in order
of (image, zone, position along the zone), packed into one integer; the candidates of a
place are then one slice of the other side's order.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hitsduck.crossmatch_sky import Floats, Indices, Part

# Pairs looked at in one go, about 100 bytes each: this bounds the memory of a search.
_CHUNK_CANDIDATES = 1 << 20
# Candidates per place above which the nearest are first sought within a smaller radius.
_CANDIDATES_PER_PLACE = 32
# A zone is this many radii high: higher means fewer copies of targets, more candidates.
_ZONE_RADII = 6
_STEPS_PER_RADIUS = 8
_KEY_BITS = 62
_NONE = -1


@dataclass(frozen=True)
class Catalog:
    """The usable rows of one frame, in the order in which they are searched.

    Attributes
    ----------
    axes
        Coordinates between which distance is Euclidean (unit vectors or pixels), all
        multiples of one tiny grain, shape (2 or 3, n).
    image
        Number of the image of each row from 0 on, shape (n,); rows match within an image.
    row
        Row numbers in the frame, shape (n,).
    ids
        Ids of all rows of the frame, to break ties; None for the order of rows.
    """

    axes: Floats
    image: Indices
    row: Indices
    ids: pl.Series | None

    def id_ranks(self, slots: Indices) -> Indices:
        """Rank the ids of some rows; equal ids have equal ranks."""
        if self.ids is None:
            return self.row[slots]
        ranks = self.ids.gather(self.row[slots]).rank("dense")
        return ranks.to_numpy().astype(np.int64)


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

    def __init__(self, catalog: Catalog, rows: Indices) -> None:
        """Group the rows by position, those of one place in the order of their ids."""
        axes = np.ascontiguousarray(catalog.axes[:, rows])
        image = catalog.image[rows]
        local = np.arange(rows.size)
        self.catalog, self.rows = catalog, rows
        self.axes, self.image = axes, image
        # place of each row; its number within the place; rows in order of (place, number)
        self.place, self.number, self.member = local, np.zeros_like(local), local
        self.start, self.n_rows = local, np.ones_like(local)
        shared = np.flatnonzero(_occurs_twice(image, axes))
        if shared.size == 0:
            return
        keys = (
            catalog.row[rows[shared]],
            catalog.id_ranks(rows[shared]),
            *axes[:, shared],
            image[shared],
        )
        shared = shared[np.lexsort(keys)]
        fields = np.vstack([axes[:, shared], image[shared]])
        is_new = np.append(True, (fields[:, 1:] != fields[:, :-1]).any(axis=0))
        place = np.cumsum(is_new) - 1
        is_alone = np.ones(rows.size, dtype=np.bool_)
        is_alone[shared] = False
        alone = np.flatnonzero(is_alone)
        first = shared[is_new]
        self.member = np.concatenate([shared, alone])
        self.place = np.empty_like(local)
        self.place[shared] = place
        self.place[alone] = first.size + np.arange(alone.size)
        self.number[shared] = np.arange(shared.size) - np.flatnonzero(is_new)[place]
        self.n_rows = np.bincount(self.place)
        self.start = np.cumsum(self.n_rows) - self.n_rows
        self.axes = axes[:, self.member[self.start]]
        self.image = image[self.member[self.start]]


def _occurs_twice(image: Indices, axes: Floats) -> NDArray[np.bool_]:
    """Tell which columns of (image, axes) may occur more than once: equal hashes do."""
    value = image.astype(np.uint64)
    for axis in axes:
        value = (value ^ axis.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
    ordered = np.sort(value)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.isin(value, repeated) if repeated.size else np.zeros(value.size, dtype=np.bool_)


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
    query_bits, target_bits = query.u.size.bit_length(), target.u.size.bit_length()
    while True:
        window = int(reach / step + 1e-6) + 1
        n_zones, n_steps = int(extent_v / height) + 3, int(extent_u / step) + 2 * window + 2
        if n_images * n_zones * n_steps < 1 << (_KEY_BITS - max(query_bits, target_bits)):
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
    # Sorting (key, index) packed into one integer is several times faster than argsort.
    packed = np.sort((key << target_bits) | index)
    target_order, target_key = packed & ((1 << target_bits) - 1), packed >> target_bits
    packed = np.sort((keys(query)[0] << query_bits) | np.arange(query.u.size))
    query_order, query_key = packed & ((1 << query_bits) - 1), packed >> query_bits
    start = np.searchsorted(target_key, query_key - window, side="left")
    end = np.searchsorted(target_key, query_key + window, side="right")
    return _Windows(query_order, start, end - start, target_order)


def _pairs_within(
    query: _Plane, target: _Plane, windows: _Windows, limit2: float, above2: float = -1.0
) -> Iterator[tuple[Indices, Indices, Floats]]:
    """Yield (queries, targets, squared distances) with above2 < distance2 <= limit2."""
    ends = np.cumsum(windows.count)
    first, done = 0, 0
    while first < ends.size and done < ends[-1]:
        last = int(np.searchsorted(ends, done + _CHUNK_CANDIDATES, side="right"))
        last = max(last, first + 1)
        count = windows.count[first:last]
        offset = windows.start[first:last] - (ends[first:last] - count - done)
        slots = np.repeat(offset, count) + np.arange(int(ends[last - 1]) - done)
        queries, targets = np.repeat(windows.query[first:last], count), windows.target[slots]
        distance2 = np.zeros(slots.size)
        for from_axis, to_axis in zip(query.axes, target.axes, strict=True):
            difference = from_axis[queries] - to_axis[targets]
            distance2 += difference * difference
        near = np.flatnonzero((distance2 <= limit2) & (distance2 > above2))
        yield queries[near], targets[near], distance2[near]
        first, done = last, int(ends[last - 1])


class _Search:
    """What is known so far about the neighbours of one side's places."""

    def __init__(self, places: _Places, others: _Places) -> None:
        n_places = places.n_rows.size
        self.places, self.others = places, others
        self.distance2 = np.full(n_places, np.inf)
        self.n_near = np.zeros(n_places, dtype=np.int64)
        nothing = np.zeros(0, dtype=np.int64)
        self.found: list[tuple[Indices, Indices, Floats]] = [(nothing, nothing, np.zeros(0))]

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
            ids = others.catalog.id_ranks(others.rows[others.member[others.start[theirs]]])
            order = np.lexsort((*others.axes[:, theirs], ids, mine))
            mine, theirs = mine[order], theirs[order]
            is_first = np.append(True, mine[1:] != mine[:-1])
            partner[mine[is_first]] = theirs[is_first]
        return partner

    def write(self, result: Nearest, n_own: int) -> None:
        """Turn places into rows: the k-th row of a place goes with the k-th of the other."""
        place = self.places.place[:n_own]
        number = self.places.number[:n_own]
        other_place = self.partner()[place]
        matched = np.flatnonzero(other_place != _NONE)
        rows, other_place, number = self.places.rows[matched], other_place[matched], number[matched]
        number = np.where(number < self.others.n_rows[other_place], number, 0)
        member = self.others.member[self.others.start[other_place] + number]
        result.partner[rows] = self.others.rows[member]
        result.distance2[rows] = self.distance2[place[matched]]
        result.has_others[rows] = self.n_near[place[matched]] > 1


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
    results = Nearest.empty(left.image.size), Nearest.empty(right.image.size)
    for left_rows, n_left, right_rows, n_right in parts:
        if not left_rows.size or not right_rows.size:
            continue
        places = _Places(left, left_rows), _Places(right, right_rows)
        searches = _Search(*places), _Search(*places[::-1])
        planes = _planes(*places)
        # A crowd within a large radius has far too many pairs to look at, but most of its
        # places have their nearest, and a second, within a small one.
        first_reach, windows = _affordable(*planes, reach, reach * 1e-6)
        for mine, theirs, distance2 in _pairs_within(*planes, windows, first_reach**2):
            searches[0].add(mine, theirs, distance2)
            searches[1].add(theirs, mine, distance2)
        for search, here, there in zip(searches, planes, planes[::-1], strict=True):
            done = first_reach
            while done < reach and (open_places := np.flatnonzero(search.n_near < 2)).size:
                query = here.take(open_places)
                next_reach, windows = _affordable(query, there, reach, 2.0 * done)
                for mine, theirs, distance2 in _pairs_within(
                    query, there, windows, next_reach**2, done**2
                ):
                    search.add(open_places[mine], theirs, distance2)
                done = next_reach
        searches[0].write(results[0], n_left)
        searches[1].write(results[1], n_right)
    return results


def all_rows(
    left: Catalog, right: Catalog, parts: Iterable[Part], *, reach: float
) -> tuple[Indices, Indices, Floats]:
    """Find every pair of rows within a distance.

    Parameters
    ----------
    left, right, parts, reach
        As for :func:`nearest_rows`.

    Returns
    -------
    tuple of numpy.ndarray
        Left rows, right rows and squared distances, in no particular order.
    """
    found = []
    for left_rows, n_left, right_rows, _ in parts:
        if not n_left or not right_rows.size:
            continue
        places = _Places(left, left_rows[:n_left]), _Places(right, right_rows)
        planes = _planes(*places)
        windows = _windows(*planes, reach)
        for mine, theirs, distance2 in _pairs_within(*planes, windows, reach**2):
            n_left_rows, n_right_rows = places[0].n_rows[mine], places[1].n_rows[theirs]
            n_pairs = n_left_rows * n_right_rows
            pair = np.repeat(np.arange(mine.size), n_pairs)
            nth = np.arange(pair.size) - np.repeat(np.cumsum(n_pairs) - n_pairs, n_pairs)
            left_nth, right_nth = np.divmod(nth, n_right_rows[pair])
            left_member = places[0].member[places[0].start[mine[pair]] + left_nth]
            right_member = places[1].member[places[1].start[theirs[pair]] + right_nth]
            found.append((left_rows[left_member], right_rows[right_member], distance2[pair]))
    if not found:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, np.zeros(0)
    left_found, right_found, distance2 = (
        np.concatenate(column) for column in zip(*found, strict=True)
    )
    return left_found, right_found, distance2
