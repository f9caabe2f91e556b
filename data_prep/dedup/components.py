"""Connected components of documents, in a mapped file: whole arrays of links are joined at a time.

The forest is an array over all positions that holds how far before a document its parent lies; 0 is a root. It begins
as zeros, so that only pages with a document in some link are ever touched. A parent is always an earlier document: the
root of a component is its first one, whatever the order of the links.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.dedup.parts import mapped_zeros

Forest = NDArray[np.unsignedinteger]


def empty_forest(file: Path, documents: int) -> Forest:
    """`documents` roots; on disk 4 bytes each, 8 from 2**32 documents on."""
    return mapped_zeros(file, documents, np.uint32 if documents <= 2**32 else np.uint64)


def roots(forest: Forest, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The root of each node, in `nodes`'s shape; the nodes are hung directly below their roots.

    Every round halves the depth of paths within `nodes` (pointer jumping; JáJá 1992, An introduction to parallel
    algorithms, 2.2).
    """
    parents = nodes - forest[nodes].astype(np.int64)
    while True:
        grandparents = parents - forest[parents].astype(np.int64)
        if np.array_equal(grandparents, parents):
            return parents
        forest[nodes] = nodes - grandparents
        parents = grandparents


def join(forest: Forest, links: NDArray[np.int64]) -> None:
    """Merge the components at the two ends of each link, int64 [links, 2].

    A root goes below the first of the roots that it is linked with; links that lost are looked at again.
    """
    while len(links):
        ends = roots(forest, links)
        low, high = ends.min(axis=1), ends.max(axis=1)
        apart = low < high
        np.maximum.at(forest, high[apart], (high - low)[apart].astype(forest.dtype))
        links = links[apart]
