"""The messages of a driver, built from its session: outcome of the attempt and live progress."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import isfinite
from typing import Literal

from seedbed.driver.driver_state import DriverState
from seedbed.driver.run_driver import DriverExit
from seedbed.driver.trainingjob_status_builder import checkpoint_status, timing_statuses
from seedbed.training.run_progress import RunProgress
from seedbed_api.conditions import ExitCode, one_line
from seedbed_api.pod_contract.driver_messages import LiveProgress, Outcome
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import (
    DatasetStatus,
    Metric,
    Progress,
    WorkerCounts,
    format_measurement,
    percent,
)

Activity = Literal["Starting", "Training", "Evaluating", "Checkpointing", "Finishing"]


def outcome_of(ended: DriverExit, *, attempt: int) -> Outcome:
    """Return how an attempt ended."""
    status, state = ended.status, ended.state
    return Outcome(
        result=_RESULTS.get(ended.exit_code, "Failed"),
        reason=_reason(ended),
        message=one_line(ended.error.message) if ended.error else "",
        attempt=attempt,
        steps_executed=state.steps_computed(),
        run_id=status.run_id,
        environment_class=status.environment.class_ if status.environment else None,
        progress=status.progress,
        dataset=status.dataset,
        checkpoint=status.checkpoint,
        model=status.model,
        receipt=status.receipt,
        metrics=status.metrics,
        timings=status.timings,
    )


_RESULTS: dict[int, Literal["Succeeded", "Failed", "Stopped"]] = {
    ExitCode.DONE: "Succeeded",
    ExitCode.STOPPED: "Stopped",
}


def _reason(ended: DriverExit) -> str:
    if ended.error is not None:
        return ended.error.reason
    if ended.exit_code == ExitCode.STOPPED:
        return "Stopped"
    return "Trained" if ended.state.computed_here else "AlreadyComputed"


def live_progress(state: DriverState, *, job_uid: str, attempt: int, now: datetime) -> LiveProgress:
    """Return the live progress of a job."""
    progress, run = state.progress, state.run
    return LiveProgress(
        time=format_time(now),
        job_uid=job_uid,
        attempt=attempt,
        activity=_activity(state),
        run_id=run.run_id if run else None,
        environment_class=run.environment_class if run else None,
        workers=_workers(state),
        progress=None if progress is None else _steps(progress, now=now),
        dataset=DatasetStatus(digest=run.dataset.digest, samples=run.samples) if run else None,
        checkpoint=checkpoint_status(state.checkpoint),
        metrics=() if progress is None else _metrics(progress),
        timings=timing_statuses(state.timings.parts),
    )


def _activity(state: DriverState) -> Activity:
    if state.result is not None:
        return "Finishing"
    phase = state.progress.phase if state.progress else "Starting"
    return "Finishing" if phase == "Done" or phase == "Stopped" else phase  # noqa: PLR1714 - mypy narrows


def _workers(state: DriverState) -> WorkerCounts:
    most = state.request.job.spec.cluster.workers.max
    return WorkerCounts(ready=min(most, state.request.cluster.available_ranks()), desired=most)


def _steps(progress: RunProgress, *, now: datetime) -> Progress:
    left = progress.seconds_left
    return Progress(
        epoch=max(progress.epoch - 1, 0),
        step=progress.step,
        total_steps=progress.total_steps,
        percent=percent(progress.step, progress.total_steps),
        estimated_completion_time=None if left is None else format_time(now + timedelta(seconds=left)),
    )


def _metrics(progress: RunProgress) -> tuple[Metric, ...]:
    values = {
        "throughput/images-per-second": progress.images_per_second,
        "training/loss": progress.loss,
        "validation/accuracy": progress.accuracy,
        "validation/loss": progress.validation_loss,
        **{f"validation/{name}": value for name, value in progress.scores},
    }
    return tuple(
        Metric(name=name, value=format_measurement(value))
        for name, value in values.items()
        if value is not None and isfinite(value)
    )
