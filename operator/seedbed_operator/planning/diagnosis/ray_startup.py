"""Diagnose running containers without a step: Ray starts, workers join."""

from __future__ import annotations

from collections.abc import Iterable

from seedbed_api.conditions import RunningReason
from seedbed_api.pod_contract.driver_endpoint import PROGRESS_PORT
from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.attempt_outcome import is_rejected, outcome_of_worker
from seedbed_operator.planning.diagnosis import Diagnosis
from seedbed_operator.planning.diagnosis.sidecar_problems import describe_failed_container
from seedbed_operator.planning.sidecar_containers import (
    FIX_BY_INJECTOR,
    describe_ended_container,
    failed_before_start,
    pod_exit_code,
)


def diagnose_joining_workers(live: LiveProgress | None, least: int) -> Diagnosis | None:
    """Diagnose a driver that waits for workers."""
    if live is None or live.workers is None or live.workers.ready >= least:
        return None
    message = f"Ray runs; {live.workers.ready} of at least {least} workers have joined"
    return Diagnosis(reason=RunningReason.WAITING_FOR_WORKERS, message=message)


def diagnose_failing_workers(pods: Iterable[PodView]) -> Diagnosis | None:
    """Diagnose workers that ended while the driver waits for them."""
    workers = [pod for pod in pods if pod.role == "worker" and pod.ended]
    failed = [pod for pod in workers if pod_exit_code(pod) is not None or is_rejected(pod)]
    if not failed:
        return None
    pod = failed[-1]
    if is_rejected(pod):
        message = f"{outcome_of_worker(pod).message}; it is replaced"
    elif culprit := failed_before_start(pod):
        ended = describe_ended_container(pod, culprit)
        message = f"{ended}, and the pod is replaced; {FIX_BY_INJECTOR}"
    else:
        why = (pod.terminated.reason if pod.terminated else "") or "Error"
        message = f"worker pod {pod.name} ended ({why}, exit code {pod_exit_code(pod)}) and is replaced"
    return Diagnosis(reason=RunningReason.WAITING_FOR_WORKERS, message=message)


def diagnose_ray_startup(
    live: LiveProgress | None, driver: PodView | None = None, *, silent: bool = False
) -> Diagnosis:
    """Report that Ray starts; or that a ready driver does not respond to the operator."""
    if silent and driver is not None:
        message = (
            f"driver pod {driver.name} is ready and does not respond on port {PROGRESS_PORT}; "
            "allow the operator in the NetworkPolicies of the namespace"
        )
    elif live is None:
        message = "the driver's container runs; Ray starts"
    else:
        message = "Ray runs; the workers load data and model for their first step"
    message += describe_failed_container(driver) if live is None else ""
    return Diagnosis(reason=RunningReason.RAY_STARTING, message=message)
