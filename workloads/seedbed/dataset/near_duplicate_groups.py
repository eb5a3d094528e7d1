"""Group the images of a source by near-duplicates, as a CSV file that a build takes: one split per group.

A group is named by the least sha256 of its images, so neither the order nor the names of files change it.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from seedbed.dataset.image_sources import list_source
from seedbed.dataset.near_duplicates import find_near_duplicates, join_pairs, roots_of
from seedbed.dataset.source_file_lookup import read_source_file
from seedbed.dataset.source_listing import DRAWN_SPLIT, SPLIT_CODES, SourceListing, decode_path
from seedbed.images.image_conversion import BadImage, StoredFormat, normalise
from seedbed.images.image_decoder import UndecodableImageError, decode_reduced
from seedbed.images.pixel_measurement import measure_pixels
from seedbed.storage import Storage
from seedbed_api.errors import UserError, refusal

_FILES_AT_ONCE: Final = 64
_FORMAT: Final = StoredFormat(image_size=None, encoding="source")
_SPLITS: Final = {code: name for name, code in SPLIT_CODES.items() if name != "val"} | {DRAWN_SPLIT: ""}
_COLUMNS: Final = ("image", "label", "split", "group")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceGroups:
    """The groups of a source, as a CSV file."""

    csv: bytes
    files: int
    groups: int
    """Groups of two files and more."""
    grouped_files: int
    unreadable: int
    """Files that a build will refuse: each is a group of its own."""
    incomplete: bool
    """Whether some pairs may be missing, as too many hashes are alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hashes:
    ids_n32: npt.NDArray[np.uint8]
    hashes_n2: npt.NDArray[np.uint64]
    images: npt.NDArray[np.int64]
    """Positions of the files that have a hash, shape (n,)."""


def group_source(
    source: Storage,
    *,
    distance: int,
    listing_csv: str | None = None,
    group_by: str | None = None,
    top_folders: str = "auto",
    threads: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> SourceGroups:
    """Read all images of a source and group those whose hashes differ in at most `distance` of 128 bits.

    Groups that the source names already are kept together too. `UserError` where a path cannot stand in CSV.
    """
    listing = list_source(source, csv=listing_csv, group_by=group_by, top_folders=top_folders)
    if listing.containers:
        problem, fix = "its rows are not files that a CSV file can name", "add a column of groups to it"
        raise UserError("InvalidSource", refusal("SOURCE", source.url, problem, fix))
    found = _hash_files(source, listing, threads, progress)
    near = find_near_duplicates(found.hashes_n2, np.ones(len(found.images), np.uint8), distance=distance)
    parent = np.arange(listing.files.num_rows)
    join_pairs(parent, found.images, found.images[near.group])
    join_pairs(parent, *_named_groups(listing))
    group = roots_of(parent, np.arange(len(parent)))
    sizes = np.bincount(group, minlength=1)
    return SourceGroups(
        csv=_csv(listing, _names(group, found.ids_n32)),
        files=len(group),
        groups=int((sizes > 1).sum()),
        grouped_files=int(sizes[sizes > 1].sum()),
        unreadable=len(group) - len(found.images),
        incomplete=near.incomplete,
    )


def _hash_files(
    source: Storage, listing: SourceListing, threads: int, progress: Callable[[str, int, int], None]
) -> _Hashes:
    ids: list[bytes] = []
    hashes: list[bytes] = []
    images: list[int] = []
    files = (row for table in listing.files.tables() for row in table.to_pylist())
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(files, _FILES_AT_ONCE)):
            for row_id, image_hash in pool.map(lambda row: _hash_file(source, row), some):
                if image_hash is not None:
                    images.append(len(ids))
                    hashes.append(image_hash)
                ids.append(row_id)
            progress("hashing", len(ids), listing.files.num_rows)
    return _Hashes(
        ids_n32=np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 32),
        hashes_n2=np.frombuffer(b"".join(hashes), ">u8").astype(np.uint64).reshape(-1, 2),
        images=np.array(images, np.int64),
    )


def _hash_file(source: Storage, row: dict[str, Any]) -> tuple[bytes, bytes | None]:
    """Return sha256 and image hash of a file; sha256 of its path and None where a build refuses it."""
    nothing = hashlib.sha256(row["path"]).digest(), None
    if row["reason"] is not None:
        return nothing
    try:
        found, data = read_source_file(source, decode_path(row["path"]))
        image = normalise(data, found, _FORMAT).image
        assert image is not None
        return hashlib.sha256(data).digest(), measure_pixels(decode_reduced(image, 1)).hash
    except (BadImage, UndecodableImageError):
        return nothing


def _named_groups(listing: SourceListing) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return positions of files and of the first file of the group that the source names for them."""
    first: dict[str, int] = {}
    files, firsts = [], []
    names = (name for table in listing.files.tables() for name in table["group"].to_pylist())
    for at, name in enumerate(names):
        if name is not None:
            files.append(at)
            firsts.append(first.setdefault(name, at))
    return np.array(files, np.int64), np.array(firsts, np.int64)


def _names(group: npt.NDArray[np.int64], ids_n32: npt.NDArray[np.uint8]) -> Iterator[str]:
    """Yield for each file the least id of its group, in hex."""
    order = np.lexsort(ids_n32.T[::-1])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    least = np.full(len(order), len(order), np.int64)
    np.minimum.at(least, group, rank)
    return (ids_n32[order[best]].tobytes().hex() for best in least[group])


def _csv(listing: SourceListing, names: Iterator[str]) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for table in listing.files.tables():
        for row in table.to_pylist():
            path = _text_path(row["path"])
            writer.writerow([path, row["class"] or "", _SPLITS[row["split"]], next(names)])
    return sink.getvalue().encode()


def _text_path(path: bytes) -> str:
    text = path.decode("utf-8", "replace")
    if text.encode() != path or not text.isprintable() or text != text.strip():
        problem = "a CSV file cannot name it: it has control characters, outer blanks or is no UTF-8"
        raise UserError("InvalidSource", refusal("SOURCE", text, problem, "rename the file"))
    return text
