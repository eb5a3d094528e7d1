"""What the driver tells of itself, in the status: pinned once, or the newest word. Each kind has a part."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seedbed_api.pod_contract.driver_messages import LiveProgress, Outcome
from seedbed_api.run_identity import ExpectedIdentity
from seedbed_api.sweepjob_status import SweepJobStatus, SweepProgress, Trial, TrialCounts
from seedbed_api.timestamps import parsed
from seedbed_api.trainingjob_status import (
    DatasetStatus,
    Environment,
    LifecycleStatus,
    TrainingJobStatus,
    WorkerCounts,
)
from seedbed_api.trainingjob_status import Progress as StepProgress
from seedbed_operator.plan import PlanBuilder


def told_by_outcome(
    draft: PlanBuilder, outcome: Outcome | None, *, since: datetime | None = None
) -> PlanBuilder:
    """Take over the driver's last word; `since` is when its process began, by the clock of its machine."""
    if outcome is None:
        return draft
    draft = _progressed(draft, outcome, since)
    draft = _pinned(draft, outcome.run_id, outcome.dataset, outcome.environment_class)
    status = draft.status
    return draft.tells(timings=outcome.timings or status.timings, **_last_word(status, outcome))


def told_by_driver(
    draft: PlanBuilder, live: LiveProgress, *, goes_on: bool, since: datetime | None = None
) -> PlanBuilder:
    """Take over live progress; while a group of workers goes on, steps do not go backwards.

    `since` is when the driver's process began, by the clock of its machine.
    """
    draft = _progressed(draft, live, since)
    draft = _pinned(draft, live.run_id, live.dataset, live.environment_class)
    status = draft.status
    return draft.tells(
        timings=live.timings or status.timings,
        workers=_counted_by(live.workers, status.workers),
        **_newest_word(status, live, goes_on=goes_on),
    )


_OF_THE_OPERATOR = ("replaced", "placed_since", "lacking_since", "complete_since")
"""What of the workers a driver does not tell."""


def _counted_by(told: WorkerCounts | None, known: WorkerCounts | None) -> WorkerCounts | None:
    """Return the driver's counts beside what the operator notes of workers."""
    if told is None or known is None:
        return told or known
    return told.model_copy(update={name: getattr(known, name) for name in _OF_THE_OPERATOR})


def without_estimate(draft: PlanBuilder) -> PlanBuilder:
    """Forget when the training will be over: it was told at the pace of an attempt that has ended."""
    status = draft.status
    if not isinstance(status, TrainingJobStatus) or status.progress is None:
        return draft
    return draft.tells(progress=status.progress.model_copy(update={"estimated_completion_time": None}))


def expected_identity(status: LifecycleStatus) -> ExpectedIdentity:
    """Return what the next attempt must find again."""
    return ExpectedIdentity(
        dataset_digest=status.dataset.digest if status.dataset else None,
        run_id=status.identity,
        environment_class=status.environment.class_ if status.environment else None,
    )


def _progressed(draft: PlanBuilder, told: Outcome | LiveProgress, since: datetime | None) -> PlanBuilder:
    """Note that the attempt has kept something that outlasts it."""
    return draft.tells(attempt_progressed=True) if _keeps_more(draft.status, told, since) else draft


def _keeps_more(status: LifecycleStatus, told: Outcome | LiveProgress, since: datetime | None) -> bool:
    """Tell whether more is kept than was told before: by steps, or by two stamps of the driver's machine.

    What is told may be less than what was known: the job writes elsewhere now, or a checkpoint was damaged.
    """
    if isinstance(status, TrainingJobStatus):
        known = status.checkpoint.step if status.checkpoint else 0
        return told.checkpoint is not None and told.checkpoint.step > known
    kept = parsed(told.sweep.kept_time) if told.sweep else None
    return kept is not None and (since is None or kept >= since.replace(microsecond=0))


def _last_word(status: LifecycleStatus, outcome: Outcome) -> dict[str, Any]:
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
            return _of_the_sweep(status, outcome.sweep)
    raise AssertionError(type(status))


def _newest_word(status: LifecycleStatus, live: LiveProgress, *, goes_on: bool) -> dict[str, Any]:
    match status:
        case TrainingJobStatus():
            forward = _forward(status.progress, live.progress)
            return {
                "progress": forward if goes_on else live.progress or status.progress,
                "checkpoint": live.checkpoint or status.checkpoint,
                "metrics": live.metrics or status.metrics,
            }
        case SweepJobStatus():
            known, told = status.trials, live.sweep
            behind = known is not None and told is not None and _decided(told.trials) < _decided(known)
            return {} if behind else _of_the_sweep(status, told)
    raise AssertionError(type(status))


def _of_the_sweep(status: SweepJobStatus, told: SweepProgress | None) -> dict[str, Any]:
    """Return what is told of the trials, once it is known how many there will be."""
    if told is None or told.trials.finished is None:
        return {}
    return {
        "trials": told.trials,
        "best_trial": told.best_trial or status.best_trial,
        "top_trials": _whole(status.top_trials, told.top_trials),
        "ledger": told.ledger or status.ledger,
        "last_progress_time": told.kept_time or status.last_progress_time,
    }


def _decided(trials: TrialCounts) -> int:
    """Return of how many trials nothing is open; a driver that begins again has to find them first."""
    return trials.succeeded + trials.pruned + trials.failed


def _whole(before: tuple[Trial, ...], now: tuple[Trial, ...]) -> tuple[Trial, ...]:
    """Return the rows told now; those before, where these are but their beginning, cut for room."""
    same = [row.index for row in before[: len(now)]] == [row.index for row in now]
    return before if same and before else now


def _pinned(
    draft: PlanBuilder, identity: str | None, dataset: DatasetStatus | None, environment_class: str | None
) -> PlanBuilder:
    status = draft.status
    environment = status.environment or Environment()
    if environment.class_ is None and environment_class is not None:
        environment = environment.model_copy(update={"class_": environment_class})
    return draft.tells(
        dataset=status.dataset or dataset,
        environment=environment if environment != Environment() else None,
        **status.identified(identity),
    )


def _forward(before: StepProgress | None, now: StepProgress | None) -> StepProgress | None:
    if before is None or now is None:
        return now or before
    return now if now.step >= before.step else before
