"""The limits of time: of the job, of an attempt until its first step, of an attempt between two steps."""

from __future__ import annotations

from datetime import datetime, timedelta

from seedbed_api.conditions import AttemptReason
from seedbed_api.timestamps import parsed, written
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.attempt_outcome import Cause, End
from seedbed_operator.planning.diagnosis.startup_delay import slow, team, why_not_running
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.job_phase import complete_since, has_trained, lacks_workers
from seedbed_operator.planning.sidecar_containers import unfinished


def active_deadline(scene: Scene, status: LifecycleStatus | None = None) -> datetime | None:
    """Return when the job has been active for too long; None while the clock does not run."""
    began = parsed((status or scene.status).resume_time)
    limit = scene.spec.active_deadline_seconds
    return began + timedelta(seconds=limit) if began is not None and limit is not None else None


def active_for_too_long(scene: Scene, status: LifecycleStatus | None = None) -> str | None:
    """Return the message of a job whose time is over, by the status that was written or by a newer one."""
    deadline = active_deadline(scene, status)
    if deadline is None or scene.now < deadline:
        return None
    told = f"active for longer than spec.activeDeadlineSeconds {scene.spec.active_deadline_seconds}; raise it"
    kept = (status or scene.status).kept
    return f"{told}; {kept}" if kept else told


def with_clock(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Let the job's clock stand while a queue holds all pods of the attempt, and begin when it admits one."""
    pods = (*((scene.driver,) if scene.driver else ()), *scene.crew)
    if not (pods and all(pod.gated and pod.scheduled is None for pod in pods)):
        return clock_started(draft)
    status = draft.status
    never = status.start_time is None or status.start_time == status.attempt_start_time
    return draft.tells(resume_time=None, start_time=None if never else status.start_time)


def clock_started(draft: PlanBuilder) -> PlanBuilder:
    """Start the job's clock unless it runs: a pod was admitted, or refused by the API server."""
    now, status = written(draft.now), draft.status
    return draft.tells(start_time=status.start_time or now, resume_time=status.resume_time or now)


def first_step_deadline(scene: Scene) -> datetime | None:
    """Return when the attempt should have made a step; it counts from when all its pods have a node.

    That moment is kept in the status: another operator sees pods that have had a node for long.
    """
    began = parsed(scene.status.attempt_start_time)
    if has_trained(scene) or began is None or not all_placed(scene):
        return None
    noted = parsed(scene.status.workers.placed_since) if scene.status.workers else None
    placed = [pod.scheduled for pod in team(scene) if pod.scheduled is not None]
    latest = noted or max(began, *placed)
    return latest + timedelta(seconds=scene.spec.pre_running_deadline_seconds)


def all_placed(scene: Scene) -> bool:
    """Tell whether all pods of the attempt have a node."""
    return all(pod.scheduled is not None for pod in team(scene))


def never_stepped(scene: Scene) -> End | None:
    """Return the end of an attempt that made no step in time."""
    deadline = first_step_deadline(scene)
    if deadline is None or scene.now < deadline:
        return None
    why = why_not_running(scene)
    message = (
        f"no step within spec.preRunningDeadlineSeconds {scene.spec.pre_running_deadline_seconds} "
        "(raise it where that is too short): "
        f"{why.reason}: {why.message}"
    )
    reason = AttemptReason.PRE_RUNNING_DEADLINE_EXCEEDED
    held_up = next((pod for pod in slow(scene) if unfinished(pod)), scene.driver)
    return End(cause=Cause.FAILURE, reason=reason, message=message, pod=held_up)


def next_step_deadline(scene: Scene) -> datetime | None:
    """Return when a training attempt should have shown another step, or another activity.

    While it lacks workers it cannot, and is not held to be hung.
    """
    if scene.driver is None or not has_trained(scene) or lacks_workers(scene):
        return None
    changed = scene.evidence.progress_changed.get(scene.driver.uid)
    if changed is None:
        return None
    since = max(changed, complete_since(scene) or changed)
    return since + timedelta(seconds=scene.spec.progress_deadline_seconds)


def hung(scene: Scene) -> End | None:
    """Return the end of an attempt that makes no more steps, or whose driver does not answer."""
    deadline = next_step_deadline(scene)
    if deadline is None or scene.now < deadline:
        return None
    told = "no step" if scene.live is not None else "no answer of the driver"
    message = f"{told} for spec.progressDeadlineSeconds {scene.spec.progress_deadline_seconds}: it hangs"
    if scene.live is not None and scene.live.activity == "Starting":
        message += f" ({why_not_running(scene).message})"
    reason = AttemptReason.PROGRESS_DEADLINE_EXCEEDED
    return End(cause=Cause.FAILURE, reason=reason, message=message, pod=scene.driver)
