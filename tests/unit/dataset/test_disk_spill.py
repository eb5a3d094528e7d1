"""Metadata on disk: sorted and cut into shards by parts, with the result of doing it at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.dataset import disk_spill
from seedbed.dataset.disk_spill import DiskSpill
from seedbed.dataset.shard_planning import cut_into_shards

SCHEMA = pa.schema([("order", pa.int64()), ("id", pa.binary()), ("path", pa.large_binary())])
KEYS = [("order", "ascending"), ("id", "ascending"), ("path", "ascending")]


def rows_of(orders: list[int]) -> pa.Table:
    paths = [str(number).encode() for number in range(len(orders))]
    return pa.table([orders, [order.to_bytes(8, "big") for order in orders], paths], SCHEMA)


def spilled(table: pa.Table, *, chunk: int = 7) -> DiskSpill:
    made = DiskSpill(table.schema)
    for start in range(0, table.num_rows, chunk):
        made.add(table.slice(start, chunk))
    return made


def test_a_spill_gives_back_what_was_added_as_often_as_asked() -> None:
    table = rows_of(list(range(50)))
    made = spilled(table)
    assert made.num_rows == 50
    for _ in range(2):
        assert pa.concat_tables(made.tables()).equals(table)
    assert DiskSpill(SCHEMA).read().equals(SCHEMA.empty_table())


ORDERS = {
    "spread": [int(order) for order in np.random.default_rng(1).integers(0, 2**63, 500)],
    "close together": list(range(300, 0, -1)),
    "alike in their first bits": [2**62 + number % 11 for number in range(200)],
    "all alike": [5] * 100,
    "at both ends": [0, 2**63 - 1] * 60,
    "few": [3, 1, 2],
    "none": [],
}


@pytest.mark.parametrize("case", ORDERS)
def test_blocks_are_sorted_whole_and_small(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_spill, "ROWS_PER_BLOCK", 16)
    table = rows_of(ORDERS[case])
    blocks = list(spilled(table).sorted_blocks())
    assert pa.concat_tables(blocks).equals(table.sort_by(KEYS).combine_chunks()) or not ORDERS[case]
    most_alike = max(map(ORDERS[case].count, ORDERS[case]), default=0)
    assert max(block.num_rows for block in blocks) <= max(16, most_alike)
    filled = [block["order"].to_pylist() for block in blocks if block.num_rows]
    assert all(one[-1] < other[0] for one, other in pairwise(filled)), "rows of one order stay together"


def cut_at_once(weights: list[int], shard_bytes: int) -> list[int]:
    """Rows per shard by the plain rule: as many as fit, at least one."""
    shards: list[int] = []
    room = -1
    for weight in weights:
        if shards and weight <= room:
            shards[-1] += 1
            room -= weight
        else:
            shards.append(1)
            room = shard_bytes - weight
    return shards


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 60), st.integers(1, 9))
def test_shards_are_cut_alike_however_the_rows_come(weights: list[int], shard_bytes: int, chunk: int) -> None:
    table = pa.table(
        {"weight": pa.array(weights, pa.int64()), "row": pa.array(range(len(weights)), pa.int64())}
    )
    tables = [table.slice(start, chunk) for start in range(0, len(weights), chunk)]
    shards = list(cut_into_shards(tables, shard_bytes=shard_bytes))
    assert [shard.num_rows for shard in shards] == cut_at_once(weights, shard_bytes)
    assert [row for shard in shards for row in shard["row"].to_pylist()] == list(range(len(weights)))
