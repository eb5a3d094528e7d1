"""Workers that end while their driver goes on: replaced, slower each time, and not without bound."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from seedbed_api.conditions import AttemptReason
from seedbed_operator.job_observation import PodView
from seedbed_operator.plan import Create, Delete, PlanBuilder
from seedbed_operator.planning.attempt_outcome import (
    Cause,
    End,
    end_of_worker,
    ended_at,
    out_of_memory,
    was_out_of_memory,
)
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.pod_state import has_ended
from seedbed_operator.planning.restart_backoff import BACKOFF
from seedbed_operator.planning.sidecar_containers import exit_code_of, failed_in_its_place, title
from seedbed_operator.planning.worker_count import pods_for, present, ranks_at_first, ranks_at_most

WINDOW = timedelta(seconds=600)
"""Ends of workers that are further apart are no loop of crashes."""
MOST_CRASHES = 4
MOST_OUT_OF_MEMORY = 2
"""A worker that ran out of memory will do so again: it holds the same leaves."""
MOST_REPLACED = 10
"""Replacements in an attempt, per worker pod and per attempt that may fail (backoffLimit + 1)."""
MOST_KEPT = 4
"""Ended workers that are kept, for whoever wants to look at them, until the attempt ends."""


def over(scene: Scene) -> tuple[PodView, ...]:
    """Return the workers that have ended, the newest last."""
    ended = (pod for pod in scene.crew if has_ended(pod))
    return tuple(sorted(ended, key=lambda pod: (ended_at(pod), pod.index)))


def crashed(scene: Scene) -> tuple[PodView, ...]:
    """Return the workers that have ended and were not taken away, the newest last."""
    return tuple(pod for pod in over(scene) if end_of_worker(pod).cause is not Cause.PREEMPTION)


def recent(scene: Scene) -> tuple[PodView, ...]:
    """Return the workers that crashed lately."""
    return tuple(pod for pod in crashed(scene) if ended_at(pod) + WINDOW > scene.now)


def may_replace_at(scene: Scene) -> datetime | None:
    """Return when the back-off of replacements is over; None where there is none."""
    crashes = recent(scene)
    if not crashes:
        return None
    return ended_at(crashes[-1]) + timedelta(seconds=BACKOFF.delay(len(crashes)))


def crash_loop(scene: Scene) -> End | None:
    """Return the end of an attempt whose workers crash again and again."""
    crashes = recent(scene)
    starved = [pod for pod in crashes if was_out_of_memory(pod)]
    if len(starved) >= MOST_OUT_OF_MEMORY:
        return out_of_memory(starved[-1], None)
    if len(crashes) < MOST_CRASHES:
        return None
    return _as_they_ended(crashes)


def _as_they_ended(crashes: tuple[PodView, ...]) -> End:
    """Return the end by workers of which each has one: the user's where enough of them are."""
    ends = [end_of_worker(pod) for pod in crashes]
    failed = [end for end in ends if end.cause is Cause.FAILURE]
    others = [end for end in ends if end.cause is not Cause.FAILURE]
    blamed = failed if len(failed) >= MOST_CRASHES else others
    last, blameless = blamed[-1], all(end.blameless for end in blamed)
    message = _told(crashes, last)
    return replace(last, reason=AttemptReason.WORKERS_LOST, message=message, blameless=blameless)


def _told(crashes: tuple[PodView, ...], last: End) -> str:
    pod = last.pod
    code = exit_code_of(pod) if pod else None
    culprit = failed_in_its_place(pod) if pod else None
    of = f" of {title(pod, culprit)}" if pod and culprit else ""
    how = last.message if code is None else f"the last with exit code {code}{of}"
    return f"{len(crashes)} workers ended within {WINDOW.seconds} s, {how}"


def forget_the_oldest(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Delete ended workers beyond those that are kept."""
    surplus = [pod for pod in over(scene)[:-MOST_KEPT] if not pod.deleting]
    return draft.does(*(Delete(kind="Pod", name=pod.name, uid=pod.uid) for pod in surplus))


def replaced(scene: Scene, draft: PlanBuilder, desired: int) -> int | None:
    """Return how many worker pods of the attempt were replaced, those that the draft creates included."""
    before = scene.status.workers
    grows_by = pods_for(scene, desired) - pods_for(scene, before.desired) if before else 0
    created = sum(isinstance(action, Create) and action.kind == "Pod" for action in draft.actions)
    count = _known(scene) + max(created - max(grows_by, 0), 0)
    return count or None


def most_replaced(scene: Scene) -> int:
    """Return after how many replacements the attempt ends."""
    return MOST_REPLACED * (scene.spec.backoff_limit + 1) * pods_for(scene, ranks_at_most(scene))


def no_more_are_replaced(scene: Scene) -> bool:
    """Tell whether the attempt has used up its replacements: it goes on while its minimum is there."""
    return _known(scene) >= most_replaced(scene)


def _known(scene: Scene) -> int:
    workers = scene.status.workers
    return (workers.replaced or 0) if workers else 0


def replaced_too_often(scene: Scene) -> End | None:
    """Return the end of an attempt whose workers are taken away again and again."""
    if not no_more_are_replaced(scene) or not _lacks_one(scene):
        return None
    message = (
        f"{_known(scene)} worker pods of the attempt were taken away or lost, and replaced; it begins anew"
    )
    return End(cause=Cause.PREEMPTION, reason=AttemptReason.PREEMPTED, message=message, pod=_taken(scene))


def _lacks_one(scene: Scene) -> bool:
    return len(present(scene)) < pods_for(scene, ranks_at_first(scene))


def _taken(scene: Scene) -> PodView | None:
    return next((pod for pod in reversed(over(scene)) if pod.disruption), None)
