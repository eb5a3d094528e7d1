"""Read an Arrow file of strangers: one schema, no compression, and never more memory than the file has bytes.

Arrow's own reader inflates compressed buffers to any size that they state, and follows a footer to any place.
Here the messages are read in their order, and the footer is never used.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.ipc

_MAGIC = b"ARROW1\0\0"
_HEADER_SLOT = 2
"""Field `header` of the table Message in Arrow's Message.fbs (after `version` and `header_type`)."""
_COMPRESSION_SLOT = 3
"""Field `compression` of the table RecordBatch."""


def read_table(data: bytes, schema: pa.Schema, *, rows: int | None = None) -> pa.Table:
    """Return the rows of an Arrow file of this schema.

    Raises `pyarrow.ArrowInvalid` or `ValueError` where it is damaged, compressed, of other columns, or has
    other than `rows` rows.
    """
    if not data.startswith(_MAGIC):
        raise ValueError("it is no Arrow file")
    batches = list(_batches(pa.py_buffer(data).slice(len(_MAGIC)), schema))
    table = pa.Table.from_batches(batches, schema)
    if rows is not None and table.num_rows != rows:
        raise ValueError(f"it has {table.num_rows} rows instead of {rows}")
    return table


def _batches(buffer: pa.Buffer, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    messages = iter(pa.ipc.MessageReader.open_stream(buffer))
    first = next(messages, None)
    if first is None or first.type != "schema" or pa.ipc.read_schema(first) != schema:
        raise ValueError(f"it has other columns than {', '.join(schema.names)}")
    for message in messages:
        if message.type != "record batch":
            raise ValueError(f"it has a message of type {message.type}")
        if _is_compressed(message.metadata.to_pybytes()):
            raise ValueError("it is compressed; Seedbed writes it without compression")
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate(full=True)
        yield batch


def _is_compressed(metadata: bytes) -> bool:
    """Return whether a record batch message states a compression, read from its flatbuffer."""
    message = int.from_bytes(metadata[:4], "little")
    header = _field(metadata, message, _HEADER_SLOT)
    if header is None:
        raise ValueError("a message has no header")
    batch = header + int.from_bytes(metadata[header : header + 4], "little")
    return _field(metadata, batch, _COMPRESSION_SLOT) is not None


def _field(metadata: bytes, table: int, slot: int) -> int | None:
    """Return the position of a field of a flatbuffer's table, None where it is absent."""
    vtable = table - int.from_bytes(metadata[table : table + 4], "little", signed=True)
    if not 0 <= vtable <= len(metadata) - 4:
        raise ValueError("a message is damaged")
    entry = 4 + 2 * slot
    if entry + 2 > int.from_bytes(metadata[vtable : vtable + 2], "little"):
        return None
    offset = int.from_bytes(metadata[vtable + entry : vtable + entry + 2], "little")
    return table + offset if offset else None
