"""A disk cache of verified record batches, named by their sha256, shared by the processes of a node.

A batch is written to a temporary file and renamed, and verified before its first use in a process. So a kill
at any moment costs at most another fetch, without any fsync. Once per process is enough against damage,
because files are never changed in place, only renamed and removed; who changes one nevertheless is found by
the digest of the row, which `batch_reader` compares at each read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from seedbed.feed.bounded_folder import BoundedFolder, open_for_writing, touch
from seedbed.feed.io_counters import IO_COUNTERS
from seedbed.storage.folder_handles import LinkInPath, SpecialFile

_FETCH_SECONDS: Final = 120.0
"""How long a process waits for another one's fetch; a stopped process must not stop the others."""


class BatchCache:
    """Record batches of at most `bound` bytes; safe to use from threads and processes."""

    def __init__(self, folder: Path, *, bound: int, stopped: threading.Event | None = None) -> None:
        self._folder = BoundedFolder(
            folder, label="dataset cache", bound=bound, patterns=("aside/*", "entries/*/*"), stopped=stopped
        )
        self._verified: set[str] = set()

    def read(self, name: str, start: int, length: int) -> bytes | None:
        """Return `length` bytes of a batch from `start`, or None where there is no sound entry."""
        try:
            return self._read_verified(name, start, length)
        except OSError:  # evicted, or a disk that cannot be read: the store still has it
            return None

    def contains(self, name: str) -> bool:
        """Return whether there is an entry, sound or not."""
        return self._folder.contains(_place(name))

    def write(self, name: str, data: bytes | memoryview) -> bool:
        """Store verified bytes; False where they do not fit, or where the folder takes no more."""
        if not self._folder.writable or not self._folder.fits(len(data)):
            return False
        with self._folder.writing():
            return self.contains(name) or self._publish(name, data)
        return False

    @contextlib.contextmanager
    def fetch_lock(self, name: str) -> Iterator[None]:
        """Let one process at a time fetch a batch, where the folder has locks; wait two minutes at most."""
        with contextlib.ExitStack() as stack:
            with self._folder.writing():
                handle = open_for_writing(self._folder.folder / "fetches")
                stack.callback(os.close, handle)
                self._folder.lock(handle, int(name[:15], 16), seconds=_FETCH_SECONDS)
            yield

    def shrink(self) -> None:
        """Evict what is over the bound now: it may have been larger before."""
        self._folder.shrink()

    def size(self) -> int:
        """Return the bytes on disk, unfinished files included."""
        return self._folder.size()

    def _path(self, name: str) -> Path:
        return self._folder.folder / _place(name)

    def _read_verified(self, name: str, start: int, length: int) -> bytes | None:
        try:
            with self._folder.reading(_place(name)) as handle:
                data = self._sound_bytes(handle, name, start, length)
                if data is not None:
                    touch(handle)
                    return data
        except (LinkInPath, SpecialFile):  # planted: it would keep the batch from being stored
            pass
        IO_COUNTERS.reject()
        self.discard(name)
        return None

    def _sound_bytes(self, handle: int, name: str, start: int, length: int) -> bytes | None:
        if name in self._verified:
            data = os.pread(handle, length, start)
            return data if len(data) == length else None
        whole = _read_all(handle)
        if hashlib.sha256(whole).hexdigest() != name:
            return None
        self._verified.add(name)
        return whole[start : start + length]

    def discard(self, name: str) -> None:
        """Remove an entry that is damaged."""
        self._verified.discard(name)
        with self._folder.writing():
            self._folder.remove(_place(name))

    def _publish(self, name: str, data: bytes | memoryview) -> bool:
        """Write a temporary file and rename it; False where there is no room."""
        reserved = self._reserve(len(data))
        if reserved is None:
            return False
        temporary, handle = reserved
        try:
            _write_all(handle, data)
            self._folder.rename(temporary, _place(name))
        except FileNotFoundError:  # evicted before it was complete: more writers than the bound has room for
            return False
        except BaseException:
            self._folder.remove(temporary)
            raise
        finally:
            os.close(handle)
        self._verified.add(name)
        return True

    def _reserve(self, size: int) -> tuple[str, int] | None:
        """Return the name of a temporary file and its handle; its full length is counted from the start."""
        with self._folder.reservation(size) as granted:
            if not granted:
                return None
            temporary = f"aside/{secrets.token_hex(8)}"
            handle = open_for_writing(self._folder.folder / temporary, root=self._folder.folder)
            os.ftruncate(handle, size)
            return temporary, handle


def _place(name: str) -> str:
    """Return where a batch lies below the folder."""
    return f"entries/{name[:2]}/{name}"


def _read_all(handle: int) -> bytes:
    with os.fdopen(os.dup(handle), "rb", buffering=0) as file:
        return file.readall()


def _write_all(handle: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
