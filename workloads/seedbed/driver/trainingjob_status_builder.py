"""Builds the status of a TrainingJob from the state of its driver, with the fields that Kubernetes shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from seedbed.driver.driver_state import DriverState
from seedbed.driver.local_run_log import log_location
from seedbed.driver.resolve_run import ResolvedRun
from seedbed.runs.result_file import Result
from seedbed.training.run_progress import SavedCheckpoint
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


def build_status(
    state: DriverState, *, now: datetime, failure: SeedbedError | None = None, stopped: bool = False
) -> TrainingJobStatus:
    """Return the status of a run whose driver has ended."""
    return TrainingJobStatus(
        run_id=state.run.run_id if state.run else None,
        environment=Environment(class_=state.run.environment_class) if state.run else None,
        backend="Local",
        start_time=format_time(state.started),
        completion_time=None if stopped else format_time(now),
        duration=None if stopped else lasted(state.started, now),
        log_uri=_log_uri(state),
        attempts=state.attempt,
        timings=timing_statuses(state.timings.parts),
        workers=_workers(state),
        progress=_progress(state),
        metrics=_metrics(state.result),
        dataset=_dataset(state.run),
        checkpoint=checkpoint_status(state.checkpoint),
        model=_model(state),
        receipt=_receipt(state),
        last_failure=_failure(failure, attempts=state.attempt) if failure else None,
        conditions=_conditions(state, now=now, failure=failure),
    )


def refused_status(error: SeedbedError) -> TrainingJobStatus:
    """Return the status of a job whose manifest was refused."""
    now = datetime.now(UTC)
    return TrainingJobStatus(
        backend="Local",
        start_time=format_time(now),
        completion_time=format_time(now),
        duration=lasted(now, now),
        attempts=0,
        last_failure=_failure(error, attempts=0),
        conditions=failed_conditions(now, error),
    )


def _log_uri(state: DriverState) -> str | None:
    """Return the URL of the log of the newest attempt, if one is stored."""
    if state.run is None or not state.attempt:
        return None
    place = log_location(state.run, None, attempt=state.attempt)
    return None if place is None else f"{place.folder.url}/"


def _metrics(result: Result | None) -> tuple[Metric, ...]:
    figures = result.metrics if result else {}
    return tuple(Metric(name=name, value=value) for name, value in sorted(figures.items()))


def timing_statuses(parts: Mapping[str, float]) -> tuple[Timing, ...]:
    """Return how long the parts took; they may grow in another thread meanwhile."""
    return tuple(
        Timing(name=name, milliseconds=round(1000 * seconds)) for name, seconds in dict(parts).items()
    )


def _workers(state: DriverState) -> WorkerCounts | None:
    if state.run is None:
        return None
    ready = state.progress.workers if state.progress else 0
    return WorkerCounts(ready=ready, desired=state.run.job.spec.cluster.workers.max)


def _progress(state: DriverState) -> Progress | None:
    if state.result is not None and state.run is not None:
        outcome = state.result.outcome
        rows = state.run.job.spec.training.batch.global_size
        epoch = max(outcome.step * rows - 1, 0) // state.result.samples
        return Progress(epoch=epoch, step=outcome.step, total_steps=outcome.total_steps, percent=100)
    if state.progress is None:
        return None
    step, total = state.progress.step, state.progress.total_steps
    epoch = max(state.progress.epoch - 1, 0)
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


def _model(state: DriverState) -> ModelStatus | None:
    if state.result is None or state.run is None:
        return None
    uri = f"{state.run.folder.url}/model"
    return ModelStatus(uri=uri, weights_digest=state.result.outcome.weights_digest)


def _receipt(state: DriverState) -> ObjectStatus | None:
    if state.result is None or state.run is None:
        return None
    uri = f"{state.run.folder.url}/receipt.json"
    return ObjectStatus(uri=uri, digest=state.result.receipt_digest)


def _failure(error: SeedbedError, *, attempts: int) -> Failure:
    return Failure(
        attempt=max(attempts - 1, 0),
        reason=error.reason,
        exit_code=error.exit_code,
        log_tail=error.message[-2000:],
    )


def _conditions(state: DriverState, *, now: datetime, failure: SeedbedError | None) -> tuple[Condition, ...]:
    if state.result is not None:
        return complete_conditions(now, computed_here=state.computed_here)
    if failure is not None:
        return failed_conditions(now, failure)
    return suspended_conditions(now, "stopped after a checkpoint; the same command continues")


def complete_conditions(now: datetime, *, computed_here: bool) -> tuple[Condition, ...]:
    """Return the conditions of what is complete: computed by this call, or found."""
    return _ended(now, "Complete", "Trained" if computed_here else "AlreadyComputed")


def failed_conditions(now: datetime, failure: SeedbedError) -> tuple[Condition, ...]:
    """Return the conditions of what has failed."""
    return _ended(now, "Failed", failure.reason, failure.message)


def suspended_conditions(now: datetime, message: str) -> tuple[Condition, ...]:
    """Return the conditions of a run that was stopped and can continue."""
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
