"""The neighbour search behind the cross-match: slots of rows in, pairs of slots out.

A place is one position in one image (or on the sky); rows at exactly the same position
share it, so that a heap of duplicates costs no more than one row. Images are cut into
zones. Image, zone and the way along the zone make one integer, and places are sorted by
it: the candidates of a place are a slice of its zone, and one of the next where that is
near.
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

# Rows, or pairs, that are worked on in one go: their arrays stay in a processor's cache.
_BLOCK = 1 << 15
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

    def axes_and_image(self, slots: Indices) -> tuple[Floats, Indices | None]:
        """Give the coordinates and image numbers of some rows."""
        rows = self.order[slots]
        axes = [self.to_axes(self.first[rows[b]], self.second[rows[b]]) for b in _blocks(rows)]
        return np.hstack(axes), None if self.image is None else self.image[rows]

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

    def __init__(self, *sides: tuple[Floats, Indices | None]) -> None:
        images = [image for _, image in sides if image is not None]
        self.first_image = min((int(image.min()) for image in images), default=0)
        last_image = max((int(image.max()) for image in images), default=0)
        self.n_images = last_image - self.first_image + 1
        total = np.zeros((sides[0][0].shape[0], self.n_images))
        n_points = np.zeros(self.n_images)
        for axes, image in sides:
            if image is None:
                n_points += axes.shape[1]
                total[:, 0] += axes.sum(axis=1)
            else:
                local = image - self.first_image
                n_points += np.bincount(local, minlength=self.n_images)
                total += [np.bincount(local, axis, self.n_images) for axis in axes]
        self.middle = total / np.maximum(n_points, 1)
        is_sky = total.shape[0] == 3
        dropped = np.argmax(np.abs(total), axis=0) if is_sky else np.full(self.n_images, 2)
        self.kept = (dropped + 1) % 3, (dropped + 2) % 3

    def points(self, axes: Floats, image: Indices | None) -> _Points:
        """Lay out some positions of these images."""
        if image is None:
            return _Points(axes, None, axes[self.kept[0][0]], axes[self.kept[1][0]])
        local = image - self.first_image
        u, v = (
            axes[kept[local], np.arange(local.size)]
            - self.middle[kept, np.arange(self.n_images)][local]
            for kept in self.kept
        )
        return _Points(axes, local, u, v)


class _Places:
    """The different positions of one side of a part, and the slots at each of them."""

    def __init__(
        self, catalog: Catalog, slots: Indices, layout: _Layout, side: tuple[Floats, Indices | None]
    ) -> None:
        """Sort the slots by position, so that what is near is near in memory too."""
        axes, image = side
        key, self.order = sort_with_order(_fine_keys(layout.points(axes, image), layout.n_images))
        self.catalog, self.slots = catalog, slots[self.order]
        self.axes = axes.take(self.order, axis=1)
        self.image = None if image is None else image[self.order]
        # Place of each slot and its number there; slots in the order of (place, number).
        self.place = self.member = self.start = np.arange(slots.size)
        self.number, self.n_rows = np.zeros_like(slots), np.ones_like(slots)
        is_same = np.append(key[1:] == key[:-1], False)
        self.is_shared = bool(is_same.any())
        if self.is_shared:
            is_same[1:] |= is_same[:-1]
            self._share(np.flatnonzero(is_same))
        self.points = layout.points(self.axes, self.image)

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


def _fine_keys(points: _Points, n_images: int) -> Indices:
    """Make integers that go image by image, zone by zone; equal positions have equal ones."""
    n_zones = int((points.u.size / n_images) ** 0.5) + 1
    n_keys = 1 << (63 - (2 * points.u.size).bit_length())
    n_steps = min(n_keys // (n_images * (n_zones + 1)) - 1, 1 << 40)
    key = _scaled(points.v, n_zones) * (n_steps + 1) + _scaled(points.u, n_steps)
    if points.image is not None:
        key += points.image * ((n_zones + 1) * (n_steps + 1))
    return key


def _scaled(values: Floats, top: int) -> Indices:
    """Scale values to integers from 0 to top."""
    low = values.min()
    extent = values.max() - low
    scaled: Indices = ((values - low) * (top / extent if extent > 0 else 0.0)).astype(np.int64)
    return scaled


@dataclass(frozen=True)
class _Windows:
    """Slices of the sorted targets to look at, each for one query."""

    query: Indices
    start: Indices
    count: Indices
    target: Indices


def _windows(query: _Points, target: _Points, n_images: int, reach: float) -> _Windows:
    """Find, for every query, the targets that may lie within `reach` of it."""
    low_u, low_v = min(query.u.min(), target.u.min()), min(query.v.min(), target.v.min())
    extent_u = max(query.u.max(), target.u.max()) - low_u
    extent_v = max(query.v.max(), target.v.max()) - low_v
    step, height = reach / _STEPS_PER_RADIUS, reach * _ZONE_RADII
    n_keys = 1 << (63 - (2 * max(query.u.size, target.u.size)).bit_length())
    while True:
        window = int(reach / step + 1e-6) + 1
        n_zones, n_steps = int(extent_v / height) + 3, int(extent_u / step) + 2 * window + 2
        if n_images * n_zones * n_steps < n_keys:
            break
        step, height = step * 2, height * 2

    def sorted_keys(side: _Points) -> tuple[Indices, Indices]:
        key = np.empty(side.u.size, dtype=np.int64)
        for block in _blocks(key):
            zone = ((side.v[block] - low_v) * (1.0 / height)).astype(np.int64) + 1
            if side.image is not None:
                zone += side.image[block] * n_zones
            zone *= n_steps
            zone += ((side.u[block] - low_u) * (1.0 / step)).astype(np.int64) + window
            key[block] = zone
        return sort_with_order(key)

    target_key, target_order = sorted_keys(target)
    query_key, query_order = sorted_keys(query)
    margin = reach / height + 1e-6
    queries, starts, counts = [], [], []
    for block in _blocks(query_key):
        key, index = query_key[block], query_order[block]
        level = (query.v[index] - low_v) * (1.0 / height) % 1.0
        above, below = np.flatnonzero(level > 1.0 - margin), np.flatnonzero(level < margin)
        for zone_key, which in (
            (key, index),
            (key[above] + n_steps, index[above]),
            (key[below] - n_steps, index[below]),
        ):
            start = np.searchsorted(target_key, zone_key - window, side="left")
            counts.append(np.searchsorted(target_key, zone_key + window, side="right") - start)
            starts.append(start)
            queries.append(which)
    return _Windows(
        np.concatenate(queries), np.concatenate(starts), np.concatenate(counts), target_order
    )


def _pairs_within(
    query: _Points, target: _Points, windows: _Windows, limit2: float, above2: float = -1.0
) -> Iterator[Pairs]:
    """Yield (queries, targets, squared distances) with above2 < distance2 <= limit2."""
    ends = np.cumsum(windows.count)
    first, done = 0, 0
    while first < ends.size and done < ends[-1]:
        last = int(np.searchsorted(ends, done + _BLOCK, side="right"))
        last = max(last, first + 1)
        count = windows.count[first:last]
        shift = windows.start[first:last] - (ends[first:last] - count - done)
        targets = windows.target[np.repeat(shift, count) + np.arange(int(ends[last - 1]) - done)]
        queries = np.repeat(windows.query[first:last], count)
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
            is_tied = np.zeros(partner.size, dtype=np.bool_)
            is_tied[tied] = True
            again = np.flatnonzero(is_tied[mine])
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


def _affordable(
    query: _Points, target: _Points, n_images: int, reach: float, floor: float
) -> tuple[float, _Windows]:
    """Give the largest radius up to `reach` with few enough candidates, and its windows."""
    affordable = _FREE_CANDIDATES + _CANDIDATES_PER_PLACE * (query.u.size + target.u.size)
    while True:
        windows = _windows(query, target, n_images, reach)
        n_candidates = int(windows.count.sum())
        if n_candidates <= affordable or reach <= floor:
            return reach, windows
        shrink = min(0.5, 0.9 * (affordable / n_candidates) ** 0.5)
        reach = max(reach * shrink, floor)


def _open_part(
    left: Catalog, right: Catalog, left_slots: Indices, right_slots: Indices
) -> tuple[_Layout, _Places, _Places]:
    """Find the places of both sides of a part."""
    left_side, right_side = left.axes_and_image(left_slots), right.axes_and_image(right_slots)
    layout = _Layout(left_side, right_side)
    left_places = _Places(left, left_slots, layout, left_side)
    return layout, left_places, _Places(right, right_slots, layout, right_side)


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
        part_places = _open_part(left, right, left_slots, right_slots)
        of_left, of_right = _nearest_places(*part_places, reach)
        of_left.write(results[0], n_left)
        of_right.write(results[1], n_right)

    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        # the parts write to different rows; list() raises what a part raised
        list(pool.map(search_part, parts))
    return results


def _nearest_places(
    layout: _Layout, left: _Places, right: _Places, reach: float
) -> tuple[_Search, _Search]:
    """Search both sides at once, then further out for places that need it."""
    searches = _Search(left, right), _Search(right, left)
    sides = left.points, right.points
    # A crowd within a large radius has far too many pairs to look at, but most of its
    # places have their nearest, and a second, within a small one.
    first_reach, windows = _affordable(*sides, layout.n_images, reach, reach * 1e-6)
    for mine, theirs, distance2 in _pairs_within(*sides, windows, first_reach**2):
        searches[0].add(mine, theirs, distance2)
        searches[1].add(theirs, mine, distance2)
    for search, here, there in zip(searches, (left, right), sides[::-1], strict=True):
        done = first_reach
        while done < reach and (undecided := np.flatnonzero(search.n_near < 2)).size:
            image = None if here.image is None else here.image[undecided]
            query = layout.points(here.axes.take(undecided, axis=1), image)
            next_reach, windows = _affordable(query, there, layout.n_images, reach, 2.0 * done)
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
        layout, *places = _open_part(left, right, left_slots[:n_left], right_slots)
        sides = places[0].points, places[1].points
        windows = _windows(*sides, layout.n_images, reach)
        found = []
        for pairs in _pairs_within(*sides, windows, reach**2):
            mine, theirs, distance2 = _all_members(places[0], places[1], pairs)
            found.append((places[0].slots[mine], places[1].slots[theirs], distance2))
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
