"""The rows of shards without their images, as Arrow tables that can be sorted on disk by id or key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.reader import Dataset

ROW_SCHEMA: Final = pa.schema(
    [
        ("order", pa.int64()),
        ("id", pa.binary(32)),
        ("path", pa.large_binary()),
        ("label", pa.int32()),
        ("split", pa.int8()),
        ("row_id", pa.binary(32)),
        ("key", pa.binary(32)),
        ("digest", pa.binary(32)),
        ("length", pa.int64()),
        ("shard", pa.int32()),
        ("at", pa.int32()),
    ]
)
"""`order`, `id` and `path` are what `DiskSpill` sorts by: here 63 bits of an id or key, all of it, and the
name of the dataset. `at` is the position in the shard."""


def shard_rows(dataset: Dataset, numbers: Iterable[int], *, name: bytes) -> Iterator[pa.Table]:
    """Yield the rows of each shard, to be sorted by id; each index is verified."""
    for number in numbers:
        index = dataset.index(number)
        count = len(index)
        columns: list[Any] = [
            orders(index.id),
            binary_column(index.id),
            pa.array([name] * count, pa.large_binary()),
            index.label,
            np.full(count, SPLITS.index(dataset.manifest.shards[number].split), np.int8),
            binary_column(index.id),
            binary_column(index.key),
            binary_column(index.digest),
            index.length,
            np.full(count, number, np.int32),
            np.arange(count, dtype=np.int32),
        ]
        yield pa.table(columns, ROW_SCHEMA)


def orders(ids_n32: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the first 63 bits of ids, shape (n, 32), as numbers."""
    return (ids_n32[:, :8].copy().view(">u8")[:, 0] >> np.uint64(1)).astype(np.int64)


def binary_column(values_n32: npt.NDArray[np.uint8]) -> pa.Array:
    """Return 32-byte values, shape (n, 32), as a column."""
    data = pa.py_buffer(np.ascontiguousarray(values_n32).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(values_n32), [None, data])


def bytes_of(column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Return a column of 32-byte values as an array, shape (n, 32)."""
    array = column.combine_chunks()
    flat = np.frombuffer(array.buffers()[1], np.uint8) if len(array) else np.empty(0, np.uint8)
    return flat[32 * array.offset : 32 * (array.offset + len(array))].reshape(-1, 32)


def sorted_by_key(table: pa.Table) -> pa.Table:
    """Return rows that `DiskSpill` sorts by key."""
    keys = bytes_of(table["key"])
    table = table.set_column(0, "order", pa.array(orders(keys)))
    return table.set_column(1, "id", table["key"]).cast(ROW_SCHEMA)


def sorted_by_place(table: pa.Table) -> pa.Table:
    """Return rows that `DiskSpill` sorts by shard and position."""
    place = (table["shard"].to_numpy().astype(np.int64) << 31) | table["at"].to_numpy()
    return table.set_column(0, "order", pa.array(place)).cast(ROW_SCHEMA)
