from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import pytest

from seedbed.feed import bounded_folder
from seedbed.feed import record_batch_cache as module
from seedbed.feed.io_counters import IO_COUNTERS
from seedbed.feed.record_batch_cache import BatchCache


def value(number: int, size: int = 1000) -> tuple[str, bytes]:
    data = random.Random(number).randbytes(size)
    return hashlib.sha256(data).hexdigest(), data


def filled(folder, *, bound=10_000, count=5) -> BatchCache:
    cache = BatchCache(folder, bound=bound)
    for number in range(count):
        assert cache.write(*value(number))
    return cache


def test_what_was_written_is_read_in_slices_by_every_process(tmp_path):
    filled(tmp_path)
    other = BatchCache(tmp_path, bound=10_000)
    for number in range(5):
        name, data = value(number)
        assert other.read(name, 10, 100) == other.read(name, 10, 100) == data[10:110]
    assert other.read(value(9)[0], 0, 1) is None


def test_the_least_recently_used_goes_first_and_the_bound_holds(tmp_path):
    cache = filled(tmp_path, bound=10_000, count=8)
    for number in range(8):
        os.utime(cache._path(value(number)[0]), (1000 + number, 1000 + number))
    fresh = BatchCache(tmp_path, bound=10_000)
    assert fresh.read(value(0)[0], 0, 1000) is not None  # renews the oldest
    for number in range(8, 12):
        assert fresh.write(*value(number))
        assert fresh.size() <= 10_000
    assert fresh.contains(value(0)[0])
    assert not fresh.contains(value(1)[0])
    assert all(fresh.contains(value(number)[0]) for number in range(8, 12))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_entry_is_removed_not_served(tmp_path, damage):
    cache = filled(tmp_path)
    name, data = value(2)
    wrong = {"flip": bytes([data[0] ^ 1]) + data[1:], "truncate": data[:-1], "empty": b""}[damage]
    cache._path(name).write_bytes(wrong)
    fresh = BatchCache(tmp_path, bound=10_000)
    IO_COUNTERS.drain()
    assert fresh.read(name, 0, 10) is None
    assert IO_COUNTERS.drain().rejected == 1
    assert not fresh.contains(name)
    assert fresh.write(name, data)
    assert fresh.read(name, 0, 1000) == data


def test_a_value_larger_than_the_cache_is_left_out(tmp_path):
    cache = filled(tmp_path)
    assert not cache.write(*value(99, size=10_001))
    assert cache.size() == 5000


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_is_told_once_and_reading_goes_on(tmp_path, monkeypatch, code):
    cache = filled(tmp_path)

    def full(handle, data):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", full)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert not cache.write(*value(7))
        assert not cache.write(*value(8))
    assert len(told) == 1
    assert "nothing more is written to it" in str(told[0].message)
    assert cache.read(value(0)[0], 0, 1000) == value(0)[1]
    assert list((tmp_path / "aside").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_cache_that_keeps_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.warns(UserWarning, match="nothing more is written to it"):
        cache = BatchCache(tmp_path / "file" / "cache", bound=1000)
    assert not cache.write(*value(1, 10))
    assert cache.read(value(1)[0], 0, 1) is None
    with cache.fetch_lock(value(1)[0]):
        pass


def test_what_a_dead_writer_left_is_counted_and_evicted_by_age(tmp_path):
    cache = filled(tmp_path, bound=5900, count=5)
    dead, alive = tmp_path / "aside" / "dead", tmp_path / "aside" / "alive"
    for path in (dead, alive):
        path.write_bytes(b"x" * 400)
    os.utime(dead, (1000, 1000))
    assert cache.size() == 5800
    assert cache.write(*value(7))
    assert not dead.exists()
    assert alive.exists()
    assert cache.size() <= 5900


def test_a_writer_whose_temporary_file_is_evicted_stores_nothing(tmp_path, monkeypatch):
    cache = filled(tmp_path)
    monkeypatch.setattr(module, "_write_all", lambda handle, data: evict_all(tmp_path / "aside"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not cache.write(*value(7))
    monkeypatch.undo()
    assert cache.write(*value(7))


def evict_all(folder):
    for path in folder.iterdir():
        path.unlink()


def test_a_folder_of_an_older_version_is_read_bounded_and_cleared(tmp_path):
    """It counted in 8 bytes, named temporary files by their size, and had a file for each lock."""
    filled(tmp_path, count=8)
    (tmp_path / "ledger").write_bytes((8000).to_bytes(8, "little"))
    (tmp_path / "aside" / "0123456789abcdef-700").write_bytes(b"x" * 700)
    os.utime(tmp_path / "aside" / "0123456789abcdef-700", (1000, 1000))
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "017").write_bytes(b"")
    cache = BatchCache(tmp_path, bound=6000)
    cache.shrink()
    assert 4000 < cache.size() <= 5400
    assert not list((tmp_path / "aside").iterdir())
    for number in range(20, 40):
        assert cache.write(*value(number))
        assert cache.read(value(number)[0], 0, 1000) == value(number)[1]
        assert cache.size() <= 6000


def test_a_lost_or_torn_ledger_is_counted_again(tmp_path):
    cache = filled(tmp_path, bound=5500)
    for torn in (b"", b"123", b"\0" * 8):
        (tmp_path / "ledger").write_bytes(torn)
        assert BatchCache(tmp_path, bound=5500).write(*value(random.randrange(100, 10**6)))
        (tmp_path / "ledger").unlink()
        assert BatchCache(tmp_path, bound=5500).write(*value(random.randrange(100, 10**6)))
        assert cache.size() <= 5500


WRITER = """
    import hashlib, random, sys
    from pathlib import Path
    from seedbed.feed.record_batch_cache import BatchCache
    cache, rng = BatchCache(Path(sys.argv[1]), bound=200_000), random.Random(int(sys.argv[2]))
    print("ready", flush=True)
    while True:
        data = random.Random(rng.randrange(60)).randbytes(9000)
        name = hashlib.sha256(data).hexdigest()
        with cache.fetch_lock(name):
            got = cache.read(name, 0, 9000)
            if got is None:
                cache.write(name, data)
            else:
                assert got == data
"""


@pytest.fixture
def start_writer(tmp_path):
    """Start a process that fills the cache without end; none outlives the test."""
    writers = []

    def start(number):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path), str(number)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        writers.append(process)
        return process

    yield start
    for writer in writers:
        writer.kill()
        writer.communicate()


@pytest.mark.slow
def test_kill_9_at_any_point_leaves_a_sound_and_bounded_cache(tmp_path, start_writer):
    rng = random.Random(5)
    cache = BatchCache(tmp_path, bound=200_000)
    for _ in range(3):
        writers = [start_writer(number) for number in range(3)]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
            deadline = time.monotonic() + 300
            while not list((tmp_path / "entries").glob("*/*")):  # a busy machine may take its time
                assert time.monotonic() < deadline, "nothing was ever written"
                time.sleep(0.005)
            time.sleep(rng.uniform(0.01, 0.08))
            assert writer.poll() is None, writer.stderr.read()
            assert cache.size() <= 200_000
            writer.send_signal(signal.SIGKILL)
            writer.wait()
    survivors = list((tmp_path / "entries").glob("*/*"))
    assert survivors
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in survivors)
    for number in range(200, 240):  # the ledger is too high at most: there is room again at once
        assert cache.write(*value(number, 9000))
        assert cache.size() <= 200_000
    assert list((tmp_path / "aside").iterdir()) == []


def test_one_process_fetches_while_the_others_wait_and_a_stopped_one_does_not_block_for_ever(
    tmp_path, monkeypatch
):
    cache = BatchCache(tmp_path, bound=1000)
    name = value(1)[0]
    monkeypatch.setattr("seedbed.feed.record_batch_cache._FETCH_SECONDS", 0.2)
    with cache.fetch_lock(name):
        start = time.monotonic()
        with BatchCache(tmp_path, bound=1000).fetch_lock(name):
            waited = time.monotonic() - start
    assert waited >= 0.2
    with cache.fetch_lock(name):
        assert waited_for(BatchCache(tmp_path, bound=1000), value(2)[0]) < 0.2


def waited_for(cache, name) -> float:
    start = time.monotonic()
    with cache.fetch_lock(name):
        return time.monotonic() - start


def test_a_system_without_locks_of_bytes_locks_whole_files(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded_folder, "_SET_LOCK", None)
    monkeypatch.setattr("seedbed.feed.record_batch_cache._FETCH_SECONDS", 0.2)
    cache = filled(tmp_path)
    assert cache.read(value(3)[0], 0, 1000) == value(3)[1]
    with cache.fetch_lock(value(1)[0]):
        assert waited_for(BatchCache(tmp_path, bound=1000), value(2)[0]) >= 0.2


def test_a_count_that_a_stopped_process_holds_ends_the_writing_not_the_reading(tmp_path, monkeypatch):
    cache = filled(tmp_path)
    monkeypatch.setattr(bounded_folder, "_USAGE_LOCK_SECONDS", 0.05)
    with (tmp_path / "ledger").open("r+b") as held:
        assert bounded_folder._try_lock(held.fileno(), 0)
        with pytest.warns(UserWarning, match="another process holds its lock; nothing more is written to it"):
            assert not cache.write(*value(7))
    assert cache.read(value(3)[0], 0, 1000) == value(3)[1]
