"""What is asked and told while trials run side by side: what comes next, what came of it. No Ray here.

The answers come in any order; what they decide is the search's, and is the same for every order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from seedbed.search.learning_curve import LearningCurve, Undecided
from seedbed.search.search_state import Search
from seedbed.search.trial_decisions import DecidedTrial, TrialRuns, TrialState, TrialTask
from seedbed.sweeps.resolve_sweep import ResolvedSweep
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.trial_runner import SegmentResult, TrialSegment
from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import InfrastructureError, SeedbedError
from seedbed_api.exponential_backoff import ExponentialBackoff

BACKOFF = ExponentialBackoff(first=1.0, longest=60.0)


@dataclass(kw_only=True, slots=True)
class SweepState:
    """The one memory of a sweep under way; everything in it can be had again from the output store."""

    sweep: ResolvedSweep
    search: Search
    results: dict[tuple[int, int], SegmentResult] = field(default_factory=dict)
    """By trial and place among its folds."""
    steps_by_trial: dict[int, int] = field(default_factory=dict)
    """Steps that this call computed, by trial."""
    training_seconds: float = 0.0
    """How long that took, over all runs, without their starts."""
    failed_tries: dict[tuple[int, int], int] = field(default_factory=dict)
    """Stretches in a row that failed for lack of a machine, memory or time."""

    def pending_segments(self) -> Iterator[TrialSegment]:
        """Yield what may be trained now, the lowest trial first, of a trial the lowest fold first."""
        for task in self.search.tasks():
            yield from self._segments(task)

    def _segments(self, task: TrialTask) -> Iterator[TrialSegment]:
        for place, fold in enumerate(self.sweep.fold_numbers):
            if not self._curve(task.index, place).has_reached(task.until_epoch):
                yield TrialSegment(
                    trial=task.index,
                    run_index=place,
                    fold=fold,
                    values=dict(task.assignments),
                    until_epoch=task.until_epoch,
                )

    def _curve(self, trial: int, place: int) -> LearningCurve:
        result = self.results.get((trial, place))
        return LearningCurve() if result is None else result.curve

    def record_result(self, segment: TrialSegment, result: SegmentResult) -> None:
        """Take in what is known of a run after a stretch."""
        where = (segment.trial, segment.run_index)
        self.results[where] = result
        self.failed_tries.pop(where, None)
        self.steps_by_trial[segment.trial] = self.steps_by_trial.get(segment.trial, 0) + result.steps
        self.training_seconds += result.seconds
        self._update_search(segment.trial)

    def record_failed_try(self, segment: TrialSegment, error: SeedbedError) -> bool:
        """Count a try that says nothing about the trial; tell whether it is worth another one."""
        where = (segment.trial, segment.run_index)
        self.failed_tries[where] = self.failed_tries.get(where, 0) + 1
        if self.failed_tries[where] <= self.sweep.spec.backoff_limit:
            return True
        known = self._curve(*where)
        abandoned = LearningCurve(values=known.values, end=Undecided(reason=error.reason))
        self.results[where] = SegmentResult(curve=abandoned)
        self._update_search(segment.trial)
        return False

    def _update_search(self, trial: int) -> None:
        places = range(len(self.sweep.fold_numbers))
        self.search.record_trial(trial, [self._curve(trial, place) for place in places])

    @property
    def decided(self) -> list[DecidedTrial]:
        """Return the trials that are part of the sweep, by index."""
        return self.search.trials

    @property
    def reused_count(self) -> int:
        """Return how many decided trials were looked up and not trained."""
        return sum(map(self.is_reused, self.decided))

    def is_reused(self, trial: DecidedTrial) -> bool:
        """Say whether a trial cost this call no step; what fails is tried, whatever it costs."""
        return trial.state is not TrialState.FAILED and not self.steps_by_trial.get(trial.index)

    def trial_runs(self) -> dict[int, TrialRuns]:
        """Return by what the runs of the decided trials are known: equal for every order of the facts."""
        return {trial.index: self.runs_of_trial(trial) for trial in self.decided}

    def runs_of_trial(self, trial: DecidedTrial) -> TrialRuns:
        """Return by what the runs of a decided trial are known."""
        runs = self.sweep.run_ids(dict(trial.assignments))
        if trial.state is not TrialState.SUCCEEDED:
            return TrialRuns(run_ids=runs)
        models = [self.results[trial.index, place].model for place in range(len(runs))]
        return TrialRuns(
            run_ids=runs, weights=tuple(model.weights_digest for model in models if model is not None)
        )


_HANG = InfrastructureError(
    "ProgressDeadlineExceeded", "no step came for spec.progressDeadlineSeconds; its process was ended"
)

SegmentReport = SegmentResult | SeedbedError | None
"""What a stretch came to; None where it was told to stop."""


@dataclass(kw_only=True, slots=True)
class TrialScheduler:
    """A sweep whose stretches run elsewhere, each under a name that is given to it there."""

    state: SweepState
    stopping: threading.Event
    display: SweepDisplay
    max_running: int | None = None
    """Stretches that are handed out at a time; None: all that may be trained."""
    running: dict[str, TrialSegment] = field(default_factory=dict)
    not_before: dict[tuple[int, int], float] = field(default_factory=dict)
    """When a run may be tried again, by the monotonic clock."""
    hung: set[str] = field(default_factory=set)
    """Stretches that did not move for too long; their processes are ended."""
    error: SeedbedError | None = None
    """What ends the sweep at once."""

    @property
    def done(self) -> bool:
        """Say whether nothing more is to be trained."""
        return self.error is not None or self.stopping.is_set() or self.state.search.ended is not None

    def next_segment(self, name: str) -> TrialSegment | None:
        """Return what is to be trained next, from now on under `name`; None while nothing may begin."""
        if self.max_running is not None and len(self.running) >= self.max_running:
            return None
        busy = {(segment.trial, segment.run_index) for segment in self.running.values()}
        for segment in self.state.pending_segments():
            where = (segment.trial, segment.run_index)
            if where not in busy and time.monotonic() >= self.not_before.get(where, 0.0):
                self.running[name] = segment
                self.display.begin(segment)
                return segment
        return None

    def is_obsolete(self, name: str) -> bool:
        """Say whether what is trained decides nothing any more."""
        segment = self.running.get(name)
        return segment is None or self.done or not self.state.search.is_needed(segment.trial)

    def report_progress(self, name: str, progress: RunProgress) -> None:
        """Show how far a run is."""
        if name in self.running:
            self.display.update(self.running[name], progress)

    def report_hang(self, name: str) -> None:
        """Take in that a run does not move; that its process is lost follows."""
        self.hung.add(name)

    def report_result(self, name: str, answer: SegmentReport) -> None:
        """Take in what a stretch came to; of two answers the first counts."""
        segment = self.running.pop(name, None)
        if segment is None:
            return
        if name in self.hung and isinstance(answer, InfrastructureError):
            answer = _HANG
        match answer:
            case SegmentResult():
                self.state.record_result(segment, answer)
                self.display.explain(segment, answer)
            case InfrastructureError():
                self._retry_later(segment, answer)
            case SeedbedError():
                self.error = self.error or answer
        self.display.end(segment)
        self.display.show(self.state)

    def _retry_later(self, segment: TrialSegment, error: InfrastructureError) -> None:
        self.display.notice(f"trial {segment.trial}: {error.reason}: {error.message}")
        if self.state.record_failed_try(segment, error):
            where = (segment.trial, segment.run_index)
            self.not_before[where] = time.monotonic() + BACKOFF.delay(self.state.failed_tries[where])
