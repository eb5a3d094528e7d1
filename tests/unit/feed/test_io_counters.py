"""What is read of datasets is counted once, wherever it is read: by threads, or by read tasks in other processes."""

from __future__ import annotations

import numpy as np
import pytest

from seedbed.feed.arrow_codec import block_to_micro_batches, micro_batches_to_block
from seedbed.feed.io_counters import IO_COUNTERS, IoCounters, IoTotals, decode_totals, store_scheme
from seedbed.feed.micro_batch import MicroBatch


def test_what_is_drained_is_counted_elsewhere() -> None:
    here, there = IoCounters(), IoCounters()
    here.miss()
    here.decode()
    here.fetch("s3://bucket/data", 100)
    there.absorb(here.drain())
    here.hit()
    there.absorb(here.drain())
    assert here.total() == IoTotals()
    assert there.total() == IoTotals(hits=1, misses=1, fetched={"s3": 100}, decodes=1)


def test_it_travels_as_text() -> None:
    counted = IoTotals(hits=1, misses=2, rejected=3, fetched={"https": 4}, decodes=5)
    assert decode_totals(counted.encode()) == counted


def test_a_block_brings_along_what_was_read_to_make_it() -> None:
    IO_COUNTERS.drain()
    batches = [
        MicroBatch(
            step=0,
            leaf=leaf,
            rows_m=np.zeros(2, np.int64),
            labels_m=np.zeros(2, np.int64),
            pixels_mhwc=np.zeros((2, 4, 4, 3), np.uint8),
        )
        for leaf in range(3)
    ]
    block = micro_batches_to_block(batches, IoTotals(misses=2, fetched={"s3": 7}))
    assert len(list(block_to_micro_batches(block))) == 3
    assert IO_COUNTERS.drain() == IoTotals(misses=2, fetched={"s3": 7})


@pytest.mark.parametrize(
    ("url", "store"),
    [("s3://bucket/x", "s3"), ("https://a/b", "https"), ("/data/x", "file"), ("data", "file")],
)
def test_stores(url: str, store: str) -> None:
    assert store_scheme(url) == store
