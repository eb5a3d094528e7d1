"""An object of any store as a file that can be read at any place, for the readers of libraries."""

from __future__ import annotations

import io
from typing import Any

from seedbed.storage import Storage

_BUFFER_BYTES = 1 << 20


class _StorageFile(io.RawIOBase):
    def __init__(self, storage: Storage, path: str) -> None:
        self._storage, self._path = storage, path
        self._size = storage.size(path)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._size - self._at))
        if length:
            buffer[:length] = self._storage.read_range(self._path, self._at, length)
            self._at += length
        return length


def open_file(storage: Storage, path: str) -> io.BufferedReader:
    """Open an object; `FileNotFoundError` where there is none. Reads fail as those of the storage do."""
    return io.BufferedReader(_StorageFile(storage, path), _BUFFER_BYTES)
