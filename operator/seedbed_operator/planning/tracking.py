"""What the driver tells of itself, in the status: pinned once, or the newest word."""

from __future__ import annotations

from seedbed_api.outcome import LiveProgress, Outcome
from seedbed_api.status import CheckpointStatus, DatasetStatus, Environment, TrainingJobStatus
from seedbed_api.status import Progress as StepProgress
from seedbed_operator.planning.drafts import Draft


def told_by_outcome(draft: Draft, outcome: Outcome | None) -> Draft:
    """Take over the driver's last word."""
    if outcome is None:
        return draft
    draft = _pinned(draft, outcome.run_id, outcome.dataset, outcome.environment_class)
    status = draft.status
    return draft.tells(
        progress=outcome.progress or status.progress,
        checkpoint=_newer(status.checkpoint, outcome.checkpoint),
        metrics=outcome.metrics or status.metrics,
        timings=outcome.timings or status.timings,
        model=outcome.model or status.model,
        receipt=outcome.receipt or status.receipt,
    )


def told_by_driver(draft: Draft, live: LiveProgress, *, goes_on: bool) -> Draft:
    """Take over live progress; while a group of workers goes on, steps do not go backwards."""
    draft = _pinned(draft, live.run_id, live.dataset, live.environment_class)
    status = draft.status
    return draft.tells(
        progress=_forward(status.progress, live.progress) if goes_on else live.progress or status.progress,
        checkpoint=_newer(status.checkpoint, live.checkpoint),
        metrics=live.metrics or status.metrics,
        timings=live.timings or status.timings,
        workers=live.workers or status.workers,
    )


def expectations(status: TrainingJobStatus) -> dict[str, str]:
    """Return what the next attempt must find again, as its environment."""
    environment_class = status.environment.class_ if status.environment else None
    known = {
        "SEEDBED_EXPECTED_DATASET_DIGEST": status.dataset.digest if status.dataset else None,
        "SEEDBED_EXPECTED_RUN_ID": status.run_id,
        "SEEDBED_EXPECTED_ENVIRONMENT_CLASS": environment_class,
    }
    return {name: value for name, value in known.items() if value is not None}


def _pinned(
    draft: Draft, run_id: str | None, dataset: DatasetStatus | None, environment_class: str | None
) -> Draft:
    status = draft.status
    environment = status.environment or Environment()
    if environment.class_ is None and environment_class is not None:
        environment = environment.model_copy(update={"class_": environment_class})
    return draft.tells(
        run_id=status.run_id or run_id,
        dataset=status.dataset or dataset,
        environment=environment if environment != Environment() else None,
    )


def _forward(before: StepProgress | None, now: StepProgress | None) -> StepProgress | None:
    if before is None or now is None:
        return now or before
    return now if now.step >= before.step else before


def _newer(before: CheckpointStatus | None, now: CheckpointStatus | None) -> CheckpointStatus | None:
    if before is None or now is None:
        return now or before
    return now if now.step >= before.step else before
