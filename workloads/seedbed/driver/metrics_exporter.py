"""Prometheus metrics of a run, made from the state of its driver at each scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Final

from prometheus_client.core import Metric

from seedbed.driver.driver_state import DriverState
from seedbed.training.resource_usage import resident_bytes
from seedbed.training.run_progress import PartSeconds, RunProgress
from seedbed_api import metric_names as names
from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_api.prometheus_exposition import Sample, metric_family, single_sample

_OF_THEIR_OWN: Final = frozenset({"throughput/images-per-second", "training/loss"})
"""Metrics of the status that are exported exactly, under names of their own."""


def driver_metrics(state: DriverState, live: LiveProgress) -> Iterator[Metric]:
    """Yield what is known of a run at this moment."""
    about = state.request.job.metadata
    labels = {"namespace": about.namespace or "", "name": about.name, "kind": "TrainingJob"}
    yield from _of_the_run(live, labels)
    yield from _of_steps(state, labels)
    yield metric_family(names.SECONDS, _seconds(tuple(dict(state.seconds_by_group).values()), labels))
    yield metric_family(names.METRIC, _metrics(live, labels))
    yield metric_family(names.MEMORY, _memory(state.progress, labels))
    if state.progress is not None:
        yield from _of_machines(state.progress, labels)


def _of_the_run(live: LiveProgress, labels: dict[str, str]) -> Iterator[Metric]:
    told = {
        "attempt": str(live.attempt),
        "activity": live.activity,
        "run_id": live.run_id or "",
        "environment_class": live.environment_class or "",
    }
    yield single_sample(names.RUN, 1.0, labels | told)
    timings = ((labels | {"part": part.name}, part.milliseconds / 1000) for part in live.timings)
    yield metric_family(names.START_UP_SECONDS, timings)


def _of_steps(state: DriverState, labels: dict[str, str]) -> Iterator[Metric]:
    progress, kept = state.progress, state.checkpoint
    executed = state.steps_computed()
    yield single_sample(names.STEPS, executed, labels)
    yield single_sample(names.IMAGES, executed * state.request.job.spec.training.batch.global_size, labels)
    yield single_sample(names.WORKERS, progress.workers if progress else None, labels)
    yield single_sample(names.STEP, progress.step if progress else None, labels)
    yield single_sample(names.PLANNED_STEPS, progress.total_steps if progress else None, labels)
    yield single_sample(names.LOSS, progress.loss if progress else None, labels)
    yield single_sample(names.CHECKPOINT_TIME, kept.time if kept else None, labels)
    checkpoint = labels | {"step": str(kept.step), "digest": kept.digest} if kept else None
    yield single_sample(names.CHECKPOINT, 1.0 if kept else None, checkpoint)


def _seconds(groups: Iterable[PartSeconds], labels: dict[str, str]) -> Iterator[Sample]:
    """Yield the seconds of rank 0 by part, over all worker groups of this attempt."""
    spent = tuple(groups)
    for part in fields(PartSeconds):
        yield labels | {"part": part.name}, sum(getattr(group, part.name) for group in spent)


def _memory(progress: RunProgress | None, labels: dict[str, str]) -> Iterator[Sample]:
    yield labels | {"process": "driver"}, resident_bytes()
    for usage in progress.usages if progress else ():
        yield labels | {"process": f"rank-{usage.rank}"}, usage.resident_bytes


def _of_machines(progress: RunProgress, labels: dict[str, str]) -> Iterator[Metric]:
    """Yield what all ranks have read of the dataset, and how busy their GPUs are."""
    read = progress.io_totals
    results = {"hit": read.hits, "miss": read.misses, "rejected": read.rejected}
    yield metric_family(names.CACHE_REQUESTS, ((labels | {"result": key}, n) for key, n in results.items()))
    yield metric_family(
        names.FETCHED_BYTES, ((labels | {"store": key}, n) for key, n in read.fetched.items())
    )
    busy = ((usage.rank, usage.gpu) for usage in progress.usages if usage.gpu is not None)
    yield metric_family(
        names.GPU_UTILIZATION, ((labels | {"process": f"rank-{rank}"}, gpu) for rank, gpu in busy)
    )


def _metrics(live: LiveProgress, labels: dict[str, str]) -> Iterator[Sample]:
    for metric in live.metrics:
        if metric.name not in _OF_THEIR_OWN:
            yield labels | {"metric": metric.name}, float(metric.value)
