"""Random draws: 64-bit words by counter-based Philox (2 microseconds an image), and integers from them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np

WORDS: Final = 8
"""64-bit words that a transform may use, two Philox blocks."""

ONE: Final = 1 << 16
"""1.0 in the Q16 fixed point of this package."""

_PURPOSE: Final = 3
"""Second word of the Philox key; the order of rows uses 1 and 2."""

Words = Sequence[int]


class _Source(threading.local):
    """A generator whose state is set per image; constructing one costs ten times as much."""

    def __init__(self) -> None:
        self.generator = np.random.Philox(key=np.array([0, _PURPOSE], np.uint64))
        self.state = self.generator.state


_source = _Source()


def random_words(count: int, *, seed: int, epoch: int, row: int) -> list[int]:
    """Return 64-bit words: Philox key (seed, 3), counter (running, row, epoch, 0)."""
    state = _source.state
    state["state"]["key"][0] = seed
    counter = state["state"]["counter"]
    counter[0], counter[1], counter[2] = 0, row, epoch
    state["buffer_pos"] = 4  # nothing buffered: the next word starts a block
    _source.generator.state = state
    drawn: list[int] = _source.generator.random_raw(count).tolist()
    return drawn


def uniform_below(word: int, bound: int) -> int:
    """Return a uniform integer in [0, bound)."""
    return (word * bound) >> 64


def uniform_between(word: int, low: int, high: int) -> int:
    """Return a uniform integer in [low, high]."""
    return low + uniform_below(word, high - low + 1)


def bernoulli(word: int, probability: float) -> bool:
    """Return True with a probability rounded to 1/65536."""
    return (word >> 48) < to_fixed_point(probability)


def to_fixed_point(value: float) -> int:
    """Return the nearest Q16 number."""
    return round(value * ONE)
