"""Throttle status writes: progress alone is written at most every ten seconds."""

from __future__ import annotations

from datetime import timedelta

from seedbed_api.conditions import Condition, ConditionType
from seedbed_api.trainingjob_status import LifecycleStatus, WorkerCounts
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.job_context import JobContext

MIN_WRITE_INTERVAL = timedelta(seconds=10)
_OF_A_RUN = ("progress", "metrics", "checkpoint")
_OF_A_SWEEP = ("trials", "best_trial", "top_trials", "last_progress_time")
_PROGRESS_FIELDS = ("timings", *_OF_A_RUN, *_OF_A_SWEEP)
"""Of both kinds of jobs."""


def throttle_status(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Keep the old status where only progress has changed and the last write is recent."""
    written = context.observation.status_written
    if written is None or context.now >= written + MIN_WRITE_INTERVAL or builder.status == context.status:
        return builder
    if _without_progress(builder.status) != _without_progress(context.status):
        return builder
    names = (*_progress_fields(builder.status), "workers", "conditions")
    return builder.set_status(**{name: getattr(context.status, name) for name in names}).requeue(
        written + MIN_WRITE_INTERVAL
    )


def _progress_fields(status: LifecycleStatus) -> tuple[str, ...]:
    return tuple(name for name in _PROGRESS_FIELDS if name in type(status).model_fields)


def _without_progress(status: LifecycleStatus) -> LifecycleStatus:
    conditions = tuple(map(_without_activity, status.conditions))
    none = {name: type(status).model_fields[name].default for name in _progress_fields(status)}
    return status.model_copy(
        update={**none, "workers": _without_counts(status.workers), "conditions": conditions}
    )


def _without_counts(workers: WorkerCounts | None) -> WorkerCounts | None:
    """Return the worker fields that are no progress: replaced workers, and times."""
    if workers is None:
        return None
    kept = workers.model_copy(update={"ready": 0, "desired": 0, "shown": "0/0"})
    return None if kept == WorkerCounts(ready=0, desired=0) else kept


def _without_activity(condition: Condition) -> Condition:
    """Return the Running condition without the current activity."""
    if condition.type != ConditionType.RUNNING or condition.status != "True":
        return condition
    return condition.model_copy(update={"reason": "Training", "message": ""})
