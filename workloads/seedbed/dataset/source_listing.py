"""The listing of a source, as Arrow: path, class, and perhaps split and group of every file; none is read."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from seedbed.dataset.disk_spill import DiskSpill

DRAWN_SPLIT = -1
"""Split code of rows whose split is drawn from their key."""
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
"""`reason` is set where a file is refused without being read: a kind, and perhaps `: ` and what was seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceListing:
    """The files of a source, in any order: what becomes of them is sorted by content."""

    files: DiskSpill
    """Columns of `LISTING_SCHEMA`, on disk: there may be more than memory holds."""
    ignored: int
    """Entries that are no part of the dataset: hidden ones, and other than images outside class folders."""

    def classes(self) -> tuple[str, ...]:
        """Return the class names, sorted by code point."""
        names: set[str | None] = set()
        for table in self.files.tables():
            names.update(pc.unique(table["class"]).to_pylist())
        return tuple(sorted(name for name in names if name is not None))


def encode_path(path: str) -> bytes:
    """Return a path as bytes; names that are no valid text survive."""
    return path.encode("utf-8", "surrogateescape")


def decode_path(path: bytes) -> str:
    """Return a path as the storage knows it."""
    return path.decode("utf-8", "surrogateescape")


def nfc(text: str) -> str:
    """Return text in Unicode NFC, the form in which names of classes, groups and splits are compared."""
    return unicodedata.normalize("NFC", text)
