"""Outcome of an attempt from its driver and worker pods: cause, reason and message."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from seedbed_api.conditions import AttemptReason, ExitCode
from seedbed_api.pod_contract.driver_messages import Outcome, parse_outcome
from seedbed_operator.job_observation import ContainerTerminated, PodView
from seedbed_operator.planning.disk_eviction import eviction_message, used_too_much_disk
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_state import has_ended, is_on_a_lost_node
from seedbed_operator.planning.sidecar_containers import (
    FIX_BY_INJECTOR,
    describe_ended_container,
    failed_before_end,
    failed_before_start,
    never_started,
)

_PREEMPTED = "Preempted"
_DISRUPTED_BY_REASON = frozenset({"Preempting", "NodeShutdown", "Shutdown", "Terminated", "NodeLost"})
"""Reasons of pods that a kubelet ended because of its node."""
_EVICTED = AttemptReason.EVICTED
"""By the kubelet, for the pod's own disk usage; an eviction because of the node is a disruption."""
_START_ERRORS = frozenset({"StartError", "ContainerCannotRun"})
_UNKNOWN = "ContainerStatusUnknown"
_EXPECTED_WORKER_EXITS = frozenset({ExitCode.DONE, ExitCode.INFRASTRUCTURE, ExitCode.STOPPED})
"""Exit codes of a worker whose driver ended or does not respond, or whose node is drained."""
_NOT_REJECTIONS = frozenset({"", "DeadlineExceeded"})
_REJECTIONS = ("Pod was rejected", "The node had condition", "The node was low on resource")
"""Prefixes of messages of evictions from a node under pressure."""
_WORKERS_AT_FAULT = frozenset(
    {AttemptReason.WORKERS_LOST, AttemptReason.RAY_STARTING, AttemptReason.RAY_UNHEALTHY}
)
"""Reasons of a driver that lost workers for an unknown cause."""
_RECENT = timedelta(seconds=600)
"""An older end of a worker is not the cause of the driver's end."""
_MORE_MEMORY = (
    "raise memory of the profile's {role} (or spec.cluster.overrides.memory, where the profile allows it)"
)


class OutcomeCause(Enum):
    """Cause of the end of an attempt; it decides which counter grows."""

    DONE = "the run is complete"
    USER = "error of the user: no retry"
    FAILURE = "counts towards backoffLimit"
    INFRASTRUCTURE = "counts as a failure of the infrastructure"
    PREEMPTION = "counts as a preemption"
    STOPPED = "stopped on request: not counted"
    GIVEN_BACK = "could not be scheduled: not counted"


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptOutcome:
    """How an attempt ended."""

    cause: OutcomeCause
    reason: str
    message: str
    pod: PodView | None = None
    """The pod that failed first."""
    outcome: Outcome | None = None
    unavoidable: bool = False
    """Whether the attempt could not avoid it; it does not count as an attempt without progress."""


def outcome_of_attempt(context: JobContext, driver: PodView | None) -> AttemptOutcome:
    """Return the outcome of the newest attempt, whose driver has ended, is lost or was deleted."""
    if driver is None:
        return _driver_deleted(context)
    if not has_ended(driver):
        return _node_lost(driver)
    outcome = parse_driver_outcome(driver)
    return _mention_failed_container(driver, _blame_worker(context, _outcome_by_driver(driver, outcome)))


def _mention_failed_container(driver: PodView, end: AttemptOutcome) -> AttemptOutcome:
    """Mention an injected container of the driver pod that failed before the driver, such as a proxy."""
    container = failed_before_end(driver)
    if container is None or driver.terminated is None or end.cause in (OutcomeCause.DONE, OutcomeCause.USER):
        return end
    return replace(end, message=f"{end.message}; {describe_ended_container(driver, container)} before")


def parse_driver_outcome(driver: PodView) -> Outcome | None:
    """Return the outcome from the driver's termination message, if any."""
    return parse_outcome(driver.terminated.message) if driver.terminated else None


def _driver_deleted(context: JobContext) -> AttemptOutcome:
    message = f"the driver pod of attempt {context.attempt} was deleted by another client"
    return AttemptOutcome(cause=OutcomeCause.INFRASTRUCTURE, reason="DriverLost", message=message)


def _node_lost(driver: PodView) -> AttemptOutcome:
    where = f"node {driver.node}" if driver.node else "its node"
    cause = OutcomeCause.PREEMPTION if is_on_a_lost_node(driver) else OutcomeCause.INFRASTRUCTURE
    message = f"{where} of the {driver.role} does not respond"
    return AttemptOutcome(cause=cause, reason="NodeLost", message=message, pod=driver)


def _outcome_by_driver(driver: PodView, outcome: Outcome | None) -> AttemptOutcome:
    code = driver.terminated.exit_code if driver.terminated else None
    if code == ExitCode.DONE and outcome is not None and outcome.result == "Succeeded":
        return _reported_outcome(OutcomeCause.DONE, driver, outcome)
    if code == ExitCode.USER and outcome is not None:
        return _reported_outcome(OutcomeCause.USER, driver, outcome)
    if was_out_of_memory(driver) or (outcome and outcome.reason == AttemptReason.OUT_OF_MEMORY):
        return out_of_memory_outcome(driver, outcome)
    if driver.disruption or driver.reason in _DISRUPTED_BY_REASON:
        return _disrupted(driver, outcome)
    if code == ExitCode.STOPPED:
        message = "another client stopped the driver; it wrote a checkpoint"
        return AttemptOutcome(
            cause=OutcomeCause.INFRASTRUCTURE, reason="Stopped", message=message, pod=driver, outcome=outcome
        )
    if code == ExitCode.INFRASTRUCTURE and outcome is not None:
        return _reported_outcome(OutcomeCause.INFRASTRUCTURE, driver, outcome)
    return _outcome_without_report(driver, outcome)


def was_out_of_memory(pod: PodView) -> bool:
    """Return whether the container was OOM-killed."""
    return pod.terminated is not None and pod.terminated.reason == "OOMKilled"


def _reported_outcome(cause: OutcomeCause, driver: PodView, outcome: Outcome) -> AttemptOutcome:
    return AttemptOutcome(
        cause=cause, reason=outcome.reason, message=outcome.message, pod=driver, outcome=outcome
    )


def out_of_memory_outcome(pod: PodView, outcome: Outcome | None) -> AttemptOutcome:
    """Return the outcome for a pod that ran out of memory."""
    text = f"{outcome.message}; " if outcome and outcome.message else ""
    message = f"{text}pod {pod.name} ran out of memory; {_MORE_MEMORY.format(role=pod.role)}"
    return AttemptOutcome(
        cause=OutcomeCause.FAILURE,
        reason=AttemptReason.OUT_OF_MEMORY,
        message=message,
        pod=pod,
        outcome=outcome,
    )


def _disrupted(pod: PodView, outcome: Outcome | None) -> AttemptOutcome:
    why = pod.disruption or pod.reason
    message = f"pod {pod.name} was preempted or evicted ({why}{': ' + pod.message if pod.message else ''})"
    return AttemptOutcome(
        cause=OutcomeCause.PREEMPTION, reason=_PREEMPTED, message=message, pod=pod, outcome=outcome
    )


def is_rejected(pod: PodView) -> bool:
    """Return whether a kubelet rejected a pod at admission: no container of it has started."""
    if pod.phase != "Failed" or not never_started(pod) or failed_before_start(pod) or pod.disruption:
        return False
    if pod.reason == _EVICTED:
        return pod.message.startswith(_REJECTIONS)
    return pod.reason not in _NOT_REJECTIONS and pod.reason not in _DISRUPTED_BY_REASON


def _rejected(pod: PodView) -> AttemptOutcome:
    message = f"node {pod.node or 'unknown'} rejected pod {pod.name}: {pod.reason}"
    message += f": {pod.message}" if pod.message else ""
    reason = camel_reason(pod.reason, "PodFailed")
    return AttemptOutcome(
        cause=OutcomeCause.INFRASTRUCTURE, reason=reason, message=message, pod=pod, unavoidable=True
    )


def _outcome_before_start(pod: PodView) -> AttemptOutcome | None:
    """Return the outcome of a pod whose container never started, or that was evicted."""
    if is_rejected(pod):
        return _rejected(pod)
    if (container := failed_before_start(pod)) and pod.reason != _EVICTED:
        ended = describe_ended_container(pod, container)
        message = f"{ended} before the {pod.role} started; {FIX_BY_INJECTOR}"
        why = AttemptReason.INIT_CONTAINER_FAILED
        return AttemptOutcome(cause=OutcomeCause.INFRASTRUCTURE, reason=why, message=message, pod=pod)
    if pod.terminated is not None and pod.reason != _EVICTED:
        return None
    if pod.reason == _EVICTED:
        message = eviction_message(pod)
        return AttemptOutcome(cause=OutcomeCause.FAILURE, reason=_EVICTED, message=message, pod=pod)
    reason = camel_reason(pod.reason, "PodFailed")
    message = pod.message or f"pod {pod.name} failed without running"
    return AttemptOutcome(cause=OutcomeCause.INFRASTRUCTURE, reason=reason, message=message, pod=pod)


def _start_failed(pod: PodView, ended: ContainerTerminated) -> AttemptOutcome:
    message = f"the container cannot be started: {ended.message or ended.reason}; check the image"
    return AttemptOutcome(cause=OutcomeCause.FAILURE, reason="ContainerStartFailed", message=message, pod=pod)


def outcome_of_worker(pod: PodView) -> AttemptOutcome:
    """Return the outcome of a worker pod, by the rules of the driver."""
    if was_out_of_memory(pod):
        return out_of_memory_outcome(pod, None)
    if pod.disruption or pod.reason in _DISRUPTED_BY_REASON:
        return _disrupted(pod, None)
    if is_on_a_lost_node(pod):
        return _node_lost(pod)
    if end := _outcome_before_start(pod):
        return end
    ended = pod.terminated
    assert ended is not None, "pods without an ended container are handled above"
    if ended.reason in _START_ERRORS:
        return _start_failed(pod, ended)
    by_itself = ended.reason != _UNKNOWN and ended.exit_code not in _EXPECTED_WORKER_EXITS
    message = f"worker pod {pod.name} ended with exit code {ended.exit_code}{_signal(ended.exit_code)}"
    cause = OutcomeCause.FAILURE if by_itself else OutcomeCause.INFRASTRUCTURE
    return AttemptOutcome(cause=cause, reason=AttemptReason.WORKERS_LOST, message=message, pod=pod)


def _outcome_without_report(driver: PodView, outcome: Outcome | None) -> AttemptOutcome:
    if end := _outcome_before_start(driver):
        return end
    ended = driver.terminated
    assert ended is not None, "pods without an ended container are handled above"
    if ended.reason == _UNKNOWN or ended.exit_code in (
        ExitCode.DONE,
        ExitCode.INFRASTRUCTURE,
    ):
        message = f"the driver ended with exit code {ended.exit_code} and left no outcome"
        return AttemptOutcome(
            cause=OutcomeCause.INFRASTRUCTURE, reason="OutcomeMissing", message=message, pod=driver
        )
    if ended.reason in _START_ERRORS:
        return _start_failed(driver, ended)
    text = f": {outcome.message}" if outcome and outcome.message else ""
    return AttemptOutcome(
        cause=OutcomeCause.FAILURE,
        reason=outcome.reason if outcome else "DriverCrashed",
        message=f"the driver ended with exit code {ended.exit_code}{_signal(ended.exit_code)}{text}",
        pod=driver,
        outcome=outcome,
    )


def _signal(code: int) -> str:
    names = {129: "SIGHUP", 130: "SIGINT", 134: "SIGABRT", 135: "SIGBUS", 137: "SIGKILL", 139: "SIGSEGV"}
    return f" ({names[code]})" if code in names else ""


def _blame_worker(context: JobContext, end: AttemptOutcome) -> AttemptOutcome:
    """Return the outcome of a worker where the driver only reports that it lost workers."""
    if end.cause is not OutcomeCause.INFRASTRUCTURE or end.reason not in _WORKERS_AT_FAULT:
        return end
    starved = [
        worker
        for worker in context.attempt_workers
        if was_out_of_memory(worker) and _is_recent(worker, end.pod)
    ]
    if starved:
        return out_of_memory_outcome(max(starved, key=ended_at), end.outcome)
    full = [
        worker
        for worker in context.attempt_workers
        if used_too_much_disk(worker) and not is_rejected(worker) and _is_recent(worker, end.pod)
    ]
    if full:
        return replace(outcome_of_worker(max(full, key=ended_at)), outcome=end.outcome)
    lost = [outcome_of_worker(worker) for worker in context.attempt_workers if _is_gone(worker, end.pod)]
    taken = [each for each in lost if each.cause is OutcomeCause.PREEMPTION]
    rejected = [each for each in lost if each.unavoidable]
    culprit = next(iter((*taken, *rejected)), None)
    return replace(culprit, outcome=end.outcome) if culprit else end


def _is_gone(worker: PodView, driver: PodView | None) -> bool:
    """Return whether a worker was preempted, or ended shortly before the driver."""
    if has_ended(worker):
        return _is_recent(worker, driver)
    return worker.disruption is not None and not _is_long_lost(worker, driver)


def _is_long_lost(worker: PodView, driver: PodView | None) -> bool:
    """Return whether a worker was overdue long before the driver ended: its node is lost."""
    due = worker.deletion_due
    return due is not None and driver is not None and due + _RECENT < ended_at(driver)


def _is_recent(worker: PodView, driver: PodView | None) -> bool:
    return driver is None or ended_at(worker) + _RECENT >= ended_at(driver)


def ended_at(pod: PodView) -> datetime:
    """Return when a pod ended; for one that has not, when it was created."""
    finished = pod.terminated.finished if pod.terminated else None
    return pod.over_since or finished or pod.created


def camel_reason(reason: str, otherwise: str) -> str:
    """Return a reason of the cluster if it is valid in a condition, else the other one."""
    return reason if re.fullmatch(r"[A-Z][A-Za-z0-9]{0,63}", reason) else otherwise
