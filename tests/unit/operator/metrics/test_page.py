"""The operator's page holds every metric that the registry of names gives to the operator."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import replace

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from seedbed_api import metric_names as names
from seedbed_api.conditions import Condition
from seedbed_api.prometheus_exposition import CallbackCollector, exposition_text, single_sample
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import TrainingJobStatus
from seedbed_operator.metrics.counters import ZERO_SECONDS, Counters, ZeroBasedCounter
from seedbed_operator.metrics.metrics_page import Measure, MetricsPage
from seedbed_operator.metrics.operator_metrics import OperatorSnapshot, operator_collector
from support.operator.builders import NOON, a_training_job, progress
from unit.operator.metrics.metric_registry import read_by

RUNS = Condition(type="Running", status="True", reason="Training", last_transition_time=format_time(NOON))
PULSE = OperatorSnapshot(
    leading=True,
    queue_length=2,
    queue_age=1.5,
    relists=3,
    corrections=0,
    relist_age=9.0,
    watch_age=None,
    objects={"trainingjobs": 1},
    requests={("POST", "pods", "201"): 4},
)


def a_page() -> CollectorRegistry:
    counters = Counters(NOON.timestamp)
    counters.record_reconcile(0.02, failed=False)
    job = a_training_job().with_status(progress=progress(1), conditions=(RUNS,)).build()
    counters.record_status(replace(job, status=TrainingJobStatus()), job.status, NOON)
    counters.registry.register(CallbackCollector(operator_collector(lambda: PULSE)()))
    return counters.registry


def test_names_types_and_values() -> None:
    page = {
        family.name: family for family in text_string_to_metric_families(exposition_text(a_page()).decode())
    }
    expected = [family for family in names.FAMILIES if family.name.startswith("seedbed_operator_")]
    assert len(expected) > 8
    for family in expected:
        shown = page[family.name if family.kind == "info" else family.base]
        assert shown.type == {"info": "gauge"}.get(family.kind, family.kind)
        assert shown.documentation == family.meaning
    assert not page[names.WATCH_AGE.name].samples
    registry = a_page()
    assert (
        registry.get_sample_value(names.REQUESTS.name, {"verb": "POST", "resource": "pods", "code": "201"})
        == 4
    )
    assert registry.get_sample_value(names.RECONCILES.name, {"result": "failure"}) == 0
    assert registry.get_sample_value(f"{names.TIME_TO_FIRST_STEP.name}_count", {"kind": "TrainingJob"}) == 1


def test_a_series_begins_at_zero_for_each_of_its_readers() -> None:
    now = 0.0
    ended = ZeroBasedCounter(names.ATTEMPTS_ENDED, lambda: now)
    registry = read_by(ended.collect)
    labels = {"namespace": "team", "kind": "SweepJob", "cause": "Preemption", "reason": "Preempted"}

    def read_after(seconds: float, *, ends: int = 0) -> float | None:
        nonlocal now
        for _ in range(ends):
            ended.count(*labels.values())
        now += seconds
        return registry.get_sample_value(names.ATTEMPTS_ENDED.name, labels)

    assert read_after(0) is None
    assert read_after(1, ends=6) == 0, "the first reader"
    assert read_after(ZERO_SECONDS - 2) == 0, "the second one"
    assert read_after(1) == 6
    assert read_after(0, ends=2) == 8, "only a new series waits"


def test_a_page_is_looked_at_at_once_and_written_while_the_event_loop_goes_on() -> None:
    """Neither could end if it were otherwise: the writing waits for what the event loop does next."""
    there = threading.Event()
    age = 1.0

    def collect() -> Measure:
        seen = age

        def measure() -> Iterable[Metric]:
            assert there.wait(60), "the event loop stands still while the page is written"
            return (single_sample(names.QUEUE_AGE, seen),)

        return measure

    async def story() -> bytes:
        nonlocal age
        format_time = asyncio.create_task(MetricsPage(Counters(NOON.timestamp).registry, [collect]).text())
        await asyncio.sleep(0.05)
        age = 2.0
        there.set()
        return await format_time

    told = asyncio.run(story()).decode()
    assert f"{names.QUEUE_AGE.name} 1.0" in told
    families = [family.name for family in text_string_to_metric_families(told)]
    assert names.RECONCILES.base in families
    assert len(families) == len(set(families))


def test_names_are_as_prometheus_wants_them() -> None:
    listed = [family.name for family in names.FAMILIES]
    assert len(set(listed)) == len(listed)
    for family in names.FAMILIES:
        assert family.name.startswith("seedbed_")
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert family.name.endswith("_info") == (family.kind == "info"), family.name
        assert not family.name.endswith(("_ms", "_percent", "_mb")), family.name
        assert family.meaning.endswith("."), family.name
