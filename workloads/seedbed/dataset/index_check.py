"""Check a shard's index before a row is located by it: its row digests, its labels, its byte ranges."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from seedbed.dataset.file_format import Shard
from seedbed.dataset.shard_io import ShardIndex
from seedbed.dataset.targets import target_problem

INDEX_ROW_BYTES = 256
"""Most bytes of an index per row; a row has 120."""
INDEX_HEAD_BYTES = 1 << 16
"""Most bytes of an index beside its rows."""


def most_index_bytes(shard: Shard, *, classes: int = 0, task: str | None = None) -> int:
    """Return the largest index that a shard may have; a target has at most 8 bytes per class."""
    target = 0 if task is None else 8 * classes
    return INDEX_HEAD_BYTES + (INDEX_ROW_BYTES + target) * shard.rows


def rows_sha256(index: ShardIndex) -> str:
    """Return the sha256 over the row digests of an index, in hex."""
    return hashlib.sha256(index.digest.tobytes()).hexdigest()


def index_problem(index: ShardIndex, shard: Shard, *, classes: int, task: str | None = None) -> str | None:
    """Return what contradicts the manifest in an index, None where nothing does."""
    return next(_problems(index, shard, classes, task), None)


def _problems(index: ShardIndex, shard: Shard, classes: int, task: str | None) -> Iterator[str]:
    name = f"index {shard.index_path}"
    if len(index) != shard.rows:
        yield f"{name} has {len(index)} rows instead of {shard.rows}"
        return
    if shard.rows_sha256 is not None and rows_sha256(index) != shard.rows_sha256:
        yield f"{name}: its row digests are not those that the dataset digest commits to"
    rows_of_batches = np.repeat(np.arange(len(shard.batches)), [batch.rows for batch in shard.batches])
    if not np.array_equal(index.batch, rows_of_batches):
        yield f"{name}: its rows are in other batches than the manifest says"
        return
    lengths = np.array([batch.length for batch in shard.batches], np.int64)[index.batch]
    outside = (index.offset < 0) | (index.length < 0) | (index.length > lengths - index.offset)
    for at in np.flatnonzero(outside)[:1]:
        yield f"{name}: row {shard.first_row + at} lies outside of batch {index.batch[at]}"
    for at in np.flatnonzero((index.label < 0) | (index.label >= classes))[:1]:
        yield f"{name}: row {shard.first_row + at} has label {index.label[at]}, of {classes} classes"
    for at, target in enumerate(index.target or ()):
        assert task is not None, "an index has targets where its dataset has a task"
        problem = target_problem(task, target, classes)
        if problem is not None:
            yield f"{name}: row {shard.first_row + at} has {problem}"
            return
