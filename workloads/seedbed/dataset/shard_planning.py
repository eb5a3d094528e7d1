"""Plan the shards of a build: a function of the sorted metadata and the size of shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from seedbed.dataset.deduplication import Deduplicator
from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.ingest_passes import TASK_COLUMNS, ShardTask


def plan_shards(
    deduplicator: Deduplicator, *, shard_bytes: int, first_number: int, first_row: int
) -> Iterator[ShardTask]:
    """Yield the shards to write, split after split, in row order."""
    number, row = first_number, first_row
    for split in SPLITS:
        tables = (table.select(TASK_COLUMNS) for table in deduplicator.rows(split).tables())
        for rows in cut_into_shards(tables, shard_bytes=shard_bytes):
            yield ShardTask(split=split, number=number, first_row=row, rows=rows)
            number, row = number + 1, row + rows.num_rows


def cut_into_shards(tables: Iterable[pa.Table], *, shard_bytes: int) -> Iterator[pa.Table]:
    """Yield the rows in tables of at most `shard_bytes` of weight, or of one heavier row."""
    shard: list[pa.Table] = []
    weight = 0
    for table in tables:
        ends = np.concatenate([[0], np.cumsum(table["weight"].to_numpy())])
        start = 0
        while start < table.num_rows:
            fitting = int(np.searchsorted(ends, ends[start] + shard_bytes - weight, side="right")) - 1
            stop = max(fitting, start if shard else start + 1)
            shard.append(table.slice(start, stop - start))
            weight += int(ends[stop] - ends[start])
            start = stop
            if start < table.num_rows:
                yield _joined(shard)
                shard, weight = [], 0
    if shard:
        yield _joined(shard)


def _joined(tables: list[pa.Table]) -> pa.Table:
    """Return a copy: a slice would hold, and pickle, the whole table."""
    return pa.concat_tables(tables).combine_chunks()
