"""What the driver tells of itself, in the status: pinned once, or the newest word. Each kind has a part."""

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
    Progress,
    TrainingJobStatus,
    WorkerCounts,
)
from seedbed_operator.plan import PlanBuilder


def record_outcome(
    builder: PlanBuilder, outcome: Outcome | None, *, since: datetime | None = None
) -> PlanBuilder:
    """Take over the driver's last word; `since` is when its process began, by the clock of its machine."""
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
    """Take over live progress; while a group of workers goes on, steps do not go backwards.

    `since` is when the driver's process began, by the clock of its machine.
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
"""What of the workers a driver does not tell."""


def _merge_worker_counts(told: WorkerCounts | None, known: WorkerCounts | None) -> WorkerCounts | None:
    """Return the driver's counts beside what the operator notes of workers."""
    if told is None or known is None:
        return told or known
    return told.model_copy(update={name: getattr(known, name) for name in _OPERATOR_FIELDS})


def clear_estimate(builder: PlanBuilder) -> PlanBuilder:
    """Forget when the training will be over: it was told at the pace of an attempt that has ended."""
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
    builder: PlanBuilder, told: Outcome | LiveProgress, since: datetime | None
) -> PlanBuilder:
    """Note that the attempt has kept something that outlasts it."""
    return (
        builder.set_status(attempt_progressed=True) if _stored_more(builder.status, told, since) else builder
    )


def _stored_more(status: LifecycleStatus, told: Outcome | LiveProgress, since: datetime | None) -> bool:
    """Tell whether more is kept than was told before: by steps, or by two stamps of the driver's machine.

    What is told may be less than what was known: the job writes elsewhere now, or a checkpoint was damaged.
    """
    if isinstance(status, TrainingJobStatus):
        known = status.checkpoint.step if status.checkpoint else 0
        return told.checkpoint is not None and told.checkpoint.step > known
    kept = parse_time(told.sweep.kept_time) if told.sweep else None
    return kept is not None and (since is None or kept >= since.replace(microsecond=0))


def _fields_of_outcome(status: LifecycleStatus, outcome: Outcome) -> dict[str, Any]:
    match status:
        case TrainingJobStatus():
            return {
                "progress": outcome.progress or status.progress,
                "checkpoint": outcome.checkpoint or status.checkpoint,
                "metrics": outcome.metrics or status.metrics,
                "model": outcome.model or status.model,
                "receipt": outcome.receipt or status.receipt,
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
            known, told = status.trials, live.sweep
            behind = (
                known is not None
                and told is not None
                and _finished_trials(told.trials) < _finished_trials(known)
            )
            return {} if behind else _sweep_fields(status, told)
    raise AssertionError(type(status))


def _sweep_fields(status: SweepJobStatus, told: SweepProgress | None) -> dict[str, Any]:
    """Return what is told of the trials, once it is known how many there will be."""
    if told is None or told.trials.finished is None:
        return {}
    return {
        "trials": told.trials,
        "best_trial": told.best_trial or status.best_trial,
        "top_trials": _complete_rows(status.top_trials, told.top_trials),
        "ledger": told.ledger or status.ledger,
        "last_progress_time": told.kept_time or status.last_progress_time,
    }


def _finished_trials(trials: TrialCounts) -> int:
    """Return of how many trials nothing is open; a driver that begins again has to find them first."""
    return trials.succeeded + trials.pruned + trials.failed


def _complete_rows(before: tuple[Trial, ...], now: tuple[Trial, ...]) -> tuple[Trial, ...]:
    """Return the rows told now; those before, where these are but their beginning, cut for room."""
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
