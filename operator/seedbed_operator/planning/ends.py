"""How an attempt ended, from what its driver and its workers left behind, and whose fault it was."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from seedbed_api.conditions import AttemptReason, ExitCode
from seedbed_api.outcome import Outcome, parse_outcome
from seedbed_operator.observations import PodView
from seedbed_operator.planning.companions import (
    NOT_OURS,
    ending,
    failed_before_it,
    failed_in_its_place,
    title,
)
from seedbed_operator.planning.pods import has_ended, is_on_a_lost_node
from seedbed_operator.planning.scenes import Scene
from seedbed_operator.planning.times import seconds

_PREEMPTED = "Preempted"
_DISRUPTED_BY_REASON = frozenset({"Preempting", "NodeShutdown", "Shutdown", "Terminated", "NodeLost"})
"""Reasons of pods that a kubelet ended for its node's sake."""
_EVICTED = AttemptReason.EVICTED
"""By the kubelet, for the pod's own use of disk; an eviction for its node's sake is a disruption."""
_START_ERRORS = frozenset({"StartError", "ContainerCannotRun"})
_WORKERS_AT_FAULT = frozenset(
    {AttemptReason.WORKERS_LOST, AttemptReason.RAY_STARTING, AttemptReason.RAY_UNHEALTHY}
)
"""What a driver says when workers are gone and it does not know why."""
_LATELY = seconds(600)
"""What happened to a worker earlier than this before the driver's end is not what ended it."""
_MORE_MEMORY = (
    "raise memory of the profile's {role} (or spec.cluster.overrides.memory, where the profile allows it)"
)


class Cause(Enum):
    """Who or what ended an attempt: it decides what is counted."""

    DONE = "the run is complete"
    USER = "the user's fault: no retry"
    FAILURE = "counts towards backoffLimit"
    INFRASTRUCTURE = "counts as a failure of the infrastructure"
    PREEMPTION = "counts as a preemption"
    STOPPED = "told to stop: not counted"
    GIVEN_BACK = "could not be placed: not counted"


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The end of an attempt."""

    cause: Cause
    reason: str
    message: str
    pod: PodView | None = None
    """The pod that failed first."""
    outcome: Outcome | None = None


def end_of(scene: Scene, driver: PodView | None) -> End:
    """Return how the newest attempt ended, whose driver has ended, is lost, or is not there any more."""
    if driver is None:
        return _vanished(scene)
    if not has_ended(driver):
        return _lost(driver)
    outcome = outcome_of(driver)
    return _beside_a_failed_one(driver, _by_workers(scene, _by_driver(driver, outcome)))


def _beside_a_failed_one(driver: PodView, end: End) -> End:
    """Name a container of the driver's pod that had failed before the driver did: a proxy, for example."""
    companion = failed_before_it(driver)
    if companion is None or driver.terminated is None or end.cause in (Cause.DONE, Cause.USER):
        return end
    return replace(end, message=f"{end.message}; {title(driver, companion)} {ending(companion)} before")


def outcome_of(driver: PodView) -> Outcome | None:
    """Return the driver's last word, if it has said one."""
    return parse_outcome(driver.terminated.message) if driver.terminated else None


def _vanished(scene: Scene) -> End:
    message = f"the driver pod of attempt {scene.attempt} was deleted by somebody else"
    return End(cause=Cause.INFRASTRUCTURE, reason="DriverLost", message=message)


def _lost(driver: PodView) -> End:
    where = f"node {driver.node}" if driver.node else "its node"
    cause = Cause.PREEMPTION if is_on_a_lost_node(driver) else Cause.INFRASTRUCTURE
    return End(cause=cause, reason="NodeLost", message=f"{where} of the driver does not answer", pod=driver)


def _by_driver(driver: PodView, outcome: Outcome | None) -> End:
    code = driver.terminated.exit_code if driver.terminated else None
    if code == ExitCode.DONE and outcome is not None and outcome.result == "Succeeded":
        return _told(Cause.DONE, driver, outcome)
    if code == ExitCode.USER and outcome is not None:
        return _told(Cause.USER, driver, outcome)
    if was_out_of_memory(driver) or (outcome and outcome.reason == AttemptReason.OUT_OF_MEMORY):
        return out_of_memory(driver, outcome)
    if driver.disruption or driver.reason in _DISRUPTED_BY_REASON:
        return _disrupted(driver, outcome)
    if code == ExitCode.STOPPED:
        message = "the driver was stopped by somebody else, after a checkpoint"
        return End(cause=Cause.INFRASTRUCTURE, reason="Stopped", message=message, pod=driver, outcome=outcome)
    if code == ExitCode.INFRASTRUCTURE and outcome is not None:
        return _told(Cause.INFRASTRUCTURE, driver, outcome)
    return _without_a_word(driver, outcome)


def was_out_of_memory(pod: PodView) -> bool:
    """Tell whether the kubelet says that a container was ended for its use of memory."""
    return pod.terminated is not None and pod.terminated.reason == "OOMKilled"


def _told(cause: Cause, driver: PodView, outcome: Outcome) -> End:
    return End(cause=cause, reason=outcome.reason, message=outcome.message, pod=driver, outcome=outcome)


def out_of_memory(pod: PodView, outcome: Outcome | None) -> End:
    """Return the end of an attempt by a pod that ran out of memory."""
    told = f"{outcome.message}; " if outcome and outcome.message else ""
    message = f"{told}pod {pod.name} ran out of memory; {_MORE_MEMORY.format(role=pod.role)}"
    return End(
        cause=Cause.FAILURE, reason=AttemptReason.OUT_OF_MEMORY, message=message, pod=pod, outcome=outcome
    )


def _disrupted(pod: PodView, outcome: Outcome | None) -> End:
    why = pod.disruption or pod.reason
    message = f"pod {pod.name} was taken away ({why}{': ' + pod.message if pod.message else ''})"
    return End(cause=Cause.PREEMPTION, reason=_PREEMPTED, message=message, pod=pod, outcome=outcome)


def _without_a_word(driver: PodView, outcome: Outcome | None) -> End:
    ended = driver.terminated
    if (companion := failed_in_its_place(driver)) and driver.reason != _EVICTED:
        message = f"{title(driver, companion)} {ending(companion)} before the driver began; {NOT_OURS}"
        why = AttemptReason.INIT_CONTAINER_FAILED
        return End(cause=Cause.INFRASTRUCTURE, reason=why, message=message, pod=driver)
    if ended is None or driver.reason == _EVICTED:
        reason = camel_reason(driver.reason, "PodFailed")
        cause = Cause.FAILURE if reason == _EVICTED else Cause.INFRASTRUCTURE
        message = driver.message or f"pod {driver.name} failed without running"
        return End(cause=cause, reason=reason, message=message, pod=driver)
    if ended.reason == "ContainerStatusUnknown" or ended.exit_code in (
        ExitCode.DONE,
        ExitCode.INFRASTRUCTURE,
    ):
        message = f"the driver ended with exit code {ended.exit_code} and left no outcome"
        return End(cause=Cause.INFRASTRUCTURE, reason="OutcomeMissing", message=message, pod=driver)
    if ended.reason in _START_ERRORS:
        message = f"the container cannot be started: {ended.message or ended.reason}; check the image"
        return End(cause=Cause.FAILURE, reason="ContainerStartFailed", message=message, pod=driver)
    told = f": {outcome.message}" if outcome and outcome.message else ""
    return End(
        cause=Cause.FAILURE,
        reason=outcome.reason if outcome else "DriverCrashed",
        message=f"the driver ended with exit code {ended.exit_code}{_signal(ended.exit_code)}{told}",
        pod=driver,
        outcome=outcome,
    )


def _signal(code: int) -> str:
    names = {129: "SIGHUP", 130: "SIGINT", 134: "SIGABRT", 135: "SIGBUS", 137: "SIGKILL", 139: "SIGSEGV"}
    return f" ({names[code]})" if code in names else ""


def _by_workers(scene: Scene, end: End) -> End:
    """Name the worker where the driver only says that it lost its workers."""
    if end.cause is not Cause.INFRASTRUCTURE or end.reason not in _WORKERS_AT_FAULT:
        return end
    starved = [worker for worker in scene.crew if was_out_of_memory(worker) and _is_recent(worker, end.pod)]
    if starved:
        return out_of_memory(max(starved, key=ended_at), end.outcome)
    taken = next((worker for worker in scene.crew if worker.disruption), None)
    return _disrupted(taken, end.outcome) if taken else end


def _is_recent(worker: PodView, driver: PodView | None) -> bool:
    return driver is None or ended_at(worker) + _LATELY >= ended_at(driver)


def ended_at(pod: PodView) -> datetime:
    """Return when a pod was seen to have ended; of one that has not, when it was created."""
    finished = pod.terminated.finished if pod.terminated else None
    return pod.over_since or finished or pod.created


def camel_reason(reason: str, otherwise: str) -> str:
    """Return a reason of the cluster if it can stand in a condition."""
    return reason if re.fullmatch(r"[A-Z][A-Za-z0-9]{0,63}", reason) else otherwise
