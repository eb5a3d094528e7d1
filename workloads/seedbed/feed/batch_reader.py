"""Read images out of record batches: fetched by range, cached on the node, each compared with its row digest.

A local dataset is read in place. A batch that differs from the manifest is fetched a second time; if
it differs again, the dataset is damaged. A batch is compared once, when it is fetched or first found;
an image each time it is read, wherever its bytes come from.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, MutableMapping
from typing import Final, Protocol

from cachetools import LRUCache

from seedbed.dataset import Dataset
from seedbed.feed.feed_retry import StoreRetry
from seedbed.feed.io_counters import IO_COUNTERS
from seedbed.feed.record_batch_cache import BatchCache
from seedbed.feed.shard_index_cache import ImageLocation
from seedbed_api.errors import UserError, refusal

COALESCE_BYTES: Final = 8 << 20
"""Most bytes of neighbouring record batches that one range read fetches."""

MEMORY_BYTES: Final = 128 << 20
"""Bytes of record batches in memory where there is no disk cache."""

Needed = Callable[[int, int], bool]


class BatchReader(Protocol):
    """Reads verified record batches of a dataset."""

    def read(self, shard: int, batch: int, start: int, length: int) -> bytes:
        """Return bytes of a record batch from `start`; `UserError` where it is damaged."""

    def discard(self, shard: int, batch: int) -> None:
        """Forget what is cached of a batch: the next read fetches it, and compares all of it."""


def read_image(dataset: Dataset, batches: BatchReader, location: ImageLocation) -> bytes:
    """Return the encoded image of a row, the one that the dataset digest commits to.

    Bytes of a cache or of a file that changed since are read again, once. `UserError` names the row.
    """
    for _ in range(2):
        image = batches.read(location.shard, location.batch, location.start, location.length)
        if location.holds(image):
            return image
        IO_COUNTERS.reject()
        batches.discard(location.shard, location.batch)
    problem = f"row {location.row} differs from the digest of its id, key, label and image"
    raise damaged_shard(dataset, location.shard, problem)


class LocalBatchReader:
    """Reads a dataset on a local file system in place; hashes each batch once per stream."""

    def __init__(self, dataset: Dataset, *, retry: StoreRetry) -> None:
        self._dataset = dataset
        self._retry = retry
        self._verified: set[tuple[int, int]] = set()

    def read(self, shard: int, batch: int, start: int, length: int) -> bytes:
        """Return bytes of a batch; the first access reads and hashes all of it."""
        if (shard, batch) in self._verified:
            place = self._dataset.manifest.shards[shard].batches[batch]
            return _read_range(self._dataset, self._retry, shard, place.offset + start, length)
        data = _fetch_verified(self._dataset, self._retry, shard, batch)
        self._verified.add((shard, batch))
        return data[start : start + length]

    def discard(self, shard: int, batch: int) -> None:
        """Let the next read compare the whole batch again."""
        self._verified.discard((shard, batch))


class CachedBatchReader:
    """Reads a remote dataset through a disk cache, or through bounded memory where there is none."""

    def __init__(
        self, dataset: Dataset, *, retry: StoreRetry, cache: BatchCache | None, needed: Needed
    ) -> None:
        self._dataset = dataset
        self._retry = retry
        self._cache = cache
        self._needed = needed
        self._memory = MemoryCache(bound=MEMORY_BYTES)

    def read(self, shard: int, batch: int, start: int, length: int) -> bytes:
        """Return bytes of a batch; fetch it together with the next batches that are needed soon."""
        name = self._dataset.manifest.shards[shard].batches[batch].sha256
        data = self._cached(name, start, length)
        if data is not None:
            IO_COUNTERS.hit()
            return data
        IO_COUNTERS.miss()
        if self._cache is None:
            return self._fetch(shard, batch)[start : start + length]
        with self._cache.fetch_lock(name):
            data = self._cached(name, start, length)  # another process may have fetched it meanwhile
            return data if data is not None else self._fetch(shard, batch)[start : start + length]

    def discard(self, shard: int, batch: int) -> None:
        """Remove a batch from memory and disk."""
        name = self._dataset.manifest.shards[shard].batches[batch].sha256
        self._memory.discard(name)
        if self._cache is not None:
            self._cache.discard(name)

    def _cached(self, name: str, start: int, length: int) -> bytes | None:
        cached = self._memory.get(name)
        if cached is not None:
            return cached[start : start + length]
        return None if self._cache is None else self._cache.read(name, start, length)

    def _fetch(self, shard: int, batch: int) -> bytes:
        """Fetch a batch and its neighbours by one range, cache all of them, return the batch."""
        entry = self._dataset.manifest.shards[shard]
        last = self._last_to_fetch(shard, batch)
        first = entry.batches[batch]
        end = entry.batches[last].offset + entry.batches[last].length
        data = _read_range(self._dataset, self._retry, shard, first.offset, end - first.offset)
        own = data[: first.length]
        if not _matches(own, first.sha256):
            own = _fetch_verified(self._dataset, self._retry, shard, batch, reads=1)
        self._store(first.sha256, own)
        for place in entry.batches[batch + 1 : last + 1]:
            neighbour = data[place.offset - first.offset : place.offset - first.offset + place.length]
            if _matches(neighbour, place.sha256):  # a damaged one is reported when it is read
                self._store(place.sha256, neighbour)
        return own

    def _last_to_fetch(self, shard: int, batch: int) -> int:
        """Return the last of the batches from `batch` on that are needed, not cached, and fit one read."""
        places = self._dataset.manifest.shards[shard].batches
        last = batch
        for number in range(batch + 1, len(places)):
            place = places[number]
            if place.offset + place.length - places[batch].offset > COALESCE_BYTES:
                break
            if not self._needed(shard, number) or self._is_cached(place.sha256):
                break
            last = number
        return last

    def _is_cached(self, name: str) -> bool:
        return self._memory.get(name) is not None or (self._cache is not None and self._cache.contains(name))

    def _store(self, name: str, data: bytes) -> None:
        if self._cache is None or not self._cache.write(name, data):
            self._memory.put(name, data)


class MemoryCache:
    """The most recently used values, at most `bound` bytes of them; safe to use from several threads."""

    def __init__(self, *, bound: int) -> None:
        self._bound = bound
        self._values: MutableMapping[str, bytes] = LRUCache(bound, getsizeof=len)
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes | None:
        """Return a value and make it the most recent one."""
        with self._lock:
            return self._values.get(name)

    def discard(self, name: str) -> None:
        """Forget a value."""
        with self._lock:
            self._values.pop(name, None)

    def put(self, name: str, data: bytes) -> None:
        """Store a value that fits and drop the least recent ones beyond the bound."""
        if len(data) > self._bound:
            return
        with self._lock:
            self._values[name] = data


def _matches(data: bytes, sha256: str) -> bool:
    return hashlib.sha256(data).hexdigest() == sha256


def _fetch_verified(dataset: Dataset, retry: StoreRetry, shard: int, batch: int, *, reads: int = 2) -> bytes:
    """Return a whole batch; `UserError` where it still differs after so many reads."""
    place = dataset.manifest.shards[shard].batches[batch]
    for _ in range(reads):
        data = _read_range(dataset, retry, shard, place.offset, place.length)
        if _matches(data, place.sha256):
            return data
    raise damaged_shard(dataset, shard, f"batch {batch} differs from the manifest (sha256)")


def _read_range(dataset: Dataset, retry: StoreRetry, shard: int, start: int, length: int) -> bytes:
    path = dataset.manifest.shards[shard].path
    try:
        data = retry.call(lambda: dataset.storage.read_range(path, start, length))
    except FileNotFoundError as error:
        raise damaged_shard(dataset, shard, "the file is missing") from error
    except OSError as error:
        raise damaged_shard(dataset, shard, f"the file is too short ({error})") from error
    IO_COUNTERS.fetch(dataset.storage.url, len(data))
    return data


def damaged_shard(dataset: Dataset, shard: int, problem: str) -> UserError:
    """Return the error of a shard that differs from the manifest."""
    where = f"{dataset.storage.url}/{dataset.manifest.shards[shard].path}"
    fix = "restore it, or build the dataset again; `seedbed dataset check` lists all damage"
    return UserError("InvalidDataset", refusal("spec.dataset.uri", where, problem, fix))
