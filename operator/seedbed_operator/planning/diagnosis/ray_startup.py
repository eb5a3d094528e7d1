"""The containers run and there is no step yet: Ray comes up, workers join."""

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
    """Explain a driver that waits for workers."""
    if live is None or live.workers is None or live.workers.ready >= least:
        return None
    message = f"Ray runs; {live.workers.ready} of at least {least} workers have joined it"
    return Diagnosis(reason=RunningReason.WAITING_FOR_WORKERS, message=message)


def diagnose_failing_workers(pods: Iterable[PodView]) -> Diagnosis | None:
    """Explain workers that ended although the driver still waits for them."""
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
    """Say that Ray starts; or that the driver, which its kubelet finds ready, goes on being silent to us."""
    if silent and driver is not None:
        message = (
            f"driver pod {driver.name} is ready and does not answer the operator at port {PROGRESS_PORT}; "
            "let the NetworkPolicies of the namespace pass it"
        )
    elif live is None:
        message = "the driver's container runs; Ray is coming up"
    else:
        message = "Ray runs; the workers load data and model for their first step"
    message += describe_failed_container(driver) if live is None else ""
    return Diagnosis(reason=RunningReason.RAY_STARTING, message=message)
