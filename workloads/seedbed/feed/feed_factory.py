"""Open a feed of micro-batches, local or by Ray Data, or the batches of an evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Literal

from seedbed.feed.micro_batch import EvaluationBatch, MicroBatch
from seedbed.feed.ordered_executor import OrderedExecutor
from seedbed.feed.sample_stream import open_stream
from seedbed.feed.stream_spec import StreamSpec

FeedKind = Literal["Local", "RayData"]


@contextlib.contextmanager
def open_feed(
    kind: FeedKind,
    stream: StreamSpec,
    *,
    leaves: range,
    steps: range,
    prefetch: int | None = None,
    threads: int = 2,
) -> Iterator[Iterator[MicroBatch]]:
    """Yield the micro-batches of contiguous leaves and steps, ordered by (step, leaf).

    `prefetch` bounds the micro-batches that are made ahead of the consumer (default: one step, at least two
    per thread). Arrays may be read-only. A `UserError` or `InfrastructureError` is raised in place of the
    first micro-batch that cannot be made.
    """
    assert leaves.step == steps.step == 1, (leaves, steps)
    assert 0 <= leaves.start <= leaves.stop <= stream.leaves, leaves
    assert 0 <= steps.start <= steps.stop <= stream.total_steps, steps
    ahead = prefetch if prefetch is not None else max(len(leaves), 2 * threads)
    if kind == "Local":
        with _open_local_feed(stream, leaves=leaves, steps=steps, ahead=ahead, threads=threads) as batches:
            yield batches
    else:
        from seedbed.feed.ray_data_source import open_ray_feed  # imports ray.data, which takes a second

        with open_ray_feed(stream, leaves=leaves, steps=steps, ahead=ahead, threads=threads) as batches:
            yield batches


@contextlib.contextmanager
def open_evaluation(
    stream: StreamSpec,
    split: str,
    *,
    rank: int,
    world: int,
    batch_rows: int,
    prefetch: int = 4,
    threads: int = 2,
) -> Iterator[Iterator[EvaluationBatch]]:
    """Yield batches rank, rank + world, … of a split, in dataset order, not augmented, the last one padded.

    Batches do not depend on the world size; an empty split has none.
    """
    assert 0 <= rank < world, (rank, world)
    opened = open_stream(stream)
    rows_n = opened.view(split).row_numbers()
    mine = range(rank, -(-len(rows_n) // batch_rows), world)
    tasks = (partial(opened.evaluation_batch, rows_n, index, batch_rows) for index in mine)
    batches = OrderedExecutor(tasks, threads=threads, ahead=prefetch)
    with contextlib.closing(batches), contextlib.closing(opened):
        yield batches


@contextlib.contextmanager
def _open_local_feed(
    spec: StreamSpec, *, leaves: range, steps: range, ahead: int, threads: int
) -> Iterator[Iterator[MicroBatch]]:
    opened = open_stream(spec)
    plan = opened.plan()
    tasks = (partial(opened.micro_batch, plan, step, leaf) for step in steps for leaf in leaves)
    batches = OrderedExecutor(tasks, threads=threads, ahead=ahead)
    with contextlib.closing(batches), contextlib.closing(opened):
        yield batches
