"""The listing of a source, in Arrow: path, class, split and group of every file."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from seedbed.dataset.disk_spill import DiskSpill

if TYPE_CHECKING:
    from seedbed.dataset.targets import TargetColumns

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
        ("container", pa.int32()),
        ("start", pa.int64()),
        ("length", pa.int64()),
    ]
)
"""`reason` is set where a file is refused without being read: a kind, and optionally `: ` and details.
The last three say where the bytes of a row lie in a file of many rows; they are null for a file of one."""
RANGE_COLUMNS = ["container", "start", "length"]


class RowContainer(Protocol):
    """A file that holds the images of many rows; picklable, for other processes of this machine."""

    def read_range(self, start: int, length: int) -> bytes:
        """Return the bytes of a row. `OSError` where they are not there any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceListing:
    """The rows of a source, in any order."""

    files: DiskSpill
    """Columns of `LISTING_SCHEMA`, on disk, as they may not fit into memory."""
    ignored: int
    """Entries that are ignored: hidden files, and files outside of class folders that are no images."""
    containers: tuple[RowContainer, ...] = ()
    """The files that `container` counts."""
    class_order: tuple[str, ...] | None = None
    """All class names by label, where the source says them; None: those of the rows, by code point."""
    urls: bool = False
    """Some paths are URLs, to be fetched."""
    targets: TargetColumns | None = None
    """Of another task than single-label: then the column `class` holds target texts."""

    def classes(self) -> tuple[str, ...]:
        """Return the class names by label; see `TargetColumns.names` for other tasks."""
        if self.class_order is not None:
            return self.class_order
        if self.targets is not None:
            return self.targets.names(self.values())
        return tuple(sorted(set(self.values())))

    def values(self) -> Iterator[str]:
        """Yield the values of the column `class`, those of each block once."""
        for table in self.files.tables():
            yield from pc.unique(table["class"].drop_null()).to_pylist()


def files_table(columns: Sequence[pa.Array | pa.ChunkedArray]) -> pa.Table:
    """Return rows that are files of their own, from the columns of `LISTING_SCHEMA` up to `reason`."""
    nothing = [pa.nulls(len(columns[0]), LISTING_SCHEMA.field(name).type) for name in RANGE_COLUMNS]
    return pa.table([*columns, *nothing], LISTING_SCHEMA)


def encode_path(path: str) -> bytes:
    """Return a path as bytes; names that are not valid UTF-8 are preserved."""
    return path.encode("utf-8", "surrogateescape")


def decode_path(path: bytes) -> str:
    """Return a path as the storage knows it."""
    return path.decode("utf-8", "surrogateescape")


def nfc(text: str) -> str:
    """Return text in Unicode NFC, the form in which names of classes, groups and splits are compared."""
    return unicodedata.normalize("NFC", text)
