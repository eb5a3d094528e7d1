"""Micro-batches as rows of Arrow blocks and back, without copying pixels; failures are rows too.

Arrays that come out of a block are read-only views of the object store's memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seedbed.feed.batches import MicroBatch
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError

SCHEMA: Final = pa.schema(
    [
        ("step", pa.int64()),
        ("leaf", pa.int64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("rows", pa.large_binary()),
        ("labels", pa.large_binary()),
        ("pixels", pa.large_binary()),
        ("failure", pa.string()),
    ]
)

_FAILURES: Final = {"UserError": UserError, "InfrastructureError": InfrastructureError}


def to_block(batches: Sequence[MicroBatch]) -> pa.Table:
    """Return a block of one row per micro-batch."""
    columns = [
        pa.array([batch.step for batch in batches], pa.int64()),
        pa.array([batch.leaf for batch in batches], pa.int64()),
        pa.array([batch.pixels_mhwc.shape[1] for batch in batches], pa.int32()),
        pa.array([batch.pixels_mhwc.shape[2] for batch in batches], pa.int32()),
        _binary([batch.rows_m for batch in batches]),
        _binary([batch.labels_m for batch in batches]),
        _binary([batch.pixels_mhwc for batch in batches]),
        pa.nulls(len(batches), pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def failure_to_block(error: SeedbedError) -> pa.Table:
    """Return a block of one row that says what went wrong."""
    told = json.dumps({"type": type(error).__name__, "reason": error.reason, "message": error.message})
    return pa.Table.from_pylist([{"failure": told}], schema=SCHEMA)


def micro_batches_of(block: pa.Table) -> Iterator[MicroBatch]:
    """Yield a block's micro-batches; raise the failure of a row that holds one."""
    for record in block.to_batches():
        columns = {name: record.column(name) for name in SCHEMA.names}
        for row in range(record.num_rows):
            if columns["failure"][row].is_valid:
                raise _failure(columns["failure"][row].as_py())
            yield _micro_batch(columns, row)


def _micro_batch(columns: dict[str, Any], row: int) -> MicroBatch:
    height, width = columns["height"][row].as_py(), columns["width"][row].as_py()
    pixels = np.frombuffer(columns["pixels"][row].as_buffer(), np.uint8)
    return MicroBatch(
        step=columns["step"][row].as_py(),
        leaf=columns["leaf"][row].as_py(),
        rows_m=np.frombuffer(columns["rows"][row].as_buffer(), np.int64),
        labels_m=np.frombuffer(columns["labels"][row].as_buffer(), np.int64),
        pixels_mhwc=pixels.reshape(-1, height, width, 3),
    )


def _failure(told: str) -> SeedbedError:
    failure = json.loads(told)
    return _FAILURES[failure["type"]](failure["reason"], failure["message"])


def _binary(arrays: Sequence[npt.NDArray[Any]]) -> pa.Array:
    """Return arrays as the values of one large_binary array: one copy, the one into contiguous memory."""
    ends = np.cumsum([0, *(array.nbytes for array in arrays)], dtype=np.int64)
    values = np.concatenate([array.reshape(-1).view(np.uint8) for array in arrays])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(values)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(arrays), buffers)
