"""Connected components of a graph: arrays in, one label per node out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def connected_components(n_nodes: int, first: Ints, second: Ints) -> Ints:
    """Label the connected components of an undirected graph.

    Parameters
    ----------
    n_nodes : int
        Nodes are 0 to ``n_nodes - 1``.
    first, second : int arrays, shape (m,)
        The two ends of each edge.

    Returns
    -------
    int array, shape (n_nodes,)
        Number of each node's component, 0 to k - 1 in order of their lowest nodes.

    Notes
    -----
    Every root takes the lowest root that it shares an edge with, then all pointers
    are followed to their ends, until no edge joins two roots (Shiloach and Vishkin
    1982); a few rounds do, whatever the order of the edges.

    Examples
    --------
    >>> connected_components(5, np.array([0, 3]), np.array([3, 4])).tolist()
    [0, 1, 2, 0, 0]
    """
    root = np.arange(n_nodes, dtype=np.int64)
    first, second = first.astype(np.int64), second.astype(np.int64)
    while True:
        ends = root[first], root[second]
        is_open = ends[0] != ends[1]
        if not is_open.any():
            break
        first, second = first[is_open], second[is_open]
        low, high = np.minimum(*ends)[is_open], np.maximum(*ends)[is_open]
        np.minimum.at(root, high, low)
        while not np.array_equal(above := root[root], root):
            root = above
    return np.unique(root, return_inverse=True)[1].astype(np.int64)
