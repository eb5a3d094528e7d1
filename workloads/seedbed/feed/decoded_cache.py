"""Decoded pictures, shared by the threads and processes of a node: what one has decoded the others read.

A file holds what a recipe's head (decoding, and the transform that fixes the size) makes of one record
batch: sparse, a slot for each row, a digest before the pixels. Nothing is synced, no journal is kept: a slot
that is empty, torn by a kill or damaged fails its digest and is decoded again. Who decodes holds a lock on
the slot, which the kernel takes back from the dead. Nothing depends on what is found here but time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from seedbed.feed.io_counters import METER
from seedbed.images.scratch_buffers import Scratch

Pixels = npt.NDArray[np.uint8]
Make = Callable[[], Pixels]

_CLAIM_SECONDS: Final = 120.0
"""How long a reader waits for another one's decoding; a stopped process must not stop the others."""
_LEDGER_SECONDS: Final = 120.0
"""How long for the ledger: held for as long as a folder takes to be listed."""
_LONGEST_PAUSE: Final = 0.02
_TOUCH_SECONDS: Final = 30.0
"""How often a file's place in the eviction order is renewed."""
_EVICT_TO: Final = 0.9
_DIGEST_BYTES: Final = 16
_BLOCK_BYTES: Final = 4096
_LEDGER: Final = struct.Struct("<qq")
_FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock of 64-bit Linux: type, whence, start, length, pid (0)."""
_SET_LOCK: Final[int | None] = getattr(fcntl, "F_OFD_SETLK", None)
"""Locks of an open file description: they keep threads apart too. Linux has them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """Where one picture belongs, and what it is made of."""

    file: str
    """Hex digest of all that decides about the pictures of a file."""
    place: int
    start: int
    """The image's bytes within its record batch."""
    length: int
    shape: tuple[int, int]
    """Height and width."""

    @property
    def pixel_bytes(self) -> int:
        """Return the bytes of the picture."""
        return self.shape[0] * self.shape[1] * 3

    @property
    def stride(self) -> int:
        """Return the bytes of the slot."""
        return _DIGEST_BYTES + self.pixel_bytes

    def digest(self, pixels: Pixels) -> bytes:
        """Return what stands before these pixels in this slot and in no other one."""
        origin = f"{self.file} {self.place} {self.start} {self.length} "
        digest = hashlib.sha256(origin.encode())
        digest.update(pixels.data)
        return digest.digest()[:_DIGEST_BYTES]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """What all processes together have written; a kill may leave it too high until something is evicted."""

    bytes: int
    pictures: int
    """Ever written, the evicted ones included."""


_scratch = Scratch()


class DecodedCache:
    """Pictures in at most `bound` bytes of disk; safe to use from threads and processes.

    What is being written while others are evicted comes on top: a picture per writer.
    """

    def __init__(self, folder: Path, *, bound: int, stopped: threading.Event | None = None) -> None:
        self.folder = folder
        self.bound = bound
        self._stopped = stopped or threading.Event()
        self._writable = True
        with self._writing():
            if _SET_LOCK is None:
                raise OSError(errno.ENOLCK, "this system has no locks of open files")
            folder.mkdir(parents=True, exist_ok=True)

    def fits(self, size: int) -> bool:
        """Say whether so many bytes can be kept at the same time."""
        return size <= self.bound * _EVICT_TO

    def picture(self, slot: Slot, make: Make, *, wait: bool = True) -> Pixels | None:
        """Return the picture of a slot, made here where nobody has kept it.

        None where another one is making it, unless that is to be waited for. The result may lie in a buffer
        of the calling thread and be overwritten by its next call. Raises what `make` raises.
        """
        with self._opened(slot) as handle:
            kept = None if handle is None else self._look(handle, slot)
            if kept is not None:
                return kept
            if handle is None or not self._writable:
                return make()
            return self._made(handle, slot, make, wait=wait)

    def ledger(self) -> Ledger:
        """Return what is counted, zeros where nothing is."""
        return _ledger_of(self.folder)

    def size(self) -> int:
        """Return the bytes that the files take on disk."""
        return sum(size for _, _, size in self._files())

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    @contextlib.contextmanager
    def _opened(self, slot: Slot) -> Iterator[int | None]:
        """Open the file of a slot; None where there is none and none can be made."""
        handle = self._open(self._path(slot.file)) if self.fits(slot.stride) else None
        try:
            yield handle
        finally:
            if handle is not None:
                os.close(handle)

    def _open(self, path: Path) -> int | None:
        if self._writable:
            with self._writing():
                return _open_for_writing(path)
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # what was never kept, or cannot be read, is decoded
            return None

    def _look(self, handle: int, slot: Slot) -> Pixels | None:
        """Return a sound picture, or None."""
        buffer = _scratch.at_least(slot.stride)[: slot.stride]
        try:
            read = os.preadv(handle, [buffer.data], slot.place * slot.stride)
        except OSError:  # a disk that cannot be read: the dataset still has it
            return None
        digest, pixels = buffer[:_DIGEST_BYTES].tobytes(), buffer[_DIGEST_BYTES:]
        if read < slot.stride or not any(digest) or digest != slot.digest(pixels):
            return None
        METER.hit()
        _touch(handle)
        return pixels.reshape(*slot.shape, 3)

    def _made(self, handle: int, slot: Slot, make: Make, *, wait: bool) -> Pixels | None:
        claimed = self._claim(handle, slot.place, seconds=_CLAIM_SECONDS if wait else 0.0)
        if not claimed and not wait and self._writable:
            return None
        kept = self._look(handle, slot) if claimed else None  # the claim may have been another one's before
        if kept is not None:
            return kept
        pixels = make()
        if claimed and pixels.shape[:2] == slot.shape:
            self._keep(handle, slot, pixels)
        return pixels

    def _claim(self, handle: int, place: int, *, seconds: float) -> bool:
        """Lock the byte at the offset `place`; it stands for the slot, whatever lies there."""
        with self._writing():
            return _lock_for_a_while(handle, place, seconds=seconds, stopped=self._stopped)
        return False

    def _keep(self, handle: int, slot: Slot, pixels: Pixels) -> None:
        data = np.ascontiguousarray(pixels).reshape(-1)
        with self._writing():
            if self._reserve(slot.stride):
                # a write cut short fails its digest
                os.pwritev(handle, [slot.digest(data), data.data], slot.place * slot.stride)

    def _reserve(self, size: int) -> bool:
        """Make room and count a picture before it is written: a kill leaves the count too high at most."""
        need = -(-size // _BLOCK_BYTES) * _BLOCK_BYTES + _BLOCK_BYTES
        with self._ledger() as handle:
            counted = _counted(os.pread(handle, _LEDGER.size, 0))
            total, pictures = (counted.bytes, counted.pictures) if counted else (self.bound, 0)
            if total + need > self.bound:
                total = self._evict(int(self.bound * _EVICT_TO) - need)
            if total + need > self.bound:
                return False
            os.pwrite(handle, _LEDGER.pack(total + need, pictures + 1), 0)
            return True

    @contextlib.contextmanager
    def _ledger(self) -> Iterator[int]:
        """Open the locked ledger; raises TimeoutError where a stopped process holds it."""
        handle = _open_for_writing(self.folder / "ledger")
        try:
            if not _lock_for_a_while(handle, 0, seconds=_LEDGER_SECONDS, stopped=self._stopped):
                raise TimeoutError(errno.ETIMEDOUT, "another process does not give the ledger back")
            yield handle
        finally:
            os.close(handle)

    def _evict(self, goal: int) -> int:
        """Remove the longest unused files down to `goal`; return the bytes left.

        Who has such a file open reads on; what he writes into it is lost with it.
        """
        files = sorted(self._files())
        total = sum(size for _, _, size in files)
        for _, path, size in files:
            if total <= goal:
                break
            path.unlink(missing_ok=True)
            total -= size
        return total

    def _files(self) -> list[tuple[int, Path, int]]:
        """Return (last use, path, bytes on disk) of every file."""
        found = []
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, path, status.st_blocks * 512))
        return found

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Go on without keeping, after one warning, where the folder takes no data for whatever reason."""
        try:
            yield
        except OSError as error:
            if self._writable and not self._stopped.is_set():
                self._writable = False
                problem = (error.strerror or str(error)).lower()
                told = f"decoded pictures in {self.folder}: {problem}; going on without keeping more"
                warnings.warn(told, stacklevel=2)


def bytes_of_pictures(folder: Path) -> int:
    """Return the bytes that the pictures of a folder are counted as."""
    return _ledger_of(folder).bytes


def _ledger_of(folder: Path) -> Ledger:
    try:
        record = (folder / "ledger").read_bytes()
    except OSError:  # nobody has kept a picture here, or nobody can
        record = b""
    return _counted(record) or Ledger(bytes=0, pictures=0)


def _open_for_writing(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)


def _counted(record: bytes) -> Ledger | None:
    """Return what a ledger says, or None where nobody has counted yet."""
    if len(record) != _LEDGER.size:
        return None
    total, pictures = _LEDGER.unpack(record)
    return Ledger(bytes=total, pictures=pictures)


def _touch(handle: int) -> None:
    """Renew a file's place in the eviction order now and then."""
    if abs(time.time() - os.fstat(handle).st_mtime) > _TOUCH_SECONDS:
        with contextlib.suppress(OSError):  # another user's file, or a folder that is mounted read-only
            os.utime(handle)


def _lock_for_a_while(handle: int, place: int, *, seconds: float, stopped: threading.Event) -> bool:
    """Lock one byte of an open file until it is closed; False where another one held it all the time."""
    assert _SET_LOCK is not None
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    deadline, pause = time.monotonic() + seconds, 0.0002
    while True:
        try:
            fcntl.fcntl(handle, _SET_LOCK, wanted)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: held by another one
            if time.monotonic() >= deadline or stopped.wait(pause):
                return False
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            return True
