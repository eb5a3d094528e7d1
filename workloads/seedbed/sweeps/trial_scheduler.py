"""State of a running sweep, and the scheduler of its trial segments. No Ray.

Results come in any order; the search decides, and its decisions are the same for every order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from seedbed.search.learning_curve import LearningCurve, Undecided
from seedbed.search.search_state import Search
from seedbed.search.trial_decisions import DecidedTrial, TrialRuns, TrialState, TrialTask
from seedbed.search.trial_segment import RunKey, SegmentResult, TrialSegment
from seedbed.sweeps.resolve_sweep import ResolvedSweep
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import InfrastructureError, SeedbedError
from seedbed_api.exponential_backoff import ExponentialBackoff

BACKOFF = ExponentialBackoff(first=1.0, longest=60.0)


@dataclass(kw_only=True, slots=True)
class SweepState:
    """Results of a running sweep by run; all of it can be read again from the output store."""

    sweep: ResolvedSweep
    search: Search
    results: dict[RunKey, SegmentResult] = field(default_factory=dict)
    """By `TrialSegment.key`."""
    steps_by_trial: dict[int, int] = field(default_factory=dict)
    """Steps computed by this process, by trial."""
    training_seconds: float = 0.0
    """Seconds of these steps over all runs, without start-up."""
    failed_tries: dict[RunKey, int] = field(default_factory=dict)
    """Failed tries in a row for lack of a machine, memory or time, by `TrialSegment.key`."""

    def pending_segments(self) -> Iterator[TrialSegment]:
        """Yield the segments that may be trained now, lowest trial first, then lowest fold."""
        for task in self.search.tasks():
            yield from self._segments(task)

    def _segments(self, task: TrialTask) -> Iterator[TrialSegment]:
        for run_index, fold in enumerate(self.sweep.fold_numbers):
            if not self._curve(task.index, run_index).has_reached(task.until_epoch):
                yield TrialSegment(
                    trial=task.index,
                    run_index=run_index,
                    fold=fold,
                    values=dict(task.assignments),
                    until_epoch=task.until_epoch,
                )

    def _curve(self, trial: int, run_index: int) -> LearningCurve:
        result = self.results.get((trial, run_index))
        return LearningCurve() if result is None else result.curve

    def record_result(self, segment: TrialSegment, result: SegmentResult) -> None:
        """Store the result of a segment and pass the trial's curves to the search."""
        self.results[segment.key] = result
        self.failed_tries.pop(segment.key, None)
        self.steps_by_trial[segment.trial] = self.steps_by_trial.get(segment.trial, 0) + result.steps
        self.training_seconds += result.seconds
        self._update_search(segment.trial)

    def record_failed_try(self, segment: TrialSegment, error: SeedbedError) -> bool:
        """Count a try that failed for lack of a machine, memory or time; say whether to retry."""
        key = segment.key
        self.failed_tries[key] = self.failed_tries.get(key, 0) + 1
        if self.failed_tries[key] <= self.sweep.spec.backoff_limit:
            return True
        abandoned = LearningCurve(values=self._curve(*key).values, end=Undecided(reason=error.reason))
        self.results[key] = SegmentResult(curve=abandoned)
        self._update_search(segment.trial)
        return False

    def _update_search(self, trial: int) -> None:
        indices = range(len(self.sweep.fold_numbers))
        self.search.record_trial(trial, [self._curve(trial, run_index) for run_index in indices])

    @property
    def decided(self) -> list[DecidedTrial]:
        """Return the decided trials by index."""
        return self.search.trials

    @property
    def reused_count(self) -> int:
        """Return how many decided trials took no step in this process."""
        return sum(map(self.is_reused, self.decided))

    def is_reused(self, trial: DecidedTrial) -> bool:
        """Say whether a trial took no step in this process; failed trials do not count as reused."""
        return trial.state is not TrialState.FAILED and not self.steps_by_trial.get(trial.index)

    def trial_runs(self) -> dict[int, TrialRuns]:
        """Return the runs of the decided trials, the same for every order of the results."""
        return {trial.index: self.runs_of_trial(trial) for trial in self.decided}

    def runs_of_trial(self, trial: DecidedTrial) -> TrialRuns:
        """Return the runs of a decided trial."""
        runs = self.sweep.run_ids(dict(trial.assignments))
        if trial.state is not TrialState.SUCCEEDED:
            return TrialRuns(run_ids=runs)
        models = [self.results[trial.index, run_index].model for run_index in range(len(runs))]
        return TrialRuns(
            run_ids=runs, weights=tuple(model.weights_digest for model in models if model is not None)
        )


_HANG = InfrastructureError(
    "ProgressDeadlineExceeded", "no step came for spec.progressDeadlineSeconds; its process was ended"
)

SegmentReport = SegmentResult | SeedbedError | None
"""Result or error of a segment; None if it was stopped."""


@dataclass(kw_only=True, slots=True)
class TrialScheduler:
    """Hands out segments to workers, which report progress and results by a name of their own."""

    state: SweepState
    stopping: threading.Event
    display: SweepDisplay
    max_running: int | None = None
    """Segments that are handed out at a time; None: no limit."""
    running: dict[str, TrialSegment] = field(default_factory=dict)
    not_before: dict[RunKey, float] = field(default_factory=dict)
    """By `TrialSegment.key`: earliest retry, by the monotonic clock."""
    hung: set[str] = field(default_factory=set)
    """Names of segments that made no step for too long; their processes are ended."""
    error: SeedbedError | None = None
    """Error that ends the sweep at once."""

    @property
    def done(self) -> bool:
        """Say whether no segment is handed out any more."""
        return self.error is not None or self.stopping.is_set() or self.state.search.ended is not None

    def next_segment(self, name: str) -> TrialSegment | None:
        """Return the next segment, which runs as `name` from now on; None while none may start."""
        if self.max_running is not None and len(self.running) >= self.max_running:
            return None
        busy = {segment.key for segment in self.running.values()}
        for segment in self.state.pending_segments():
            if segment.key not in busy and time.monotonic() >= self.not_before.get(segment.key, 0.0):
                self.running[name] = segment
                self.display.begin(segment)
                return segment
        return None

    def is_obsolete(self, name: str) -> bool:
        """Say whether a segment can no longer change a decision."""
        segment = self.running.get(name)
        return segment is None or self.done or not self.state.search.is_needed(segment.trial)

    def report_progress(self, name: str, progress: RunProgress) -> None:
        """Show the progress of a segment."""
        if name in self.running:
            self.display.update(self.running[name], progress)

    def report_hang(self, name: str) -> None:
        """Note a hang; the loss of its process is reported next."""
        self.hung.add(name)

    def report_result(self, name: str, report: SegmentReport) -> None:
        """Store the result of a segment; of two results under one name the first counts."""
        segment = self.running.pop(name, None)
        if segment is None:
            return
        if name in self.hung and isinstance(report, InfrastructureError):
            report = _HANG
        match report:
            case SegmentResult():
                self.state.record_result(segment, report)
                self.display.show_problem(segment, report)
            case InfrastructureError():
                self._retry_later(segment, report)
            case SeedbedError():
                self.error = self.error or report
        self.display.end(segment)
        self.display.show(self.state)

    def _retry_later(self, segment: TrialSegment, error: InfrastructureError) -> None:
        self.display.notice(f"trial {segment.trial}: {error.reason}: {error.message}")
        if self.state.record_failed_try(segment, error):
            delay = BACKOFF.delay(self.state.failed_tries[segment.key])
            self.not_before[segment.key] = time.monotonic() + delay
