"""The operator's page holds every metric that the registry of names gives to the operator."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from seedbed_api import metrics as names
from seedbed_api.conditions import Condition
from seedbed_api.exposition import Measuring, text
from seedbed_api.status import TrainingJobStatus
from seedbed_api.times import written
from seedbed_operator.metrics.operators import Pulse, measuring
from seedbed_operator.metrics.tallies import FromZero, Tallies
from unit.operator.planning.builders import NOON, a_training_job, progress

RUNS = Condition(type="Running", status="True", reason="Training", last_transition_time=written(NOON))
PULSE = Pulse(
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
    registry = CollectorRegistry()
    tallies = Tallies(registry)
    tallies.passed(0.02, failed=False)
    job = a_training_job().with_status(progress=progress(1), conditions=(RUNS,)).build()
    tallies.told(replace(job, status=TrainingJobStatus()), job.status, NOON)
    registry.register(Measuring(measuring(lambda: PULSE)))
    return registry


def test_names_types_and_values() -> None:
    page = {family.name: family for family in text_string_to_metric_families(text(a_page()).decode())}
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


def test_a_series_begins_at_zero_so_that_its_first_event_is_an_increase() -> None:
    ended = FromZero(names.ATTEMPTS_ENDED)
    registry = CollectorRegistry()
    registry.register(Measuring(ended.measure))
    labels = {"namespace": "team", "kind": "SweepJob", "cause": "Preemption", "reason": "Preempted"}
    seen = []
    for events in (1, 0, 2):
        for _ in range(events):
            ended.count(*labels.values())
        seen.append(registry.get_sample_value(names.ATTEMPTS_ENDED.name, labels))
    assert seen == [0, 1, 3]


def test_names_are_as_prometheus_wants_them() -> None:
    listed = [family.name for family in names.FAMILIES]
    assert len(set(listed)) == len(listed)
    for family in names.FAMILIES:
        assert family.name.startswith("seedbed_")
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert family.name.endswith("_info") == (family.kind == "info"), family.name
        assert not family.name.endswith(("_ms", "_percent", "_mb")), family.name
        assert family.meaning.endswith("."), family.name
