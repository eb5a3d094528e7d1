"""Tables in temporary files: append, read, and external sort in bounded memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from seedbed.storage.storage_errors import Fault, fault_of, local_error
from seedbed_api.errors import SeedbedError, UserError, refusal

ROWS_PER_BLOCK = 16_384
"""About how many rows are in memory at a time; a metadata row takes some 200 bytes."""
ORDER_BITS = 63
_MOST_PARTS = 128
_USER_FAULTS = (Fault.DENIED, Fault.UNUSABLE, Fault.FULL)


class DiskSpill:
    """A table in an unnamed temporary file: tables are appended, then read in that order.

    One reader at a time. The file is removed with the object, or with the process.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.num_rows = 0
        with temporary_folder_errors():
            self._file = tempfile.TemporaryFile(prefix="seedbed-build-")  # noqa: SIM115 - it is open as long as the spill
            self._writer = pa.ipc.new_stream(pa.PythonFile(self._file, mode="w"), schema)
        self._open = True

    def add(self, table: pa.Table) -> None:
        """Append the rows of a table."""
        assert self._open, "rows are appended before they are read"
        if table.num_rows:
            self.num_rows += table.num_rows
            with temporary_folder_errors():
                self._writer.write_table(table, max_chunksize=ROWS_PER_BLOCK)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows in order, at most `ROWS_PER_BLOCK` at a time; none can be added after."""
        self._end()
        with temporary_folder_errors():
            self._file.seek(0)
            for batch in pa.ipc.open_stream(pa.PythonFile(self._file, mode="r")):
                yield pa.Table.from_batches([batch])

    def read(self) -> pa.Table:
        """Return all rows at once."""
        return pa.concat_tables([self.schema.empty_table(), *self.tables()])

    def sorted_blocks(self) -> Iterator[pa.Table]:
        """Yield all rows sorted by (order, id, path), and free the disk.

        Rows of one `order` are in one block. Blocks have at most `ROWS_PER_BLOCK` rows, unless more rows have
        the same order.
        """
        yield from _sorted_blocks(self, bits=ORDER_BITS)

    def close(self) -> None:
        """Free the disk."""
        self._end()
        self._file.close()

    def _end(self) -> None:
        if self._open:
            self._open = False
            with temporary_folder_errors():
                self._writer.close()
                self._file.flush()


def _sorted_blocks(spill: DiskSpill, *, bits: int) -> Iterator[pa.Table]:
    """Sort rows that agree in all but the last `bits` of their order."""
    if spill.num_rows <= ROWS_PER_BLOCK or bits == 0:
        block = spill.read()
        spill.close()
        yield block.sort_by([("order", "ascending"), ("id", "ascending"), ("path", "ascending")])
        return
    cut = min(bits, (min(_MOST_PARTS, 2 * spill.num_rows // ROWS_PER_BLOCK) - 1).bit_length())
    parts = [DiskSpill(spill.schema) for _ in range(1 << cut)]
    for table in spill.tables():
        _scatter(table, parts, shift=bits - cut)
    spill.close()
    for part in parts:
        yield from _sorted_blocks(part, bits=bits - cut)


def _scatter(table: pa.Table, parts: list[DiskSpill], *, shift: int) -> None:
    numbers = (table["order"].to_numpy() >> shift) & (len(parts) - 1)
    table = table.take(pa.array(np.argsort(numbers, kind="stable")))
    edges = np.searchsorted(np.sort(numbers), np.arange(len(parts) + 1))
    for part, start, stop in zip(parts, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part.add(table.slice(start, stop - start))


@contextmanager
def temporary_folder_errors() -> Iterator[None]:
    """Translate failures of the temporary folder; lack of space or of permission is a `UserError`."""
    try:
        yield
    except OSError as error:
        raise _translate_error(error) from error


def _translate_error(error: OSError) -> SeedbedError:
    folder = os.environ.get("TMPDIR") or tempfile.tempdir or "/tmp"
    if fault_of(error) not in _USER_FAULTS:
        return local_error(error, shown=f"file://{folder}", writing=True)
    problem = f"the temporary folder: {os.strerror(error.errno or 0).lower()}"
    fix = "free space there, or set TMPDIR to another folder"
    return UserError("OutputUnwritable", refusal("TMPDIR", folder, problem, fix))
