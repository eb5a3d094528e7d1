"""Deadlines: activeDeadlineSeconds, preRunningDeadlineSeconds, progressDeadlineSeconds."""

from __future__ import annotations

from datetime import datetime, timedelta

from seedbed_api.conditions import AttemptReason
from seedbed_api.timestamps import format_time, parse_time
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.attempt_outcome import AttemptOutcome, OutcomeCause
from seedbed_operator.planning.diagnosis.startup_delay import attempt_pods, diagnose_startup, slow_pods
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.job_phase import complete_since, has_trained, lacks_workers
from seedbed_operator.planning.sidecar_containers import blocking_container


def active_deadline(context: JobContext, status: LifecycleStatus | None = None) -> datetime | None:
    """Return when activeDeadlineSeconds is over; None while the job is not active."""
    began = parse_time((status or context.status).resume_time)
    limit = context.spec.active_deadline_seconds
    return began + timedelta(seconds=limit) if began is not None and limit is not None else None


def active_deadline_message(context: JobContext, status: LifecycleStatus | None = None) -> str | None:
    """Return the message of a job past its active deadline; None before."""
    deadline = active_deadline(context, status)
    if deadline is None or context.now < deadline:
        return None
    text = (
        f"active for longer than spec.activeDeadlineSeconds {context.spec.active_deadline_seconds}; raise it"
    )
    kept = (status or context.status).kept
    return f"{text}; {kept}" if kept else text


def track_active_time(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Pause the active time while a queue holds all pods of the attempt."""
    pods = (*((context.driver,) if context.driver else ()), *context.attempt_workers)
    if not (pods and all(pod.gated and pod.scheduled is None for pod in pods)):
        return start_active_time(builder)
    status = builder.status
    never = status.start_time is None or status.start_time == status.attempt_start_time
    return builder.set_status(resume_time=None, start_time=None if never else status.start_time)


def start_active_time(builder: PlanBuilder) -> PlanBuilder:
    """Start the active time: a pod was admitted, or rejected by the API server."""
    now, status = format_time(builder.now), builder.status
    return builder.set_status(start_time=status.start_time or now, resume_time=status.resume_time or now)


def first_step_deadline(context: JobContext) -> datetime | None:
    """Return the deadline of the first step; it starts when all pods have a node.

    The status stores that time: another operator process does not know it.
    """
    began = parse_time(context.status.attempt_start_time)
    if has_trained(context) or began is None or not all_scheduled(context):
        return None
    noted = parse_time(context.status.workers.placed_since) if context.status.workers else None
    placed = [pod.scheduled for pod in attempt_pods(context) if pod.scheduled is not None]
    latest = noted or max(began, *placed)
    return latest + timedelta(seconds=context.spec.pre_running_deadline_seconds)


def all_scheduled(context: JobContext) -> bool:
    """Return whether all pods of the attempt have a node."""
    return all(pod.scheduled is not None for pod in attempt_pods(context))


def pre_running_deadline_outcome(context: JobContext) -> AttemptOutcome | None:
    """Return the outcome of an attempt that made no step in time."""
    deadline = first_step_deadline(context)
    if deadline is None or context.now < deadline:
        return None
    why = diagnose_startup(context)
    message = (
        f"no step within spec.preRunningDeadlineSeconds {context.spec.pre_running_deadline_seconds} "
        "(raise it where that is too short): "
        f"{why.reason}: {why.message}"
    )
    reason = AttemptReason.PRE_RUNNING_DEADLINE_EXCEEDED
    held_up = next((pod for pod in slow_pods(context) if blocking_container(pod)), context.driver)
    return AttemptOutcome(cause=OutcomeCause.FAILURE, reason=reason, message=message, pod=held_up)


def next_step_deadline(context: JobContext) -> datetime | None:
    """Return the deadline of the next step or activity of a training attempt.

    It has none while it lacks workers.
    """
    if context.driver is None or not has_trained(context) or lacks_workers(context):
        return None
    changed = context.evidence.progress_changed.get(context.driver.uid)
    if changed is None:
        return None
    since = max(changed, complete_since(context) or changed)
    return since + timedelta(seconds=context.spec.progress_deadline_seconds)


def progress_deadline_outcome(context: JobContext) -> AttemptOutcome | None:
    """Return the outcome of an attempt without steps, or whose driver does not respond."""
    deadline = next_step_deadline(context)
    if deadline is None or context.now < deadline:
        return None
    text = "no step" if context.live is not None else "no response from the driver"
    limit = context.spec.progress_deadline_seconds
    message = f"{text} for spec.progressDeadlineSeconds {limit}: the attempt hangs"
    if context.live is not None and context.live.activity == "Starting":
        message += f" ({diagnose_startup(context).message})"
    reason = AttemptReason.PROGRESS_DEADLINE_EXCEEDED
    return AttemptOutcome(cause=OutcomeCause.FAILURE, reason=reason, message=message, pod=context.driver)
