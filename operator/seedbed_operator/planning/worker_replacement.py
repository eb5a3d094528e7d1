"""Replace workers that end while the driver runs, with back-off and limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from seedbed_api.conditions import AttemptReason
from seedbed_operator.job_observation import PodView
from seedbed_operator.plan import Create, Delete, PlanBuilder
from seedbed_operator.planning.attempt_outcome import (
    AttemptOutcome,
    OutcomeCause,
    ended_at,
    out_of_memory_outcome,
    outcome_of_worker,
    was_out_of_memory,
)
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_state import has_ended
from seedbed_operator.planning.restart_backoff import BACKOFF
from seedbed_operator.planning.sidecar_containers import container_title, failed_before_start, pod_exit_code
from seedbed_operator.planning.worker_count import active_workers, max_ranks, min_ranks, pods_for

CRASH_WINDOW = timedelta(seconds=600)
"""Crashes that are further apart are no crash loop."""
MAX_CRASHES = 4
MAX_OUT_OF_MEMORY = 2
"""A worker that ran out of memory will do so again."""
MAX_REPLACED = 10
"""Replacements in an attempt, per worker pod and per attempt that may fail (backoffLimit + 1)."""
MAX_ENDED_WORKERS = 4
"""Ended workers that stay until the attempt ends, for inspection."""


def ended_workers(context: JobContext) -> tuple[PodView, ...]:
    """Return the workers that have ended, the newest last."""
    ended = (pod for pod in context.attempt_workers if has_ended(pod))
    return tuple(sorted(ended, key=lambda pod: (ended_at(pod), pod.index)))


def crashed_workers(context: JobContext) -> tuple[PodView, ...]:
    """Return the workers that have ended and were not preempted, the newest last."""
    return tuple(
        pod for pod in ended_workers(context) if outcome_of_worker(pod).cause is not OutcomeCause.PREEMPTION
    )


def recent_crashes(context: JobContext) -> tuple[PodView, ...]:
    """Return the workers that crashed recently."""
    return tuple(pod for pod in crashed_workers(context) if ended_at(pod) + CRASH_WINDOW > context.now)


def replacement_allowed_at(context: JobContext) -> datetime | None:
    """Return the end of the replacement back-off; None without one."""
    crashes = recent_crashes(context)
    if not crashes:
        return None
    return ended_at(crashes[-1]) + timedelta(seconds=BACKOFF.delay(len(crashes)))


def crash_loop_outcome(context: JobContext) -> AttemptOutcome | None:
    """Return the outcome of an attempt in a crash loop."""
    crashes = recent_crashes(context)
    starved = [pod for pod in crashes if was_out_of_memory(pod)]
    if len(starved) >= MAX_OUT_OF_MEMORY:
        return out_of_memory_outcome(starved[-1], None)
    if len(crashes) < MAX_CRASHES:
        return None
    return _outcome_of_crashes(crashes)


def _outcome_of_crashes(crashes: tuple[PodView, ...]) -> AttemptOutcome:
    """Return the outcome for several crashed workers: a failure where enough of them failed by themselves."""
    ends = [outcome_of_worker(pod) for pod in crashes]
    failed = [end for end in ends if end.cause is OutcomeCause.FAILURE]
    others = [end for end in ends if end.cause is not OutcomeCause.FAILURE]
    blamed = failed if len(failed) >= MAX_CRASHES else others
    last, blameless = blamed[-1], all(end.unavoidable for end in blamed)
    message = _crash_loop_message(crashes, last)
    return replace(last, reason=AttemptReason.WORKERS_LOST, message=message, unavoidable=blameless)


def _crash_loop_message(crashes: tuple[PodView, ...], last: AttemptOutcome) -> str:
    pod = last.pod
    code = pod_exit_code(pod) if pod else None
    culprit = failed_before_start(pod) if pod else None
    of = f" of {container_title(pod, culprit)}" if pod and culprit else ""
    how = last.message if code is None else f"the last with exit code {code}{of}"
    return f"{len(crashes)} workers ended within {CRASH_WINDOW.seconds} s, {how}"


def delete_oldest_ended_workers(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Delete ended workers beyond MAX_ENDED_WORKERS."""
    surplus = [pod for pod in ended_workers(context)[:-MAX_ENDED_WORKERS] if not pod.deleting]
    return builder.add_actions(*(Delete(kind="Pod", name=pod.name, uid=pod.uid) for pod in surplus))


def count_replaced_workers(context: JobContext, builder: PlanBuilder, desired: int) -> int | None:
    """Return the replaced worker pods of the attempt, including those the plan creates."""
    before = context.status.workers
    grows_by = pods_for(context, desired) - pods_for(context, before.desired) if before else 0
    created = sum(isinstance(action, Create) and action.kind == "Pod" for action in builder.actions)
    count = _replaced_so_far(context) + max(created - max(grows_by, 0), 0)
    return count or None


def replacement_limit(context: JobContext) -> int:
    """Return the replacements after which the attempt ends."""
    return MAX_REPLACED * (context.spec.backoff_limit + 1) * pods_for(context, max_ranks(context))


def replacements_used_up(context: JobContext) -> bool:
    """Return whether the replacements are used up; the attempt continues while it has its minimum."""
    return _replaced_so_far(context) >= replacement_limit(context)


def _replaced_so_far(context: JobContext) -> int:
    workers = context.status.workers
    return (workers.replaced or 0) if workers else 0


def replacement_limit_outcome(context: JobContext) -> AttemptOutcome | None:
    """Return the outcome of an attempt that has used up its replacements and lacks workers."""
    if not replacements_used_up(context) or not _lacks_minimum(context):
        return None
    count = _replaced_so_far(context)
    message = f"{count} worker pods of the attempt were preempted or lost and replaced; a new attempt starts"
    return AttemptOutcome(
        cause=OutcomeCause.PREEMPTION,
        reason=AttemptReason.PREEMPTED,
        message=message,
        pod=_last_preempted_worker(context),
    )


def _lacks_minimum(context: JobContext) -> bool:
    return len(active_workers(context)) < pods_for(context, min_ranks(context))


def _last_preempted_worker(context: JobContext) -> PodView | None:
    return next((pod for pod in reversed(ended_workers(context)) if pod.disruption), None)
