"""How an attempt ended, by what its pods left behind, and what is counted for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from seedbed_operator.backends.pods_backend import BACKENDS
from seedbed_operator.job_observation import JobObservation, PodView
from seedbed_operator.planning.attempt_outcome import OutcomeCause, outcome_of_attempt, outcome_of_worker
from seedbed_operator.planning.job_context import build_context
from support.operator.builders import (
    NOON,
    UNPLACED,
    a_driver,
    a_profile,
    a_training_job,
    a_worker,
    after,
    an_outcome,
    ended,
)

LOST_WORKERS = an_outcome("Failed", "WorkersLost", message="2 workers went silent")


def crashed(code: int, message: str = "", *, reason: str = "", **fields: Any) -> PodView:
    return replace(ended(a_driver(), code, message, reason=reason), **fields)


def failed(reason: str, **fields: Any) -> PodView:
    """Return a driver that the kubelet failed without a container."""
    return a_driver(**{**UNPLACED, "phase": "Failed", "reason": reason, **fields})


CASES: dict[str, tuple[PodView | None, OutcomeCause, str]] = {
    "trained": (crashed(0, an_outcome()), OutcomeCause.DONE, "Trained"),
    "was computed before": (
        crashed(0, an_outcome(reason="AlreadyComputed")),
        OutcomeCause.DONE,
        "AlreadyComputed",
    ),
    "trained although it was being taken away": (
        crashed(0, an_outcome(), disruption="EvictionByEvictionAPI"),
        OutcomeCause.DONE,
        "Trained",
    ),
    "exit 0 without a word is no model": (crashed(0), OutcomeCause.INFRASTRUCTURE, "OutcomeMissing"),
    "exit 0 with the word of a failure is no model": (
        crashed(0, an_outcome("Failed", "ModelError")),
        OutcomeCause.INFRASTRUCTURE,
        "OutcomeMissing",
    ),
    "the user's mistake": (
        crashed(2, an_outcome("Failed", "NonFiniteLoss")),
        OutcomeCause.USER,
        "NonFiniteLoss",
    ),
    "exit 2 without a word is a crash, as of a shell": (
        crashed(2, "usage: …"),
        OutcomeCause.FAILURE,
        "DriverCrashed",
    ),
    "infrastructure": (
        crashed(75, an_outcome("Failed", "StorageUnavailable")),
        OutcomeCause.INFRASTRUCTURE,
        "StorageUnavailable",
    ),
    "exit 75 without a word": (crashed(75), OutcomeCause.INFRASTRUCTURE, "OutcomeMissing"),
    "Ray's monitor found memory gone": (
        crashed(75, an_outcome("Failed", "OutOfMemory")),
        OutcomeCause.FAILURE,
        "OutOfMemory",
    ),
    "the kubelet found memory gone": (crashed(137, reason="OOMKilled"), OutcomeCause.FAILURE, "OutOfMemory"),
    "stopped by somebody else": (
        crashed(143, an_outcome("Stopped", "Stopped")),
        OutcomeCause.INFRASTRUCTURE,
        "Stopped",
    ),
    "drained": (
        crashed(143, an_outcome("Stopped", "Stopped"), disruption="EvictionByEvictionAPI"),
        OutcomeCause.PREEMPTION,
        "Preempted",
    ),
    "preempted before it could checkpoint": (
        crashed(137, disruption="PreemptionByScheduler"),
        OutcomeCause.PREEMPTION,
        "Preempted",
    ),
    "evicted for its node's sake": (
        failed("Evicted", disruption="TerminationByKubelet"),
        OutcomeCause.PREEMPTION,
        "Preempted",
    ),
    "evicted for its own use of disk": (failed("Evicted"), OutcomeCause.FAILURE, "Evicted"),
    "evicted for its own use of disk while it ran": (
        replace(crashed(137), reason="Evicted", message="exceeds its local storage"),
        OutcomeCause.FAILURE,
        "Evicted",
    ),
    "node shut down": (failed("NodeShutdown"), OutcomeCause.PREEMPTION, "Preempted"),
    "not admitted by the kubelet": (
        failed("UnexpectedAdmissionError"),
        OutcomeCause.INFRASTRUCTURE,
        "UnexpectedAdmissionError",
    ),
    "no GPU left when it came": (failed("OutOfnvidia.com/gpu"), OutcomeCause.INFRASTRUCTURE, "PodFailed"),
    "a rebooted node knows nothing": (
        crashed(137, reason="ContainerStatusUnknown"),
        OutcomeCause.INFRASTRUCTURE,
        "OutcomeMissing",
    ),
    "no such command": (
        crashed(128, "exec: seedbed: not found", reason="StartError"),
        OutcomeCause.FAILURE,
        "ContainerStartFailed",
    ),
    "killed": (crashed(137), OutcomeCause.FAILURE, "DriverCrashed"),
    "crashed with a traceback": (crashed(1, "Traceback …"), OutcomeCause.FAILURE, "DriverCrashed"),
    "node lost": (
        a_driver(ready=False, deleting=True, disruption="DeletionByTaintManager", deletion_due=after(120)),
        OutcomeCause.PREEMPTION,
        "NodeLost",
    ),
    "long overdue": (
        a_driver(deleting=True, deletion_due=after(-60)),
        OutcomeCause.INFRASTRUCTURE,
        "NodeLost",
    ),
    "trained beside a container of somebody else": (
        replace(crashed(0, an_outcome()), phase="Running"),
        OutcomeCause.DONE,
        "Trained",
    ),
    "deleted by somebody": (None, OutcomeCause.INFRASTRUCTURE, "DriverLost"),
}


@pytest.mark.parametrize(("driver", "cause", "reason"), CASES.values(), ids=CASES.keys())
def test_an_end_has_a_cause_and_a_reason(driver: PodView | None, cause: OutcomeCause, reason: str) -> None:
    end = outcome_of_attempt(a_scene(driver), driver)
    assert (end.cause, end.reason) == (cause, reason)
    assert end.message or end.outcome


def test_every_cause_of_a_driver_is_in_the_table() -> None:
    named = {cause for _, cause, _ in CASES.values()}
    assert set(OutcomeCause) - named == {OutcomeCause.STOPPED, OutcomeCause.GIVEN_BACK}, (
        "those are the operator's own doing"
    )


REJECTIONS = {
    "a device plugin": ("UnexpectedAdmissionError", "Allocate failed due to no healthy devices present"),
    "GPUs are gone": ("OutOfnvidia.com/gpu", "Node didn't have enough resource: nvidia.com/gpu"),
    "CPUs are gone": ("OutOfcpu", "Node didn't have enough resource: cpu, requested: 4000"),
    "too many pods": ("OutOfpods", "Node didn't have enough resource: pods"),
    "labels have changed": ("NodeAffinity", "Predicate NodeAffinity failed"),
    "NUMA": ("TopologyAffinityError", "Resources cannot be allocated with Topology locality"),
    "a port": ("NodePorts", "Predicate NodePorts failed"),
    "under pressure": ("Evicted", "Pod was rejected: The node had condition: [DiskPressure]. "),
    "under pressure, older": ("Evicted", "The node had condition: [MemoryPressure]. "),
    "anything to come": ("SomethingNew", "Pod was rejected: Predicate SomethingNew failed"),
}


@pytest.mark.parametrize("make", [a_driver, a_worker], ids=["driver", "worker"])
@pytest.mark.parametrize(("reason", "message"), REJECTIONS.values(), ids=REJECTIONS.keys())
def test_a_pod_that_a_kubelet_rejects_is_infrastructure_and_named(
    reason: str, message: str, make: Callable[..., PodView]
) -> None:
    pod = make(**{**UNPLACED, "phase": "Failed", "node": "gpu-7", "reason": reason, "message": message})
    end = outcome_of_attempt(a_scene(pod), pod) if pod.role == "driver" else outcome_of_worker(pod)
    assert (end.cause, end.unavoidable) == (OutcomeCause.INFRASTRUCTURE, True)
    assert end.message == f"node gpu-7 rejected pod {pod.name}: {reason}: {message}"
    assert re.fullmatch("[A-Z][A-Za-z0-9]*", end.reason)


NO_REJECTIONS = {
    "evicted for its own use of disk": a_driver(
        **{**UNPLACED, "phase": "Failed", "reason": "Evicted", "message": "exceeds its local storage limit"}
    ),
    "evicted while it ran": replace(
        crashed(137), reason="Evicted", message="The node was low on resource: memory"
    ),
    "its container ran": crashed(1),
    "another's deadline": failed("DeadlineExceeded"),
    "no reason": failed(""),
    "the node is shut down": failed("NodeShutdown"),
    "terminated with its node": failed("Terminated"),
    "preempted by the kubelet": failed("Preempting"),
    "preempted by the scheduler": failed("Whatever", disruption="PreemptionByScheduler"),
}


@pytest.mark.parametrize("pod", NO_REJECTIONS.values(), ids=NO_REJECTIONS.keys())
def test_other_ends_are_no_rejections(pod: PodView) -> None:
    assert not outcome_of_attempt(a_scene(pod), pod).unavoidable


WORKERS: dict[str, tuple[PodView, OutcomeCause, str]] = {
    "starved": (ended(a_worker(), 137, reason="OOMKilled"), OutcomeCause.FAILURE, "OutOfMemory"),
    "crashed": (ended(a_worker(), 1), OutcomeCause.FAILURE, "WorkersLost"),
    "killed": (ended(a_worker(), 137), OutcomeCause.FAILURE, "WorkersLost"),
    "no such command": (
        ended(a_worker(), 128, "no", reason="StartError"),
        OutcomeCause.FAILURE,
        "ContainerStartFailed",
    ),
    "its driver has ended": (ended(a_worker(), 0), OutcomeCause.INFRASTRUCTURE, "WorkersLost"),
    "its driver is silent": (ended(a_worker(), 75), OutcomeCause.INFRASTRUCTURE, "WorkersLost"),
    "drained": (ended(a_worker(), 143), OutcomeCause.INFRASTRUCTURE, "WorkersLost"),
    "a rebooted node knows nothing": (
        ended(a_worker(), 137, reason="ContainerStatusUnknown"),
        OutcomeCause.INFRASTRUCTURE,
        "WorkersLost",
    ),
    "preempted": (
        replace(ended(a_worker(), 137), disruption="PreemptionByScheduler"),
        OutcomeCause.PREEMPTION,
        "Preempted",
    ),
    "the node is shut down": (
        a_worker(phase="Failed", reason="NodeShutdown"),
        OutcomeCause.PREEMPTION,
        "Preempted",
    ),
    "terminated with its node": (
        replace(ended(a_worker(), 137), reason="Terminated"),
        OutcomeCause.PREEMPTION,
        "Preempted",
    ),
    "evicted for its own use of disk": (
        replace(ended(a_worker(), 137), reason="Evicted", message="exceeds"),
        OutcomeCause.FAILURE,
        "Evicted",
    ),
    "its node is lost": (
        a_worker(ready=False, deleting=True, disruption="DeletionByTaintManager"),
        OutcomeCause.PREEMPTION,
        "Preempted",
    ),
}


@pytest.mark.parametrize(("worker", "cause", "reason"), WORKERS.values(), ids=WORKERS.keys())
def test_the_end_of_a_worker_is_classified_as_that_of_a_driver_is(
    worker: PodView, cause: OutcomeCause, reason: str
) -> None:
    end = outcome_of_worker(worker)
    assert (end.cause, end.reason) == (cause, reason)
    assert worker.name in end.message or end.reason == "ContainerStartFailed" or worker.message


@pytest.mark.parametrize(
    ("worker", "cause"),
    [
        (replace(ended(a_worker(), 137, at=NOON), reason="NodeShutdown"), OutcomeCause.PREEMPTION),
        (
            a_worker(**{**UNPLACED, "phase": "Failed", "reason": "OutOfcpu", "over_since": NOON}),
            OutcomeCause.INFRASTRUCTURE,
        ),
        (
            replace(ended(a_worker(), 137), disruption="PreemptionByScheduler", over_since=after(-7200)),
            OutcomeCause.INFRASTRUCTURE,
        ),
    ],
    ids=["shut down with its node", "rejected", "preempted hours ago"],
)
def test_a_worker_is_blamed_for_what_happened_lately(worker: PodView, cause: OutcomeCause) -> None:
    driver = crashed(75, LOST_WORKERS)
    end = outcome_of_attempt(a_scene(driver, worker), driver)
    assert end.cause is cause
    assert end.outcome is not None


@pytest.mark.parametrize(
    ("worker", "cause", "reason", "pod"),
    [
        (
            ended(a_worker(), 137, reason="OOMKilled"),
            OutcomeCause.FAILURE,
            "OutOfMemory",
            "seedlings-1-worker-0",
        ),
        (
            a_worker(disruption="PreemptionByScheduler"),
            OutcomeCause.PREEMPTION,
            "Preempted",
            "seedlings-1-worker-0",
        ),
        (a_worker(), OutcomeCause.INFRASTRUCTURE, "WorkersLost", "seedlings-1-driver"),
    ],
    ids=["starved worker", "worker taken away", "no worker to blame"],
)
def test_a_driver_that_lost_its_workers_is_not_to_blame(
    worker: PodView, cause: OutcomeCause, reason: str, pod: str
) -> None:
    driver = crashed(75, LOST_WORKERS)
    end = outcome_of_attempt(a_scene(driver, worker), driver)
    assert (end.cause, end.reason) == (cause, reason)
    assert end.pod is not None
    assert end.pod.name == pod


def test_out_of_memory_says_what_to_raise() -> None:
    driver = crashed(137, reason="OOMKilled")
    assert "raise memory of the profile's driver" in outcome_of_attempt(a_scene(driver), driver).message


def a_scene(*pods: PodView | None) -> Any:
    job = a_training_job().with_status(attempts=1).build()
    present = tuple(pod for pod in pods if pod is not None)
    observation = JobObservation(now=NOON, job=job, profile=a_profile(), pods=present)
    return build_context(observation, BACKENDS)


EVICTIONS = {
    "its /tmp": (
        'Usage of EmptyDir volume "tmp" exceeds the limit "20Gi". ',
        "raise scratch.sizeLimit of the profile",
    ),
    "its cache": (
        'Usage of EmptyDir volume "cache" exceeds the limit "10Gi". ',
        "raise cache.sizeLimit of the profile",
    ),
    "its shared memory": (
        'Usage of EmptyDir volume "shm" exceeds the limit "2Gi". ',
        "raise memory of the profile's worker",
    ),
    "all of its disk": (
        "Pod ephemeral local storage usage exceeds the total limit of containers 31Gi. ",
        "raise resources.ephemeralStorage of the profile's worker",
    ),
    "its log": (
        'Container worker exceeded its local ephemeral storage limit "31Gi". ',
        "write less to /tmp and to the log",
    ),
    "a volume of a webhook": (
        'Usage of EmptyDir volume "vault" exceeds the limit "1Mi". ',
        "raise resources.ephemeralStorage",
    ),
}


@pytest.mark.parametrize(("message", "fix"), EVICTIONS.values(), ids=EVICTIONS.keys())
def test_a_pod_that_was_evicted_for_its_disk_says_what_to_raise(message: str, fix: str) -> None:
    end = outcome_of_worker(replace(ended(a_worker(), 137), reason="Evicted", message=message))
    assert (end.cause, end.reason) == (OutcomeCause.FAILURE, "Evicted"), "it counts: no endless retries"
    assert end.message.startswith(f"pod {a_worker().name} was evicted: {message.strip('. ')}; ")
    assert fix in end.message


def test_a_driver_that_lost_a_worker_by_its_disk_says_so() -> None:
    """Not only that workers were lost, which would count as the infrastructure's."""
    full = replace(ended(a_worker(), 137), reason="Evicted", message='Usage of EmptyDir volume "tmp" exceeds')
    driver = crashed(75, LOST_WORKERS)
    end = outcome_of_attempt(a_scene(driver, full), driver)
    assert (end.cause, end.reason) == (OutcomeCause.FAILURE, "Evicted")
    assert "scratch.sizeLimit" in end.message
