"""Whether a slice lists whole documents of its shard."""

from bisect import bisect_right

import numpy as np

from data_prep.index_checks import chunks
from data_prep.indexed import Index

SORTED = 1 << 20  # documents of the slice at once
WINDOW = 1 << 16  # documents of the shard at once; few enough to stay in a core's cache


def first_stray(index: Index, shard: Index) -> int | None:
    """A number in the slice `index` whose place and length are not those of a document of `shard`, which is sound.

    Both are walked in the order of the .bin. A search in the mapped pointers would copy them whole: an .idx does not
    align them.
    """
    for part in chunks(len(index.lengths), SORTED):
        order = np.argsort(index.pointers[part])
        pointers, lengths = index.pointers[part][order], index.lengths[part][order]
        first = 0
        while first < len(pointers):
            start = bisect_right(shard.pointers, pointers[first]) - 1
            if start < 0:
                return part.start + int(order[first])
            documents = slice(start, start + WINDOW)
            starts = np.array(shard.pointers[documents])
            last = max(first + 1, int(np.searchsorted(pointers, starts[-1], "right")))
            found = np.searchsorted(starts, pointers[first:last], "right") - 1
            wrong = (starts[found] != pointers[first:last]) | (shard.lengths[documents][found] != lengths[first:last])
            if wrong.any():
                return part.start + int(order[first + int(wrong.argmax())])
            first = last
    return None
