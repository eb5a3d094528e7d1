"""Whatever one object holds, a relist, a pass and the metrics of the others go on."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed_api.timestamps import parse_time
from seedbed_api.trainingjob_status import TrainingJobStatus
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.informer_cache.object_views import readable_status
from seedbed_operator.job_observation import JobView
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, SWEEPS, JobKey, ResourceKind
from seedbed_operator.metrics import job_samples
from seedbed_operator.metrics.job_metrics import JobMetrics
from seedbed_operator.metrics.job_samples import JobSample, job_sample
from seedbed_operator.metrics.metrics_page import exposition_page
from seedbed_operator.observe.transient_state import TransientStates
from support.operator.builders import IMAGE, a_recipe
from support.operator.fake_api_server import ApiServer
from support.operator.operator_instance import Incarnation

ODD_TIMES = (
    "2030-01-02T03:04:05+99:99",
    "0000-01-02T03:04:05Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59Z",
    "99999-01-02T03:04:05Z",
    "2030-02-30T03:04:05Z",
    "2030-01-02T25:61:61Z",
    "2030-01-02",
    "yesterday",
)
ODD = st.one_of(
    st.sampled_from(ODD_TIMES),
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**63), 10**30, -1]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["\x1b[31m", 'a"b\\n', "x\ny", "\u202e", "٣/٤", "1" * 30, "\U0001f600"]),
    st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.none() | st.integers(), max_size=3),
)
CONDITION = {
    "status": "True",
    "reason": "Training",
    "message": "",
    "lastTransitionTime": "2030-01-02T12:00:00Z",
}
STATUS: dict[str, Any] = {
    "observedGeneration": 3,
    "startTime": "2030-01-02T12:00:00Z",
    "resumeTime": "2030-01-02T12:00:00Z",
    "attempts": 1,
    "attemptStartTime": "2030-01-02T12:00:00Z",
    "accountedAttempts": 0,
    "retryTime": "2030-01-02T12:00:00Z",
    "workers": {"ready": 1, "desired": 2, "placedSince": "2030-01-02T12:00:00Z"},
    "progress": {
        "epoch": 1,
        "step": 2,
        "totalSteps": 10,
        "percent": 20,
        "estimatedCompletionTime": "2030-01-02T13:00:00Z",
    },
    "lastFailure": {"attempt": 1, "reason": "NodeLost", "time": "2030-01-02T12:00:00Z"},
    "checkpoint": {"step": 1, "digest": "sha256:" + "0" * 64, "time": "2030-01-02T12:00:00Z"},
    "conditions": [{"type": "Running", **CONDITION}, {"type": "Suspended", **CONDITION, "status": "False"}],
}


def metadata(name: str, **more: Any) -> dict[str, Any]:
    given = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "5", "generation": 3}
    return {**given, "creationTimestamp": "2030-01-02T12:00:00Z", **more}


def a_pod(name: str) -> dict[str, Any]:
    labels = {"job": "odd", "role": "driver", "attempt": "1", "job-uid": "uid-odd"}
    times = {"startedAt": "2030-01-02T12:00:00Z", "finishedAt": "2030-01-02T12:00:00Z"}
    state = {"terminated": {"exitCode": 1, "reason": "Error", "message": "", **times}}
    container = {"name": "driver", "state": state, "restartCount": 1, "started": True, "image": "x"}
    init = {
        **container,
        "name": "init",
        "state": {"waiting": {"reason": "x", "message": "y"}},
        "lastState": state,
    }
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2030-01-02T12:00:00Z"}]
    owners = [
        {"kind": "TrainingJob", "apiVersion": "seedbed.dev/v1alpha1", "uid": "uid-odd", "controller": True}
    ]
    named = metadata(name, labels={f"seedbed.dev/{key}": value for key, value in labels.items()})
    return {
        "metadata": named | {"ownerReferences": owners, "annotations": {"seedbed.dev/workers-per-pod": "1"}},
        "spec": {
            "nodeName": "n",
            "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "driver", "env": []}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": conditions,
            "containerStatuses": [container],
            "initContainerStatuses": [init],
        },
    }


def the_odd_ones() -> dict[ResourceKind, dict[str, Any]]:
    job = {
        "metadata": metadata("odd", labels={"a": "b"}, annotations={"c": "d"}),
        "spec": a_recipe(),
        "status": copy.deepcopy(STATUS),
    }
    profile = {"metadata": metadata("odd-profile"), "spec": {"image": IMAGE, "allowedLabels": ["a"]}}
    del profile["metadata"]["namespace"]  # type: ignore[attr-defined]
    return {JOBS: job, SWEEPS: copy.deepcopy(job), PODS: a_pod("odd-1-driver"), PROFILES: profile}


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield every place of a document but its identity, which every API server checks."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        if at != ("metadata",) or name not in ("name", "namespace", "uid", "resourceVersion"):
            if at:  # metadata, spec and status are maps at every API server
                yield (*at, name)
            yield from paths(each, (*at, name))


PLACES = [(kind, path) for kind, raw in the_odd_ones().items() for path in paths(raw)]


def put(raw: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    for name in path[:-1]:
        raw = raw[name]
    raw[path[-1]] = value


async def _goes_on(kind: ResourceKind, raw: dict[str, Any]) -> bytes:
    """Relist with an odd object among sound ones, pass over both jobs, return the metrics."""
    server = ApiServer()
    operator = Incarnation(server)
    for each, sound in the_odd_ones().items():
        server.apply(each, raw if each is kind else sound)
    server.apply(JOBS, {"metadata": metadata("sound"), "spec": a_recipe()})
    server.apply(PROFILES, {"metadata": {"name": "default", "uid": "p"}, "spec": {"image": IMAGE}})
    await operator.relist()
    for name in ("odd", "sound"):
        await operator.reconciler.reconcile(JobKey("team", name))
    metrics = JobMetrics(operator.cache, TransientStates(), lambda: datetime.now(UTC).timestamp())
    assert operator.cache.pods(JobKey("team", "sound")), "it got its driver"
    assert not operator.cache.unreadable, "an odd value is read as none"
    return exposition_page(metrics.collect())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=2))
def test_odd_values_anywhere_in_an_object_stop_nothing(changes: list[tuple[Any, Any]]) -> None:
    kind = changes[0][0][0]
    raw = the_odd_ones()[kind]
    for (which, path), value in changes:
        if which is kind:
            try:
                put(raw, path, value)
            except (TypeError, KeyError, IndexError):
                continue  # an earlier change has removed the place
    page = asyncio.run(_goes_on(kind, raw)).decode()
    assert 'name="sound"' in page


@pytest.mark.parametrize("time", ODD_TIMES)
def test_an_odd_time_is_none(time: str) -> None:
    assert parse_time(time) is None
    assert parse_time("2030-01-02T03:04:05+02:00") is not None


@pytest.mark.parametrize("time", ODD_TIMES)
def test_an_odd_time_takes_as_little_of_a_status_with_it_as_possible(time: str) -> None:
    raw = copy.deepcopy(STATUS)
    raw["conditions"][1]["lastTransitionTime"] = raw["startTime"] = raw["lastFailure"]["time"] = time
    status = readable_status(raw)
    assert isinstance(status, TrainingJobStatus)
    assert [condition.type for condition in status.conditions] == ["Running"]
    assert (status.start_time, status.attempts) == (None, 1)
    assert status.last_failure is not None
    assert (status.last_failure.reason, status.last_failure.time) == ("NodeLost", None)
    assert status.progress is not None


def test_a_status_of_nothing_but_oddities_is_an_empty_one() -> None:
    raw = {name: {"odd": [1]} for name in STATUS}
    assert readable_status(raw) == TrainingJobStatus()
    assert readable_status([1, 2]) == readable_status("x") == TrainingJobStatus()


def test_a_sample_that_cannot_be_computed_is_counted_and_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What nobody thought of: the job is left out, once counted for its version, and the others are shown."""

    async def story() -> tuple[str, int]:
        server = ApiServer()
        operator = Incarnation(server)
        for name in ("odd", "sound"):
            server.apply(JOBS, {"metadata": metadata(name), "spec": a_recipe()})
        await operator.relist()
        metrics = JobMetrics(operator.cache, TransientStates(), lambda: 0.0)
        pages = [exposition_page(metrics.collect()).decode() for _ in range(2)]
        return pages[-1], operator.cache.unreadable["trainingjobs"]

    def fails(job: JobView) -> JobSample:
        if job.name == "odd":
            raise OverflowError(job)
        return job_sample(job)

    monkeypatch.setattr(job_samples, "job_sample", fails)
    page, counted = asyncio.run(story())
    assert 'name="sound"' in page
    assert 'name="odd"' not in page
    assert counted == 1


def test_an_object_without_an_identity_is_counted_once_and_left_out() -> None:
    cache = InformerCache()
    for _ in range(3):
        for raw in (
            {},
            {"metadata": None},
            {"metadata": {"name": "x"}},
            [],
            None,
            {"metadata": {"name": 7, "uid": []}},
        ):
            assert cache.put(JOBS, raw) == frozenset()
    assert cache.unreadable["trainingjobs"] <= 3
    assert cache.counts()["trainingjobs"] == 0
