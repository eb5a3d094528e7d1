"""Arrow files of strangers: whatever their bytes state, reading them needs no more memory than they have bytes."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.dataset.arrow_file import read_table

SCHEMA = pa.schema([("label", pa.int32()), ("id", pa.binary(32))])
ROWS = pa.table({"label": [1, 2, 3], "id": [bytes([n]) * 32 for n in range(3)]}, SCHEMA)


def written(table: pa.Table = ROWS, compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def test_rows_of_all_batches_are_read_in_order() -> None:
    assert read_table(written(), SCHEMA, rows=3).to_pydict() == ROWS.to_pydict()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (written(compression="zstd"), "it is compressed"),
        (written(compression="lz4"), "it is compressed"),
        (written(ROWS.select(["label"])), "it has other columns than label, id"),
        (
            written(ROWS.cast(pa.schema([("label", pa.int64()), ("id", pa.binary(32))]))),
            "it has other columns",
        ),
        (
            written(pa.table({"label": pa.array([1, 1]).dictionary_encode(), "id": [b"i" * 32] * 2})),
            "it has other columns",
        ),
        (written()[8:], "it is no Arrow file"),
        (b"", "it is no Arrow file"),
        (b"ARROW1\0\0", "it has other columns"),
    ],
    ids=[
        "zstd",
        "lz4",
        "a column is missing",
        "another type",
        "a dictionary",
        "no magic",
        "empty",
        "magic only",
    ],
)
def test_other_files_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises((ValueError, pa.ArrowException), match=problem):
        read_table(data, SCHEMA)


def test_another_number_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="it has 3 rows instead of 4"):
        read_table(written(), SCHEMA, rows=4)


@given(place=st.integers(8, len(written()) - 1), bits=st.integers(1, 255))
def test_a_changed_byte_is_read_or_refused_and_nothing_else(place: int, bits: int) -> None:
    data = bytearray(written())
    data[place] ^= bits
    try:
        found = read_table(bytes(data), SCHEMA)
    except (ValueError, OSError, pa.ArrowException):
        return
    assert found.schema == SCHEMA


BOMB = """
    import io, resource, sys
    import pyarrow as pa
    from seedbed.dataset import file_format, shard_io
    arrays = []
    for field in file_format.INDEX_SCHEMA:
        width = field.type.bit_width // 8
        arrays.append(pa.Array.from_buffers(field.type, 1_000_000, [None, pa.py_buffer(bytes(1_000_000 * width))]))
    batch = pa.record_batch(arrays, schema=file_format.INDEX_SCHEMA)
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for _ in range(30):
            writer.write_batch(batch)
    data = sink.getvalue()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        shard_io.decode_index(data)
    except ValueError as error:
        print(error)
    print(len(data) < 2**20, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16)
"""


def test_a_small_index_that_would_inflate_to_gigabytes_takes_no_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BOMB)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "it is compressed; Seedbed writes it without compression\nTrue True\n"
