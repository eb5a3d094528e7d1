from __future__ import annotations

import threading
import warnings

import pytest

from seedbed.dataset import Dataset, open_dataset
from seedbed.feed import open_feed
from seedbed.feed.batch_reader import CachedBatchReader, LocalBatchReader
from seedbed.feed.feed_retry import StoreRetry
from seedbed.feed.record_batch_cache import BatchCache
from seedbed.storage import open_storage
from seedbed_api.errors import InfrastructureError, UserError
from seedbed_api.exponential_backoff import ExponentialBackoff
from support.datasets.small_datasets import a_stream, write_dataset


class Faulty:
    """A store that counts its range reads and fails or damages the first of them, as told."""

    def __init__(self, storage, *, failures=0, damages=0, error=None):
        self._storage = storage
        self.failures, self.damages = failures, damages
        self.error = error or InfrastructureError("StorageUnavailable", "503")
        self.ranges: list[tuple[str, int, int]] = []
        self.url = storage.url

    def read_range(self, path, start, length):
        self.ranges.append((path, start, length))
        if self.failures:
            self.failures -= 1
            raise self.error
        data = self._storage.read_range(path, start, length)
        if self.damages:
            self.damages -= 1
            return bytes([data[0] ^ 1]) + data[1:]
        return data

    def __getattr__(self, name):
        return getattr(self._storage, name)


@pytest.fixture
def opened(tmp_path):
    storage = open_storage(str(tmp_path / "dataset"))
    write_dataset(storage, rows={"train": 30}, shard_rows=15, batch_bytes=4000)

    def build(**faults):
        faulty = Faulty(storage, **faults)
        return Dataset(faulty, open_dataset(storage).manifest), faulty

    return build


def cached(dataset, cache=None, *, needed=lambda shard, batch: True, retry=None):
    return CachedBatchReader(dataset, retry=retry or StoreRetry(seconds=0), cache=cache, needed=needed)


def expected(dataset, shard, batch):
    entry = dataset.manifest.shards[shard]
    place = entry.batches[batch]
    return open_storage(dataset.storage.url).read_range(entry.path, place.offset, place.length)


@pytest.mark.parametrize("with_cache", [True, False], ids=["disk", "memory"])
def test_one_range_brings_the_neighbours_that_are_needed(opened, tmp_path, with_cache):
    dataset, store = opened()
    cache = BatchCache(tmp_path / "cache", bound=10**6) if with_cache else None
    batches = cached(dataset, cache)
    count = len(dataset.manifest.shards[0].batches)
    assert count > 3
    for batch in range(count):
        assert batches.read(0, batch, 5, 20) == expected(dataset, 0, batch)[5:25]
    assert len(store.ranges) == 1


def test_neighbours_that_nobody_needs_are_not_read(opened):
    dataset, store = opened()
    batches = cached(dataset, needed=lambda shard, batch: batch in {0, 1, 3})
    batches.read(0, 0, 0, 1)
    place = dataset.manifest.shards[0].batches[1]
    assert store.ranges == [(dataset.manifest.shards[0].path, *_span(dataset, 0, 0, place))]


def _span(dataset, shard, batch, last):
    first = dataset.manifest.shards[shard].batches[batch]
    return first.offset, last.offset + last.length - first.offset


def test_another_process_finds_what_one_fetched(opened, tmp_path):
    dataset, store = opened()
    cached(dataset, BatchCache(tmp_path / "cache", bound=10**6)).read(0, 0, 0, 1)
    again = cached(dataset, BatchCache(tmp_path / "cache", bound=10**6))
    assert again.read(0, 1, 0, 10) == expected(dataset, 0, 1)[:10]
    assert len(store.ranges) == 1


@pytest.mark.parametrize("kind", [LocalBatchReader, CachedBatchReader])
@pytest.mark.parametrize(("damages", "fine"), [(1, True), (2, False)], ids=["once", "every time"])
def test_a_batch_that_differs_is_read_once_more_then_refused(opened, kind, damages, fine):
    dataset, _ = opened(damages=damages)
    batches = (
        LocalBatchReader(dataset, retry=StoreRetry(seconds=0))
        if kind is LocalBatchReader
        else cached(dataset)
    )
    if fine:
        assert batches.read(1, 2, 0, 10) == expected(dataset, 1, 2)[:10]
        return
    with pytest.raises(UserError) as caught:
        batches.read(1, 2, 0, 10)
    assert caught.value.reason == "InvalidDataset"
    assert "batch 2" in caught.value.message
    assert dataset.manifest.shards[1].path in caught.value.message
    assert "\n" not in caught.value.message


def test_a_damaged_cache_entry_is_fetched_again(opened, tmp_path):
    dataset, store = opened()
    cached(dataset, BatchCache(tmp_path / "cache", bound=10**6)).read(0, 0, 0, 1)
    for entry in (tmp_path / "cache" / "entries").glob("*/*"):
        entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    again = cached(dataset, BatchCache(tmp_path / "cache", bound=10**6))
    assert again.read(0, 0, 0, 10) == expected(dataset, 0, 0)[:10]
    assert len(store.ranges) == 2


def test_a_local_batch_is_hashed_whole_once_then_read_in_slices(opened):
    dataset, store = opened()
    batches = LocalBatchReader(dataset, retry=StoreRetry(seconds=0))
    for _ in range(3):
        assert batches.read(0, 1, 3, 7) == expected(dataset, 0, 1)[3:10]
    assert [length for _, _, length in store.ranges] == [dataset.manifest.shards[0].batches[1].length, 7, 7]


def test_a_hiccup_of_the_store_is_waited_out(opened, monkeypatch):
    monkeypatch.setattr("seedbed.feed.feed_retry.BACKOFF", ExponentialBackoff(first=0.001, longest=8.0))
    dataset, store = opened(failures=5)
    assert cached(dataset, retry=StoreRetry(seconds=30)).read(0, 0, 0, 4) == expected(dataset, 0, 0)[:4]
    assert len(store.ranges) == 6


def test_an_outage_is_the_infrastructures_failure_after_a_while(opened, monkeypatch):
    monkeypatch.setattr("seedbed.feed.feed_retry.BACKOFF", ExponentialBackoff(first=0.001, longest=8.0))
    dataset, store = opened(failures=10**6)
    with pytest.raises(InfrastructureError):
        cached(dataset, retry=StoreRetry(seconds=1.0)).read(0, 0, 0, 4)
    assert len(store.ranges) > 3


def test_closing_ends_the_waiting_at_once(opened):
    dataset, _ = opened(failures=10**6)
    stopped = threading.Event()
    threading.Timer(0.1, stopped.set).start()
    with pytest.raises(InfrastructureError):
        cached(dataset, retry=StoreRetry(seconds=60, stopped=stopped)).read(0, 0, 0, 4)


@pytest.mark.parametrize("error", [FileNotFoundError(2, "no such object"), OSError(5, "3 of 9 bytes")])
def test_a_missing_or_short_shard_is_the_users_error(opened, error):
    dataset, _ = opened(failures=9, error=error)
    with pytest.raises(UserError) as caught:
        cached(dataset).read(0, 0, 0, 4)
    assert caught.value.reason == "InvalidDataset"


def pixels(spec):
    with open_feed("Local", spec, leaves=range(4), steps=range(9)) as batches:
        return [(batch.rows_m.tolist(), batch.pixels_mhwc.tobytes()) for batch in batches]


@pytest.mark.parametrize("bound", [10**6, 12_000, 10], ids=["all of it", "three batches", "nothing fits"])
def test_bits_do_not_depend_on_the_cache(tmp_path, bound):
    folder = tmp_path / "dataset"
    write_dataset(open_storage(str(folder)), rows={"train": 37})
    want = pixels(a_stream(folder))
    spec = a_stream(folder, read_in_place=False, cache_folder=tmp_path / "cache", cache_bytes=bound)
    assert pixels(spec) == want
    assert BatchCache(tmp_path / "cache", bound=bound).size() <= bound
    assert pixels(spec) == want
    assert pixels(a_stream(folder, read_in_place=False)) == want


def test_a_cache_that_cannot_be_written_costs_one_warning_and_no_bit(tmp_path):
    folder = tmp_path / "dataset"
    write_dataset(open_storage(str(folder)), rows={"train": 37})
    (tmp_path / "file").write_bytes(b"")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        got = pixels(a_stream(folder, read_in_place=False, cache_folder=tmp_path / "file" / "cache"))
    assert got == pixels(a_stream(folder))
    assert len([w for w in told if "nothing more is written to it" in str(w.message)]) == 1


def test_a_remote_dataset_has_the_bits_of_a_local_one(tmp_path):
    write_dataset(open_storage(str(tmp_path)), rows={"train": 37})
    write_dataset(open_storage("memory://feeds/remote"), rows={"train": 37})
    remote = a_stream("memory://feeds/remote", cache_folder=tmp_path / "cache")
    assert pixels(remote) == pixels(a_stream(tmp_path))
