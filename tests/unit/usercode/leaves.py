"""Leaves of small pictures, for what is done to a user's network before a training."""

from __future__ import annotations

import numpy as np

from seedbed.feed.micro_batch import MicroBatch


def a_leaf(leaf: int) -> MicroBatch:
    generator = np.random.default_rng(leaf)
    return MicroBatch(
        step=0,
        leaf=leaf,
        rows_m=np.arange(4) + 4 * leaf,
        labels_m=generator.integers(0, 5, 4),
        pixels_mhwc=generator.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8),
    )
