"""The neighbour search behind the cross-match: slots of rows in, pairs of slots out.

A place is one position in one image (or on the sky); rows at exactly the same position share
it, so that a heap of duplicates costs no more than one row. Images are cut into zones. Image,
zone and the way along the zone make one integer, by which places are sorted: the candidates
of a place are a slice of its zone, and one of the next zone where that is near.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hitsduck.crossmatch_sky import Floats, Indices, Part, sort_with_order

# `map`, or one that calls at once in several threads.
Each = Callable[..., Iterable[Any]]
# One side, the other side, and the squared distance between them.
Pairs = tuple[Indices, Indices, Floats]

# Rows, or pairs, that are worked on in one go: their arrays stay in a processor's cache.
_BLOCK = 1 << 13
# More candidates than these, and the nearest are first sought within a smaller radius.
_FREE_CANDIDATES = 1 << 20
_CANDIDATES_PER_PLACE = 32
# A zone is this many radii high: higher means fewer copies of targets, more candidates.
_ZONE_RADII = 6
_STEPS_PER_RADIUS = 8
_NONE = -1
_NOTHING: Indices = np.zeros(0, dtype=np.int64)


def _blocks(array: Indices) -> list[slice]:
    return [slice(first, first + _BLOCK) for first in range(0, array.size, _BLOCK)]


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
        Row numbers in the frame, ascending, shape (n,); None if all of its rows are there.
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
    row: Indices | None
    ids: pl.Series | None
    order: Indices

    def axes_and_image(self, slots: Indices) -> tuple[Floats, Indices | None]:
        """Give the coordinates and image numbers of some rows."""
        rows = self.order[slots]
        axes = [self.to_axes(self.first[rows[b]], self.second[rows[b]]) for b in _blocks(rows)]
        return np.hstack(axes), None if self.image is None else self.image[rows]

    def frame_rows(self, slots: Indices) -> Indices:
        """Give the row numbers in the frame of some rows."""
        rows = self.order[slots]
        return rows if self.row is None else self.row[rows]

    def slots_by_row(self) -> Indices:
        """Give the slots of all rows, in the order of the frame."""
        slots = np.empty_like(self.order)
        slots[self.order] = np.arange(self.order.size)
        return slots

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


@dataclass(frozen=True)
class _Points:
    """Positions, and where they are on a plane that brings no two of them further apart."""

    axes: Floats
    image: Indices | None
    u: Floats
    v: Floats


class _Layout:
    """How the images of a part are laid out on a plane.

    Unit vectors lose the axis that points most towards the image, which distorts areas by
    less than a factor 1.8. Each of several images lies around its own middle.
    """

    def __init__(self, sides: list[tuple[Floats, Indices | None]]) -> None:
        images = [image for _, image in sides if image is not None]
        self.n_images = max((int(image.max()) + 1 for image in images), default=1)
        total = np.zeros((sides[0][0].shape[0], self.n_images))
        n_points = np.zeros(self.n_images)
        for axes, image in sides:
            if image is None:
                n_points += axes.shape[1]
                total[:, 0] += axes.sum(axis=1)
            else:
                n_points += np.bincount(image, minlength=self.n_images)
                total += [np.bincount(image, axis, self.n_images) for axis in axes]
        self.middle = total / np.maximum(n_points, 1)
        is_sky = total.shape[0] == 3
        dropped = np.argmax(np.abs(total), axis=0) if is_sky else np.full(self.n_images, 2)
        self.kept = (dropped + 1) % 3, (dropped + 2) % 3

    def points(self, axes: Floats, image: Indices | None) -> _Points:
        """Lay out some positions of these images."""
        if image is None:
            return _Points(axes, None, axes[self.kept[0][0]], axes[self.kept[1][0]])
        u, v = (
            axes.ravel().take(kept[image] * image.size + np.arange(image.size))
            - self.middle[kept, np.arange(self.n_images)].take(image)
            for kept in self.kept
        )
        return _Points(axes, image, u, v)


class _Grid:
    """Images cut into zones, and the way along the zones into steps, for one search radius."""

    def __init__(self, sides: Sequence[_Points], n_images: int, reach: float) -> None:
        self.low_u = min(side.u.min() for side in sides)
        self.low_v = min(side.v.min() for side in sides)
        extent_u = max(side.u.max() for side in sides) - self.low_u
        extent_v = max(side.v.max() for side in sides) - self.low_v
        n_keys = 1 << (63 - (2 * max(side.u.size for side in sides)).bit_length())
        self.reach, self.height = reach, reach * _ZONE_RADII
        while True:
            # steps are as fine as the integers allow, so that few positions have equal keys
            self.n_zones = int(extent_v / self.height) + 3
            self.n_steps = min(n_keys // (n_images * self.n_zones), 1 << 40)
            self.step = (extent_u + 2 * reach) / max(self.n_steps - 8, 1)
            if self.step * _STEPS_PER_RADIUS <= reach or self.n_zones == 3:
                break
            self.height *= 2
        self.window = int(reach / self.step) + 2

    def keys(self, points: _Points) -> Indices:
        """Make one number of image, zone and step; those of equal positions are equal."""
        keys = np.empty(points.u.size, dtype=np.int64)
        for block in _blocks(keys):
            key = ((points.v[block] - self.low_v) * (1.0 / self.height)).astype(np.int64) + 1
            if points.image is not None:
                key += points.image[block] * self.n_zones
            key *= self.n_steps
            key += ((points.u[block] - self.low_u) * (1.0 / self.step)).astype(np.int64)
            keys[block] = key + self.window
        return keys

    def windows(self, query_v: Floats, query_key: Indices, target_key: Indices) -> "_Windows":
        """Find, for each query, the targets that may be within reach; all sorted by key."""
        margin = self.reach / self.height + 1e-6
        queries, starts, counts = [], [], []
        for block in _blocks(query_key):
            key = query_key[block]
            level = (query_v[block] - self.low_v) * (1.0 / self.height) % 1.0
            above, below = np.flatnonzero(level > 1.0 - margin), np.flatnonzero(level < margin)
            for zone_key, which in (
                (key, np.arange(key.size)),
                (key[above] + self.n_steps, above),
                (key[below] - self.n_steps, below),
            ):
                if which.size:
                    limits = zone_key[0] - self.window, zone_key[-1] + self.window + 1
                    first, last = np.searchsorted(target_key, limits)
                    near = target_key[first:last]  # a search in few is faster
                    start = np.searchsorted(near, zone_key - self.window, side="left")
                    end = np.searchsorted(near, zone_key + self.window, side="right")
                    queries.append(which + block.start)
                    starts.append(start + first)
                    counts.append(end - start)
        return _Windows(np.concatenate(queries), np.concatenate(starts), np.concatenate(counts))


@dataclass(frozen=True)
class _Windows:
    """Slices of sorted targets to look at, each for one of sorted queries."""

    query: Indices
    start: Indices
    count: Indices
    query_order: Indices | None = None
    target_order: Indices | None = None


class _Places:
    """The different positions of one side of a part, and the slots at each of them."""

    def __init__(self, catalog: Catalog, slots: Indices, points: _Points, grid: _Grid) -> None:
        """Sort the slots by position, so that what is near is near in memory too."""
        key, self.order = sort_with_order(grid.keys(points))
        self.catalog, self.slots = catalog, slots[self.order]
        self.axes = points.axes.take(self.order, axis=1)
        self.image = None if points.image is None else points.image[self.order]
        # Place of each slot and its number there; slots in the order of (place, number).
        self.place = self.member = self.start = np.arange(slots.size)
        self.number, self.n_rows = np.zeros_like(slots), np.ones_like(slots)
        is_same = np.append(key[1:] == key[:-1], False)
        self.is_shared = bool(is_same.any())
        self.key = None if self.is_shared else key
        if self.is_shared:
            is_same[1:] |= is_same[:-1]
            self._share(np.flatnonzero(is_same))

    def _share(self, crowded: Indices) -> None:
        """Give slots at the same position one place; `crowded` are those to look at."""
        slots = self.slots[crowded]
        fields = self.axes.take(crowded, axis=1)
        if self.image is not None:
            fields = np.vstack([fields, self.image[crowded]])
        tie_breaks = self.catalog.frame_rows(slots), self.catalog.id_ranks(slots)
        order = np.lexsort((*tie_breaks, *fields))
        is_new = np.ones(self.slots.size, dtype=np.bool_)
        is_new[1 : order.size] = (np.diff(fields[:, order]) != 0).any(axis=0)
        is_alone = np.ones(self.slots.size, dtype=np.bool_)
        is_alone[crowded] = False
        self.member = np.concatenate([crowded[order], np.flatnonzero(is_alone)])
        self.start = np.flatnonzero(is_new)
        self.n_rows = np.diff(self.start, append=self.slots.size)
        place = np.cumsum(is_new) - 1
        self.place, self.number = np.empty_like(place), np.empty_like(place)
        self.place[self.member] = place
        self.number[self.member] = np.arange(place.size) - self.start[place]
        first = self.member[self.start]
        self.axes = self.axes.take(first, axis=1)
        self.image = None if self.image is None else self.image[first]


def _pairs_within(
    query: _Points, target: _Points, windows: _Windows, limit2: float, above2: float = -1.0
) -> Iterator[Pairs]:
    """Yield (queries, targets, squared distances) with above2 < distance2 <= limit2."""
    ends = np.cumsum(windows.count)
    first, done = 0, 0
    while first < ends.size and done < ends[-1]:
        last = max(int(np.searchsorted(ends, done + _BLOCK, side="right")), first + 1)
        count = windows.count[first:last]
        shift = windows.start[first:last] - (ends[first:last] - count - done)
        targets = np.repeat(shift, count) + np.arange(int(ends[last - 1]) - done)
        queries = np.repeat(windows.query[first:last], count)
        if windows.query_order is not None and windows.target_order is not None:
            queries, targets = windows.query_order[queries], windows.target_order[targets]
        distance2 = np.zeros(queries.size)
        for from_axis, to_axis in zip(query.axes, target.axes, strict=True):
            difference = from_axis[queries]
            difference -= to_axis[targets]
            difference *= difference
            distance2 += difference
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
        # Where another one is equally near, the last one to be written is not the answer.
        tied = mine[np.flatnonzero(partner[mine] != theirs)]
        if tied.size:
            again = np.flatnonzero(np.isin(mine, tied))
            mine, theirs, others = mine[again], theirs[again], self.others
            ids = others.catalog.id_ranks(others.slots[others.member[others.start[theirs]]])
            order = np.lexsort((*others.axes[::-1, theirs], ids, mine))
            mine, theirs = mine[order], theirs[order]
            is_first = np.append(True, mine[1:] != mine[:-1])
            partner[mine[is_first]] = theirs[is_first]
        return partner

    def write(self, result: Nearest, n_own: int) -> None:
        """Turn places into rows: the k-th row of a place goes with the k-th of the other."""
        places, others = self.places, self.others
        partner, distance2, has_others = self.partner(), self.distance2, self.n_near > 1
        if places.is_shared:
            place = places.place
            partner, distance2, has_others = partner[place], distance2[place], has_others[place]
        unmatched = np.flatnonzero(partner == _NONE)
        if others.is_shared:
            number = np.where(places.number < others.n_rows[partner], places.number, 0)
            partner = others.member[others.start[partner] + number]
        partner = others.slots[partner]
        partner[unmatched] = _NONE
        slots = places.slots
        if n_own < slots.size:
            own = np.flatnonzero(places.order < n_own)
            slots, partner, distance2 = slots[own], partner[own], distance2[own]
            has_others = has_others[own]
        result.partner[slots] = partner
        result.distance2[slots] = distance2
        result.has_others[slots] = has_others


class _OpenPart:
    """Both sides of a part, laid out on a plane and sorted."""

    def __init__(
        self,
        left: Catalog,
        right: Catalog,
        slots: tuple[Indices, Indices],
        reach: float,
        each: Each = map,
    ) -> None:
        catalogs, self.each = (left, right), each
        (axes, image), (other_axes, other_image) = each(Catalog.axes_and_image, catalogs, slots)
        if image is not None and other_image is not None:
            first_image = min(image.min(), other_image.min())
            image, other_image = image - first_image, other_image - first_image
        self.reach, self.layout = reach, _Layout([(axes, image), (other_axes, other_image)])
        points = self.layout.points(axes, image), self.layout.points(other_axes, other_image)
        self.grid = _Grid(points, self.layout.n_images, reach)
        grids = self.grid, self.grid
        self.left, self.right = each(_Places, catalogs, slots, points, grids)
        self.points = self._points(self.left), self._points(self.right)

    def windows(self) -> _Windows:
        """Find the windows of all left places for the whole reach."""
        if self.left.key is None or self.right.key is None:
            return self._windows(*self.points, self.grid)
        return self._windows_of_sorted(self.points[0].v, self.left.key, self.right.key)

    def _windows_of_sorted(
        self, query_v: Floats, query_key: Indices, target_key: Indices
    ) -> _Windows:
        middle = query_key.size // 2
        if middle < _BLOCK:
            return self.grid.windows(query_v, query_key, target_key)

        def of(half: slice) -> _Windows:
            return self.grid.windows(query_v[half], query_key[half], target_key)

        first, second = self.each(of, (slice(middle), slice(middle, None)))
        return _Windows(
            np.concatenate([first.query, second.query + middle]),
            np.concatenate([first.start, second.start]),
            np.concatenate([first.count, second.count]),
        )

    def search(self) -> tuple[_Search, _Search]:
        """Search both sides at once, then further out for places that need it."""
        of_left, of_right = _Search(self.left, self.right), _Search(self.right, self.left)
        # A crowd within a large radius has far too many pairs to look at, but most of its
        # places have their nearest, and a second, within a small one.
        done, windows = self._affordable(*self.points, self.reach * 1e-6, self.windows())
        for mine, theirs, distance2 in _pairs_within(*self.points, windows, done**2):
            of_left.add(mine, theirs, distance2)
            of_right.add(theirs, mine, distance2)
        self._search_further(of_left, self.points[1], done)
        self._search_further(of_right, self.points[0], done)
        return of_left, of_right

    def _search_further(self, search: _Search, targets: _Points, done: float) -> None:
        """Look beyond a radius for the nearest and a second neighbour of each place."""
        while done < self.reach and (undecided := np.flatnonzero(search.n_near < 2)).size:
            query = self._points(search.places, undecided)
            reach, windows = self._affordable(query, targets, 2.0 * done)
            for pairs in _pairs_within(query, targets, windows, reach**2, done**2):
                search.add(undecided[pairs[0]], *pairs[1:])
            done = reach

    def _points(self, places: _Places, which: Indices | None = None) -> _Points:
        axes, image = places.axes, places.image
        if which is not None:
            axes, image = axes.take(which, axis=1), None if image is None else image[which]
        return self.layout.points(axes, image)

    def _windows(self, query: _Points, target: _Points, grid: _Grid) -> _Windows:
        query_key, query_order = sort_with_order(grid.keys(query))
        target_key, target_order = sort_with_order(grid.keys(target))
        windows = grid.windows(query.v[query_order], query_key, target_key)
        return replace(windows, query_order=query_order, target_order=target_order)

    def _affordable(
        self, query: _Points, target: _Points, floor: float, windows: _Windows | None = None
    ) -> tuple[float, _Windows]:
        """Lower the radius, to `floor` at least, until there are few enough candidates."""
        affordable = _FREE_CANDIDATES + _CANDIDATES_PER_PLACE * (query.u.size + target.u.size)
        reach = self.reach
        while True:
            if windows is None:
                grid = _Grid((query, target), self.layout.n_images, reach)
                windows = self._windows(query, target, grid)
            n_candidates = int(windows.count.sum())
            if n_candidates <= affordable or reach <= floor:
                return reach, windows
            shrink = min(0.5, 0.9 * (affordable / n_candidates) ** 0.5)
            reach, windows = max(reach * shrink, floor), None


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
    of_left, of_right = (
        Nearest(np.full(n, _NONE), np.full(n, np.inf), np.zeros(n, dtype=np.bool_))
        for n in (left.order.size, right.order.size)
    )

    def search_part(part: Part, each: Each = map) -> None:
        left_slots, n_left, right_slots, n_right = part
        if left_slots.size and right_slots.size:
            searches = _OpenPart(left, right, (left_slots, right_slots), reach, each).search()
            list(each(_Search.write, searches, (of_left, of_right), (n_left, n_right)))

    parts = iter(parts)
    first = list(itertools.islice(parts, 2))
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        if len(first) == 1:
            # Its sides are worked on at once. Parts do not share their sides out: each would
            # wait for a thread that another part holds.
            search_part(first[0], pool.map)
        # the parts write to different rows; list() raises what a part raised
        elif first:
            list(pool.map(search_part, itertools.chain(first, parts)))
    return of_left, of_right


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
        opened = _OpenPart(left, right, (left_slots[:n_left], right_slots), reach)
        found = []
        for pairs in _pairs_within(*opened.points, opened.windows(), reach**2):
            mine, theirs, distance2 = _all_members(opened.left, opened.right, pairs)
            found.append((opened.left.slots[mine], opened.right.slots[theirs], distance2))
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
