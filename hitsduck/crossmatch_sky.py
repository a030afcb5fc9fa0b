"""Sky positions for the cross-match: unit vectors, and a partition by HEALPix cells.

Pure arrays in, arrays out. Nothing is matched here: :mod:`hitsduck.crossmatch` does that.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
# Left slots, how many of them (the first) are the part's own, and the same for the right.
Part = tuple[Indices, int, Indices, int]

# Cells of depth 12 are 51 arcsec wide: a part is many of them, so that its rim is thin.
_MAX_DEPTH = 12
# Where rows are sparse the cells are made larger, until they hold this many on average.
_ROWS_PER_CELL = 8
_SAMPLES_PER_PART = 64
# Rows that are numbered in one go.
_SLICE = 1 << 14
# All that lies within r of a point is in the point's cell or in one of the eight around it
# if r is below the least width of a cell, 0.69 / nside radians; half of that is used.
_SAFE_RADIUS_TIMES_NSIDE = 0.345


def sort_with_order(key: Indices) -> tuple[Indices, Indices]:
    """Sort non-negative integers in place, and tell where each was.

    Parameters
    ----------
    key
        Integers, shape (n,); overwritten. The bits of the largest one and those of 2n
        together are 63 at most.

    Returns
    -------
    tuple of numpy.ndarray
        The sorted keys and their positions before; of equal keys the first comes first.

    Notes
    -----
    Key and position are packed into one integer, which sorts several times faster than
    argsort does.

    Examples
    --------
    >>> [array.tolist() for array in sort_with_order(np.array([7, 3, 7]))]
    [[3, 7, 7], [1, 0, 2]]
    """
    bits = (2 * key.size).bit_length()
    # In place: fresh memory of this size takes longer to come by than the sums take.
    key <<= bits
    for first in range(0, key.size, _SLICE):
        part = key[first : first + _SLICE]
        part |= np.arange(first, first + part.size)
    key.sort()
    order = key & ((1 << bits) - 1)
    key >>= bits
    return key, order


def wrapped_degrees(ra_deg: Floats) -> Floats:
    """Bring right ascensions of any size into (-180, 180], without rounding.

    Parameters
    ----------
    ra_deg
        Right ascension in degrees, any finite value, shape (n,).

    Returns
    -------
    numpy.ndarray
        The same directions in degrees, shape (n,). Every step is exact in floating point:
        370 and 10 become the same number.

    Examples
    --------
    >>> wrapped_degrees(np.array([370.0, -350.0, 190.0, -180.0])).tolist()
    [10.0, 10.0, -170.0, 180.0]
    """
    low, high = ra_deg.min(initial=0.0), ra_deg.max(initial=0.0)
    if low < -360.0 or high > 360.0:
        ra_deg = np.fmod(ra_deg, 360.0)
    if high > 180.0:
        ra_deg = np.where(ra_deg > 180.0, ra_deg - 360.0, ra_deg)
    if low <= -180.0:
        ra_deg = np.where(ra_deg <= -180.0, ra_deg + 360.0, ra_deg)
    return ra_deg


def unit_vectors(ra_deg: Floats, dec_deg: Floats) -> Floats:
    """Turn positions on the sky into unit vectors.

    Parameters
    ----------
    ra_deg, dec_deg
        Right ascension of any size and declination within [-90, 90], degrees, shape (n,).

    Returns
    -------
    numpy.ndarray
        x, y and z, shape (3, n).

    Examples
    --------
    >>> unit_vectors(np.array([0.0, 450.0]), np.array([0.0, 0.0])).round(12).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    ra, dec = np.radians(wrapped_degrees(ra_deg)), np.radians(dec_deg)
    cos_dec = np.cos(dec)
    vectors = np.empty((3, ra.size))
    np.cos(ra, out=vectors[0])
    np.sin(ra, out=vectors[1])
    vectors[:2] *= cos_dec
    np.sin(dec, out=vectors[2])
    return vectors


def healpix_depth(radius_arcsec: float) -> int:
    """Give the depth of HEALPix cells whose ring of neighbours holds every circle.

    Parameters
    ----------
    radius_arcsec
        Radius of the circles in arcsec, at most 3600.

    Returns
    -------
    int
        HEALPix depth (nside is 2**depth), at most 12.

    Examples
    --------
    >>> healpix_depth(1.0), healpix_depth(3600.0)
    (12, 4)
    """
    radius_rad = np.radians(radius_arcsec / 3600.0)
    return min(_MAX_DEPTH, int(np.floor(np.log2(_SAFE_RADIUS_TIMES_NSIDE / radius_rad))))


class _Cells:
    """The HEALPix cells that hold rows of one catalogue, which is in their order."""

    def __init__(self, cell: Indices, depth: int) -> None:
        self.cell, self.depth = cell, depth
        self.start = np.flatnonzero(np.diff(cell, prepend=-1))
        self.count = np.diff(self.start, append=cell.size)

    def parts(self, borders: Indices) -> Iterator[tuple[Indices, int]]:
        """Yield, for each part, its slots followed by those of the cells around it."""
        from cdshealpix.nested import neighbours

        occupied = self.cell[self.start]
        own_part = np.searchsorted(borders, occupied, side="right")
        around = neighbours(occupied, self.depth)
        near_part = np.searchsorted(borders, around, side="right")
        is_rim = (near_part != own_part[:, None]) & (around >= 0)
        width = np.int64(occupied.size + 1)
        rims = np.unique(near_part[is_rim] * width + np.nonzero(is_rim)[0])
        rim_part, rim_cell = np.divmod(rims, width)
        edges = [0, *np.searchsorted(self.cell, borders).tolist(), self.cell.size]
        rim_edges = np.searchsorted(rim_part, np.arange(1, borders.size + 1))
        for first, last, rim in zip(
            edges[:-1], edges[1:], np.split(rim_cell, rim_edges), strict=True
        ):
            count = self.count[rim]
            shift = self.start[rim] - np.cumsum(count) + count
            rim_slots = np.repeat(shift, count) + np.arange(count.sum())
            yield np.concatenate([np.arange(first, last), rim_slots]), last - first


def _in_order_of_cells(ra_deg: Floats, dec_deg: Floats) -> tuple[Indices, Indices]:
    """Sort a catalogue by its cells of the highest depth: cells and rows, shape (n,)."""
    # Only here: matching within images does without, and astropy takes long to import.
    from astropy import units
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import lonlat_to_healpix

    lon = Longitude(wrapped_degrees(ra_deg), units.deg)
    cell = lonlat_to_healpix(lon, Latitude(dec_deg, units.deg, copy=False), _MAX_DEPTH)
    return sort_with_order(cell.view(np.int64))


def sky_parts(
    left_deg: tuple[Floats, Floats],
    right_deg: tuple[Floats, Floats],
    *,
    radius_arcsec: float,
    part_rows: int,
) -> tuple[Indices | None, Indices | None, Iterator[Part]]:
    """Cut two catalogues into parts of the sky that can be matched one by one.

    A part is a run of neighbouring HEALPix cells (nested order).

    Parameters
    ----------
    left_deg, right_deg
        Right ascension of any size and declination within [-90, 90] of each catalogue,
        degrees, shapes (n,) and (m,).
    radius_arcsec
        The largest separation that will be asked for, in arcsec, at most 3600.
    part_rows
        About how many rows of both catalogues together a part shall have; a part is at
        least one cell.

    Returns
    -------
    left_order, right_order
        The rows of each catalogue in the order of their cells, shapes (n,) and (m,); None
        where they are not cut, and in their own.
    parts
        (left slots, number of own ones, right slots, number of own ones) of each part,
        where slots count in the orders above. Own slots come first, and every row is
        some part's own once. After them come the rows of the cells around, so that all
        that lies within the radius of an own row is there.

    Examples
    --------
    >>> ra, dec = np.array([200.0, 10.0]), np.array([60.0, 0.0])
    >>> order, _, parts = sky_parts((ra, dec), (ra, dec), radius_arcsec=1.0, part_rows=2)
    >>> [order[slots[:n_own]].tolist() for slots, n_own, _, _ in parts]
    [[0], [1]]
    """
    sizes = left_deg[0].size, right_deg[0].size
    if sum(sizes) <= part_rows:
        slots, others = np.arange(sizes[0]), np.arange(sizes[1])
        return None, None, iter([(slots, sizes[0], others, sizes[1])])
    left_cell, left_order = _in_order_of_cells(*left_deg)
    right_cell, right_order = _in_order_of_cells(*right_deg)
    for depth in range(healpix_depth(radius_arcsec), -1, -1):
        # cells of lower depth are unions of these, and come in the same order
        shift = 2 * (_MAX_DEPTH - depth)
        left, right = _Cells(left_cell >> shift, depth), _Cells(right_cell >> shift, depth)
        if (left.start.size + right.start.size) * _ROWS_PER_CELL <= sum(sizes):
            break
    # Both are in order, so that some rows of each tell where about a part is full.
    step = max(part_rows // _SAMPLES_PER_PART, 1)
    sample = np.sort(np.concatenate([left.cell[::step], right.cell[::step]]))
    every = part_rows // step
    borders = np.unique(sample[every::every])
    both = zip(left.parts(borders), right.parts(borders), strict=True)
    return left_order, right_order, ((*own, *other) for own, other in both)
