"""One slot of decoded pictures, seen closely: claims, kills, eviction. Whole streams are in test_decoded_cache.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from seedbed.feed import bounded_folder
from seedbed.feed import decoded_cache as module
from seedbed.feed.decoded_cache import DecodedCache, Slot

SIDE = 6


def a_slot(place: int = 0, *, name: str = "ab" * 32, side: int = SIDE) -> Slot:
    return Slot(file=name, place=place, start=7 * place, length=7, shape=(side, side))


def picture(number: int, side: int = SIDE):
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)


def never():
    raise AssertionError("this picture is there")


def a_cache(folder, *, bound: int = 1 << 30, **options) -> DecodedCache:
    return DecodedCache(folder, bound=bound, **options)


def seen_meanwhile(folder) -> object:
    """Return what another reader, who does not wait, gets of a picture while it is being made."""
    seen = []

    def decode():
        seen.append(a_cache(folder).get_or_decode(a_slot(), lambda: picture(2), wait=False))
        return picture(1)

    assert np.array_equal(a_cache(folder).get_or_decode(a_slot(), decode), picture(1))
    return seen[0]


def test_who_does_not_wait_is_told_that_another_one_is_at_it(tmp_path):
    assert seen_meanwhile(tmp_path) is None
    assert np.array_equal(a_cache(tmp_path).get_or_decode(a_slot(), never), picture(1))
    assert a_cache(tmp_path).usage().writes == 1


def test_check_of_the_check_without_claims_both_decode(tmp_path, monkeypatch):
    monkeypatch.setattr(DecodedCache, "_lock", lambda self, handle, place, *, seconds: True)
    assert np.array_equal(seen_meanwhile(tmp_path), picture(2))
    assert a_cache(tmp_path).usage().writes == 2


def test_readers_that_wait_get_what_one_of_them_has_made(tmp_path):
    made = []
    together = threading.Barrier(4)

    def read(number):
        cache = a_cache(tmp_path)
        together.wait()
        return [
            cache.get_or_decode(
                a_slot(place), lambda place=place: made.append(place) or picture(place)
            ).tobytes()
            for place in range(50)
        ]

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(read, range(4)))
    assert sorted(made) == list(range(50))
    assert got == [[picture(place).tobytes() for place in range(50)]] * 4


def test_a_picture_that_cannot_be_decoded_leaves_no_claim(tmp_path):
    def fail():
        raise ValueError("no picture")

    with pytest.raises(ValueError, match="no picture"):
        a_cache(tmp_path).get_or_decode(a_slot(), fail)
    assert np.array_equal(
        a_cache(tmp_path).get_or_decode(a_slot(), lambda: picture(1), wait=False), picture(1)
    )


def test_a_stopped_holder_is_not_waited_for_without_end(tmp_path, monkeypatch):
    a_cache(tmp_path).get_or_decode(a_slot(1), lambda: picture(1))
    path = next(tmp_path.glob("??/*"))
    monkeypatch.setattr(module, "_DECODE_SECONDS", 0.05)
    with path.open("r+b") as held:
        assert bounded_folder._try_lock(held.fileno(), 0)
        assert np.array_equal(a_cache(tmp_path).get_or_decode(a_slot(0), lambda: picture(7)), picture(7))
        assert a_cache(tmp_path).usage().writes == 1
        monkeypatch.setattr(module, "_DECODE_SECONDS", 1e9)
        stopped = threading.Event()
        stopped.set()  # the reader's own run was told to end
        assert np.array_equal(
            a_cache(tmp_path, stopped=stopped).get_or_decode(a_slot(0), lambda: picture(7)), picture(7)
        )


def test_a_ledger_that_is_held_for_good_ends_the_keeping(tmp_path, monkeypatch):
    cache = a_cache(tmp_path)
    cache.get_or_decode(a_slot(0), lambda: picture(0))
    monkeypatch.setattr(bounded_folder, "_USAGE_LOCK_SECONDS", 0.05)
    with (tmp_path / "ledger").open("r+b") as held:
        assert bounded_folder._try_lock(held.fileno(), 0)
        with pytest.warns(UserWarning, match="another process holds its lock; nothing more is written to it"):
            assert np.array_equal(cache.get_or_decode(a_slot(1), lambda: picture(1)), picture(1))
    assert np.array_equal(cache.get_or_decode(a_slot(0), never), picture(0))
    assert np.array_equal(cache.get_or_decode(a_slot(1), lambda: picture(1)), picture(1))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    from seedbed.feed import decoded_cache

    def decode():
        if sys.argv[2] == "decoding":
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full((6, 6, 3), 9, np.uint8)

    def half(handle, buffers, offset):
        os.pwrite(handle, b"".join(map(bytes, buffers))[:60], offset)
        os.kill(os.getpid(), signal.SIGKILL)

    os.pwritev = half
    slot = decoded_cache.Slot(file="ab" * 32, place=1, start=7, length=7, shape=(6, 6))
    decoded_cache.DecodedCache(Path(sys.argv[1]), bound=1 << 30).get_or_decode(slot, decode)
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["decoding", "writing"])
def test_a_kill_leaves_neither_a_claim_nor_half_a_picture(tmp_path, moment):
    a_cache(tmp_path).get_or_decode(a_slot(0), lambda: picture(0))
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), moment]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    died = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    cache = a_cache(tmp_path)
    assert np.array_equal(cache.get_or_decode(a_slot(1), lambda: picture(1), wait=False), picture(1))
    assert np.array_equal(cache.get_or_decode(a_slot(1), never), picture(1))
    assert np.array_equal(cache.get_or_decode(a_slot(0), never), picture(0))


# -- a bound, and folders that do not serve -----------------------------------------------------------------

LARGE = 64
ON_DISK = 16384
"""What a picture of 64 x 64 pixels takes, at most, and is counted as at least."""


def a_file(number: int) -> Slot:
    return a_slot(name=f"{number:064x}", side=LARGE)


def test_the_longest_unused_goes_first_and_the_bound_holds(tmp_path):
    cache = a_cache(tmp_path, bound=10 * 2 * ON_DISK)
    for number in range(6):
        cache.get_or_decode(a_file(number), lambda number=number: picture(number, LARGE))
        os.utime(cache._path(a_file(number).file), (1000 + number, 1000 + number))
    assert np.array_equal(cache.get_or_decode(a_file(0), never), picture(0, LARGE))  # used now
    for number in range(6, 40):
        cache.get_or_decode(a_file(number), lambda number=number: picture(number, LARGE))
        assert cache.size() <= cache.bound
        assert cache.usage().bytes >= cache.size()
        if not cache._path(a_file(1).file).exists():
            break
    assert cache._path(a_file(0).file).exists()
    assert np.array_equal(cache.get_or_decode(a_file(1), lambda: picture(1, LARGE)), picture(1, LARGE))


def test_who_reads_a_file_that_is_evicted_reads_on(tmp_path):
    cache = a_cache(tmp_path, bound=5 * 2 * ON_DISK)
    cache.get_or_decode(a_file(0), lambda: picture(0, LARGE))
    with cache._opened(a_file(0)) as handle:
        for number in range(1, 20):
            os.utime(cache._path(a_file(0).file), (1000, 1000)) if cache._path(
                a_file(0).file
            ).exists() else None
            cache.get_or_decode(a_file(number), lambda number=number: picture(number, LARGE))
        assert not cache._path(a_file(0).file).exists()
        assert np.array_equal(module._read(handle, a_file(0)), picture(0, LARGE))


def test_readers_and_evictions_together_give_right_pictures_within_the_bound(tmp_path):
    sizes = []

    def read(seed):
        cache = a_cache(tmp_path, bound=8 * 2 * ON_DISK)
        for number in np.random.default_rng(seed).integers(0, 24, 60).tolist():
            got = cache.get_or_decode(a_file(number), lambda number=number: picture(number, LARGE))
            assert np.array_equal(got, picture(number, LARGE))
            sizes.append(cache.size())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    assert max(sizes) <= (8 * 2 + 4) * ON_DISK, "what is being written at the moment comes on top"


def test_a_lost_or_torn_ledger_is_counted_again(tmp_path):
    cache = a_cache(tmp_path, bound=8 * 2 * ON_DISK)
    for number, torn in enumerate([b"", b"123", bytes(16)] * 6):
        (tmp_path / "ledger").write_bytes(torn)
        cache.get_or_decode(a_file(number), lambda number=number: picture(number, LARGE))
    for number in range(18, 30):
        cache.get_or_decode(a_file(number), lambda number=number: picture(number, LARGE))
    assert 0 < cache.size() <= cache.bound


def test_a_picture_larger_than_the_cache_is_made_every_time(tmp_path):
    cache = a_cache(tmp_path, bound=LARGE * LARGE * 3)
    for number in range(2):
        got = cache.get_or_decode(a_file(0), lambda number=number: picture(number, LARGE))
        assert np.array_equal(got, picture(number, LARGE))
    assert cache.size() == 0
