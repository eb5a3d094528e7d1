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
from seedbed.dataset.dataset_digest import row_digest
from seedbed.dataset.file_format import INDEX_SCHEMA, SHARD_SCHEMA, RecordBatch

HEAD_BYTES: Final = 68
"""Id, key and label: what a row digest covers before the image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One sample to write into a shard."""

    image: bytes
    label: int
    id: bytes
    key: bytes


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
    id: npt.NDArray[np.uint8]
    """Shape (n, 32): sha256 of the source bytes."""
    key: npt.NDArray[np.uint8]
    """Shape (n, 32): what split, fold and subset are drawn from."""
    digest: npt.NDArray[np.uint8]
    """Shape (n, 32): sha256(id ‖ key ‖ label ‖ image bytes)."""

    def __len__(self) -> int:
        return len(self.label)

    def heads(self) -> bytes:
        """Return what a row digest covers before the image: `HEAD_BYTES` of id, key and label per row."""
        labels_n4 = self.label.astype("<i4").view(np.uint8).reshape(-1, 4)
        return np.concatenate([self.id, self.key, labels_n4], axis=1).tobytes()

    def holds(self, at: int, image: bytes | memoryview) -> bool:
        """Return whether these bytes, with id, key and label of a row, have the row's digest."""
        row_id, key, label = self.id[at].tobytes(), self.key[at].tobytes(), int(self.label[at])
        found = row_digest(row_id=row_id, key=key, label=label, image=image)
        return found == bytes(self.digest[at])


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedShard:
    """The bytes of a finished shard and of its index."""

    data: bytes
    index: bytes
    batches: tuple[RecordBatch, ...]
    row_digests: bytes
    labels: npt.NDArray[np.int32]


class ShardEncoder:
    """Encodes a shard in memory, in record batches of at most `batch_bytes` bytes of images."""

    def __init__(self, *, batch_bytes: int) -> None:
        self._batch_bytes = batch_bytes
        self._sink = io.BytesIO()  # getvalue() returns its bytes without a copy
        options = pa.ipc.IpcWriteOptions(metadata_version=pa.ipc.MetadataVersion.V5)
        self._writer = pa.ipc.new_file(self._sink, SHARD_SCHEMA, options=options)
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
        table = pa.Table.from_batches(self._index, INDEX_SCHEMA).combine_chunks()
        return EncodedShard(
            data=data,
            index=encode_index(table),
            batches=tuple(_batch(data, *place) for place in self._ranges),
            row_digests=_column(table["digest"]).tobytes(),
            labels=table["label"].to_numpy(),
        )

    def _flush(self) -> None:
        rows, self._pending, self._pending_bytes = self._pending, [], 0
        columns = [[row.image for row in rows], [row.label for row in rows], [row.id for row in rows]]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SHARD_SCHEMA, strict=True)]
        batch = pa.record_batch(arrays, schema=SHARD_SCHEMA)
        self._writer.write_batch(batch)
        length = pa.ipc.get_record_batch_size(batch)
        self._ranges.append((self._sink.tell() - length, length, len(rows)))
        self._index.append(_index_rows(rows, number=len(self._index), offsets=_image_offsets(batch)))


def _batch(data: bytes, offset: int, length: int, rows: int) -> RecordBatch:
    digest = hashlib.sha256(memoryview(data)[offset : offset + length]).hexdigest()
    return RecordBatch(offset=offset, length=length, rows=rows, sha256=digest)


def _image_offsets(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Return the n + 1 ends of images inside the encoded message of a batch."""
    message = batch.serialize()
    image = pa.ipc.read_record_batch(message, SHARD_SCHEMA).column("image")
    _, starts, values = image.buffers()
    base = values.address - message.address if values.size else 0
    assert 0 <= base <= message.size, "Arrow copied the batch instead of pointing into it"
    return np.frombuffer(starts, np.int64)[: len(image) + 1] + base


def _index_rows(rows: list[Row], *, number: int, offsets: npt.NDArray[np.int64]) -> pa.RecordBatch:
    digests = [row_digest(row_id=row.id, key=row.key, label=row.label, image=row.image) for row in rows]
    columns: list[Any] = [
        np.full(len(rows), number, np.int32),
        offsets[:-1],
        np.diff(offsets),
        [row.label for row in rows],
        [row.id for row in rows],
        [row.key for row in rows],
        digests,
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, INDEX_SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=INDEX_SCHEMA)


def encode_index(table: pa.Table) -> bytes:
    """Return an index as an Arrow IPC file of one record batch."""
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, INDEX_SCHEMA) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue()


def decode_index(data: bytes) -> ShardIndex:
    """Read an index; `pyarrow.ArrowInvalid` or `ValueError` where the bytes are none."""
    table = read_table(data, INDEX_SCHEMA).combine_chunks()
    if any(column.null_count for column in table.columns):
        raise ValueError("the index has rows without a value")
    return ShardIndex(**{name: _column(table[name]) for name in INDEX_SCHEMA.names})


def _column(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    array = column.combine_chunks()
    if not pa.types.is_fixed_size_binary(array.type):
        values: npt.NDArray[Any] = array.to_numpy()
        return values
    flat = np.frombuffer(array.buffers()[1], np.uint8)
    return flat[32 * array.offset : 32 * (array.offset + len(array))].reshape(len(array), 32)
