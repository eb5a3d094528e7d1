"""The messages of a driver: outcome of the attempt (termination message) and live progress (its endpoint).

Both are caches of the output store. A termination message that cannot be parsed is log text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ValidationError

from seedbed_api.base_model import StatusBlock
from seedbed_api.conditions import LONGEST_MESSAGE
from seedbed_api.scalar_types import CamelReason, Count, Digest, Time, text
from seedbed_api.sweepjob_status import SweepProgress
from seedbed_api.trainingjob_status import (
    CheckpointStatus,
    DatasetStatus,
    Metrics,
    ModelStatus,
    ObjectStatus,
    Progress,
    Timings,
    WorkerCounts,
)

MOST_BYTES = 4000
"""The kubelet cuts a termination message at 4,096 bytes."""


class Outcome(StatusBlock):
    """How an attempt ended."""

    schema_version: Literal[1] = 1
    """Version of this message."""
    result: Literal["Succeeded", "Failed", "Stopped"]
    """Whether the run is complete, failed, or stopped after a checkpoint."""
    reason: CamelReason
    """Trained, AlreadyComputed, or why it failed."""
    message: Annotated[str, text(LONGEST_MESSAGE)] = ""
    """Reason in one sentence."""
    attempt: Count
    """Number of the attempt, as in the names of its pods; for seedbed run, counted from 0."""
    steps_executed: Count = 0
    """Optimizer steps that this attempt computed itself."""
    run_id: Digest | None = None
    """Identity of the run, or of the sweep."""
    environment_class: Digest | None = None
    """Digest of the environment class."""
    progress: Progress | None = None
    """Progress of the training."""
    dataset: DatasetStatus | None = None
    """The dataset as it was found."""
    checkpoint: CheckpointStatus | None = None
    """The newest checkpoint."""
    model: ModelStatus | None = None
    """The trained model."""
    receipt: ObjectStatus | None = None
    """The receipt."""
    metrics: Metrics = ()
    """Newest values of the metrics."""
    timings: Timings = ()
    """Durations of the parts of the start-up."""
    sweep: SweepProgress | None = None
    """Final progress of the trials of a sweep; None for a single run."""

    def encode(self) -> bytes:
        """Return JSON of at most 4,000 bytes: details are left out first, then the end of the message."""
        shorter = self
        for shorter in self._shorter_and_shorter():
            if len(content := shorter._bytes()) <= MOST_BYTES:
                return content
        return shorter._cut()

    def _shorter_and_shorter(self) -> Iterator[Outcome]:
        """Yield ever shorter messages; the output store holds everything."""
        shorter = self
        for details in ({}, {"timings": ()}, {"metrics": ()}):
            yield (shorter := shorter.model_copy(update=details))
        for sweep in _shorter_sweeps(self.sweep):
            yield (shorter := shorter.model_copy(update={"sweep": sweep}))
        yield shorter.model_copy(update={"model": None, "receipt": None})

    def _cut(self) -> bytes:
        message = self.message.encode()
        while len(content := self._bytes_with(message)) > MOST_BYTES:
            message = message[: len(message) * 3 // 4]
            assert message, "what is left besides the message is far below the limit"
        return content

    def _bytes_with(self, message: bytes) -> bytes:
        return self.model_copy(update={"message": message.decode(errors="ignore")})._bytes()

    def _bytes(self) -> bytes:
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def _shorter_sweeps(sweep: SweepProgress | None) -> Iterator[SweepProgress]:
    """Yield ever shorter progress of a sweep: without models of trials, fewer trials, only the best one."""
    if sweep is None:
        return
    rows = tuple(row.model_copy(update={"model": None}) for row in sweep.top_trials)
    for count in range(len(rows), -1, -1):
        yield sweep.model_copy(update={"top_trials": rows[:count]})
    best = sweep.best_trial
    if best is not None:
        short = best.model_copy(update={"parameters": ()})
        yield sweep.model_copy(update={"top_trials": (), "best_trial": short})
        yield sweep.model_copy(update={"top_trials": (), "best_trial": None})


def shorten_sweep(sweep: SweepProgress, most_bytes: int) -> SweepProgress:
    """Return the progress of a sweep, shortened to at most `most_bytes` bytes of JSON."""
    fits = (each for each in (sweep, *_shorter_sweeps(sweep)) if len(each.model_dump_json()) <= most_bytes)
    return next(fits, SweepProgress(trials=sweep.trials, ledger=sweep.ledger))


def parse_outcome(message: str | bytes) -> Outcome | None:
    """Return the outcome in a termination message; None for log text or another version."""
    try:
        return Outcome.model_validate_json(message)
    except ValidationError:
        return None


class LiveProgress(StatusBlock):
    """The answer of the driver's endpoint during an attempt."""

    schema_version: Literal[1] = 1
    """Version of this message."""
    time: Time
    """Time of this message."""
    job_uid: Annotated[str, text(64)]
    """Uid of the job: by now the address may be that of another pod."""
    attempt: Count
    """Number of the attempt, as in the names of its pods; for seedbed run, counted from 0."""
    activity: Literal["Starting", "Training", "Evaluating", "Checkpointing", "Finishing"]
    """What the driver is doing; Starting until the first step of a group of workers is done."""
    run_id: Digest | None = None
    """Identity of the run, or of the sweep."""
    environment_class: Digest | None = None
    """Digest of the environment class."""
    workers: WorkerCounts | None = None
    """Workers of the present attempt."""
    progress: Progress | None = None
    """Progress of the training."""
    dataset: DatasetStatus | None = None
    """The dataset as it was found."""
    checkpoint: CheckpointStatus | None = None
    """The newest checkpoint."""
    metrics: Metrics = ()
    """Newest values of the metrics."""
    timings: Timings = ()
    """Durations of the parts of the start-up."""
    sweep: SweepProgress | None = None
    """Progress of the trials of a sweep; None for a single run."""

    @property
    def mark(self) -> object:
        """Return a value that changes whenever the driver makes progress."""
        decided = self.sweep.trials.finished if self.sweep else None
        return self.activity, self.steps, decided

    @property
    def steps(self) -> int | None:
        """Return the steps of the run, or of all trials of a sweep."""
        if self.sweep is not None:
            return self.sweep.steps
        return self.progress.step if self.progress else None
