"""From what is known of a run to the status of its TrainingJob, the same that Kubernetes shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from seedbed.driver.local_run_log import log_location
from seedbed.driver.resolve_run import ResolvedRun
from seedbed.driver.run_result import Result
from seedbed.training.run_progress import RunProgress, SavedCheckpoint
from seedbed_api.conditions import Condition, one_line
from seedbed_api.errors import SeedbedError
from seedbed_api.timestamps import format_time, lasted
from seedbed_api.trainingjob_status import (
    CheckpointStatus,
    DatasetStatus,
    Environment,
    Failure,
    Metric,
    ModelStatus,
    ObjectStatus,
    Progress,
    Timing,
    TrainingJobStatus,
    WorkerCounts,
    percent,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusInputs:
    """What a status is made of."""

    started: datetime
    now: datetime
    attempts: int
    timings: Mapping[str, float]
    """Seconds by part."""
    run: ResolvedRun | None = None
    """None where the run could not even be named."""
    progress: RunProgress | None = None
    kept: SavedCheckpoint | None = None
    """The newest checkpoint that was written here."""
    result: Result | None = None
    computed_here: bool = True
    """False where the result was there before."""
    failure: SeedbedError | None = None
    stopped: bool = False


def build_status(told: StatusInputs) -> TrainingJobStatus:
    """Return the status."""
    return TrainingJobStatus(
        run_id=told.run.run_id if told.run else None,
        environment=Environment(class_=told.run.environment_class) if told.run else None,
        backend="Local",
        start_time=format_time(told.started),
        completion_time=None if told.stopped else format_time(told.now),
        duration=None if told.stopped else lasted(told.started, told.now),
        log_uri=_log_uri(told),
        attempts=told.attempts,
        timings=timings_of(told.timings),
        workers=_workers(told),
        progress=_progress(told),
        metrics=_metrics(told.result),
        dataset=_dataset(told.run),
        checkpoint=checkpoint_status(told.kept),
        model=_model(told),
        receipt=_receipt(told),
        last_failure=_failure(told),
        conditions=_conditions(told),
    )


def refused_status(error: SeedbedError) -> TrainingJobStatus:
    """Return the status of a job whose manifest was refused."""
    now = datetime.now(UTC)
    return build_status(StatusInputs(started=now, now=now, attempts=0, timings={}, failure=error))


def _log_uri(told: StatusInputs) -> str | None:
    """Return where the log of the newest attempt lies, if one was kept."""
    if told.run is None or not told.attempts:
        return None
    place = log_location(told.run, None, attempt=told.attempts)
    return None if place is None else f"{place.folder.url}/"


def _metrics(result: Result | None) -> tuple[Metric, ...]:
    figures = result.metrics if result else {}
    return tuple(Metric(name=name, value=value) for name, value in sorted(figures.items()))


def timings_of(parts: Mapping[str, float]) -> tuple[Timing, ...]:
    """Return how long the parts took; they may grow in another thread meanwhile."""
    return tuple(
        Timing(name=name, milliseconds=round(1000 * seconds)) for name, seconds in dict(parts).items()
    )


def _workers(told: StatusInputs) -> WorkerCounts | None:
    if told.run is None:
        return None
    ready = told.progress.workers if told.progress else 0
    return WorkerCounts(ready=ready, desired=told.run.job.spec.cluster.workers.max)


def _progress(told: StatusInputs) -> Progress | None:
    if told.result is not None and told.run is not None:
        outcome = told.result.outcome
        rows = told.run.job.spec.training.batch.global_size
        epoch = max(outcome.step * rows - 1, 0) // told.result.samples
        return Progress(epoch=epoch, step=outcome.step, total_steps=outcome.total_steps, percent=100)
    if told.progress is None:
        return None
    step, total = told.progress.step, told.progress.total_steps
    epoch = max(told.progress.epoch - 1, 0)
    return Progress(epoch=epoch, step=step, total_steps=total, percent=percent(step, total))


def _dataset(run: ResolvedRun | None) -> DatasetStatus | None:
    if run is None:
        return None
    return DatasetStatus(digest=run.dataset.digest, samples=run.samples)


def checkpoint_status(kept: SavedCheckpoint | None) -> CheckpointStatus | None:
    """Return the newest checkpoint that was written here, if there is one."""
    if kept is None:
        return None
    time = format_time(datetime.fromtimestamp(kept.time, UTC))
    return CheckpointStatus(step=kept.step, digest=kept.digest, time=time)


def _model(told: StatusInputs) -> ModelStatus | None:
    if told.result is None or told.run is None:
        return None
    uri = f"{told.run.folder.url}/model"
    return ModelStatus(uri=uri, weights_digest=told.result.outcome.weights_digest)


def _receipt(told: StatusInputs) -> ObjectStatus | None:
    if told.result is None or told.run is None:
        return None
    uri = f"{told.run.folder.url}/receipt.json"
    return ObjectStatus(uri=uri, digest=told.result.receipt_digest)


def _failure(told: StatusInputs) -> Failure | None:
    error = told.failure
    if error is None:
        return None
    attempt = max(told.attempts - 1, 0)
    return Failure(
        attempt=attempt, reason=error.reason, exit_code=error.exit_code, log_tail=error.message[-2000:]
    )


def _conditions(told: StatusInputs) -> tuple[Condition, ...]:
    if told.result is not None:
        return complete_conditions(told.now, computed_here=told.computed_here)
    if told.failure is not None:
        return failed_conditions(told.now, told.failure)
    return suspended_conditions(told.now, "stopped after a checkpoint; the same command continues")


def complete_conditions(now: datetime, *, computed_here: bool) -> tuple[Condition, ...]:
    """Return the conditions of what is complete: computed by this call, or found."""
    return _ended(now, "Complete", "Trained" if computed_here else "AlreadyComputed")


def failed_conditions(now: datetime, failure: SeedbedError) -> tuple[Condition, ...]:
    """Return the conditions of what has failed."""
    return _ended(now, "Failed", failure.reason, failure.message)


def suspended_conditions(now: datetime, message: str) -> tuple[Condition, ...]:
    """Return the conditions of what was told to stop and can go on."""
    return _ended(now, "Suspended", "Suspended", message)


def _ended(now: datetime, kind: str, reason: str, message: str = "") -> tuple[Condition, ...]:
    """Return a condition that holds, and Running, which does not, for the same reason."""
    return tuple(
        Condition(
            type=each,
            status=status,
            reason=reason,
            message=one_line(message),
            last_transition_time=format_time(now),
        )
        for each, status in ((kind, "True"), ("Running", "False"))
    )
