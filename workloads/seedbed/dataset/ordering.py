"""Sorting metadata that need not fit into memory: cut by leading bits of the id, then sorted by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc

_ROWS_PER_BUCKET = 1_000_000
_ORDER_BITS = 63


class Spill:
    """A table on local disk, written once block by block, then mapped."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema)
        self._open = True

    def add(self, table: pa.Table) -> None:
        """Append the rows of a table."""
        if table.num_rows:
            self._writer.write_table(table)

    def mapped(self) -> pa.Table:
        """Close the file and return its rows, mapped rather than loaded."""
        if self._open:
            self._writer.close()
            self._sink.close()
            self._open = False
        return pa.ipc.open_file(pa.memory_map(str(self._path))).read_all()


def sorted_blocks(
    blocks: Iterable[pa.Table], *, schema: pa.Schema, expected_rows: int, folder: Path
) -> Iterator[pa.Table]:
    """Yield all rows sorted by (order, id, path); rows of one `order` never part between two blocks."""
    buckets = 1 << max(0, expected_rows // _ROWS_PER_BUCKET).bit_length()
    spills = [Spill(folder / f"bucket-{number}.arrow", schema) for number in range(buckets)]
    for block in blocks:
        _scatter(block, spills)
    for number, spill in enumerate(spills):
        yield spill.mapped().sort_by([("order", "ascending"), ("id", "ascending"), ("path", "ascending")])
        (folder / f"bucket-{number}.arrow").unlink()


def _scatter(block: pa.Table, spills: list[Spill]) -> None:
    if len(spills) == 1:
        spills[0].add(block)
        return
    shift = _ORDER_BITS - (len(spills).bit_length() - 1)
    numbers = block["order"].to_numpy() >> shift
    for number in np.unique(numbers):
        spills[number].add(block.filter(pa.array(numbers == number)))
