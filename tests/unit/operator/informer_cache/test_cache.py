"""What is kept of jobs, pods and profiles, and which jobs a change concerns."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.informer_cache.object_views import job_record, pod_view
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, JobKey
from support.operator.builders import IMAGE, a_recipe
from support.operator.fake_api_server import ApiServer

LABELS = {
    "seedbed.dev/job": "seedlings",
    "seedbed.dev/job-uid": "job-1",
    "seedbed.dev/role": "worker",
    "seedbed.dev/attempt": "2",
}


def a_raw_pod(name: str = "seedlings-2-worker-3", version: int = 7, **status: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "team",
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "creationTimestamp": "2030-01-02T12:00:00Z",
        "labels": LABELS,
        "ownerReferences": [{"uid": "someone"}, {"uid": "driver-2", "controller": True}],
    }
    return {"metadata": metadata, "spec": {"nodeName": "node-a"}, "status": {"phase": "Running", **status}}


def a_raw_job(name: str = "seedlings", version: int = 5, **status: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "team",
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "creationTimestamp": "2030-01-02T12:00:00Z",
        "generation": 3,
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x" * 5000, "kept": "yes"},
        "managedFields": [{"manager": "kubectl"}],
    }
    return {"metadata": metadata, "spec": a_recipe(), "status": status}


def test_a_pod_in_full() -> None:
    state = {"exitCode": 137, "reason": "OOMKilled", "startedAt": "2030-01-02T12:00:05Z"}
    raw = a_raw_pod(
        conditions=[
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2030-01-02T12:00:01Z"},
            {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"},
        ],
        containerStatuses=[
            {"name": "sidecar", "state": {"running": {}}},
            {"name": "worker", "state": {"terminated": {**state, "finishedAt": "2030-01-02T12:01:00Z"}}},
        ],
        podIP="10.0.0.1",
    )
    view = pod_view(raw)
    assert view is not None
    assert (view.role, view.attempt, view.index, view.owner_uid) == ("worker", 2, 3, "driver-2")
    assert (view.node, view.ip, view.disruption) == ("node-a", "10.0.0.1", "PreemptionByScheduler")
    assert view.terminated is not None
    assert (view.terminated.exit_code, view.terminated.reason) == (137, "OOMKilled")
    assert (view.scheduled is not None, view.started is not None, view.deleting) == (True, True, False)


@pytest.mark.parametrize(
    ("status", "field", "value"),
    [
        pytest.param(
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}
                ]
            },
            "unschedulable",
            "full",
            id="no node",
        ),
        pytest.param(
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
            "gated",
            True,
            id="a scheduling gate",
        ),
        pytest.param({"conditions": [{"type": "Ready", "status": "True"}]}, "ready", True, id="ready"),
        pytest.param({"reason": "Evicted"}, "reason", "Evicted", id="evicted"),
        pytest.param({"phase": None}, "phase", "Pending", id="not seen by a kubelet"),
        pytest.param({"containerStatuses": None, "conditions": None}, "waiting", None, id="nulls for lists"),
    ],
)
def test_a_pod_that(status: dict[str, Any], field: str, value: object) -> None:
    assert getattr(pod_view(a_raw_pod(**status)), field) == value


def test_a_pod_waits_for_its_own_container_or_for_one_before_it() -> None:
    pulling = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    own = pod_view(a_raw_pod(containerStatuses=[{"name": "worker", "state": pulling}]))
    before = pod_view(a_raw_pod(initContainerStatuses=[{"name": "init", "state": pulling}]))
    for view in (own, before):
        assert view is not None
        assert view.waiting is not None
        assert view.waiting.reason == "ImagePullBackOff"


@pytest.mark.parametrize(
    "spoilt", [{"seedbed.dev/attempt": "-1"}, {"seedbed.dev/attempt": "9" * 30}, {"seedbed.dev/role": "boss"}]
)
def test_labels_that_are_not_ours_make_no_pod_of_a_job(spoilt: dict[str, str]) -> None:
    raw = a_raw_pod()
    raw["metadata"]["labels"] = LABELS | spoilt
    assert pod_view(raw) is None


def test_a_job_is_kept_without_what_nobody_reads() -> None:
    record = job_record(a_raw_job())
    kept = json.loads(record.content)
    assert (kept["generation"], kept["annotations"]) == (3, {"kept": "yes"})
    assert b"managedFields" not in record.content
    assert not record.finished
    assert job_record(a_raw_job(completionTime="2030-01-02T13:00:00Z")).finished


def test_a_change_wakes_the_jobs_it_concerns() -> None:
    cache, job = InformerCache(), JobKey("team", "seedlings")
    assert cache.put(JOBS, a_raw_job()) == {job}
    assert cache.put(JOBS, a_raw_job()) == frozenset()
    assert cache.put(PODS, a_raw_pod()) == {job}
    assert [pod.name for pod in cache.pods(job)] == ["seedlings-2-worker-3"]
    profile = ApiServer().apply(PROFILES, {"metadata": {"name": "default"}, "spec": {"image": IMAGE}})
    assert cache.put(PROFILES, profile) == {job}
    assert cache.drop(PODS, ("team", "seedlings-2-worker-3"), "another uid") == frozenset()
    assert cache.drop(PODS, ("team", "seedlings-2-worker-3"), "uid-seedlings-2-worker-3") == {job}
    assert cache.pods(job) == ()


def test_a_profile_wakes_no_job_that_is_over() -> None:
    cache = InformerCache()
    cache.put(JOBS, a_raw_job(completionTime="2030-01-02T13:00:00Z"))
    profile = ApiServer().apply(PROFILES, {"metadata": {"name": "default"}, "spec": {"image": "no digest"}})
    assert cache.put(PROFILES, profile) == frozenset()
    view = cache.profile("default")
    assert view is not None
    assert view.spec is None
    assert "image" in str(view.spec_error)


def test_a_pod_that_loses_our_labels_is_no_longer_ours() -> None:
    cache, raw = InformerCache(), a_raw_pod()
    cache.put(PODS, raw)
    bare = {**raw, "metadata": {**raw["metadata"], "labels": {}, "resourceVersion": "9"}}
    assert cache.put(PODS, bare) == {JobKey("team", "seedlings")}
    assert cache.pods(JobKey("team", "seedlings")) == ()


def test_ghosts_wake_their_jobs() -> None:
    cache = InformerCache()
    cache.put(PODS, a_raw_pod(version=7))
    cache.put(PODS, a_raw_pod("seedlings-2-driver", version=30))
    assert cache.drop_missing(PODS, None, set(), 20) == {JobKey("team", "seedlings")}
    assert [pod.name for pod in cache.pods(JobKey("team", "seedlings"))] == ["seedlings-2-driver"]
