"""Connected components against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array, csgraph

from hitsduck.components import connected_components


@pytest.mark.parametrize("seed", range(20))
def test_components_are_those_of_scipy_in_order_of_their_lowest_nodes(seed: int):
    rng = np.random.default_rng(seed)
    n_nodes = int(rng.integers(1, 400))
    n_edges = int(rng.integers(0, 2 * n_nodes))
    first, second = rng.integers(0, n_nodes, (2, n_edges))
    found = connected_components(n_nodes, first, second)
    graph = coo_array((np.ones(n_edges), (first, second)), shape=(n_nodes, n_nodes))
    n_groups, labels = csgraph.connected_components(graph, directed=False)
    # the same partition: one label of ours for each of scipy's, and the other way round
    pairs = set(zip(found.tolist(), labels.tolist(), strict=True))
    assert len(pairs) == n_groups == len(set(found.tolist()))
    lowest = [int(np.flatnonzero(found == group)[0]) for group in range(n_groups)]
    assert lowest == sorted(lowest)


def test_a_long_chain_in_the_worst_order_is_one_component():
    n_nodes = 20_000
    order = np.random.default_rng(1).permutation(n_nodes)
    found = connected_components(n_nodes, order[:-1], order[1:])
    assert found.max() == 0


def test_no_edges_and_no_nodes_are_fine():
    nothing = np.zeros(0, dtype=np.int64)
    assert connected_components(3, nothing, nothing).tolist() == [0, 1, 2]
    assert connected_components(0, nothing, nothing).tolist() == []
