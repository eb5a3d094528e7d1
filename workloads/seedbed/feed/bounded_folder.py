"""A folder of files with a bound in bytes, shared by the threads and processes of a node.

Both disk caches are built on it. It counts bytes before they are written, evicts the least recently used
files, locks bytes of files between processes, and after one warning stops writing where the disk takes no
more. What a file holds, and how that is verified, is up to the cache. A kill leaves the count too high at
most; the next eviction counts anew. Whatever else lies in the folder is left alone: no symbolic link is
followed, and nothing but regular files is opened or removed.

`diskcache` does not fit: it unpickles what it finds, so that whoever can write to the folder can run code in
every pod that shares it; it asks SQLite at each read; it evicts ten entries per write instead of holding a
bound; and it returns whole values, where these caches read slices of batches and slots of sparse files.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import struct
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from seedbed.storage.folder_handles import open_folder, open_regular, require_regular
from seedbed_api.exponential_backoff import ExponentialBackoff

logger = logging.getLogger(__name__)

_EVICT_TO: Final = 0.9
"""Share of the bound that an eviction leaves: one per tenth of the folder, not one per write."""
_TOUCH_SECONDS: Final = 30.0
"""How often a file's place in the eviction order is renewed."""
_USAGE_LOCK_SECONDS: Final = 120.0
"""How long to wait for the usage file, which is locked while the folder is listed."""
_POLLING: Final = ExponentialBackoff(first=0.0002, longest=0.02)
"""Between two tries to take a lock."""
_USAGE_FILE: Final = "ledger"
"""The name of older versions."""
_USAGE: Final = struct.Struct("<qq")
_FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock of 64-bit Linux: type, whence, start, length, pid (0)."""
_SET_LOCK: Final[int | None] = getattr(fcntl, "F_OFD_SETLK", None)
"""Locks of an open file description: they keep threads apart too. Linux has them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderUsage:
    """What all processes together have written."""

    bytes: int
    writes: int
    """Reservations ever granted, those of evicted files included."""


class BoundedFolder:
    """Files of at most `bound` bytes below a folder; safe to use from threads and processes."""

    def __init__(
        self,
        folder: Path,
        *,
        label: str,
        bound: int,
        patterns: tuple[str, ...],
        sparse: bool = False,
        stopped: threading.Event | None = None,
    ) -> None:
        """Count the files that match `patterns`: their lengths, or the blocks that `sparse` ones take.

        `label` names the folder in its warning; `stopped` ends all waiting for locks.
        """
        self.folder = folder
        self.bound = bound
        self.writable = True
        self._label = label
        self._patterns = patterns
        self._sparse = sparse
        self._stopped = stopped or threading.Event()
        self._patient = True
        with self.writing():
            folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[int]:
        """Yield a handle of a file below the folder. Raises OSErrors, also for links and special files."""
        above, _, last = name.rpartition("/")
        parts = PurePosixPath(above).parts
        with open_folder(self.folder, parts) as folder, open_regular(last, folder=folder) as handle:
            yield handle

    def contains(self, name: str) -> bool:
        """Return whether a name is taken below the folder."""
        return os.path.lexists(self.folder / name)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name below the folder."""
        with self._named(old) as (source, name), self._named(new, create=True) as (target, last):
            os.rename(name, last, src_dir_fd=source, dst_dir_fd=target)

    def remove(self, name: str) -> bool:
        """Remove a file below the folder, of a link the link itself; False where there is none."""
        try:
            with self._named(name) as (folder, last):
                os.unlink(last, dir_fd=folder)
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def _named(self, name: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        above, _, last = name.rpartition("/")
        with open_folder(self.folder, PurePosixPath(above).parts, create=create) as folder:
            yield folder, last

    def fits(self, size: int) -> bool:
        """Return whether so many bytes can be stored at the same time."""
        return size <= self.bound * _EVICT_TO

    @contextlib.contextmanager
    def reservation(self, size: int) -> Iterator[bool]:
        """Count `size` bytes that are about to be written; False where there is no room for them.

        No other process counts the folder before the block ends, so a file that it creates is not missed.
        """
        with self._locked_usage() as handle:
            usage = _read_usage(handle) or FolderUsage(bytes=self.bound, writes=0)
            total = usage.bytes
            if total + size > self.bound:
                total = self._evict(int(self.bound * _EVICT_TO) - size)
            granted = total + size <= self.bound
            _write_usage(handle, total + size * granted, usage.writes + granted)
            yield granted

    def shrink(self) -> None:
        """Evict what is over the bound now, not at the next write: the bound was larger before."""
        with self.writing(), self._locked_usage() as handle:
            usage = _read_usage(handle)
            if usage is None or usage.bytes > self.bound:
                total = self._evict(int(self.bound * _EVICT_TO))
                _write_usage(handle, total, usage.writes if usage else 0)

    def usage(self) -> FolderUsage:
        """Return what is counted, zeros where nothing is."""
        return folder_usage(self.folder)

    def size(self) -> int:
        """Return the bytes on disk; nothing is reserved or evicted while they are counted."""
        with self._locked_usage():
            return sum(size for _, _, size in self._files())

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Give one warning and go on without writing where the folder takes no data, whatever the reason."""
        try:
            yield
        except OSError as error:
            if self.writable and not self._stopped.is_set():
                self.writable = False
                problem = (error.strerror or str(error)).lower()
                message = f"{self._label} {self.folder}: {problem}; nothing more is written to it"
                warnings.warn(message, stacklevel=2)

    def lock(self, handle: int, offset: int, *, seconds: float) -> bool:
        """Lock one byte of an open file until the file is closed; False where another holder kept it.

        The byte need not exist. The kernel releases the locks of a process that dies. Once a holder has kept
        a lock for all `seconds`, no lock of this folder is waited for again.
        """
        if _try_lock(handle, offset):
            return True
        deadline, delays = time.monotonic() + seconds * self._patient, _POLLING.delays()
        while not _try_lock(handle, offset):
            if time.monotonic() >= deadline:
                self._wait_no_more(seconds)
                return False
            if self._stopped.wait(next(delays)):
                return False
        return True

    def _wait_no_more(self, seconds: float) -> None:
        if self._patient and seconds:
            self._patient = False
            problem = "another process has kept a lock for %g s; no lock is waited for again"
            fix = "`fuser -v` on its files names the process"
            logger.warning(f"%s %s: {problem}; {fix}", self._label, self.folder, seconds)

    @contextlib.contextmanager
    def _locked_usage(self) -> Iterator[int]:
        """Open and lock the usage file; raises TimeoutError where a stopped process holds it."""
        handle = open_for_writing(self.folder / _USAGE_FILE)
        try:
            if not self.lock(handle, 0, seconds=_USAGE_LOCK_SECONDS):
                raise TimeoutError(errno.ETIMEDOUT, "another process holds its lock")
            yield handle
        finally:
            os.close(handle)

    def _evict(self, goal: int) -> int:
        """Remove the least recently used files down to `goal`; return the bytes left.

        A reader that has such a file open reads on; what is written into it is lost.
        """
        files = sorted(self._files())
        total = sum(size for _, _, size in files)
        for _, name, size in files:
            if total <= goal:
                break
            total -= size * self.remove(name)  # one that was renamed meanwhile still takes its bytes
        return total

    def _files(self) -> list[tuple[int, str, int]]:
        """Return (last use, name below the folder, bytes) of every file.

        One that is renamed meanwhile is found by one of its names: patterns come in the order of names.
        """
        found = {}
        for entry in (entry for pattern in self._patterns for entry in _matching(self.folder, pattern)):
            with contextlib.suppress(FileNotFoundError):  # evicted or renamed meanwhile
                status = entry.stat(follow_symlinks=False)
                size = status.st_blocks * 512 if self._sparse else status.st_size
                name = os.path.relpath(entry.path, self.folder)
                found[status.st_ino] = (status.st_mtime_ns, name, size)
        return list(found.values())


def _matching(folder: Path, pattern: str) -> Iterator[os.DirEntry[str]]:
    """Yield what matches a pattern below a folder and is no folder; unlike Path.glob, behind no link."""
    first, _, rest = pattern.partition("/")
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if fnmatchcase(entry.name, first)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and rest:
            yield from _matching(folder / entry.name, rest)
        elif not is_folder and not rest:
            yield entry


def open_for_writing(path: Path, *, root: Path | None = None) -> int:
    """Open a regular file for reading and writing; create it, and its folders below `root`, if missing.

    Below `root`, by default its folder, no link is followed. Raises OSErrors, also for special files.
    """
    root = root or path.parent
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open_folder(root, path.parent.relative_to(root).parts, create=True) as folder:
        handle = os.open(path.name, flags, 0o666, dir_fd=folder)
    try:
        require_regular(handle, path.name)
        if os.fstat(handle).st_nlink > 1:
            raise OSError(errno.EMLINK, "has another name, elsewhere perhaps", path.name)
    except OSError:
        os.close(handle)
        raise
    return handle


def touch(handle: int) -> None:
    """Renew a file's place in the eviction order now and then."""
    if abs(time.time() - os.fstat(handle).st_mtime) > _TOUCH_SECONDS:
        with contextlib.suppress(OSError):  # another user's file, or a folder that is mounted read-only
            os.utime(handle)


def folder_usage(folder: Path) -> FolderUsage:
    """Return what is counted of a folder, zeros where nothing is."""
    try:
        with open_folder(folder, ()) as opened, open_regular(_USAGE_FILE, folder=opened) as handle:
            usage = _read_usage(handle)
    except OSError:  # nothing was ever written here, or it cannot be read
        usage = None
    return usage or FolderUsage(bytes=0, writes=0)


def _read_usage(handle: int) -> FolderUsage | None:
    return _unpack_usage(os.pread(handle, _USAGE.size, 0))


def _write_usage(handle: int, total: int, writes: int) -> None:
    os.pwrite(handle, _USAGE.pack(total, writes), 0)


def _unpack_usage(record: bytes) -> FolderUsage | None:
    """Return a record, or None where it is missing, torn, or of a version with another format."""
    if len(record) != _USAGE.size:
        return None
    total, writes = _USAGE.unpack(record)
    return FolderUsage(bytes=total, writes=writes)


def _try_lock(handle: int, offset: int) -> bool:
    """Lock one byte, or the whole file on systems that cannot lock bytes between threads."""
    try:
        if _SET_LOCK is None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            fcntl.fcntl(handle, _SET_LOCK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0))
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: another holder has it
        return False
    return True
