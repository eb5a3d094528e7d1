"""What a driver tells Prometheus at each stage of a run; what is not known yet is absent, never zero."""

from __future__ import annotations

import http.client
import math
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from seedbed.driver.driver_state import DriverState
from seedbed.driver.metrics_exporter import driver_metrics
from seedbed.feed.io_counters import IoTotals
from seedbed.pods.driver_endpoint import WorkerRegistry, serve_endpoint
from seedbed.pods.status_messages import live_progress
from seedbed.ray_cluster.progress_board import ProgressBoard
from seedbed.training.resource_usage import ResourceMonitor, ResourceUsage
from seedbed.training.run_progress import PartSeconds
from seedbed_api import metric_names as names
from seedbed_api.prometheus_exposition import CallbackCollector, exposition_page
from unit.pods.driver_states import KEPT, NOW, TRAINING, UID, a_driver_state

SERIES = {"namespace": "", "name": "digits", "kind": "TrainingJob"}


def measured(state: DriverState) -> CollectorRegistry:
    registry = CollectorRegistry()
    live = live_progress(state, job_uid=UID, attempt=2, now=NOW)
    registry.register(CallbackCollector(lambda: driver_metrics(state, live)))
    return registry


def test_a_driver_that_has_just_begun_tells_of_itself_alone() -> None:
    registry = measured(a_driver_state())
    run = {"attempt": "2", "activity": "Starting", "run_id": "", "environment_class": ""}
    assert registry.get_sample_value(names.RUN.name, SERIES | run) == 1
    assert registry.get_sample_value(names.LOSS.name, SERIES) is None
    assert registry.get_sample_value(names.CHECKPOINT_TIME.name, SERIES) is None
    assert registry.get_sample_value(names.STEPS.name, SERIES) == 0


def test_a_run_in_its_second_worker_group() -> None:
    spent = {1: PartSeconds(data=1.0, compute=5.0), 2: PartSeconds(data=0.5, compute=2.0, reduce=0.25)}
    state = a_driver_state(
        progress=TRAINING, checkpoint=KEPT, steps_by_group={1: 20, 2: 5}, seconds_by_group=spent
    )
    registry = measured(state)
    expected: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        (names.IMAGES.name, ()): 25 * 8,
        (names.STEP.name, ()): 25,
        (names.PLANNED_STEPS.name, ()): 100,
        (names.LOSS.name, ()): 0.5,
        (names.METRIC.name, (("metric", "validation/accuracy"),)): 0.875,
        (names.METRIC.name, (("metric", "validation/loss"),)): 0.75,
        (names.CHECKPOINT_TIME.name, ()): KEPT.time,
        (names.CHECKPOINT.name, (("step", "20"), ("digest", KEPT.digest))): 1,
        (names.SECONDS.name, (("part", "data"),)): 1.5,
        (names.SECONDS.name, (("part", "compute"),)): 7.0,
        (names.SECONDS.name, (("part", "reduce"),)): 0.25,
        (names.WORKERS.name, ()): 1,
    }
    for (name, labels), value in expected.items():
        assert registry.get_sample_value(name, SERIES | dict(labels)) == value, name
    memory = registry.get_sample_value(names.MEMORY.name, SERIES | {"process": "driver"})
    assert memory is not None
    assert memory > 10_000_000


def test_what_the_ranks_use_and_what_all_groups_have_read() -> None:
    read = IoTotals(hits=30, misses=2, rejected=1, fetched={"s3": 4096})
    usages = (
        ResourceUsage(rank=0, io_totals=IoTotals(), resident_bytes=500),
        ResourceUsage(rank=1, io_totals=IoTotals(), resident_bytes=600, gpu=0.75),
    )
    registry = measured(a_driver_state(progress=replace(TRAINING, usages=usages, io_totals=read)))
    expected = {
        (names.CACHE_REQUESTS.name, "result", "hit"): 30,
        (names.CACHE_REQUESTS.name, "result", "rejected"): 1,
        (names.FETCHED_BYTES.name, "store", "s3"): 4096,
        (names.MEMORY.name, "process", "rank-1"): 600,
        (names.GPU_UTILIZATION.name, "process", "rank-1"): 0.75,
        (names.GPU_UTILIZATION.name, "process", "rank-0"): None,
    }
    for (name, label, value), number in expected.items():
        assert registry.get_sample_value(name, SERIES | {label: value}) == number, (name, value)


def test_a_board_counts_what_earlier_groups_have_read() -> None:
    board = ProgressBoard()
    board.set_progress(TRAINING)
    for hits in (3, 5):
        board.should_stop(
            ResourceUsage(rank=0, io_totals=IoTotals(hits=hits, fetched={"s3": 10}), resident_bytes=1)
        )
    board.should_stop(ResourceUsage(rank=1, io_totals=IoTotals(misses=1), resident_bytes=1))
    board.start_group()
    board.should_stop(
        ResourceUsage(rank=0, io_totals=IoTotals(hits=2, fetched={"file": 7}), resident_bytes=1)
    )
    progress, _ = board.read()
    assert progress is not None
    assert progress.io_totals == IoTotals(hits=5 + 2, misses=1, fetched={"s3": 10, "file": 7})
    assert [usage.rank for usage in progress.usages] == [0]


def test_a_rank_looks_at_itself_every_few_seconds_and_not_at_each_step() -> None:
    gauge = ResourceMonitor(rank=3, every=3600)
    first = gauge.sample_if_due()
    assert first is not None
    assert (first.rank, gauge.sample_if_due()) == (3, None)


def test_a_loss_that_is_no_number_is_told_as_such() -> None:
    registry = measured(a_driver_state(progress=replace(TRAINING, loss=math.nan)))
    loss: Any = registry.get_sample_value(names.LOSS.name, SERIES)
    assert math.isnan(loss)


@pytest.mark.parametrize("path", ["/metrics", "/progress"])
def test_it_is_served_beside_progress(path: str) -> None:
    state = a_driver_state(progress=TRAINING)
    live = live_progress(state, job_uid=UID, attempt=1, now=NOW)
    with serve_endpoint(
        0,
        progress=lambda: b"{}",
        metrics=lambda: exposition_page(lambda: driver_metrics(state, live)),
        workers=WorkerRegistry(),
        token="",
    ) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    assert answer.status == 200
    assert (b'seedbed_training_loss{kind="TrainingJob"' in body) == (path == "/metrics")
    assert ("version=0.0.4" in answer.headers["Content-Type"]) == (path == "/metrics")
