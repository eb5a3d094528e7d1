"""What a source says about its images before any is read: path, class, and perhaps split and group, as Arrow.

Image folders (`class/…/file`, or `train/class/…/file` beside `validation` and `test`) and CSV files.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from seedbed.images.inspection import has_image_suffix
from seedbed.storage import Storage, open_storage
from seedbed.storage.local import LocalStorage
from seedbed_api.errors import UserError, refusal

HASHED = -1
"""Split code of rows whose split is drawn from their key."""
LISTING_SCHEMA = pa.schema(
    [
        ("path", pa.large_binary()),
        ("class", pa.string()),
        ("split", pa.int8()),
        ("group", pa.string()),
        ("reason", pa.string()),
    ]
)
_SPLIT_CODES = {"train": 0, "validation": 1, "val": 1, "test": 2}
_IGNORED = ("__MACOSX", "Thumbs.db", "desktop.ini")
_CHUNK = 65_536


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The files of a source, in order of their path."""

    files: pa.Table
    """Columns of `LISTING_SCHEMA`; `reason` is set where a file is refused without being read."""
    ignored: int
    """Files that are no part of the dataset: hidden ones, and other than images outside class folders."""

    def classes(self) -> tuple[str, ...]:
        """Return the class names, sorted by code point."""
        return tuple(sorted(name for name in pc.unique(self.files["class"]).to_pylist() if name is not None))


def encode_path(path: str) -> bytes:
    """Return a path as bytes; names that are no valid text survive."""
    return path.encode("utf-8", "surrogateescape")


def decode_path(path: bytes) -> str:
    """Return a path as the storage knows it."""
    return path.decode("utf-8", "surrogateescape")


def list_source(storage: Storage, *, csv: str | None, group_by: str | None) -> Listing:
    """List a source; `UserError` where it is missing, empty or not a dataset."""
    listing = _list_folder(storage, group_by) if csv is None else _list_csv(storage, csv, group_by)
    if listing.files.num_rows == 0:
        fix = "point SOURCE at a folder with one subfolder of images per class, or add --csv FILE"
        raise UserError("NoImages", refusal("SOURCE", storage.url, "there are no images here", fix))
    return listing


def _list_folder(storage: Storage, group_by: str | None) -> Listing:
    explicit, total = _survey(_paths(storage))
    _require_no_empty_class(storage, explicit=explicit)
    pattern = None if group_by is None else _pattern(group_by)
    rows = (row for path in _paths(storage) if (row := _file_row(path, explicit, pattern)) is not None)
    files = pa.Table.from_batches(_record_batches(rows), LISTING_SCHEMA)
    if files.num_rows and files["class"].null_count == files.num_rows:
        fix = "put the images of each class into a folder of their own, or add --csv FILE"
        raise UserError("NoClasses", refusal("SOURCE", storage.url, "its images lie in no class folder", fix))
    return Listing(files=files.sort_by("path"), ignored=max(0, total - files.num_rows))


def _paths(storage: Storage) -> Iterable[str]:
    """Return the paths of a source; of local folders one by one, for they may be too many for a list."""
    return _walk(storage.root) if isinstance(storage, LocalStorage) else storage.list()


def _walk(root: Path) -> Iterator[str]:
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link back into the tree
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        base = os.path.relpath(folder, root)
        yield from names if base == "." else (f"{base}/{name}" for name in names)


_FileRow = tuple[bytes, str | None, int, str | None, str | None]


def _record_batches(rows: Iterator[_FileRow]) -> Iterator[pa.RecordBatch]:
    while chunk := list(islice(rows, _CHUNK)):
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(zip(*chunk, strict=True), LISTING_SCHEMA, strict=True)
        ]
        yield pa.record_batch(arrays, schema=LISTING_SCHEMA)


def _file_row(path: str, explicit: bool, pattern: re.Pattern[str] | None) -> _FileRow | None:
    parts = path.split("/")
    if any(part.startswith(".") or part in _IGNORED for part in parts):
        return None
    split = _SPLIT_CODES[parts.pop(0)] if explicit and parts[0] in _SPLIT_CODES else HASHED
    if len(parts) < 2:
        return (
            (encode_path(path), None, split, None, "outside-class-folder") if has_image_suffix(path) else None
        )
    group = None if pattern is None else _group_of(path, pattern)
    reason = "no-group" if pattern is not None and group is None else None
    return encode_path(path), _class_name(parts[0]), split, group, reason


def _survey(paths: Iterable[str]) -> tuple[bool, int]:
    """Say whether the top folders are splits, and count the files.

    They are where all have such a name, train is among them, and class folders lie below.
    """
    tops: set[str] = set()
    deep, total = False, 0
    for path in paths:
        total += 1
        if "/" in path and not path.startswith("."):
            tops.add(path.partition("/")[0])
            deep = deep or path.count("/") >= 2
    tops -= set(_IGNORED)
    return "train" in tops and tops <= set(_SPLIT_CODES) and deep, total


def _class_name(folder: str) -> str:
    try:
        folder.encode()
    except UnicodeEncodeError:
        raise UserError(
            "InvalidSource", refusal("SOURCE", folder, "a class name is not valid UTF-8", "rename the folder")
        ) from None
    return unicodedata.normalize("NFC", folder)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        fix = "write a regular expression that is searched in the path of each image"
        raise UserError("InvalidGroup", refusal("--group-by", text, str(error), fix)) from None


def _group_of(path: str, pattern: re.Pattern[str]) -> str | None:
    match = pattern.search(path)
    if match is None:
        return None
    parts = match.groups() or (match[0],)
    return "\x1f".join(part or "" for part in parts).encode("utf-8", "backslashreplace").decode()


def _require_no_empty_class(storage: Storage, *, explicit: bool) -> None:
    """Refuse class folders without a file; object stores know no empty folders."""
    if not isinstance(storage, LocalStorage):
        return
    for folder in sorted(storage.root.glob("*/*" if explicit else "*")):
        if folder.is_dir() and not folder.name.startswith(".") and not any(_files_below(folder)):
            fix = "put images into it or remove the folder"
            raise UserError("EmptyClass", refusal("SOURCE", folder.name, "the class folder is empty", fix))


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _list_csv(storage: Storage, csv: str, group_by: str | None) -> Listing:
    table = _read_csv(storage, csv)
    columns = set(table.column_names)
    wanted = {"image", "label"} | ({group_by} if group_by else set())
    if not wanted <= columns:
        problem = f"column {sorted(wanted - columns)[0]!r} is missing; there are {sorted(columns)}"
        raise UserError(
            "InvalidSource",
            refusal("--csv", csv, problem, "name columns image, label and optionally split, group"),
        )
    group = group_by or ("group" if "group" in columns else None)
    files = pa.table(_csv_columns(table, group), LISTING_SCHEMA)
    return Listing(files=files.sort_by("path"), ignored=0)


def _csv_columns(table: pa.Table, group: str | None) -> list[pa.Array]:
    nothing = pa.nulls(table.num_rows, pa.string())
    path, label = pc.fill_null(table["image"], ""), _text(table["label"])
    split = _text(table["split"]) if "split" in table.column_names else nothing
    groups = nothing if group is None else _text(table[group])
    code = pc.index_in(pc.utf8_lower(split), pa.array(list(_SPLIT_CODES)))
    codes = pc.take(pa.array(list(_SPLIT_CODES.values()), pa.int8()), code)
    escapes = pc.match_substring_regex(path, r"^$|^/|^[a-zA-Z0-9+.-]+://|(^|/)\.\.(/|$)")
    problems = [
        (escapes, "outside-source"),
        (pc.is_null(label), "no-label"),
        (pc.and_(pc.is_valid(split), pc.is_null(code)), "unknown-split"),
        (pc.is_null(groups) if group is not None else pc.is_valid(nothing), "no-group"),
    ]
    reason = pc.case_when(pc.make_struct(*(mask for mask, _ in problems)), *(name for _, name in problems))
    return [
        path.cast(pa.large_string()).cast(pa.large_binary()),
        pc.utf8_normalize(label, "NFC"),
        pc.fill_null(codes, HASHED),
        groups,
        reason,
    ]


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with blanks stripped and nothing but blanks as null."""
    stripped = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(stripped, ""), pa.scalar(None, pa.string()), stripped)


def _read_csv(storage: Storage, csv: str) -> pa.Table:
    try:
        data = storage.read(csv) if storage.exists(csv) else _read_elsewhere(csv)
        header = pa.csv.open_csv(pa.BufferReader(data)).schema.names
        options = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        )
        return pa.csv.read_csv(pa.BufferReader(data), convert_options=options)
    except FileNotFoundError:
        raise UserError(
            "InvalidSource", refusal("--csv", csv, "there is no such file", "give its path below SOURCE")
        ) from None
    except pa.ArrowInvalid as error:
        problem = f"it is no CSV file: {str(error).splitlines()[0]}"
        raise UserError(
            "InvalidSource", refusal("--csv", csv, problem, "write UTF-8 with a header line")
        ) from None


def _read_elsewhere(csv: str) -> bytes:
    folder, _, name = csv.rpartition("/")
    return open_storage(folder or ".").read(name)
