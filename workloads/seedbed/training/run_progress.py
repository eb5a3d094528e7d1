"""Progress of a run: the message that a worker sends to its driver, for display, metrics and status."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from seedbed.feed.io_counters import IoTotals
from seedbed.training.resource_usage import ResourceUsage

Phase = Literal["Starting", "Training", "Evaluating", "Checkpointing", "Finishing", "Done", "Stopped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSeconds:
    """Wall-clock seconds of rank 0 since this attempt began, by activity."""

    data: float = 0.0
    compute: float = 0.0
    reduce: float = 0.0
    checkpoint: float = 0.0
    evaluation: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StartupTimes:
    """When this attempt started on rank 0, in seconds since 1970; None until then."""

    began: float
    """When the worker had its libraries and its process group."""
    first_batch: float | None = None
    first_step: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedCheckpoint:
    """The newest checkpoint that this worker group wrote."""

    step: int
    digest: str
    """Of its record."""
    time: float
    """Seconds since 1970."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunProgress:
    """The state of a run after `step` of `total_steps` optimizer steps."""

    step: int
    """Steps done, over all attempts; 0 before the first."""
    total_steps: int
    epoch: int
    """The epoch in progress, counted from 1; 0 before the first step."""
    epochs: int | None = None
    """Epochs of the whole run; None where the recipe counts steps."""
    loss: float | None = None
    """Training loss of the last step."""
    accuracy: float | None = None
    """Of the last validation, 0 to 1; None where the task has none."""
    validation_loss: float | None = None
    """Of the last validation."""
    scores: tuple[tuple[str, float], ...] = ()
    """Other metrics of the last validation, by name."""
    images_per_second: float | None = None
    """Of all workers, over the last seconds without evaluations and checkpoints."""
    seconds_left: float | None = None
    """Estimate until the end of the training, from the durations so far."""
    workers: int = 1
    phase: Phase = "Starting"
    attempt: int = 1
    resumed_from: int = 0
    """Completed steps when this worker group began."""
    leaves_by_worker: tuple[int, ...] = ()
    """Leaves that each worker has computed since this group began, as of the newest checkpoint."""
    checkpoint: SavedCheckpoint | None = None
    """None until this worker group has written one."""
    seconds: PartSeconds = field(default_factory=PartSeconds)
    startup_times: StartupTimes | None = None
    usages: tuple[ResourceUsage, ...] = ()
    """Newest resource usage of the ranks of this group."""
    io_totals: IoTotals = field(default_factory=IoTotals)
    """Dataset reads of all worker groups together."""

    @property
    def percent(self) -> int:
        """Return 0 to 100, rounded down, so that 100 means done."""
        return 100 * self.step // self.total_steps if self.total_steps else 0
