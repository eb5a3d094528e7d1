"""The plan of one job: which policy has the word. Each is asked in turn; the first that applies decides."""

from __future__ import annotations

from datetime import datetime

from seedbed_api.conditions import ConditionType, FailedReason, RunningReason
from seedbed_api.execution_settings import OPERATOR
from seedbed_api.timestamps import parsed
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.backends.backend_interface import Backends
from seedbed_operator.backends.pods_backend import BACKENDS
from seedbed_operator.job_observation import JobObservation, JobView, PodView, RejectedWrite
from seedbed_operator.plan import Plan, PlanBuilder
from seedbed_operator.planning.deadlines import active_deadline, active_for_too_long
from seedbed_operator.planning.diagnosis.api_rejections import refused
from seedbed_operator.planning.diagnosis.profile_problems import without_a_profile
from seedbed_operator.planning.internal_errors import healed, troubled, unwritten
from seedbed_operator.planning.job_context import Scene, scene_of
from seedbed_operator.planning.job_deletion import deleted, leaves_its_pods
from seedbed_operator.planning.kubernetes_events import events_between
from seedbed_operator.planning.name_conflicts import in_the_way
from seedbed_operator.planning.pod_cleanup import LOOK_AGAIN, cleared
from seedbed_operator.planning.rejected_writes import held_back, status_after, tries_again_at
from seedbed_operator.planning.running_attempt import attended
from seedbed_operator.planning.sidecar_containers import what_runs_on
from seedbed_operator.planning.start_attempt import begun
from seedbed_operator.planning.status_throttle import paced
from seedbed_operator.planning.suspension import resumed, suspended
from seedbed_operator.planning.terminal_state import (
    after_the_end,
    failed_at_once,
    is_final,
    verdict_of,
    wound_up,
)


def plan(observation: JobObservation, backends: Backends = BACKENDS) -> Plan:
    """Return what shall be done about a job, and the status that is true once it is done."""
    if is_none_of_ours(observation.job):
        return Plan()
    scene = scene_of(observation, backends)
    draft = paced(scene, held_back(scene, decided_for(scene, first_sight(scene))))
    return Plan(
        actions=draft.actions,
        status=draft.status,
        events=events_between(scene.status, draft.status),
        evidence_requests=draft.evidence_requests,
        requeue_at=draft.requeue_at,
    )


def plan_status_after(
    observation: JobObservation,
    plan: Plan,
    rejected_writes: tuple[RejectedWrite, ...],
    backends: Backends = BACKENDS,
) -> LifecycleStatus:
    """Return the status that is true when the actions of a plan stopped at the newest of the refusals."""
    return status_after(observation, plan, rejected_writes, first_sight(scene_of(observation, backends)))


def status_in_trouble(job: JobView, now: datetime, message: str) -> LifecycleStatus | None:
    """Return the status of a job at which the operator fails; None where the job is over or another's."""
    if is_none_of_ours(job) or job.deleting or is_final(job.status):
        return None
    return troubled(PlanBuilder(now=now, generation=job.generation, status=job.status), message).status


def status_unwritten(job: JobView, now: datetime, message: str) -> LifecycleStatus | None:
    """Return the status of a job for which a write comes to nothing again and again; None as above."""
    if is_none_of_ours(job) or is_final(job.status):
        return None
    return unwritten(PlanBuilder(now=now, generation=job.generation, status=job.status), message).status


def is_none_of_ours(job: JobView) -> bool:
    """Tell whether another controller takes care of the job, or nobody is to take care of its pods."""
    manager = job.spec.managed_by if job.spec else job.managed_by
    return leaves_its_pods(job) or (manager or OPERATOR) != OPERATOR


def first_sight(scene: Scene) -> PlanBuilder:
    """Return the draft to begin with; a job that was never seen gets its first conditions."""
    status = scene.status.model_copy(update={"observed_generation": scene.job.generation})
    draft = PlanBuilder(now=scene.now, generation=scene.job.generation, status=status)
    if scene.condition(ConditionType.RUNNING) is None:
        return draft.waits(RunningReason.PENDING, "seen by the operator")
    return healed(scene, draft)


def decided_for(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Return the finished draft."""
    verdict = verdict_of(scene.status)
    if is_final(scene.status):
        return after_the_end(scene, draft)
    if scene.job.deleting:
        return deleted(scene, draft)
    if verdict is not None:
        return wound_up(scene, draft, verdict)
    if scene.job.spec is None:
        message = scene.job.spec_error or "the spec is not valid"
        return failed_at_once(scene, draft, FailedReason.INVALID_SPEC, message)
    if scene.has_open_attempt:
        return attended(scene, draft)
    return between_attempts(scene, draft)


def between_attempts(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Suspend, clear away, back off, or begin the next attempt."""
    if scene.spec.suspend:
        return suspended(scene, draft)
    draft = resumed(scene, draft)
    if message := active_for_too_long(scene, draft.status):
        return failed_at_once(scene, draft, FailedReason.DEADLINE_EXCEEDED, message)
    draft = draft.wakes(active_deadline(scene, draft.status))
    retry = parsed(draft.status.retry_time)
    backs_off = retry is not None and scene.now < retry
    if left := scene.remaining():
        draft = cleared(scene, draft).wakes(retry if backs_off else None)
        return draft if backs_off else _waiting_for(left, draft)
    if backs_off:
        return draft.wakes(retry)
    return _if_nothing_is_in_the_way(scene, draft)


def _waiting_for(left: tuple[PodView, ...], draft: PlanBuilder) -> PlanBuilder:
    names = ", ".join(pod.name for pod in left[:3])
    message = (
        f"waiting for pods of an earlier attempt to be gone: {names}; one that stays is held by a finalizer"
    ) + what_runs_on(left)
    return draft.waits(RunningReason.TERMINATING_OLD_PODS, message)


def _if_nothing_is_in_the_way(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    if conflict := in_the_way(scene):
        return draft.waits(conflict.reason, conflict.message).wakes(scene.now + LOOK_AGAIN)
    if again := tries_again_at(scene):
        why = refused(scene.observation.rejected_writes[-1])
        return draft.waits(why.reason, why.message).wakes(again)
    return _as_the_profile_allows(scene, draft)


def _as_the_profile_allows(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    if problem := without_a_profile(scene):
        if problem.reason == FailedReason.INVALID_SPEC:  # no profile could allow it
            return failed_at_once(scene, draft, FailedReason.INVALID_SPEC, problem.message)
        waits = problem.reason == RunningReason.PROFILE_NOT_FOUND
        tell = draft.waits if waits else draft.stalls
        return tell(problem.reason, problem.message)
    profile, backend = scene.profile, scene.backend
    assert profile is not None
    assert backend is not None
    return begun(scene, draft, profile, backend)
