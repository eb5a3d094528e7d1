"""Rows on local disk: written once, read as often as wanted, sorted while a part of them is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc

ROWS_PER_BLOCK = 16_384
"""Rows that are held at a time, about; a metadata row takes some 200 bytes."""
ORDER_BITS = 63
_MOST_PARTS = 128


class Spill:
    """A table on local disk: added to table by table, then read in that order."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.num_rows = 0
        self._schema = schema
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_stream(self._sink, schema)

    def add(self, table: pa.Table) -> None:
        """Append the rows of a table."""
        if table.num_rows:
            self.num_rows += table.num_rows
            self._writer.write_table(table, max_chunksize=ROWS_PER_BLOCK)

    def tables(self) -> Iterator[pa.Table]:
        """Yield what was added, in order, at most `ROWS_PER_BLOCK` rows at a time; nothing is added after."""
        self._close()
        with pa.OSFile(str(self.path)) as source, pa.ipc.open_stream(source) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])

    def sorted_blocks(self) -> Iterator[pa.Table]:
        """Yield all rows sorted by (order, id, path), and remove the file.

        Rows of one `order` never part between two blocks, and no block is much larger than `ROWS_PER_BLOCK`,
        unless so many rows have one order.
        """
        yield from _sorted_blocks(self, bits=ORDER_BITS)

    def remove(self) -> None:
        """Delete the file."""
        self._close()
        self.path.unlink()

    def _close(self) -> None:
        if not self._sink.closed:
            self._writer.close()
            self._sink.close()

    def part(self, number: int) -> Spill:
        """Return an empty spill of the same columns beside this one."""
        return Spill(self.path.with_name(f"{self.path.name}.{number}"), self._schema)

    def read(self) -> pa.Table:
        """Return all rows at once."""
        return pa.concat_tables([self._schema.empty_table(), *self.tables()])


def _sorted_blocks(spill: Spill, *, bits: int) -> Iterator[pa.Table]:
    """Sort rows that agree in all but the last `bits` of their order."""
    if spill.num_rows <= ROWS_PER_BLOCK or bits == 0:
        block = spill.read()
        spill.remove()
        yield block.sort_by([("order", "ascending"), ("id", "ascending"), ("path", "ascending")])
        return
    cut = min(bits, (min(_MOST_PARTS, 2 * spill.num_rows // ROWS_PER_BLOCK) - 1).bit_length())
    parts = [spill.part(number) for number in range(1 << cut)]
    for table in spill.tables():
        _scatter(table, parts, shift=bits - cut)
    spill.remove()
    for part in parts:
        yield from _sorted_blocks(part, bits=bits - cut)


def _scatter(table: pa.Table, parts: list[Spill], *, shift: int) -> None:
    numbers = (table["order"].to_numpy() >> shift) & (len(parts) - 1)
    table = table.take(pa.array(np.argsort(numbers, kind="stable")))
    edges = np.searchsorted(np.sort(numbers), np.arange(len(parts) + 1))
    for part, start, stop in zip(parts, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part.add(table.slice(start, stop - start))
