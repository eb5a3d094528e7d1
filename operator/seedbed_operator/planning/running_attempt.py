"""An attempt is under way: hear its driver, keep its workers, and see whether it has ended or must end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from seedbed_api.conditions import ConditionType, FailedReason, RunningReason
from seedbed_api.timestamps import written
from seedbed_api.trainingjob_status import WorkerCounts
from seedbed_operator.job_observation import PodView
from seedbed_operator.plan import Create, EvidenceRequest, PlanBuilder
from seedbed_operator.planning.attempt_outcome import Cause, End, end_of
from seedbed_operator.planning.deadlines import (
    active_deadline,
    active_for_too_long,
    all_placed,
    first_step_deadline,
    hung,
    never_stepped,
    next_step_deadline,
    with_clock,
)
from seedbed_operator.planning.diagnosis import Explanation
from seedbed_operator.planning.diagnosis.profile_problems import not_allowed, without_a_profile
from seedbed_operator.planning.diagnosis.startup_delay import (
    SOON,
    events_needed,
    slow,
    team,
    why_not_running,
    why_pods_wait,
)
from seedbed_operator.planning.driver_progress import told_by_driver
from seedbed_operator.planning.failure_accounting import accounted
from seedbed_operator.planning.gang_scheduling import events_needed_for_patience, given_back, gives_back_at
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.job_phase import (
    has_trained,
    is_finishing,
    lacks_workers,
    lacks_workers_since,
    says_it_trains,
)
from seedbed_operator.planning.pod_cleanup import cleared
from seedbed_operator.planning.pod_state import is_lost, is_over, runs
from seedbed_operator.planning.ray_token_secret import token_lost
from seedbed_operator.planning.rejected_writes import tries_again_at
from seedbed_operator.planning.sidecar_containers import container_to_read, has_said_something
from seedbed_operator.planning.start_attempt import attempt_of, image_of, recorded
from seedbed_operator.planning.suspension import is_stopping, stopped
from seedbed_operator.planning.template_drift import counts_later, is_outdated, outgrown
from seedbed_operator.planning.terminal_state import failed_at_once
from seedbed_operator.planning.worker_count import free_seats, missing_workers, ranks_at_first, ranks_at_most
from seedbed_operator.planning.worker_replacement import (
    crash_loop,
    forget_the_oldest,
    may_replace_at,
    no_more_are_replaced,
    replaced,
    replaced_too_often,
)

LOOK_EVERY = timedelta(seconds=10)
SILENCE = timedelta(seconds=60)
REPLACED_WITHIN = timedelta(seconds=30)
"""A lost worker that is replaced sooner is no interruption worth a word; later the job does not run."""
_NOT_WORTH_A_LOG = frozenset({Cause.DONE, Cause.STOPPED, Cause.GIVEN_BACK})
_REASONS_TO_END: tuple[Callable[[Scene], End | None], ...] = (
    token_lost,
    given_back,
    never_stepped,
    hung,
    crash_loop,
    replaced_too_often,
    outgrown,
)


def attended(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Return the plan for an open attempt."""
    driver = scene.driver
    if driver is not None:
        draft = with_clock(scene, recorded(scene, draft, driver))
    if driver is None or is_over(driver, scene.now):
        return _ended(scene, draft, end_of(scene, driver))
    if is_stopping(scene):
        return stopped(scene, draft)
    if driver.deleting:
        message = f"driver pod {driver.name} is being deleted by somebody else; it checkpoints first"
        return draft.waits(RunningReason.STOPPING, message).wakes(scene.now + LOOK_EVERY)
    if evidence_requests := _needs(scene, driver):
        return draft.asks(*evidence_requests).wakes(scene.now + LOOK_EVERY)
    draft = _heard(scene, draft)
    if late := active_for_too_long(scene, draft.status):
        return failed_at_once(scene, draft, FailedReason.DEADLINE_EXCEEDED, late)
    for must_end in _REASONS_TO_END:
        if end := must_end(scene):
            return _ended(scene, draft, end)
    return _going_on(scene, draft, driver)


def _ended(scene: Scene, draft: PlanBuilder, end: End) -> PlanBuilder:
    if is_stopping(scene) and end.cause not in (Cause.DONE, Cause.USER):
        end = End(
            cause=Cause.STOPPED, reason="Suspended", message="its pods are removed", outcome=end.outcome
        )
    evidence_requests = _log_of(scene, end)
    return (
        draft.asks(*evidence_requests).wakes(scene.now) if evidence_requests else accounted(scene, draft, end)
    )


def _log_of(scene: Scene, end: End) -> tuple[EvidenceRequest, ...]:
    pod = end.pod
    if pod is None or is_lost(pod, scene.now) or end.cause in _NOT_WORTH_A_LOG:
        return ()
    if pod.uid in scene.evidence.log_tails or not has_said_something(pod):
        return ()
    return (EvidenceRequest(kind="LogTail", pod=pod.name, pod_uid=pod.uid, container=container_to_read(pod)),)


def _needs(scene: Scene, driver: PodView) -> tuple[EvidenceRequest, ...]:
    """Return what has to be asked before anything can be decided, all at once."""
    evidence_requests = {
        need.pod_uid: need for need in (*events_needed(scene), *events_needed_for_patience(scene))
    }
    asked = tuple(evidence_requests.values())
    if driver.phase != "Running" or driver.ip is None or not _is_to_be_asked(scene, driver):
        return asked
    return (EvidenceRequest(kind="Progress", pod=driver.name, pod_uid=driver.uid, address=driver.ip), *asked)


def _is_to_be_asked(scene: Scene, driver: PodView) -> bool:
    """Tell whether a driver must be asked: once it is ready, and before its silence ends an attempt."""
    if driver.uid not in scene.evidence.progress:
        return True
    asked = scene.evidence.progress_asked.get(driver.uid)
    if asked is not None and driver.ready_since is not None and asked < driver.ready_since:
        return True
    deadlines = (first_step_deadline(scene), next_step_deadline(scene))
    over = [deadline for deadline in deadlines if deadline is not None and scene.now >= deadline]
    return any(asked is None or asked < deadline for deadline in over)


def _heard(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    if scene.live is None:
        return draft
    since = scene.driver.started if scene.driver else None
    return told_by_driver(draft, scene.live, goes_on=scene.is_true(ConditionType.RUNNING), since=since)


def _going_on(scene: Scene, draft: PlanBuilder, driver: PodView) -> PlanBuilder:
    if scene.drivers[0] is not driver:
        draft = cleared(scene, draft, up_to=scene.attempt - 1)
    draft = forget_the_oldest(scene, draft)
    draft = _with_workers(scene, draft, driver)
    draft = _with_counts(scene, draft)
    draft = draft.wakes(*_alarms(scene, driver, active_deadline(scene, draft.status)))
    if lacks_workers(scene):
        return _lacking(scene, draft)
    if has_trained(scene):
        return _training(scene, draft)
    return _waiting(scene, draft, why_not_running(scene))


def _waiting(scene: Scene, draft: PlanBuilder, why: Explanation) -> PlanBuilder:
    return draft.waits(why.reason, _joined(why.message, counts_later(scene)))


def _lacking(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Say why an attempt that has trained lacks workers; where that lasts, it does not run."""
    why, since = why_not_running(scene), lacks_workers_since(scene)
    assert since is not None
    due = since + REPLACED_WITHIN
    if scene.now >= due and not says_it_trains(scene):
        return _waiting(scene, draft, why)
    told = _joined(f"workers are being replaced: {why.message}", counts_later(scene))
    return draft.runs(RunningReason.TRAINING, told).wakes(due if scene.now < due else None)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _alarms(scene: Scene, driver: PodView, due: datetime | None) -> list[datetime]:
    """Return the moments to come at which time alone changes the plan."""
    pending = [pod.scheduled + SOON for pod in team(scene) if pod.phase == "Pending" and pod.scheduled]
    looks = driver.phase == "Running" or slow(scene)
    moments = (
        scene.now + LOOK_EVERY if looks else None,
        *pending,
        gives_back_at(scene),
        first_step_deadline(scene),
        next_step_deadline(scene),
        due,
        tries_again_at(scene),
        may_replace_at(scene),
    )
    return [moment for moment in moments if moment is not None and moment > scene.now]


def _training(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Say that it trains; also while a driver does not answer, until it is held to be hung."""
    live = scene.live
    if live is None:
        return _silent(scene, draft)
    if live.activity == "Starting":
        return _grouped_anew(draft, counts_later(scene))
    waiting = why_pods_wait(scene) or _why_none_are_made(scene)
    told = f"goes on with fewer workers: {waiting.message}" if waiting else _without_growth(scene)
    reason = _ACTIVITIES.get(live.activity, RunningReason.TRAINING)
    return draft.runs(reason, _joined(told, counts_later(scene)))


def _grouped_anew(draft: PlanBuilder, *more: str) -> PlanBuilder:
    return draft.runs(RunningReason.TRAINING, _joined("its workers are being grouped anew", *more))


def _why_none_are_made(scene: Scene) -> Explanation | None:
    """Return why an attempt that could have more workers gets none."""
    return without_a_profile(scene) if missing_workers(scene, ranks=ranks_at_most(scene)) else None


def _without_growth(scene: Scene) -> str:
    """Say so where workers are missing that only the next attempt can have."""
    if not (is_outdated(scene) and missing_workers(scene, ranks=ranks_at_most(scene))):
        return ""
    return "goes on with the workers it has: its profile has changed, which counts from the next attempt on"


def _silent(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Say so when a driver has not answered for a while; a scrape may be missed."""
    held_hung_at = next_step_deadline(scene)
    changed = scene.evidence.progress_changed.get(scene.driver.uid) if scene.driver else None
    if held_hung_at is None or changed is None or scene.now < changed + SILENCE:
        return draft if scene.is_true(ConditionType.RUNNING) else _grouped_anew(draft)
    message = f"the driver does not answer; unless it does, the attempt ends at {written(held_hung_at)}"
    return draft.runs(RunningReason.TRAINING, message)


_ACTIVITIES = {
    "Evaluating": RunningReason.EVALUATING,
    "Checkpointing": RunningReason.CHECKPOINTING,
}


def _with_workers(scene: Scene, draft: PlanBuilder, driver: PodView) -> PlanBuilder:
    """Create the workers that are missing; with the first of them whatever a crash may have left out."""
    profile, backend = scene.profile, scene.backend
    if profile is None or backend is None or is_finishing(scene) or _must_pause(scene):
        return draft
    if is_outdated(scene):
        return draft
    missing = missing_workers(scene, ranks=_ranks_wanted(scene))
    if (scene.crew and not missing) or _not_allowed(scene):
        return draft
    attempt = attempt_of(
        draft,
        scene.attempt,
        image=image_of(scene, profile),
        workers=missing,
        driver=driver,
        gang_size=driver.gang_size or 0,
        alone=missing[free_seats(scene) :],
    )
    children = backend.children(scene.job, profile, attempt)
    return draft.does(*(child for child in children if _is_wanted(scene, child, driver)))


def _ranks_wanted(scene: Scene) -> int:
    grows = has_trained(scene) and not no_more_are_replaced(scene)
    return ranks_at_most(scene) if grows else ranks_at_first(scene)


def _not_allowed(scene: Scene) -> Explanation | None:
    """Return what the job may not have: spec and profile may have changed since the attempt began."""
    if scene.profile is None or scene.profile.spec is None:
        return None
    return not_allowed(scene.spec, scene.profile.spec)


def _must_pause(scene: Scene) -> bool:
    """Tell whether it is too early to create workers: some were refused, or have crashed just now."""
    replaced_at = may_replace_at(scene)
    return tries_again_at(scene) is not None or (replaced_at is not None and scene.now < replaced_at)


def _is_wanted(scene: Scene, child: Create, driver: PodView) -> bool:
    if child.kind == "Pod":
        return child.name != driver.name
    return not scene.crew


def _with_counts(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    desired = _ranks_wanted(scene)
    running = sum(runs(pod, scene.now) for pod in scene.crew) * scene.workers_per_pod
    known = (scene.live and scene.live.workers) or scene.status.workers
    told = known.ready if known else 0
    counts = WorkerCounts(
        ready=min(told, running),
        desired=desired,
        replaced=replaced(scene, draft, desired),
        **_lack_noted(scene),
    )
    return draft.tells(workers=counts)


def _lack_noted(scene: Scene) -> dict[str, str | None]:
    """Return since when pods are placed, lacking, or complete again: this must outlast the operator."""
    before = scene.status.workers or WorkerCounts(ready=0, desired=0)
    if not has_trained(scene):
        since = before.placed_since or written(scene.now)
        return {"placed_since": since if all_placed(scene) else None}
    if lacks_workers(scene):
        return {"lacking_since": before.lacking_since or written(scene.now)}
    if before.lacking_since is not None:
        return {"complete_since": written(scene.now)}
    return {"complete_since": before.complete_since}
