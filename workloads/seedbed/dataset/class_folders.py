"""List a source of class folders, or of split folders with the class folders below.

`is_ignored` decides which files are ignored, also where folders are checked for being empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa

from seedbed.dataset.disk_spill import ROWS_PER_BLOCK, DiskSpill
from seedbed.dataset.folder_layout import TopFolder, split_folders
from seedbed.dataset.source_listing import (
    DRAWN_SPLIT,
    LISTING_SCHEMA,
    SourceListing,
    encode_path,
    files_table,
    nfc,
)
from seedbed.images.image_conversion import has_image_suffix
from seedbed.storage import LocalStorage, Storage, iter_paths
from seedbed.storage.storage_errors import Fault, fault_of, local_error
from seedbed.storage.tree_walk import Entry, walk
from seedbed_api.errors import UserError, refusal

_IGNORED = frozenset(
    {
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
        *("@eadir", "@__thumb", "#recycle", "#snapshot"),
        *("$recycle.bin", "recycler", "system volume information", "lost+found"),
    }
)
"""Names that operating systems and storage servers create in folders, in lower case."""
_RETRIED = (Fault.EXHAUSTED, Fault.TRANSIENT)

_FileRow = tuple[bytes, str | None, int, str | None, str | None]


def list_folders(storage: Storage, *, group_by: str | None, top_folders: str) -> SourceListing:
    """List a source of folders; `UserError` where its folders are ambiguous, or one is empty."""
    pattern = None if group_by is None else _pattern(group_by)
    survey = _survey(storage)
    splits = split_folders(survey.tops, wanted=top_folders, source=storage.url)
    _require_no_empty_class(survey.tops, splits)
    rows = (
        row for entry in source_entries(storage) if (row := _file_row(entry, splits, pattern)) is not None
    )
    files = DiskSpill(LISTING_SCHEMA)
    for table in _tables(rows):
        files.add(table)
    listing = SourceListing(files=files, ignored=max(0, survey.total - files.num_rows))
    if files.num_rows and not listing.classes():
        fix = "put the images of each class into a folder of their own, or add --csv FILE"
        raise UserError("NoClasses", refusal("SOURCE", storage.url, "its images lie in no class folder", fix))
    return listing


def is_ignored(name: str) -> bool:
    """Return whether a file or folder of this name is ignored, with all its contents."""
    return name.startswith(".") or name.lower() in _IGNORED


def source_entries(storage: Storage) -> Iterator[Entry]:
    """Yield the entries of a source; a list of them may not fit into memory."""
    if not isinstance(storage, LocalStorage):
        yield from (Entry(path, is_folder=False) for path in iter_paths(storage))
        return
    for entry in walk(storage.root, enters=lambda name: not is_ignored(name)):
        if entry.error is not None and (not entry.path or fault_of(entry.error) in _RETRIED):
            shown = f"{storage.url}/{entry.path}".rstrip("/")
            raise local_error(entry.error, shown=shown, writing=False) from entry.error
        yield entry


@dataclass(kw_only=True, slots=True)
class _FolderSurvey:
    tops: dict[str, TopFolder] = field(default_factory=dict)
    total: int = 0
    """Files, and ignored folders."""

    def add(self, entry: Entry) -> None:
        parts = entry.path.split("/")
        seen = next((at for at, part in enumerate(parts) if is_ignored(part)), len(parts))
        passed_over = seen < len(parts)
        counts = not entry.is_folder or entry.error is not None
        holds = counts and not passed_over
        self.total += counts or passed_over
        folders = parts[: seen if passed_over or entry.is_folder else -1]
        if folders and folders[0]:
            self.tops.setdefault(folders[0], TopFolder()).add(folders[1:2], holds=holds)


def _survey(storage: Storage) -> _FolderSurvey:
    survey = _FolderSurvey()
    for entry in source_entries(storage):
        survey.add(entry)
    return survey


def _require_no_empty_class(tops: dict[str, TopFolder], splits: dict[str, int] | None) -> None:
    """Refuse class folders without images; object stores have no empty folders."""
    if splits is None:
        empty = sorted(name for name, top in tops.items() if not top.filled)
    else:
        below = ((split, name) for split in splits for name, holds in tops[split].below.items() if not holds)
        empty = sorted(f"{split}/{name}" for split, name in below)
    if empty:
        name = empty[0].rpartition("/")[2]
        problem = f"the class folder {name!r} is empty: hidden and system files are ignored"
        fix = "put images into it or remove the folder"
        raise UserError("EmptyClass", refusal("SOURCE", empty[0], problem, fix))


def _tables(rows: Iterator[_FileRow]) -> Iterator[pa.Table]:
    while chunk := list(islice(rows, ROWS_PER_BLOCK)):
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(zip(*chunk, strict=True), LISTING_SCHEMA, strict=False)
        ]
        yield files_table(arrays)


def _file_row(
    entry: Entry, splits: dict[str, int] | None, pattern: re.Pattern[str] | None
) -> _FileRow | None:
    parts = entry.path.split("/")
    if any(map(is_ignored, parts)) or (entry.is_folder and entry.error is None):
        return None
    split = splits[parts.pop(0)] if splits and parts[0] in splits else DRAWN_SPLIT
    if entry.is_folder and entry.error is not None:
        seen = f"unreadable: the folder cannot be listed: {(entry.error.strerror or '').lower()}"
        return encode_path(entry.path), _class_name(parts[0]) if parts else None, split, None, seen
    if len(parts) < 2 and entry.error is not None:  # it may be a class folder whose disk is not mounted
        seen = f"unreadable: the link leads to no file or folder: {(entry.error.strerror or '').lower()}"
        return encode_path(entry.path), None, split, None, seen
    if len(parts) < 2:
        lost = (encode_path(entry.path), None, split, None, "outside-class-folder")
        return lost if has_image_suffix(entry.path) else None
    group = None if pattern is None else _group_of(entry.path, pattern)
    reason = "no-group" if pattern is not None and group is None else None
    return encode_path(entry.path), _class_name(parts[0]), split, group, reason


def _class_name(folder: str) -> str:
    try:
        folder.encode()
    except UnicodeEncodeError:
        raise UserError(
            "InvalidSource", refusal("SOURCE", folder, "a class name is not valid UTF-8", "rename the folder")
        ) from None
    return nfc(folder)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(nfc(text))
    except re.error as error:
        fix = "give a regular expression to search in the path of each image"
        raise UserError("InvalidGroup", refusal("--group-by", text, str(error), fix)) from None


def _group_of(path: str, pattern: re.Pattern[str]) -> str | None:
    match = pattern.search(nfc(path))
    if match is None:
        return None
    parts = match.groups() or (match[0],)
    return "\x1f".join(part or "" for part in parts).encode("utf-8", "backslashreplace").decode()
