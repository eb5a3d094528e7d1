"""A Ray Data source of micro-batches: read tasks render them in plan order, ahead of the trainer.

A row of a block is a micro-batch, so the boundaries of blocks and tasks do not change micro-batches. Tasks
request no CPU: otherwise they would wait forever for the CPUs of the trainers.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Final

import pyarrow as pa
import ray
import ray.data
import ray.exceptions
from ray.data import DataContext, ExecutionResources
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from seedbed.augmentation import output_size
from seedbed.feed.arrow_codec import SCHEMA, block_to_micro_batches, failure_to_block, micro_batches_to_block
from seedbed.feed.io_counters import IO_COUNTERS
from seedbed.feed.micro_batch import MicroBatch
from seedbed.feed.sample_stream import SampleStream, open_stream
from seedbed.feed.stream_spec import StreamSpec
from seedbed.order import BatchPlan
from seedbed.startup.ray_environment import NODE_LABEL
from seedbed_api.errors import InfrastructureError, SeedbedError

MICRO_BATCHES_PER_TASK: Final = 128
"""With fewer, Ray's overhead per task counts; with more, the next task's first batch comes late."""

TASK_BYTES: Final = 48 << 20
"""Most bytes of pixels of a task: they lie in the object store until their turn."""

BLOCK_BYTES: Final = 1 << 20
"""Least bytes of a block: with smaller ones, Ray's overhead per block counts."""

STORE_BYTES: Final = 256 << 20
"""Object store memory of one execution."""

_LOG_LEVELS: Final = {"ray.data": logging.WARNING, "ray.data._internal.progress": logging.ERROR}
"""Loggers of Ray Data that write lines per execution, and advice about progress bars."""

_MOST_TASKS: Final = 2000
_UNKNOWN_SIZE: Final = 256
"""Assumed side of an image where no transform fixes its size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _TaskSpec:
    """The micro-batches of one read task."""

    execution: str
    """Identifies the execution: a worker process opens a stream once per execution."""
    spec: StreamSpec
    leaves: range
    steps: range


class PlanDatasource(Datasource):
    """The micro-batches of contiguous leaves and steps, one Arrow block per step."""

    def __init__(self, spec: StreamSpec, *, leaves: range, steps: range) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._whole = _TaskSpec(execution=secrets.token_hex(8), spec=spec, leaves=leaves, steps=steps)

    @property
    def step_bytes(self) -> int:
        """Return about how many bytes the pixels of one step have."""
        side = output_size(self._whole.spec.transforms) or _UNKNOWN_SIZE
        return len(self._whole.leaves) * self._whole.spec.leaf_rows * side * side * 3

    @property
    def tasks(self) -> int:
        """Return the number of read tasks."""
        return -(-len(self._whole.steps) // self._steps_per_task())

    def estimate_inmemory_data_size(self) -> int | None:
        """Return about how many bytes all pixels have."""
        return len(self._whole.steps) * self.step_bytes

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Return tasks over consecutive steps; Ray's wish for parallelism is ignored."""
        del parallelism, per_task_row_limit, data_context
        steps, size = self._whole.steps, self._steps_per_task()
        return [self._task(steps[start : start + size]) for start in range(0, len(steps), size)]

    def _steps_per_task(self) -> int:
        usual = max(1, MICRO_BATCHES_PER_TASK // len(self._whole.leaves))
        fitting = max(1, TASK_BYTES // self.step_bytes)
        return max(min(usual, fitting), -(-len(self._whole.steps) // _MOST_TASKS))

    def _task(self, steps: range) -> ReadTask:
        rows = len(steps) * len(self._whole.leaves)
        metadata = BlockMetadata(num_rows=rows, size_bytes=None, input_files=None, exec_stats=None)
        return ReadTask(partial(_render, replace(self._whole, steps=steps)), metadata, schema=SCHEMA)


@contextlib.contextmanager
def open_ray_feed(
    spec: StreamSpec, *, leaves: range, steps: range, ahead: int, threads: int
) -> Iterator[Iterator[MicroBatch]]:
    """Yield micro-batches of one Ray Data execution over all steps; at most `threads` tasks run at once."""
    if not leaves or not steps:
        yield iter(())
        return
    if not ray.is_initialized():
        raise InfrastructureError("RayStarting", "the RayData feed needs a running Ray; feed Local does not")
    source = PlanDatasource(spec, leaves=leaves, steps=steps)
    at_once = min(threads, _own_cpus(len(leaves) / spec.leaves))
    batches = _micro_batches(source, ahead=max(1, ahead // len(leaves)), tasks_at_once=at_once)
    with contextlib.closing(batches):
        yield batches


def _own_cpus(share: float) -> int:
    """Return the CPUs of a trainer with this share of the leaves: more tasks would not be faster."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1) * share))


def _micro_batches(source: PlanDatasource, *, ahead: int, tasks_at_once: int) -> Any:
    for name, level in _LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    with DataContext.current(_data_context(source)):
        dataset = ray.data.read_datasource(
            source,
            override_num_blocks=source.tasks,
            num_cpus=0,
            label_selector=_on_own_node(),
            concurrency=min(tasks_at_once, source.tasks),
        )
    blocks = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=ahead))
    return _unpack(blocks)


def _unpack(blocks: Any) -> Iterator[MicroBatch]:
    with contextlib.closing(blocks):
        try:
            for block in blocks:
                yield from block_to_micro_batches(block)
        except ray.exceptions.RayError as error:
            raise InfrastructureError("FeedFailed", f"Ray Data stopped: {_last_line(error)}") from error


def _data_context(source: PlanDatasource) -> DataContext:
    """Return the settings of one execution: in order, a block per step, bounded, silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # DataContext itself sets deprecated fields
        context = DataContext()
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ExecutionResources.for_limits(
        object_store_memory=max(STORE_BYTES, 8 * source.step_bytes)
    )
    context.target_max_block_size = max(BLOCK_BYTES, source.step_bytes - 1)
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return context


def _on_own_node() -> dict[str, str]:
    """Select the trainer's node: blocks stay in its memory, and the driver's node may have little."""
    return {NODE_LABEL: ray.get_runtime_context().get_node_id()}


def _render(part: _TaskSpec) -> Iterable[pa.Table]:
    """Yield one block per step; an expected error is the last block."""
    try:
        stream, plan = _open_stream_and_plan(part.execution, part.spec)
        for step in part.steps:
            batches = [stream.micro_batch(plan, step, leaf) for leaf in part.leaves]
            yield micro_batches_to_block(batches, IO_COUNTERS.drain())
    except SeedbedError as error:
        yield failure_to_block(error)


@lru_cache(maxsize=1)  # worker processes serve the executions of several trainers in turn
def _open_stream_and_plan(execution: str, spec: StreamSpec) -> tuple[SampleStream, BatchPlan]:
    del execution  # part of the key
    stream = open_stream(spec)
    return stream, stream.plan()


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
