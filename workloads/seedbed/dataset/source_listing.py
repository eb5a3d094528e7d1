"""The listing of a source, in Arrow: path, class, split and group of every file."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from seedbed.dataset.disk_spill import DiskSpill

DRAWN_SPLIT = -1
"""Split code of rows whose split is drawn by the hash of their key."""
SPLIT_CODES = {"train": 0, "validation": 1, "val": 1, "test": 2}
LISTING_SCHEMA = pa.schema(
    [
        ("path", pa.large_binary()),
        ("class", pa.string()),
        ("split", pa.int8()),
        ("group", pa.string()),
        ("reason", pa.string()),
    ]
)
"""`reason` is set where a file is refused without being read: a kind, and optionally `: ` and details."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceListing:
    """The files of a source, in any order."""

    files: DiskSpill
    """Columns of `LISTING_SCHEMA`, on disk, as they may not fit into memory."""
    ignored: int
    """Entries that are ignored: hidden files, and files outside of class folders that are no images."""

    def classes(self) -> tuple[str, ...]:
        """Return the class names, sorted by code point."""
        names: set[str | None] = set()
        for table in self.files.tables():
            names.update(pc.unique(table["class"]).to_pylist())
        return tuple(sorted(name for name in names if name is not None))


def encode_path(path: str) -> bytes:
    """Return a path as bytes; names that are not valid UTF-8 are preserved."""
    return path.encode("utf-8", "surrogateescape")


def decode_path(path: bytes) -> str:
    """Return a path as the storage knows it."""
    return path.decode("utf-8", "surrogateescape")


def nfc(text: str) -> str:
    """Return text in Unicode NFC, the form in which names of classes, groups and splits are compared."""
    return unicodedata.normalize("NFC", text)
