"""A file of a storage whose rows are byte ranges: nothing is copied."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.storage import Storage


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """Reads images out of a file; picklable."""

    storage: Storage
    path: str

    def read_range(self, start: int, length: int) -> bytes:
        """Return the bytes of one image."""
        return self.storage.read_range(self.path, start, length)
