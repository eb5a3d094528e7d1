"""Engines that run the two ingest passes: threads of this process here, Ray in `ray_ingest`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import pyarrow as pa

from seedbed.dataset.ingest_passes import IngestJob, ShardTask, WrittenShard, inspect_files, write_shard

_FILES_PER_CALL = 128


class IngestEngine(Protocol):
    """Runs pass 1 over a listing and pass 2 over planned shards."""

    def session(self) -> AbstractContextManager[None]:
        """Return a context that starts and stops what both passes need."""

    def inspect(self, files: Iterable[pa.Table], *, job: IngestJob) -> Iterator[pa.Table]:
        """Yield metadata of all files, in any order."""

    def write(self, tasks: Iterable[ShardTask], *, job: IngestJob) -> Iterator[WrittenShard]:
        """Write the shards and yield them in the order of the tasks."""


class LocalIngestEngine:
    """Runs in this process, `IngestJob.threads` files at a time."""

    def session(self) -> AbstractContextManager[None]:
        """Start nothing."""
        return nullcontext()

    def inspect(self, files: Iterable[pa.Table], *, job: IngestJob) -> Iterator[pa.Table]:
        """Yield metadata in blocks."""
        for table in files:
            for start in range(0, table.num_rows, _FILES_PER_CALL):
                yield inspect_files(table.slice(start, _FILES_PER_CALL), job=job)

    def write(self, tasks: Iterable[ShardTask], *, job: IngestJob) -> Iterator[WrittenShard]:
        """Write one shard after the other."""
        return (write_shard(task, job=job) for task in tasks)
