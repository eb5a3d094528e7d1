"""Where the image of a row lies: shard, record batch, bytes. The most recently used indices are cached."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from seedbed.dataset import Dataset
from seedbed.dataset.shard_io import HEAD_BYTES
from seedbed.feed.feed_retry import StoreRetry

Rows = npt.NDArray[np.int64]


class ImageLocation(NamedTuple):
    """Where the encoded image of a row lies, and its label; a tuple, for one is made per image."""

    row: int
    """Row within the dataset."""
    label: int
    shard: int
    batch: int
    """Number of the record batch within its shard."""
    batch_sha256: str
    place: int
    """Row within the batch."""
    start: int
    """First byte of the image within the batch."""
    length: int
    head: bytes
    """What the row digest covers before the image: id, key and label."""
    digest: bytes
    """The row digest, to which the dataset digest commits."""
    target: bytes = b""
    """Of another task than single-label."""

    def holds(self, image: bytes) -> bool:
        """Return whether these bytes are the image of the row, under its id, key and label."""
        found = hashlib.sha256(self.head)
        found.update(image)
        return found.digest() == self.digest


@dataclass(frozen=True, kw_only=True, slots=True)
class _Columns:
    """The columns of a shard's index that the feed needs."""

    batch: npt.NDArray[np.int32]
    batch_first: npt.NDArray[np.int64]
    """First position of every batch."""
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    label: npt.NDArray[np.int32]
    heads: bytes | tuple[bytes, ...]
    """Of `HEAD_BYTES` each, or of any length each."""
    digests: bytes
    targets: tuple[bytes, ...] | None

    def head(self, position: int) -> bytes:
        """Return what the digest of a row covers before its image."""
        if isinstance(self.heads, bytes):
            return self.heads[HEAD_BYTES * position : HEAD_BYTES * (position + 1)]
        return self.heads[position]


class ShardIndexCache:
    """The indices of at most `size` shards of a dataset; safe to use from several threads."""

    def __init__(self, dataset: Dataset, *, retry: StoreRetry, size: int) -> None:
        self._dataset = dataset
        self._retry = retry
        self._first_rows = np.array([shard.first_row for shard in dataset.manifest.shards], np.int64)
        self._columns: MutableMapping[int, _Columns] = LRUCache(size)
        self._lock = threading.Lock()

    def locate(self, rows_m: Rows) -> list[ImageLocation]:
        """Return the locations of dataset rows, shape (m,)."""
        shards_m = np.searchsorted(self._first_rows, rows_m, side="right") - 1
        pairs = zip(rows_m.tolist(), shards_m.tolist(), strict=True)
        return [self._locate(row, shard) for row, shard in pairs]

    def batches(self, shard: int) -> npt.NDArray[np.int32]:
        """Return the number of the record batch of every row of a shard, shape (rows,)."""
        return self._load(shard).batch

    def _locate(self, row: int, shard: int) -> ImageLocation:
        columns = self._load(shard)
        position = row - int(self._first_rows[shard])
        batch = int(columns.batch[position])
        return ImageLocation(
            row=row,
            label=int(columns.label[position]),
            shard=shard,
            batch=batch,
            batch_sha256=self._dataset.manifest.shards[shard].batches[batch].sha256,
            place=position - int(columns.batch_first[batch]),
            start=int(columns.offset[position]),
            length=int(columns.length[position]),
            head=columns.head(position),
            digest=columns.digests[32 * position : 32 * (position + 1)],
            target=columns.targets[position] if columns.targets else b"",
        )

    def _load(self, shard: int) -> _Columns:
        with self._lock:
            cached = self._columns.get(shard)
        if cached is not None:
            return cached
        index = self._retry.call(lambda: self._dataset.index(shard))
        count = len(self._dataset.manifest.shards[shard].batches)
        columns = _Columns(
            batch=index.batch,
            batch_first=np.searchsorted(index.batch, np.arange(count)),
            offset=index.offset,
            length=index.length,
            label=index.label,
            heads=index.heads() if index.target is None else tuple(map(index.head, range(len(index)))),
            digests=index.digest.tobytes(),
            targets=index.target,
        )
        with self._lock:
            self._columns[shard] = columns
        return columns
