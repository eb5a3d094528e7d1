"""A disk cache of decoded images: the processes of a node decode each of them once.

A file holds what decoding and the sizing transform make of one record batch: sparse, with a slot for each
row, a digest before the pixels. Nothing is synced and no journal is written: a slot that is empty, torn by a
kill or damaged fails its digest and is decoded again. Who decodes holds a lock on the slot. Results do not
depend on what is found here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from seedbed.feed.bounded_folder import BoundedFolder, FolderUsage, open_for_writing, touch
from seedbed.feed.io_counters import IO_COUNTERS
from seedbed.images.image_decoder import ThreadBuffer

Pixels = npt.NDArray[np.uint8]
Decode = Callable[[], Pixels]

_DECODE_SECONDS: Final = 120.0
"""How long a reader waits for another one's decoding; a stopped process must not stop the others."""
_DIGEST_BYTES: Final = 16
_BLOCK_BYTES: Final = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """Where one image belongs, and what it is made of."""

    file: str
    """Hex digest of all that decides about the images of a file."""
    place: int
    start: int
    """The image's bytes within its record batch."""
    length: int
    shape: tuple[int, int]
    """Height and width."""
    row_digest: bytes = b""
    """Digest of the row whose image was decoded: the slot of another row never passes for it."""

    @property
    def stride(self) -> int:
        """Return the bytes of the slot: digest and pixels."""
        return _DIGEST_BYTES + self.shape[0] * self.shape[1] * 3

    @property
    def offset(self) -> int:
        """Return where the slot begins in its file."""
        return self.place * self.stride

    def digest(self, pixels: Pixels) -> bytes:
        """Return the digest of these pixels in this slot; it differs in every other slot."""
        origin = f"{self.file} {self.place} {self.start} {self.length} "
        digest = hashlib.sha256(origin.encode() + self.row_digest)
        digest.update(pixels.data)
        return digest.digest()[:_DIGEST_BYTES]


_buffer = ThreadBuffer()


class DecodedCache:
    """Images in at most `bound` bytes of disk; safe to use from threads and processes.

    Images that are being written during an eviction may exceed the bound: one for each writer.
    """

    def __init__(self, folder: Path, *, bound: int, stopped: threading.Event | None = None) -> None:
        self._folder = BoundedFolder(
            folder,
            label="decoded images in",
            bound=bound,
            patterns=("??/*",),
            sparse=True,
            stopped=stopped,
        )

    @property
    def bound(self) -> int:
        """Return the most bytes that images may take."""
        return self._folder.bound

    def fits(self, size: int) -> bool:
        """Return whether so many bytes can be stored at the same time."""
        return self._folder.fits(size)

    def get_or_decode(self, slot: Slot, decode: Decode, *, wait: bool = True) -> Pixels | None:
        """Return the image of a slot, decoded here where it is not stored.

        None where another reader is decoding it, unless `wait`. The result may lie in a buffer of the calling
        thread and be overwritten by its next call. Raises what `decode` raises.
        """
        with self._opened(slot) as handle:
            stored = None if handle is None else _read(handle, slot)
            if stored is not None:
                return stored
            if handle is None or not self._folder.writable:
                return decode()
            return self._decode_locked(handle, slot, decode, wait=wait)

    def usage(self) -> FolderUsage:
        """Return what is counted, zeros where nothing is."""
        return self._folder.usage()

    def size(self) -> int:
        """Return the bytes that the files take on disk."""
        return self._folder.size()

    def _path(self, name: str) -> Path:
        return self._folder.folder / _place(name)

    @contextlib.contextmanager
    def _opened(self, slot: Slot) -> Iterator[int | None]:
        """Open the file of a slot; None where there is none and none can be made."""
        with contextlib.ExitStack() as stack:
            yield self._open(_place(slot.file), stack) if self.fits(slot.stride) else None

    def _open(self, name: str, stack: contextlib.ExitStack) -> int | None:
        """Open a file until the stack ends."""
        if self._folder.writable:
            with self._folder.writing():
                handle = open_for_writing(self._folder.folder / name, root=self._folder.folder)
                stack.callback(os.close, handle)
                return handle
        try:
            return stack.enter_context(self._folder.reading(name))
        except OSError:  # missing or unreadable: it is decoded
            return None

    def _decode_locked(self, handle: int, slot: Slot, decode: Decode, *, wait: bool) -> Pixels | None:
        locked = self._lock(handle, slot.place, seconds=_DECODE_SECONDS if wait else 0.0)
        if not locked and not wait and self._folder.writable:
            return None
        stored = _read(handle, slot) if locked else None  # the holder before may have stored it
        if stored is not None:
            return stored
        pixels = decode()
        if locked and pixels.shape[:2] == slot.shape:
            self._write(handle, slot, pixels)
        return pixels

    def _lock(self, handle: int, place: int, *, seconds: float) -> bool:
        """Lock the byte at the offset `place`; it stands for the slot, whatever lies there."""
        with self._folder.writing():
            return self._folder.lock(handle, place, seconds=seconds)
        return False

    def _write(self, handle: int, slot: Slot, pixels: Pixels) -> None:
        data = np.ascontiguousarray(pixels).reshape(-1)
        with self._folder.writing():
            with self._folder.reservation(_bytes_on_disk(slot.stride)) as granted:
                pass
            if granted:  # a write that is cut short fails its digest
                os.pwritev(handle, [slot.digest(data), data.data], slot.offset)


def _place(name: str) -> str:
    """Return where a file lies below the folder."""
    return f"{name[:2]}/{name}"


def _bytes_on_disk(size: int) -> int:
    """Return the most bytes that so many take: a range of a file may begin and end within a block."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES + _BLOCK_BYTES


def _read(handle: int, slot: Slot) -> Pixels | None:
    """Return a sound image, or None."""
    buffer = _buffer.at_least(slot.stride)[: slot.stride]
    try:
        count = os.preadv(handle, [buffer.data], slot.offset)
    except OSError:  # a disk that cannot be read: the dataset still has it
        return None
    digest, pixels = buffer[:_DIGEST_BYTES].tobytes(), buffer[_DIGEST_BYTES:]
    if count < slot.stride or not any(digest) or digest != slot.digest(pixels):
        return None
    IO_COUNTERS.hit()
    touch(handle)
    return pixels.reshape(*slot.shape, 3)
