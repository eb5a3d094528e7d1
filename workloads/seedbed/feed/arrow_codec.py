"""Encode micro-batches as rows of Arrow blocks and decode them without copying; errors are rows too.

Decoded arrays are read-only views of memory of the object store.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seedbed.feed.io_counters import IO_COUNTERS, IoTotals, decode_totals
from seedbed.feed.micro_batch import MicroBatch
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError

SCHEMA: Final = pa.schema(
    [
        ("step", pa.int64()),
        ("leaf", pa.int64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("rows", pa.large_binary()),
        ("labels", pa.large_binary()),
        ("labels_type", pa.string()),
        ("pixels", pa.large_binary()),
        ("failure", pa.string()),
        ("traffic", pa.string()),
    ]
)

_FAILURES: Final = {"UserError": UserError, "InfrastructureError": InfrastructureError}


def micro_batches_to_block(batches: Sequence[MicroBatch], traffic: IoTotals | None = None) -> pa.Table:
    """Return a block of one row per micro-batch; the first row has the I/O counters."""
    columns = [
        pa.array([batch.step for batch in batches], pa.int64()),
        pa.array([batch.leaf for batch in batches], pa.int64()),
        pa.array([batch.pixels_mhwc.shape[1] for batch in batches], pa.int32()),
        pa.array([batch.pixels_mhwc.shape[2] for batch in batches], pa.int32()),
        _binary([batch.rows_m for batch in batches]),
        _binary([batch.labels_m for batch in batches]),
        pa.array([batch.labels_m.dtype.str for batch in batches], pa.string()),
        _binary([batch.pixels_mhwc for batch in batches]),
        pa.nulls(len(batches), pa.string()),
        pa.array([traffic.encode() if traffic else None, *[None] * (len(batches) - 1)], pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def failure_to_block(error: SeedbedError) -> pa.Table:
    """Return a block of one row with an error."""
    failure = json.dumps({"type": type(error).__name__, "reason": error.reason, "message": error.message})
    return pa.Table.from_pylist([{"failure": failure}], schema=SCHEMA)


def block_to_micro_batches(block: pa.Table) -> Iterator[MicroBatch]:
    """Yield a block's micro-batches; raise the error of a row that has one."""
    for record in block.to_batches():
        for totals in record.column("traffic").drop_null().to_pylist():
            IO_COUNTERS.absorb(decode_totals(totals))
        for failure in record.column("failure").drop_null().to_pylist():
            raise _decode_failure(failure)
        numbers = zip(*(record.column(name).to_pylist() for name in SCHEMA.names[:4]), strict=True)
        rows, labels, pixels = (_values(record.column(name)) for name in ("rows", "labels", "pixels"))
        kinds = record.column("labels_type").to_pylist()
        for number, (step, leaf, height, width) in enumerate(numbers):
            yield MicroBatch(
                step=step,
                leaf=leaf,
                rows_m=rows[number].view(np.int64),
                labels_m=_targets(labels[number].view(kinds[number]), rows=len(rows[number]) // 8),
                pixels_mhwc=pixels[number].reshape(-1, height, width, 3),
            )


def _targets(values: npt.NDArray[Any], *, rows: int) -> npt.NDArray[Any]:
    """Return class indices as they are, shape (m,); targets of other tasks in shape (m, …)."""
    return values if values.dtype == np.int64 else values.reshape(rows, -1)


def _decode_failure(text: str) -> SeedbedError:
    failure = json.loads(text)
    return _FAILURES[failure["type"]](failure["reason"], failure["message"])


def _values(column: pa.Array) -> list[npt.NDArray[np.uint8]]:
    """Return the values of a large_binary array as views; `to_pylist` would copy."""
    _, ends, data = column.buffers()
    first = column.offset
    bounds = np.frombuffer(ends, np.int64)[first : first + len(column) + 1].tolist()
    octets = np.frombuffer(data, np.uint8)
    return [octets[start:stop] for start, stop in itertools.pairwise(bounds)]


def _binary(arrays: Sequence[npt.NDArray[Any]]) -> pa.Array:
    """Return arrays as the values of one large_binary array: one copy, the one into contiguous memory."""
    ends = np.cumsum([0, *(array.nbytes for array in arrays)], dtype=np.int64)
    values = np.concatenate([array.reshape(-1).view(np.uint8) for array in arrays])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(values)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(arrays), buffers)
