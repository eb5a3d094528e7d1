"""Permutations from counter-based Philox keys: equal for equal (seed, purpose, epoch, block).

Only `random_raw` is used: numpy keeps the raw 64-bit stream of a bit generator stable, its
distributions it does not.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Purpose(IntEnum):
    """What a stream of keys is for; part of the Philox key, so that no two purposes share a number."""

    SHARDS = 1
    WINDOW = 2


def permutation(
    count: int, *, seed: int, purpose: Purpose, epoch: int, block: int = 0
) -> npt.NDArray[np.int64]:
    """Return a permutation of range(count), shape (count,): the stable argsort of 64-bit Philox keys.

    The Philox key is (seed, purpose), its counter (running, block, epoch, 0).
    """
    key = np.array([seed, purpose], np.uint64)  # a plain list with a seed above 2**63 would become floats
    generator = np.random.Philox(key=key, counter=np.array([0, block, epoch, 0], np.uint64))
    return np.argsort(generator.random_raw(count), kind="stable")
