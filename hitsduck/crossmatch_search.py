"""The neighbour search behind the cross-match: slots of rows in, pairs of slots out.

A place is one position in one image (or on the sky); rows at exactly the same position share
it, so that a heap of duplicates costs no more than one row. Images are cut into zones. Image,
zone and the way along the zone make one integer, by which places are sorted: the candidates
of a place are a slice of its zone, and one of the next zone where that is near.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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
_BLOCK = 1 << 14
# More candidates than these, and the nearest are first sought within a smaller radius.
_FREE_CANDIDATES = 1 << 20
_CANDIDATES_PER_PLACE = 32
# A zone is this many radii high: higher means fewer copies of targets, more candidates.
_ZONE_RADII = 6
_STEPS_PER_RADIUS = 8
_NONE = -1
_ONE = np.int64(1)
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
        The rows in the order in which they are searched, shape (n,); None if that is theirs.
        Position in this order is called a slot.
    """

    first: Floats
    second: Floats
    to_axes: Callable[[Floats, Floats], Floats]
    image: Indices | None
    row: Indices | None
    ids: pl.Series | None
    order: Indices | None

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self.first.size

    def _rows(self, slots: Indices) -> Indices:
        return slots if self.order is None else self.order[slots]

    def axes_and_image(self, slots: Indices) -> tuple[Floats, Indices | None]:
        """Give the coordinates and image numbers of some rows."""
        axes = np.empty((0, slots.size))
        for block in _blocks(slots):
            rows = self._rows(slots[block])
            some = self.to_axes(self.first[rows], self.second[rows])
            if not axes.size:
                axes = np.empty((some.shape[0], slots.size))
            axes[:, block] = some
        return axes, None if self.image is None else self.image[self._rows(slots)]

    def frame_rows(self, slots: Indices) -> Indices:
        """Give the row numbers in the frame of some rows."""
        rows = self._rows(slots)
        return rows if self.row is None else self.row[rows]

    def matched(self, partner: Indices) -> Indices:
        """Give the slots that have a partner, in the order of the frame."""
        if self.order is None:
            return np.flatnonzero(partner != _NONE)
        slots = np.empty_like(self.order)
        slots[self.order] = np.arange(self.order.size)
        matched: Indices = slots[partner[slots] != _NONE]
        return matched

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
        Slot of the neighbour, -1 where there is none within the radius, shape (n,), or (0,)
        where it is not asked for.
    distance2
        Square of the distance to it, of the same shape.
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

    def windows(
        self, query_v: Floats, query_key: Indices, target_key: Indices, blocks: list[slice]
    ) -> list[tuple[Indices, Indices, Indices]]:
        """Find, for some blocks of queries, the targets within reach; all sorted by key.

        Returns
        -------
        list of tuple
            Pieces of `_Windows`.
        """
        margin = self.reach / self.height + 1e-6
        found = []
        for block in blocks:
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
                    found.append((which + block.start, start + first, end - start))
        return found


@dataclass(frozen=True)
class _Windows:
    """Slices of sorted targets to look at, each for one of sorted queries.

    Attributes
    ----------
    pieces
        (query, where its slice starts, how many targets it has), shape (n,) each.
    query_order, target_order
        Places of the sorted ones; None where they are sorted already.
    """

    pieces: list[tuple[Indices, Indices, Indices]]
    query_order: Indices | None = None
    target_order: Indices | None = None

    def n_candidates(self) -> int:
        """Count the targets in all slices."""
        return sum(int(count.sum()) for _, _, count in self.pieces)

    def candidates(self) -> Iterator[tuple[Indices, Indices]]:
        """Yield queries and targets to be looked at, as many as are worked on in one go."""
        for query, start, count in self.pieces:
            ends = np.cumsum(count)
            first, done = 0, 0
            while first < ends.size and done < ends[-1]:
                last = max(int(np.searchsorted(ends, done + _BLOCK, side="right")), first + 1)
                some = count[first:last]
                shift = start[first:last] - (ends[first:last] - some - done)
                targets = np.repeat(shift, some) + np.arange(int(ends[last - 1]) - done)
                queries = np.repeat(query[first:last], some)
                if self.query_order is not None and self.target_order is not None:
                    queries, targets = self.query_order[queries], self.target_order[targets]
                yield queries, targets
                first, done = last, int(ends[last - 1])


@dataclass(frozen=True)
class _Shared:
    """Which slots share a place.

    Attributes
    ----------
    place, number
        Place of each slot, and its number there, shape (slots,).
    member
        Slots in the order of (place, number), shape (slots,).
    start, n_rows
        Where each place begins in `member`, and how many it has, shape (places,).
    """

    place: Indices
    number: Indices
    member: Indices
    start: Indices
    n_rows: Indices


class _Places:
    """The different positions of one side of a part, and the slots at each of them."""

    def __init__(self, catalog: Catalog, slots: Indices, points: _Points, grid: _Grid) -> None:
        """Sort the slots by position, so that what is near is near in memory too."""
        key, self.order = sort_with_order(grid.keys(points))
        self.catalog, self.slots = catalog, slots[self.order]
        self.axes = points.axes.take(self.order, axis=1)
        self.image = None if points.image is None else points.image[self.order]
        is_same = np.append(key[1:] == key[:-1], False)
        self.shared: _Shared | None = None
        self.key = key
        if is_same.any():
            is_same[1:] |= is_same[:-1]
            self.shared = self._share(np.flatnonzero(is_same))

    @property
    def size(self) -> int:
        """How many places there are."""
        return len(self.axes[0])

    def n_rows(self, place: Indices) -> Indices:
        """Give the number of rows at some places."""
        if self.shared is None:
            return np.broadcast_to(_ONE, place.shape)
        return self.shared.n_rows[place]

    def rows(self, place: Indices, number: Indices | int = 0) -> Indices:
        """Give slots: those of some numbers at some places."""
        if self.shared is not None:
            place = self.shared.member[self.shared.start[place] + number]
        return self.slots[place]

    def _share(self, crowded: Indices) -> "_Shared":
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
        member = np.concatenate([crowded[order], np.flatnonzero(is_alone)])
        start = np.flatnonzero(is_new)
        places = np.cumsum(is_new) - 1
        place, number = np.empty_like(places), np.empty_like(places)
        place[member] = places
        number[member] = np.arange(places.size) - start[places]
        first = member[start]
        self.axes = self.axes.take(first, axis=1)
        self.image = None if self.image is None else self.image[first]
        return _Shared(place, number, member, start, np.diff(start, append=self.slots.size))


def _pairs_within(
    query: _Points, target: _Points, windows: _Windows, limit2: float, above2: float = -1.0
) -> Iterator[Pairs]:
    """Yield (queries, targets, squared distances) with above2 < distance2 <= limit2."""
    # One after the other: two threads that take turns at such short work gain nothing.
    for queries, targets in windows.candidates():
        distance2 = np.zeros(queries.size)
        for from_axis, to_axis in zip(query.axes, target.axes, strict=True):
            difference = from_axis[queries]
            difference -= to_axis[targets]
            difference *= difference
            distance2 += difference
        near = np.flatnonzero((distance2 <= limit2) & (distance2 > above2))
        yield queries[near], targets[near], distance2[near]


def _where(is_kept: NDArray[np.bool_], pairs: Pairs) -> Pairs:
    """Give some of the pairs, without a copy where it is all of them."""
    if is_kept.all():
        return pairs
    kept = np.flatnonzero(is_kept)
    mine, theirs, distance2 = pairs
    return mine[kept], theirs[kept], distance2[kept]


class _Search:
    """What is known so far about the neighbours of one side's places."""

    def __init__(self, places: _Places, others: _Places, *, wants_nearest: bool) -> None:
        self.places, self.others, self.wants_nearest = places, others, wants_nearest
        self.distance2 = np.full(places.size if wants_nearest else 0, np.inf)
        self.n_near = np.zeros(places.size, dtype=np.int64)
        self.found: list[Pairs] = []

    def add(self, mine: Indices, theirs: Indices, distance2: Floats) -> None:
        """Count new pairs, and keep those that may be the nearest."""
        np.add.at(self.n_near, mine, self.others.n_rows(theirs))
        if self.wants_nearest:
            np.minimum.at(self.distance2, mine, distance2)
            self.found.append(_where(distance2 <= self.distance2[mine], (mine, theirs, distance2)))

    def partner(self) -> Indices:
        """Give the nearest place of each place: by distance, lowest id, then position."""
        partner = np.full(self.n_near.size, _NONE)
        # Piece by piece: all of them in one array would be memory that is touched once.
        nearest = [_where(pairs[2] == self.distance2[pairs[0]], pairs) for pairs in self.found]
        for mine, theirs, _ in nearest:
            partner[mine] = theirs
        # Where another one is equally near, the last one to be written is not the answer.
        tied = [mine[np.flatnonzero(partner[mine] != theirs)] for mine, theirs, _ in nearest]
        if any(piece.size for piece in tied):
            mine, theirs, _ = (np.concatenate(column) for column in zip(*nearest, strict=True))
            again = np.flatnonzero(np.isin(mine, np.concatenate(tied)))
            mine, theirs, others = mine[again], theirs[again], self.others
            ids = others.catalog.id_ranks(others.rows(theirs))
            order = np.lexsort((*others.axes[::-1, theirs], ids, mine))
            mine, theirs = mine[order], theirs[order]
            is_first = np.append(True, mine[1:] != mine[:-1])
            partner[mine[is_first]] = theirs[is_first]
        return partner

    def write(self, result: Nearest, n_own: int) -> None:
        """Turn places into rows, and keep what is known of the part's own."""
        shared, slots = self.places.shared, self.places.slots
        own = np.flatnonzero(self.places.order < n_own) if n_own < slots.size else slice(None)
        slots = slots[own]
        has_others = self.n_near > 1
        result.has_others[slots] = (has_others if shared is None else has_others[shared.place])[own]
        if self.wants_nearest:
            partner, distance2 = self._of_rows()
            result.partner[slots] = partner[own]
            result.distance2[slots] = distance2[own]

    def _of_rows(self) -> tuple[Indices, Floats]:
        """Give partner and distance: the k-th row of a place goes with the k-th of the other."""
        places, others = self.places, self.others
        partner, distance2 = self.partner(), self.distance2
        number: Indices | int = 0
        if places.shared is not None:
            place = places.shared.place
            partner, distance2 = partner[place], distance2[place]
            number = places.shared.number
        unmatched = np.flatnonzero(partner == _NONE)
        if others.shared is not None:
            number = np.where(number < others.n_rows(partner), number, 0)
        partner = others.rows(partner, number)
        partner[unmatched] = _NONE
        return partner, distance2


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
        if self.left.shared is not None or self.right.shared is not None:
            return self._windows(*self.points, self.grid)
        return self._windows_of_sorted(self.points[0].v, self.left.key, self.right.key)

    def _windows_of_sorted(
        self, query_v: Floats, query_key: Indices, target_key: Indices
    ) -> _Windows:
        blocks = _blocks(query_key)
        middle = (len(blocks) + 1) // 2
        halves = blocks[:middle], blocks[middle:]
        find = partial(self.grid.windows, query_v, query_key, target_key)
        return _Windows(list(itertools.chain.from_iterable(self.each(find, halves))))

    def search(self, wants_nearest: tuple[bool, bool]) -> tuple[_Search, _Search]:
        """Search both sides at once, then further out for places that need it."""
        of_left = _Search(self.left, self.right, wants_nearest=wants_nearest[0])
        of_right = _Search(self.right, self.left, wants_nearest=wants_nearest[1])
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
        pieces = grid.windows(query.v[query_order], query_key, target_key, _blocks(query_key))
        return _Windows(pieces, query_order, target_order)

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
            n_candidates = windows.n_candidates()
            if n_candidates <= affordable or reach <= floor:
                return reach, windows
            shrink = min(0.5, 0.9 * (affordable / n_candidates) ** 0.5)
            reach, windows = max(reach * shrink, floor), None


def _none_found(catalog: Catalog, wants_nearest: bool) -> Nearest:
    n = catalog.size if wants_nearest else 0
    return Nearest(np.full(n, _NONE), np.full(n, np.inf), np.zeros(catalog.size, dtype=np.bool_))


def nearest_rows(
    left: Catalog,
    right: Catalog,
    parts: Iterable[Part],
    *,
    reach: float,
    wants_nearest: tuple[bool, bool] = (True, True),
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
    wants_nearest
        Of left and of right, whether its nearest neighbours are asked for, beside whether
        there are others.

    Returns
    -------
    tuple of Nearest
        For the rows of the left catalogue, and for those of the right.
    """
    of_left, of_right = map(_none_found, (left, right), wants_nearest)

    def search_part(part: Part, each: Each = map) -> None:
        left_slots, n_left, right_slots, n_right = part
        if left_slots.size and right_slots.size:
            opened = _OpenPart(left, right, (left_slots, right_slots), reach, each)
            searches = opened.search(wants_nearest)
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
        found = _pairs_within(*opened.points, opened.windows(), reach**2)
        return [_all_members(opened.left, opened.right, pairs) for pairs in found]

    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        found = list(itertools.chain.from_iterable(pool.map(search_part, parts)))
    found.append((_NOTHING, _NOTHING, np.zeros(0)))
    of_left, of_right, distance2 = (np.concatenate(column) for column in zip(*found, strict=True))
    return of_left, of_right, distance2


def _all_members(left: _Places, right: _Places, pairs: Pairs) -> Pairs:
    """Turn pairs of places into pairs of slots: of all their rows."""
    left_place, right_place, distance2 = pairs
    if left.shared is None and right.shared is None:
        return left.slots[left_place], right.slots[right_place], distance2
    n_right = right.n_rows(right_place)
    n_pairs = left.n_rows(left_place) * n_right
    pair = np.repeat(np.arange(n_pairs.size), n_pairs)
    number = np.arange(pair.size) - np.repeat(np.cumsum(n_pairs) - n_pairs, n_pairs)
    left_number, right_number = np.divmod(number, n_right[pair])
    left_slots = left.rows(left_place[pair], left_number)
    return left_slots, right.rows(right_place[pair], right_number), distance2[pair]
