"""Where shards are cut: a function of the sorted metadata and the wished size, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from seedbed.dataset.format import SPLITS
from seedbed.dataset.ingest import ShardTask
from seedbed.dataset.intake import Intake


def plan_shards(
    intake: Intake, *, shard_bytes: int, first_number: int, first_row: int
) -> Iterator[ShardTask]:
    """Yield the shards to write, split after split, in row order."""
    number, row = first_number, first_row
    for split in SPLITS:
        rows = intake.rows(split)
        for start, stop in cuts(rows["weight"], shard_bytes=shard_bytes):
            yield ShardTask(split=split, number=number, first_row=row, rows=rows.slice(start, stop - start))
            number, row = number + 1, row + stop - start


def cuts(weights: pa.ChunkedArray, *, shard_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of stretches that weigh at most `shard_bytes`, or hold a single heavier row."""
    ends = np.cumsum(weights.to_numpy())
    start, done = 0, 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, done + shard_bytes, side="right")))
        yield start, stop
        start, done = stop, int(ends[stop - 1])
