"""The containers run and there is no step yet: Ray comes up, workers join."""

from __future__ import annotations

from collections.abc import Iterable

from seedbed_api.conditions import RunningReason
from seedbed_api.pod_contract.driver_endpoint import PROGRESS_PORT
from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.attempt_outcome import end_of_worker, is_rejected
from seedbed_operator.planning.diagnosis import Explanation
from seedbed_operator.planning.diagnosis.sidecar_problems import beside_a_failed_one
from seedbed_operator.planning.sidecar_containers import (
    NOT_OURS,
    ending,
    exit_code_of,
    failed_in_its_place,
    title,
)


def without_its_workers(live: LiveProgress | None, least: int) -> Explanation | None:
    """Explain a driver that waits for workers."""
    if live is None or live.workers is None or live.workers.ready >= least:
        return None
    message = f"Ray runs; {live.workers.ready} of at least {least} workers have joined it"
    return Explanation(reason=RunningReason.WAITING_FOR_WORKERS, message=message)


def with_failing_workers(pods: Iterable[PodView]) -> Explanation | None:
    """Explain workers that ended although the driver still waits for them."""
    workers = [pod for pod in pods if pod.role == "worker" and pod.ended]
    ended = [pod for pod in workers if exit_code_of(pod) is not None or is_rejected(pod)]
    if not ended:
        return None
    pod = ended[-1]
    if is_rejected(pod):
        message = f"{end_of_worker(pod).message}; it is replaced"
    elif culprit := failed_in_its_place(pod):
        message = f"{title(pod, culprit)} {ending(culprit)}, and the pod is replaced; {NOT_OURS}"
    else:
        why = (pod.terminated.reason if pod.terminated else "") or "Error"
        message = f"worker pod {pod.name} ended ({why}, exit code {exit_code_of(pod)}) and is replaced"
    return Explanation(reason=RunningReason.WAITING_FOR_WORKERS, message=message)


def coming_up(
    live: LiveProgress | None, driver: PodView | None = None, *, silent: bool = False
) -> Explanation:
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
    message += beside_a_failed_one(driver) if live is None else ""
    return Explanation(reason=RunningReason.RAY_STARTING, message=message)
