from __future__ import annotations

import errno
import fcntl
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

from seedbed.feed import batch_cache as module
from seedbed.feed.batch_cache import DiskCache


def value(number: int, size: int = 1000) -> tuple[str, bytes]:
    data = random.Random(number).randbytes(size)
    return hashlib.sha256(data).hexdigest(), data


def filled(folder, *, bound=10_000, count=5) -> DiskCache:
    cache = DiskCache(folder, bound=bound)
    for number in range(count):
        assert cache.write(*value(number))
    return cache


def test_what_was_written_is_read_in_slices_by_every_process(tmp_path):
    filled(tmp_path)
    other = DiskCache(tmp_path, bound=10_000)
    for number in range(5):
        name, data = value(number)
        assert other.read(name, 10, 100) == other.read(name, 10, 100) == data[10:110]
    assert other.read(value(9)[0], 0, 1) is None
    assert (other.statistics().hits, other.statistics().misses) == (10, 1)


def test_the_least_recently_used_goes_first_and_the_bound_holds(tmp_path):
    cache = filled(tmp_path, bound=10_000, count=8)
    for number in range(8):
        os.utime(cache._entry(value(number)[0]), (1000 + number, 1000 + number))
    fresh = DiskCache(tmp_path, bound=10_000)
    assert fresh.read(value(0)[0], 0, 1000) is not None  # renews the oldest
    for number in range(8, 12):
        assert fresh.write(*value(number))
        assert fresh.size() <= 10_000
    assert fresh.holds(value(0)[0])
    assert not fresh.holds(value(1)[0])
    assert all(fresh.holds(value(number)[0]) for number in range(8, 12))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_entry_is_removed_not_served(tmp_path, damage):
    cache = filled(tmp_path)
    name, data = value(2)
    wrong = {"flip": bytes([data[0] ^ 1]) + data[1:], "truncate": data[:-1], "empty": b""}[damage]
    cache._entry(name).write_bytes(wrong)
    fresh = DiskCache(tmp_path, bound=10_000)
    assert fresh.read(name, 0, 10) is None
    assert fresh.statistics().rejected == 1
    assert not fresh.holds(name)
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
    assert "going on without it" in str(told[0].message)
    assert cache.read(value(0)[0], 0, 1000) == value(0)[1]
    assert list((tmp_path / "aside").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_cache_that_keeps_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.warns(UserWarning, match="going on without it"):
        cache = DiskCache(tmp_path / "file" / "cache", bound=1000)
    assert not cache.write(*value(1, 10))
    assert cache.read(value(1)[0], 0, 1) is None
    with cache.exclusively(value(1)[0]):
        pass


def test_a_dead_writers_leavings_are_removed_a_living_ones_are_not(tmp_path):
    cache = filled(tmp_path, bound=5900, count=5)
    dead = tmp_path / "aside" / "dead-500"
    dead.write_bytes(b"x" * 100)
    living = tmp_path / "aside" / "living-400"
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert cache.write(*value(7))
        assert not dead.exists()
        assert living.exists()
        assert cache.size() <= 5900


def test_a_lost_or_torn_ledger_is_counted_again(tmp_path):
    cache = filled(tmp_path, bound=5500)
    for torn in (b"", b"123", b"\0" * 8):
        (tmp_path / "ledger").write_bytes(torn)
        assert DiskCache(tmp_path, bound=5500).write(*value(random.randrange(100, 10**6)))
        (tmp_path / "ledger").unlink()
        assert DiskCache(tmp_path, bound=5500).write(*value(random.randrange(100, 10**6)))
        assert cache.size() <= 5500


WRITER = """
    import hashlib, importlib.util, random, sys
    from pathlib import Path
    spec = importlib.util.spec_from_file_location("cache", sys.argv[3])  # without the package's imports
    sys.modules["cache"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    DiskCache = module.DiskCache
    cache, rng = DiskCache(Path(sys.argv[1]), bound=200_000), random.Random(int(sys.argv[2]))
    print("ready", flush=True)
    while True:
        data = random.Random(rng.randrange(60)).randbytes(9000)
        name = hashlib.sha256(data).hexdigest()
        with cache.exclusively(name):
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
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path), str(number), module.__file__]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        writers.append(process)
        return process

    yield start
    for writer in writers:
        writer.kill()
        writer.communicate()


@pytest.mark.slow
def test_kill_9_at_any_point_leaves_a_sound_and_bounded_cache(tmp_path, start_writer):
    rng = random.Random(5)
    cache = DiskCache(tmp_path, bound=200_000)
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
    cache = DiskCache(tmp_path, bound=1000)
    name = value(1)[0]
    stripe = tmp_path / "locks" / f"{int(name[:8], 16) % 256:03d}"
    with stripe.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr("seedbed.feed.batch_cache._LOCK_SECONDS", 0.2)
        start = time.monotonic()
        with cache.exclusively(name):
            waited = time.monotonic() - start
    assert waited >= 0.2
