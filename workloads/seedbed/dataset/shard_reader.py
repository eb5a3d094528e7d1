"""Read indices and rows of shards from a store, each compared with what the manifest says of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa

from seedbed.dataset.file_format import Shard, invalid_dataset
from seedbed.dataset.index_check import index_problem, most_index_bytes
from seedbed.dataset.shard_io import ShardIndex, decode_index
from seedbed.storage import DamagedObject, ObjectLimit, OversizedObject, Storage

_T = TypeVar("_T")
_READS_AT_ONCE: Final = 8
"""Requests to a store at a time where all shards are read."""


def read_bounded(storage: Storage, path: str, limit: ObjectLimit) -> bytes:
    """Return an object; `UserError("InvalidDataset")` where it is larger than its kind may be."""
    try:
        return storage.read(path, limit)
    except OversizedObject as error:
        has = "" if error.size is None else f"{error.size} bytes, "
        problem = f"{path} has {has}more than {limit.most_bytes}"
        raise invalid_dataset(storage.url, problem) from error


def read_index(storage: Storage, shard: Shard, *, classes: int, task: str | None = None) -> ShardIndex:
    """Return the index of a shard; `UserError("InvalidDataset")` where it contradicts the manifest."""
    name = f"index {shard.index_path}"
    try:
        most = most_index_bytes(shard, classes=classes, task=task)
        limit = ObjectLimit(kind="an index of its rows", most_bytes=most)
        data = read_bounded(storage, shard.index_path, limit)
    except FileNotFoundError as error:
        raise invalid_dataset(storage.url, f"{name} is missing") from error
    except DamagedObject as error:
        raise invalid_dataset(storage.url, f"{name} cannot be read", detail=str(error.strerror)) from error
    if hashlib.sha256(data).hexdigest() != shard.index_sha256:
        raise invalid_dataset(storage.url, f"{name} differs from the manifest (sha256)")
    try:
        index = decode_index(data, task=task)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise invalid_dataset(storage.url, f"{name} is unreadable", detail=str(error)) from error
    problem = index_problem(index, shard, classes=classes, task=task)
    if problem is not None:
        raise invalid_dataset(storage.url, problem)
    return index


def read_batch(storage: Storage, shard: Shard, batch: int) -> bytes:
    """Return the bytes of a record batch; `UserError("InvalidDataset")` where its sha256 differs."""
    place = shard.batches[batch]
    try:
        data = storage.read_range(shard.path, place.offset, place.length)
    except OSError as error:
        problem = f"batch {batch} of shard {shard.path} cannot be read"
        raise invalid_dataset(storage.url, problem, detail=str(error)) from error
    if hashlib.sha256(data).hexdigest() != place.sha256:
        problem = f"batch {batch} of shard {shard.path} differs from the manifest (sha256)"
        raise invalid_dataset(storage.url, problem)
    return data


def iter_images(storage: Storage, shard: Shard, index: ShardIndex) -> Iterator[tuple[int, bytes]]:
    """Yield position and image of each row of a shard; `UserError` at the first that is not its digest's."""
    for batch in range(len(shard.batches)):
        data = read_batch(storage, shard, batch)
        for at in np.flatnonzero(index.batch == batch).tolist():
            image = data[int(index.offset[at]) : int(index.offset[at]) + int(index.length[at])]
            if not index.holds(at, image):
                raise invalid_dataset(storage.url, f"{row_name(shard, at)} differs from its row digest")
            yield at, image


def row_name(shard: Shard, at: int) -> str:
    """Return how messages name the row at a position of a shard."""
    return f"row {shard.first_row + at} of shard {shard.path}"


def in_parallel(work: Callable[[int], _T], numbers: Iterable[int]) -> Iterator[_T]:
    """Yield what `work` returns for each number, in order, a few at a time."""
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
        yield from pool.map(work, numbers)
