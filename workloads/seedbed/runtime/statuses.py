"""From what is known of a run to the status of its TrainingJob, the same that Kubernetes shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from seedbed.runtime.preparing import Prepared
from seedbed.runtime.results import Result
from seedbed.training.progress import Kept, Progress
from seedbed_api.conditions import Condition, one_line
from seedbed_api.errors import SeedbedError
from seedbed_api.status import (
    CheckpointStatus,
    DatasetStatus,
    Environment,
    Failure,
    Metric,
    ModelStatus,
    ObjectStatus,
    Timing,
    TrainingJobStatus,
    WorkerCounts,
    percent,
)
from seedbed_api.status import Progress as StepProgress


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a status is made of."""

    started: datetime
    now: datetime
    attempts: int
    timings: Mapping[str, float]
    """Seconds by part."""
    prepared: Prepared | None = None
    """None where the run could not even be named."""
    progress: Progress | None = None
    kept: Kept | None = None
    """The newest checkpoint that was written here."""
    result: Result | None = None
    computed_here: bool = True
    """False where the result was there before."""
    failure: SeedbedError | None = None
    stopped: bool = False


def status_of(told: Told) -> TrainingJobStatus:
    """Return the status."""
    return TrainingJobStatus(
        run_id=told.prepared.run_id if told.prepared else None,
        environment=Environment(class_=told.prepared.environment_class) if told.prepared else None,
        backend="Local",
        start_time=_time(told.started),
        completion_time=None if told.stopped else _time(told.now),
        attempts=told.attempts,
        timings=_timings(told),
        workers=_workers(told),
        progress=_progress(told),
        metrics=_metrics(told.result),
        dataset=_dataset(told.prepared),
        checkpoint=checkpoint_status(told.kept),
        model=_model(told),
        receipt=_receipt(told),
        last_failure=_failure(told),
        conditions=_conditions(told),
    )


def refused_status(error: SeedbedError) -> TrainingJobStatus:
    """Return the status of a job whose manifest was refused."""
    now = datetime.now(UTC)
    return status_of(Told(started=now, now=now, attempts=0, timings={}, failure=error))


def _metrics(result: Result | None) -> tuple[Metric, ...]:
    figures = result.metrics if result else {}
    return tuple(Metric(name=name, value=value) for name, value in sorted(figures.items()))


def _timings(told: Told) -> tuple[Timing, ...]:
    return tuple(
        Timing(name=name, milliseconds=round(1000 * seconds)) for name, seconds in told.timings.items()
    )


def _workers(told: Told) -> WorkerCounts | None:
    if told.prepared is None:
        return None
    ready = told.progress.workers if told.progress else 0
    return WorkerCounts(ready=ready, desired=told.prepared.job.spec.cluster.workers.max)


def _progress(told: Told) -> StepProgress | None:
    if told.result is not None and told.prepared is not None:
        outcome = told.result.outcome
        rows = told.prepared.job.spec.training.batch.global_size
        epoch = max(outcome.step * rows - 1, 0) // told.result.samples
        return StepProgress(epoch=epoch, step=outcome.step, total_steps=outcome.total_steps, percent=100)
    if told.progress is None:
        return None
    step, total = told.progress.step, told.progress.total_steps
    epoch = max(told.progress.epoch - 1, 0)
    return StepProgress(epoch=epoch, step=step, total_steps=total, percent=percent(step, total))


def _dataset(prepared: Prepared | None) -> DatasetStatus | None:
    if prepared is None:
        return None
    return DatasetStatus(digest=prepared.dataset.digest, samples=prepared.samples)


def checkpoint_status(kept: Kept | None) -> CheckpointStatus | None:
    """Return the newest checkpoint that was written here, if there is one."""
    if kept is None:
        return None
    written = datetime.fromtimestamp(kept.time, UTC)
    return CheckpointStatus(step=kept.step, digest=kept.digest, time=_time(written))


def _model(told: Told) -> ModelStatus | None:
    if told.result is None or told.prepared is None:
        return None
    uri = f"{told.prepared.folder.url}/model"
    return ModelStatus(uri=uri, weights_digest=told.result.outcome.weights_digest)


def _receipt(told: Told) -> ObjectStatus | None:
    if told.result is None or told.prepared is None:
        return None
    uri = f"{told.prepared.folder.url}/receipt.json"
    return ObjectStatus(uri=uri, digest=told.result.receipt_digest)


def _failure(told: Told) -> Failure | None:
    error = told.failure
    if error is None:
        return None
    attempt = max(told.attempts - 1, 0)
    return Failure(
        attempt=attempt, reason=error.reason, exit_code=error.exit_code, log_tail=error.message[-2000:]
    )


def _conditions(told: Told) -> tuple[Condition, ...]:
    time = _time(told.now)

    def condition(kind: str, status: str, reason: str, message: str = "") -> Condition:
        return Condition(
            type=kind, status=status, reason=reason, message=one_line(message), last_transition_time=time
        )

    if told.result is not None:
        reason = "Trained" if told.computed_here else "AlreadyComputed"
        return (condition("Complete", "True", reason), condition("Running", "False", reason))
    if told.failure is not None:
        reason, message = told.failure.reason, told.failure.message
        return (
            condition("Failed", "True", reason, message),
            condition("Running", "False", reason, message),
        )
    message = "stopped after a checkpoint; the same command continues"
    return (
        condition("Suspended", "True", "Suspended", message),
        condition("Running", "False", "Suspended", message),
    )


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
