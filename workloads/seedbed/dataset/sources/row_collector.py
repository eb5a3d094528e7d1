"""Collect the rows of a source into a listing, with their images where they must be copied."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import pyarrow as pa

from seedbed.dataset.disk_spill import ROWS_PER_BLOCK, DiskSpill
from seedbed.dataset.source_listing import (
    DRAWN_SPLIT,
    LISTING_SCHEMA,
    SPLIT_CODES,
    RowContainer,
    SourceListing,
    encode_path,
    nfc,
)
from seedbed.dataset.sources.image_spill import ImageSpill
from seedbed.dataset.sources.label_names import LabelNames, is_unicode
from seedbed.dataset.sources.url_fetch import is_url
from seedbed.storage.object_limits import SOURCE_IMAGE

_SPILL = 0
"""The container of copied images."""
_OUTSIDE = re.compile(r"^/|^[a-zA-Z0-9+.-]+://|(^|/)\.\.(/|$)")
_NO_BYTES = "missing-file: the row holds no image"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRow:
    """One row of a source."""

    place: str
    """What messages and the report call it: file and row, or the name that the format gives it."""
    label: object
    split: object = None
    """The name of its split; None: that of `file_split`."""
    file_split: int = DRAWN_SPLIT
    """The code of the split that the file's name says."""
    group: object = None
    image: bytes | None = None
    """Its bytes, to be copied."""
    path: str | None = None
    """Its file below SOURCE, instead of bytes."""
    range: tuple[int, int, int] | None = None
    """Container, start and length of its bytes, instead of a copy."""
    reason: str | None = None


class RowCollector:
    """Writes rows to disk; memory is bounded by one block of rows without their images."""

    def __init__(self, labels: LabelNames, *, grouped: bool = False) -> None:
        self.labels = labels
        self._grouped = grouped
        self._files = DiskSpill(LISTING_SCHEMA)
        self._images = ImageSpill()
        self._containers: list[RowContainer] = []
        self._rows: list[tuple[object, ...]] = []
        self.urls = False

    def add_container(self, container: RowContainer) -> int:
        """Return the number of a file that holds bytes of rows."""
        self._containers.append(container)
        return len(self._containers)

    def add(self, row: SourceRow) -> None:
        """Add a row. Raises BadLabel."""
        name, bad_label = self.labels.class_of(row.label)
        code, bad_split = _split_code(row.split, row.file_split)
        group, bad_group = _group(row.group)
        if self._grouped and group is None and bad_group is None:
            bad_group = "no-group"
        where, bad_image = self._where(row)
        reason = row.reason or bad_image or bad_label or bad_split or bad_group
        path = row.place if not row.path or reason else row.path
        if row.path is not None and not reason and is_url(row.path):
            path, self.urls = row.path.strip(), True
        self._rows.append((encode_path(path), name, code, group, reason, *where))
        if len(self._rows) >= ROWS_PER_BLOCK:
            self._flush()

    def finish(self, *, ignored: int = 0) -> SourceListing:
        """Return the listing."""
        self._flush()
        containers = (self._images.finish(), *self._containers)
        order = self.labels.order()
        return SourceListing(
            files=self._files, ignored=ignored, containers=containers, class_order=order, urls=self.urls
        )

    def _where(self, row: SourceRow) -> tuple[tuple[int | None, int | None, int | None], str | None]:
        if row.range is not None:
            return row.range, _oversized(row.range[2])
        if row.path is not None or row.reason is not None:
            return (None, None, None), _bad_path(row.path or "")
        if row.image is None:
            return (None, None, None), _NO_BYTES
        oversized = _oversized(len(row.image))
        if oversized:
            return (None, None, None), oversized
        return (_SPILL, self._images.add(row.image), len(row.image)), None

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [
                pa.array(column, field.type) for column, field in zip(columns, LISTING_SCHEMA, strict=True)
            ]
            self._files.add(pa.table(arrays, LISTING_SCHEMA))
            self._rows.clear()


def _bad_path(path: str) -> str | None:
    """Return why a path is none below SOURCE."""
    if _OUTSIDE.search(path.strip()) is not None and not is_url(path):
        return "outside-source"
    return "outside-source: the path holds a NUL character" if "\0" in path else None


def _oversized(length: int) -> str | None:
    most = SOURCE_IMAGE.most_bytes
    return f"unreadable: it has {length:,} bytes, an image has at most {most:,}" if length > most else None


def _split_code(split: object, of_file: int) -> tuple[int, str | None]:
    """Return the code of a split, and why it is none."""
    if split is None:
        return of_file, None
    if not isinstance(split, str):
        return DRAWN_SPLIT, f"unknown-split: the split is {str(split)[:80]}, not train, validation or test"
    name = _text(split)
    if name is None:
        return DRAWN_SPLIT, None
    code = SPLIT_CODES.get(name.lower())
    return (DRAWN_SPLIT, "unknown-split") if code is None else (code, None)


def _group(group: object) -> tuple[str | None, str | None]:
    """Return the name of a group, and why a value is none."""
    if group is None or (isinstance(group, float) and math.isnan(group)):
        return None, None
    if not isinstance(group, str | int | float):
        return None, f"no-group: the group is a {type(group).__name__}, not text or a number"
    name = _text(group)
    return (name, None) if is_unicode(name or "") else (None, "no-group: the group is no text in Unicode")


def _text(value: object) -> str | None:
    """Return a name in NFC without blanks around it; None for an empty one."""
    return nfc(str(value).strip()) or None
