"""What the driver of a run is asked to do, and what it has learned so far.

Metrics and live status read the state from other threads.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

from seedbed.driver.mlflow_run_entry import SweepMembership
from seedbed.driver.progress_display import ProgressSink
from seedbed.driver.resolve_run import ResolvedRun, RunOptions
from seedbed.driver.startup_timings import StartupTimings, mark_startup_times
from seedbed.ray_cluster.cluster_interface import Cluster, WorkerRange
from seedbed.ray_cluster.local_ray import LocalCluster
from seedbed.runs.result_file import Result
from seedbed.training.run_progress import PartSeconds, RunProgress, SavedCheckpoint
from seedbed_api.trainingjob import TrainingJob


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """One call of the driver."""

    job: TrainingJob
    options: RunOptions
    display: ProgressSink
    stopping: threading.Event
    """Set by SIGTERM and SIGINT: save a checkpoint after the present step and end."""
    cluster: Cluster = field(default_factory=LocalCluster)
    pause_after_epochs: int | None = None
    """Save a checkpoint after so many epochs and end; a later call continues."""
    wants_report: bool = True
    member: SweepMembership | None = None
    """Which part of a sweep the run is."""

    @property
    def workers(self) -> WorkerRange:
        """Return how many ranks the job asks for."""
        workers = self.job.spec.cluster.workers
        return WorkerRange(least=workers.min, most=workers.max)


@dataclass(kw_only=True, slots=True)
class DriverState:
    """How far a call of the driver is."""

    request: RunRequest
    timings: StartupTimings = field(default_factory=StartupTimings)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    run: ResolvedRun | None = None
    attempt: int = 0
    groups: list[int] = field(default_factory=list)
    """Sizes of the worker groups that trained."""
    progress: RunProgress | None = None
    steps_by_group: dict[int, int] = field(default_factory=dict)
    """Steps that each worker group computed, by its place in `groups` from 1."""
    seconds_by_group: dict[int, PartSeconds] = field(default_factory=dict)
    checkpoint: SavedCheckpoint | None = None
    """The newest checkpoint that this call wrote."""
    result: Result | None = None
    computed_here: bool = False

    def observe(self, progress: RunProgress) -> bool:
        """Take in the progress of a worker group; return whether a new group has begun."""
        is_new = self._is_another_group(progress)
        if is_new:
            self.groups.append(progress.workers)
        mark_startup_times(self.timings, progress.startup_times)
        self.seconds_by_group[len(self.groups)] = progress.seconds
        self.steps_by_group[len(self.groups)] = progress.step - progress.resumed_from
        self.checkpoint = progress.checkpoint or self.checkpoint
        self.progress = progress
        return is_new

    def _is_another_group(self, progress: RunProgress) -> bool:
        return self.progress is None or _started_at(self.progress) != _started_at(progress)

    def steps_computed(self) -> int:
        """Return how many steps this call computed."""
        return sum(dict(self.steps_by_group).values())


def _started_at(progress: RunProgress) -> float | None:
    """Return when the worker group of a progress began."""
    return progress.startup_times.began if progress.startup_times else None
