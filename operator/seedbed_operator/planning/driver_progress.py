"""Copy the driver's progress and outcome into the status: pinned once, or the newest value."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seedbed_api.pod_contract.driver_messages import LiveProgress, Outcome
from seedbed_api.run_identity import ExpectedIdentity
from seedbed_api.sweepjob_status import SweepJobStatus, SweepProgress, Trial, TrialCounts
from seedbed_api.timestamps import parse_time
from seedbed_api.trainingjob_status import (
    DatasetStatus,
    Environment,
    LifecycleStatus,
    ObjectStatus,
    Progress,
    TrainingJobStatus,
    WorkerCounts,
)
from seedbed_operator.plan import PlanBuilder


def record_outcome(
    builder: PlanBuilder, outcome: Outcome | None, *, since: datetime | None = None
) -> PlanBuilder:
    """Record the driver's outcome; `since` is the start of its process, by the clock of its node."""
    if outcome is None:
        return builder
    builder = _mark_progressed(builder, outcome, since)
    builder = _pin_run(builder, outcome.run_id, outcome.dataset, outcome.environment_class)
    status = builder.status
    return builder.set_status(
        timings=outcome.timings or status.timings, **_fields_of_outcome(status, outcome)
    )


def record_progress(
    builder: PlanBuilder, live: LiveProgress, *, goes_on: bool, since: datetime | None = None
) -> PlanBuilder:
    """Record live progress; steps do not decrease while a group of workers runs.

    `since` is the start of the driver's process, by the clock of its node.
    """
    builder = _mark_progressed(builder, live, since)
    builder = _pin_run(builder, live.run_id, live.dataset, live.environment_class)
    status = builder.status
    return builder.set_status(
        timings=live.timings or status.timings,
        workers=_merge_worker_counts(live.workers, status.workers),
        **_fields_of_progress(status, live, goes_on=goes_on),
    )


_OPERATOR_FIELDS = ("replaced", "placed_since", "lacking_since", "complete_since")
"""Worker fields that the operator sets itself."""


def _merge_worker_counts(report: WorkerCounts | None, known: WorkerCounts | None) -> WorkerCounts | None:
    """Return the driver's counts with the operator's own fields."""
    if report is None or known is None:
        return report or known
    return report.model_copy(update={name: getattr(known, name) for name in _OPERATOR_FIELDS})


def clear_estimate(builder: PlanBuilder) -> PlanBuilder:
    """Clear the estimated completion time of an attempt that has ended."""
    status = builder.status
    if not isinstance(status, TrainingJobStatus) or status.progress is None:
        return builder
    return builder.set_status(progress=status.progress.model_copy(update={"estimated_completion_time": None}))


def expected_identity(status: LifecycleStatus) -> ExpectedIdentity:
    """Return what the next attempt must find again."""
    return ExpectedIdentity(
        dataset_digest=status.dataset.digest if status.dataset else None,
        run_id=status.identity,
        environment_class=status.environment.class_ if status.environment else None,
    )


def _mark_progressed(
    builder: PlanBuilder, report: Outcome | LiveProgress, since: datetime | None
) -> PlanBuilder:
    """Record that the attempt has stored something that outlasts it."""
    return (
        builder.set_status(attempt_progressed=True)
        if _stored_more(builder.status, report, since)
        else builder
    )


def _stored_more(status: LifecycleStatus, report: Outcome | LiveProgress, since: datetime | None) -> bool:
    """Return whether more is stored than before: a higher step, or a later time of the same node.

    Less than before is possible: the output has changed, or a checkpoint was damaged.
    """
    if isinstance(status, TrainingJobStatus):
        known = status.checkpoint.step if status.checkpoint else 0
        return report.checkpoint is not None and report.checkpoint.step > known
    kept = parse_time(report.sweep.kept_time) if report.sweep else None
    return kept is not None and (since is None or kept >= since.replace(microsecond=0))


def _fields_of_outcome(status: LifecycleStatus, outcome: Outcome) -> dict[str, Any]:
    match status:
        case TrainingJobStatus():
            return {
                "progress": outcome.progress or status.progress,
                "checkpoint": outcome.checkpoint or status.checkpoint,
                "metrics": outcome.metrics or status.metrics,
                "model": outcome.model or status.model,
                "receipt": _unsigned(outcome.receipt) or status.receipt,
            }
        case SweepJobStatus():
            return _sweep_fields(status, outcome.sweep)
    raise AssertionError(type(status))


def _fields_of_progress(status: LifecycleStatus, live: LiveProgress, *, goes_on: bool) -> dict[str, Any]:
    match status:
        case TrainingJobStatus():
            forward = _newer_progress(status.progress, live.progress)
            return {
                "progress": forward if goes_on else live.progress or status.progress,
                "checkpoint": live.checkpoint or status.checkpoint,
                "metrics": live.metrics or status.metrics,
            }
        case SweepJobStatus():
            known, report = status.trials, live.sweep
            behind = (
                known is not None
                and report is not None
                and _finished_trials(report.trials) < _finished_trials(known)
            )
            return {} if behind else _sweep_fields(status, report)
    raise AssertionError(type(status))


def _sweep_fields(status: SweepJobStatus, report: SweepProgress | None) -> dict[str, Any]:
    """Return the trial fields once the number of trials is known."""
    if report is None or report.trials.finished is None:
        return {}
    return {
        "trials": report.trials,
        "best_trial": report.best_trial or status.best_trial,
        "top_trials": _complete_rows(status.top_trials, report.top_trials),
        "ledger": _unsigned(report.ledger) or status.ledger,
        "last_progress_time": report.kept_time or status.last_progress_time,
    }


def _unsigned(report: ObjectStatus | None) -> ObjectStatus | None:
    """Return what a driver reports, without anything that it calls a signature."""
    return None if report is None else ObjectStatus(uri=report.uri, digest=report.digest)


def _finished_trials(trials: TrialCounts) -> int:
    """Return the number of finished trials; a restarted driver has to find them first."""
    return trials.succeeded + trials.pruned + trials.failed


def _complete_rows(before: tuple[Trial, ...], now: tuple[Trial, ...]) -> tuple[Trial, ...]:
    """Return the new rows; the old ones where the new ones are only a truncated prefix."""
    same = [row.index for row in before[: len(now)]] == [row.index for row in now]
    return before if same and before else now


def _pin_run(
    builder: PlanBuilder, identity: str | None, dataset: DatasetStatus | None, environment_class: str | None
) -> PlanBuilder:
    status = builder.status
    environment = status.environment or Environment()
    if environment.class_ is None and environment_class is not None:
        environment = environment.model_copy(update={"class_": environment_class})
    return builder.set_status(
        dataset=status.dataset or dataset,
        environment=environment if environment != Environment() else None,
        **status.identified(identity),
    )


def _newer_progress(before: Progress | None, now: Progress | None) -> Progress | None:
    if before is None or now is None:
        return now or before
    return now if now.step >= before.step else before
