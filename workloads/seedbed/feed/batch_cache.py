"""A folder of verified record batches, named by their sha256, shared by the processes of a node.

Bounded: room is reserved under a lock before a byte is written. An entry is written aside and renamed, and
verified before its first use in a process: no fsync is needed, a kill at any moment costs at most a re-fetch.
Once per process is enough, because entries are never changed in place, only created by rename and removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import struct
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seedbed.feed.io_counters import METER

_TOUCH_SECONDS: Final = 30.0
"""How often a process renews an entry's place in the eviction order."""
_LOCK_SECONDS: Final = 120.0
"""How long a process waits for another one's fetch; a stopped process must not stop the others."""
_EVICT_TO: Final = 0.9
_STRIPES: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheStatistics:
    """What a process saw of the cache."""

    hits: int
    misses: int
    rejected: int
    """Entries whose bytes did not have their sha256; they were removed."""


class DiskCache:
    """A content-addressed cache of at most `bound` bytes; safe to use from threads and processes."""

    def __init__(self, folder: Path, *, bound: int) -> None:
        self.folder = folder
        self.bound = bound
        self._verified: set[str] = set()
        self._touched: dict[str, float] = {}
        self._writable = True
        self._hits = self._misses = self._rejected = 0
        self._mutex = threading.Lock()
        with self._writing():
            for name in ("entries", "aside", "locks"):
                (folder / name).mkdir(parents=True, exist_ok=True)

    def read(self, name: str, start: int, length: int) -> bytes | None:
        """Return `length` bytes of an entry from `start`, or None where there is no sound entry."""
        try:
            data = self._read_verified(name, start, length)
        except OSError:  # evicted, or a disk that cannot be read: the store still has it
            data = None
        self._count(found=data is not None)
        if data is not None:
            self._touch(name)
        return data

    def holds(self, name: str) -> bool:
        """Say whether there is an entry, sound or not."""
        return self._entry(name).exists()

    def write(self, name: str, data: bytes | memoryview) -> bool:
        """Keep verified bytes; False where they do not fit, or where the folder takes no more (told once)."""
        if not self._writable or len(data) > self.bound * _EVICT_TO:
            return False
        with self._writing():
            return self._publish(name, data)
        return False

    @contextlib.contextmanager
    def exclusively(self, name: str) -> Iterator[None]:
        """Let one process at a time fetch what belongs to a name; released when the holder dies."""
        stripe = self.folder / "locks" / f"{int(name[:8], 16) % _STRIPES:03d}"
        with _opened(stripe) as handle:
            if handle is not None:
                _lock_for_a_while(handle)
            yield

    def statistics(self) -> CacheStatistics:
        """Return this process's counters."""
        return CacheStatistics(hits=self._hits, misses=self._misses, rejected=self._rejected)

    def size(self) -> int:
        """Return the bytes on disk, unfinished entries included; no room is given while they are counted."""
        with self._ledger():
            return sum(size for _, _, size in self._entries()) + sum(size for _, size in self._asides())

    def shrink(self) -> None:
        """Remove what is over the bound now, not at the next write: it was larger before."""
        with self._writing(), self._ledger() as ledger:
            total = _total(ledger)
            if total is not None and total > self.bound:
                total = self._evict(int(self.bound * _EVICT_TO))
                os.pwrite(ledger, struct.pack("<q", total), 0)

    def _entry(self, name: str) -> Path:
        return self.folder / "entries" / name[:2] / name

    def _read_verified(self, name: str, start: int, length: int) -> bytes | None:
        handle = os.open(self._entry(name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            if name in self._verified:
                data = os.pread(handle, length, start)
                return data if len(data) == length else self._reject(name)
            whole = _read_all(handle)
        finally:
            os.close(handle)
        if hashlib.sha256(whole).hexdigest() != name:
            return self._reject(name)
        self._verified.add(name)
        return whole[start : start + length]

    def _reject(self, name: str) -> bytes | None:
        self._rejected += 1
        METER.reject()
        self._verified.discard(name)
        with self._writing():
            self._entry(name).unlink(missing_ok=True)
        return None

    def _count(self, *, found: bool) -> None:
        with self._mutex:
            self._hits += found
            self._misses += not found

    def _touch(self, name: str) -> None:
        now = time.monotonic()
        if now - self._touched.get(name, -_TOUCH_SECONDS) < _TOUCH_SECONDS:
            return
        self._touched[name] = now
        with contextlib.suppress(OSError):  # evicted meanwhile, or a folder that is mounted read-only
            os.utime(self._entry(name))

    def _publish(self, name: str, data: bytes | memoryview) -> bool:
        target = self._entry(name)
        if target.exists():
            return True
        aside = self._reserve(len(data))
        if aside is None:
            return False
        path, handle = aside
        try:
            _write_all(handle, data)
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
            self._verified.add(name)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        return True

    def _reserve(self, size: int) -> tuple[Path, int] | None:
        """Make room and open a locked aside file of that size's name; the lock says that its writer lives."""
        with self._ledger() as ledger:
            total = _total(ledger)
            if total is None or total + size > self.bound:
                total = self._evict(int(self.bound * _EVICT_TO) - size)
            if total + size > self.bound:
                return None
            path = self.folder / "aside" / f"{secrets.token_hex(8)}-{size}"
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Counted before it is written: a kill leaves the count too high, which the next eviction mends.
            os.pwrite(ledger, struct.pack("<q", total + size), 0)
            return path, handle

    @contextlib.contextmanager
    def _ledger(self) -> Iterator[int]:
        handle = os.open(self.folder / "ledger", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)

    def _evict(self, goal: int) -> int:
        """Remove dead aside files, then the longest unused entries down to `goal`; return the bytes left."""
        total = sum(size for path, size in self._asides() if not _remove_if_dead(path))
        entries = sorted(self._entries())
        total += sum(size for _, _, size in entries)
        for _, path, size in entries:
            if total <= goal:
                break
            path.unlink(missing_ok=True)
            self._forget(path.name)
            total -= size
        return total

    def _forget(self, name: str) -> None:
        self._verified.discard(name)
        self._touched.pop(name, None)

    def _entries(self) -> list[tuple[int, Path, int]]:
        """Return (last use, path, bytes) of every entry."""
        found = []
        for path in (self.folder / "entries").glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, path, status.st_size))
        return found

    def _asides(self) -> list[tuple[Path, int]]:
        """Return every aside file with the bytes reserved for it."""
        return [(path, int(path.name.rpartition("-")[2])) for path in (self.folder / "aside").glob("*-*")]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Go on without writing, after one warning, where the folder takes no data for whatever reason."""
        try:
            yield
        except OSError as error:
            if self._writable:
                self._writable = False
                problem = (error.strerror or str(error)).lower()
                warnings.warn(f"dataset cache {self.folder}: {problem}; going on without it", stacklevel=2)


def _total(ledger: int) -> int | None:
    """Return the counted bytes, or None where nobody has counted yet."""
    record = os.pread(ledger, 8, 0)
    return struct.unpack("<q", record)[0] if len(record) == 8 else None


def _remove_if_dead(path: Path) -> bool:
    """Remove an aside file whose writer has died: nobody holds its lock."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(handle)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """Open a lock file; None where the folder takes no files (then everybody fetches on his own)."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _lock_for_a_while(handle: int) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    pause = 0.001
    while time.monotonic() < deadline:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause)
            pause = min(pause * 2, 0.1)
        else:
            return


def _read_all(handle: int) -> bytes:
    with os.fdopen(os.dup(handle), "rb", buffering=0) as file:
        return file.readall()


def _write_all(handle: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
