"""Encode shards and encode and decode their indices; finds the bytes of images in Arrow batches."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

from seedbed.dataset.arrow_file import read_table
from seedbed.dataset.dataset_digest import row_digest, row_head
from seedbed.dataset.file_format import RecordBatch, index_schema, shard_schema

HEAD_BYTES: Final = 68
"""Id, key and label: what a row digest covers before the image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One sample to write into a shard."""

    image: bytes
    label: int
    id: bytes
    key: bytes
    target: bytes | None = None
    """Of another task than single-label; `label` is 0 then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardIndex:
    """Where each of a shard's n rows lies; columns are read-only arrays in row order."""

    batch: npt.NDArray[np.int32]
    """Record batch of the row, a position in `Shard.batches`."""
    offset: npt.NDArray[np.int64]
    """First image byte, counted from the start of the record batch's byte range."""
    length: npt.NDArray[np.int64]
    """Image bytes."""
    label: npt.NDArray[np.int32]
    """Zeros where rows have targets."""
    id: npt.NDArray[np.uint8]
    """Shape (n, 32): sha256 of the source bytes."""
    key: npt.NDArray[np.uint8]
    """Shape (n, 32): what split, fold and subset are drawn from."""
    digest: npt.NDArray[np.uint8]
    """Shape (n, 32): sha256(id ‖ key ‖ label ‖ image bytes)."""
    target: tuple[bytes, ...] | None = None
    """Of another task than single-label."""

    def __len__(self) -> int:
        return len(self.label)

    def heads(self) -> bytes:
        """Return what row digests cover before the image: `HEAD_BYTES` of id, key and label per row.

        For single-label alone: other heads differ in length.
        """
        assert self.target is None
        labels_n4 = self.label.astype("<i4").view(np.uint8).reshape(-1, 4)
        return np.concatenate([self.id, self.key, labels_n4], axis=1).tobytes()

    def holds(self, at: int, image: bytes | memoryview) -> bool:
        """Return whether these bytes, with id, key and label of a row, have the row's digest."""
        found = hashlib.sha256(self.head(at))
        found.update(image)
        return found.digest() == bytes(self.digest[at])

    def head(self, at: int) -> bytes:
        """Return what the digest of a row covers before its image."""
        target = None if self.target is None else self.target[at]
        row_id, key = self.id[at].tobytes(), self.key[at].tobytes()
        return row_head(row_id=row_id, key=key, label=int(self.label[at]), target=target)


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedShard:
    """The bytes of a finished shard and of its index."""

    data: bytes
    index: bytes
    batches: tuple[RecordBatch, ...]
    row_digests: bytes
    labels: npt.NDArray[np.int32]
    targets: tuple[bytes, ...] | None


class ShardEncoder:
    """Encodes a shard in memory, in record batches of at most `batch_bytes` bytes of images."""

    def __init__(self, *, batch_bytes: int, task: str | None = None) -> None:
        self._batch_bytes = batch_bytes
        self._task = task
        self._sink = io.BytesIO()  # getvalue() returns its bytes without a copy
        options = pa.ipc.IpcWriteOptions(metadata_version=pa.ipc.MetadataVersion.V5)
        self._writer = pa.ipc.new_file(self._sink, shard_schema(task), options=options)
        self._pending: list[Row] = []
        self._pending_bytes = 0
        self._ranges: list[tuple[int, int, int]] = []
        self._index: list[pa.RecordBatch] = []

    def add(self, row: Row) -> None:
        """Append a row; a full record batch is written out first."""
        if self._pending and self._pending_bytes + len(row.image) > self._batch_bytes:
            self._flush()
        self._pending.append(row)
        self._pending_bytes += len(row.image)

    def finish(self) -> EncodedShard:
        """Return the encoded shard; it must hold at least one row."""
        self._flush()
        self._writer.close()
        data = self._sink.getvalue()
        table = pa.Table.from_batches(self._index, index_schema(self._task)).combine_chunks()
        return EncodedShard(
            data=data,
            index=encode_index(table),
            batches=tuple(_batch(data, *place) for place in self._ranges),
            row_digests=_column(table["digest"]).tobytes(),
            **_labels_and_targets(table),
        )

    def _flush(self) -> None:
        rows, self._pending, self._pending_bytes = self._pending, [], 0
        schema = shard_schema(self._task)
        columns = [[getattr(row, name) for row in rows] for name in schema.names]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        batch = pa.record_batch(arrays, schema=schema)
        self._writer.write_batch(batch)
        length = pa.ipc.get_record_batch_size(batch)
        self._ranges.append((self._sink.tell() - length, length, len(rows)))
        offsets = _image_offsets(batch)
        self._index.append(_index_rows(rows, number=len(self._index), offsets=offsets, task=self._task))


def _labels_and_targets(table: pa.Table) -> dict[str, Any]:
    """Return the columns `labels` and `targets` of the rows of an index."""
    if "label" in table.column_names:
        return {"labels": table["label"].to_numpy(), "targets": None}
    zeros = np.zeros(table.num_rows, np.int32)
    return {"labels": zeros, "targets": tuple(table["target"].to_pylist())}


def _batch(data: bytes, offset: int, length: int, rows: int) -> RecordBatch:
    digest = hashlib.sha256(memoryview(data)[offset : offset + length]).hexdigest()
    return RecordBatch(offset=offset, length=length, rows=rows, sha256=digest)


def _image_offsets(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Return the n + 1 ends of images inside the encoded message of a batch."""
    message = batch.serialize()
    image = pa.ipc.read_record_batch(message, batch.schema).column("image")
    _, starts, values = image.buffers()
    base = values.address - message.address if values.size else 0
    assert 0 <= base <= message.size, "Arrow copied the batch instead of pointing into it"
    return np.frombuffer(starts, np.int64)[: len(image) + 1] + base


def _index_rows(
    rows: list[Row], *, number: int, offsets: npt.NDArray[np.int64], task: str | None
) -> pa.RecordBatch:
    digests = [
        row_digest(row_id=row.id, key=row.key, label=row.label, image=row.image, target=row.target)
        for row in rows
    ]
    columns: list[Any] = [
        np.full(len(rows), number, np.int32),
        offsets[:-1],
        np.diff(offsets),
        [row.label if task is None else row.target for row in rows],
        [row.id for row in rows],
        [row.key for row in rows],
        digests,
    ]
    schema = index_schema(task)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def encode_index(table: pa.Table) -> bytes:
    """Return an index as an Arrow IPC file of one record batch."""
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue()


def decode_index(data: bytes, *, task: str | None = None) -> ShardIndex:
    """Read an index; `pyarrow.ArrowInvalid` or `ValueError` where the bytes are none."""
    table = read_table(data, index_schema(task)).combine_chunks()
    if any(column.null_count for column in table.columns):
        raise ValueError("the index has rows without a value")
    columns: dict[str, Any] = {name: _column(table[name]) for name in table.column_names if name != "target"}
    if task is not None:
        found = _labels_and_targets(table)
        columns |= {"label": found["labels"], "target": found["targets"]}
    return ShardIndex(**columns)


def _column(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    array = column.combine_chunks()
    if not pa.types.is_fixed_size_binary(array.type):
        values: npt.NDArray[Any] = array.to_numpy()
        return values
    flat = np.frombuffer(array.buffers()[1], np.uint8)
    return flat[32 * array.offset : 32 * (array.offset + len(array))].reshape(len(array), 32)
