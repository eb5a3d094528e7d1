"""What is read of datasets is counted once, wherever it is read: by threads, or by read tasks in other processes."""

from __future__ import annotations

import numpy as np
import pytest

from seedbed.feed.arrow_codec import micro_batches_of, to_block
from seedbed.feed.io_counters import METER, Meter, Traffic, decoded, store_of
from seedbed.feed.micro_batch import MicroBatch


def test_what_is_drained_is_counted_elsewhere() -> None:
    here, there = Meter(), Meter()
    here.miss()
    here.decode()
    here.fetch("s3://bucket/data", 100)
    there.absorb(here.drain())
    here.hit()
    there.absorb(here.drain())
    assert here.total() == Traffic()
    assert there.total() == Traffic(hits=1, misses=1, fetched={"s3": 100}, decodes=1)


def test_it_travels_as_text() -> None:
    counted = Traffic(hits=1, misses=2, rejected=3, fetched={"https": 4}, decodes=5)
    assert decoded(counted.encode()) == counted


def test_a_block_brings_along_what_was_read_to_make_it() -> None:
    METER.drain()
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
    block = to_block(batches, Traffic(misses=2, fetched={"s3": 7}))
    assert len(list(micro_batches_of(block))) == 3
    assert METER.drain() == Traffic(misses=2, fetched={"s3": 7})


@pytest.mark.parametrize(
    ("url", "store"),
    [("s3://bucket/x", "s3"), ("https://a/b", "https"), ("/data/x", "file"), ("data", "file")],
)
def test_stores(url: str, store: str) -> None:
    assert store_of(url) == store
