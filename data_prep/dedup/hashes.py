"""64-bit integer hashing over whole arrays. The constants are fixed: what is on disk was computed with them."""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of uint64 whose every output bit depends on every input bit.

    The finaliser of SplitMix64 (Steele, Lea, Flood 2014, Fast splittable pseudorandom number generators).
    """
    result = values ^ (values >> np.uint64(30))
    result *= np.uint64(0xBF58476D1CE4E5B9)
    result ^= result >> np.uint64(27)
    result *= np.uint64(0x94D049BB133111EB)
    result ^= result >> np.uint64(31)
    return result


def coefficients(count: int, stream: int) -> NDArray[np.uint64]:
    """`count` fixed random odd numbers, uint64; another `stream` gives others."""
    return mixed((np.arange(1, count + 1, dtype=np.uint64) + np.uint64(stream << 32)) * _GOLDEN) | np.uint64(1)
