"""Diagnose an attempt without a step: the families of causes in the order of a start."""

from __future__ import annotations

from datetime import datetime, timedelta

from seedbed_api.conditions import RunningReason
from seedbed_operator.backends.child_metadata import token_name
from seedbed_operator.backends.kueue_pod_group import group_name
from seedbed_operator.job_observation import PodView
from seedbed_operator.plan import EvidenceRequest
from seedbed_operator.planning.diagnosis import Diagnosis
from seedbed_operator.planning.diagnosis.api_rejections import diagnose_rejected_write
from seedbed_operator.planning.diagnosis.container_creation import (
    diagnose_container,
    diagnose_image,
    is_pulling_image,
)
from seedbed_operator.planning.diagnosis.profile_problems import diagnose_profile
from seedbed_operator.planning.diagnosis.ray_startup import (
    diagnose_failing_workers,
    diagnose_joining_workers,
    diagnose_ray_startup,
)
from seedbed_operator.planning.diagnosis.sidecar_problems import diagnose_blocking_container
from seedbed_operator.planning.diagnosis.unschedulable_pods import (
    diagnose_pending_workers,
    diagnose_queue,
    diagnose_unschedulable,
)
from seedbed_operator.planning.diagnosis.volume_mounts import diagnose_slow_start, diagnose_volumes
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_state import has_ended_or_is_lost
from seedbed_operator.planning.worker_count import min_ranks, missing_workers

EXPECTED_START = timedelta(seconds=5)
"""A scheduled pod that starts later than this is diagnosed."""

SILENCE_AFTER_READY = timedelta(seconds=30)
"""A ready driver that does not respond after this time is blocked by the network."""


def diagnose_startup(context: JobContext) -> Diagnosis:
    """Return why the newest attempt makes no step."""
    found = _diagnose_missing_workers(context) or diagnose_pods(context)
    if found is not None:
        return found
    if context.driver is None or context.driver.phase != "Running":
        message = f"attempt {context.attempt}: its pods are being created"
        return Diagnosis(reason=RunningReason.PENDING, message=message)
    return (
        diagnose_failing_workers(context.attempt_workers)
        or diagnose_pending_workers(attempt_pods(context))
        or diagnose_joining_workers(context.live, min_ranks(context))
        or diagnose_ray_startup(context.live, context.driver, silent=_is_silent(context, context.driver))
    )


def diagnose_pods(context: JobContext) -> Diagnosis | None:
    """Return why pods of the attempt are not created, scheduled or started; None where all are."""
    pods = attempt_pods(context)
    return _diagnose_rejected_pod(context) or _diagnose(context, pods, _workload_name(context))


def diagnose_pod(context: JobContext, pod: PodView) -> Diagnosis | None:
    """Return why a pod beside an attempt is not scheduled or started; None where it is."""
    return _diagnose(context, (pod,))


def _diagnose(
    context: JobContext, pods: tuple[PodView, ...], workload: str | None = None
) -> Diagnosis | None:
    evidence, slow = context.evidence, _slow(pods, context.now)
    return (
        diagnose_queue(pods, workload)
        or diagnose_unschedulable(pods, context.profile)
        or diagnose_image(pods, evidence, _image_name(context))
        or diagnose_container(pods, token_name(context.job))
        or diagnose_blocking_container(slow)
        or diagnose_volumes(slow, evidence)
        or diagnose_slow_start(slow)
    )


def _is_silent(context: JobContext, driver: PodView) -> bool:
    """Return whether a ready driver has not responded for a while."""
    asked, changed = (
        seen.get(driver.uid) for seen in (context.evidence.progress_asked, context.evidence.progress_changed)
    )
    if context.live is not None or not driver.ready or asked is None or changed is None:
        return False
    return asked >= (driver.ready_since or changed) + SILENCE_AFTER_READY


def _diagnose_missing_workers(context: JobContext) -> Diagnosis | None:
    """Diagnose why workers of the minimum do not exist."""
    return diagnose_profile(context) if missing_workers(context, ranks=min_ranks(context)) else None


def attempt_pods(context: JobContext) -> tuple[PodView, ...]:
    """Return driver and workers of the newest attempt that have not ended."""
    pods = (*((context.driver,) if context.driver else ()), *context.attempt_workers)
    return tuple(pod for pod in pods if not has_ended_or_is_lost(pod, context.now))


def slow_pods(context: JobContext) -> tuple[PodView, ...]:
    """Return pods that were scheduled a while ago and whose container does not run."""
    return _slow(attempt_pods(context), context.now)


def _slow(pods: tuple[PodView, ...], now: datetime) -> tuple[PodView, ...]:
    return tuple(
        pod
        for pod in pods
        if pod.phase == "Pending" and pod.scheduled is not None and now >= pod.scheduled + EXPECTED_START
    )


def pod_event_requests(
    context: JobContext, among: tuple[PodView, ...] | None = None
) -> tuple[EvidenceRequest, ...]:
    """Return requests for Events of pods, by default of the attempt, whose status explains too little."""
    among = attempt_pods(context) if among is None else among
    late = _slow(among, context.now)
    pods = [pod for pod in among if pod in late or is_pulling_image(pod.waiting)]
    missing = [pod for pod in pods[:_MAX_REQUESTS] if pod.uid not in context.evidence.pod_events]
    return tuple(EvidenceRequest(kind="PodEvents", pod=pod.name, pod_uid=pod.uid) for pod in missing)


_MAX_REQUESTS = 3


def _workload_name(context: JobContext) -> str | None:
    grouped = context.driver is not None and context.driver.gang_size is not None
    return group_name(context.job, context.attempt) if grouped else None


def _image_name(context: JobContext) -> str:
    environment = context.status.environment
    return (environment.image if environment else None) or "of the profile"


def _diagnose_rejected_pod(context: JobContext) -> Diagnosis | None:
    refusals = [
        refusal for refusal in context.observation.rejected_writes if refusal.kind != context.job.kind
    ]
    return diagnose_rejected_write(refusals[-1]) if refusals else None
