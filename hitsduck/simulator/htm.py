"""The HTM index that APDB files call pixelId.

Equal to ``lsst.sphgeom.HtmPixelization(20).index`` but for points on an edge.
The quad tree of spherical triangles is that of Kunszt, Szalay and Thakar (2001).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CORNERS = np.array(
    [(1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)], dtype=float
)
#: Corners of the eight root triangles S0 S1 S2 S3 N0 N1 N2 N3 (ids 8 to 15).
_ROOTS = np.array(
    [(0, 5, 1), (1, 5, 2), (2, 5, 3), (3, 5, 0), (0, 4, 3), (3, 4, 2), (2, 4, 1), (1, 4, 0)]
)
# small enough that all arrays of one step stay in the processor's cache
_CHUNK = 4096


def htm_index(ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike, level: int = 20) -> Ints:
    """Return the HTM index of positions.

    Parameters
    ----------
    ra_deg, dec_deg : array-like
        Positions (deg), one dimension.
    level : int
        Depth of the tree; 20 in every known APDB.

    Examples
    --------
    >>> int(htm_index([150.0], [2.0])[0])
    15560498516448
    """
    ra, dec = np.radians(np.asarray(ra_deg, float)), np.radians(np.asarray(dec_deg, float))
    index = np.empty(ra.shape, dtype=np.int64)
    for start in range(0, len(ra), _CHUNK):
        part = slice(start, start + _CHUNK)
        index[part] = _chunk(ra[part], dec[part], level)
    return index


def _chunk(ra: Floats, dec: Floats, level: int) -> Ints:
    cos = np.cos(dec)
    v = np.stack([cos * np.cos(ra), cos * np.sin(ra), np.sin(dec)])
    x, y, z = v
    south = np.where(
        y > 0,
        np.where(x > 0, 0, 1),
        np.where(y == 0, np.where(x >= 0, 0, 2), np.where(x < 0, 2, 3)),
    )
    north = np.where(
        y > 0,
        np.where(x > 0, 7, 6),
        np.where(y == 0, np.where(x >= 0, 7, 5), np.where(x < 0, 5, 4)),
    )
    root = np.where(z < 0, south, north)
    a, b, c = (_CORNERS[_ROOTS[root, i]].T for i in range(3))
    index = root.astype(np.int64) + 8
    for _ in range(level):
        # the middles of the sides opposite a, b, c
        ma, mb, mc = _middle(b, c), _middle(c, a), _middle(a, b)
        in_a, in_b, in_c = _left(v, mc, mb), _left(v, ma, mc), _left(v, mb, ma)
        child = np.where(in_a, 0, np.where(in_b, 1, np.where(in_c, 2, 3)))
        a, b, c = (
            np.where(child == 0, a, np.where(child == 1, b, np.where(child == 2, c, ma))),
            np.where(child == 0, mc, np.where(child == 1, ma, mb)),
            np.where(child == 0, mb, np.where(child == 2, ma, mc)),
        )
        index = index * 4 + child
    return index


def _middle(p: Floats, q: Floats) -> Floats:
    total = p + q
    middle: Floats = total / np.sqrt(
        total[0] * total[0] + total[1] * total[1] + total[2] * total[2]
    )
    return middle


def _left(v: Floats, p: Floats, q: Floats) -> npt.NDArray[np.bool_]:
    triple = (
        v[0] * (p[1] * q[2] - p[2] * q[1])
        + v[1] * (p[2] * q[0] - p[0] * q[2])
        + v[2] * (p[0] * q[1] - p[1] * q[0])
    )
    inside: npt.NDArray[np.bool_] = triple >= 0
    return inside
