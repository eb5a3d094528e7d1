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
from seedbed.sweeps.resolve_sweep import Sweep
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.trial_runner import Reached, Stretch
from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import InfrastructureError, SeedbedError
from seedbed_api.exponential_backoff import ExponentialBackoff

BACKOFF = ExponentialBackoff(first=1.0, longest=60.0)


@dataclass(kw_only=True, slots=True)
class Standing:
    """The one memory of a sweep under way; everything in it can be had again from the output store."""

    sweep: Sweep
    search: Search
    known: dict[tuple[int, int], Reached] = field(default_factory=dict)
    """By trial and place among its folds."""
    computed: dict[int, int] = field(default_factory=dict)
    """Steps that this call computed, by trial."""
    seconds: float = 0.0
    """How long that took, over all runs, without their starts."""
    tries: dict[tuple[int, int], int] = field(default_factory=dict)
    """Stretches in a row that failed for lack of a machine, memory or time."""

    def open_stretches(self) -> Iterator[Stretch]:
        """Yield what may be trained now, the lowest trial first, of a trial the lowest fold first."""
        for task in self.search.tasks():
            yield from self._stretches(task)

    def _stretches(self, task: TrialTask) -> Iterator[Stretch]:
        for place, fold in enumerate(self.sweep.fold_numbers):
            if not self._course(task.index, place).has_reached(task.until_epoch):
                yield Stretch(
                    trial=task.index,
                    place=place,
                    fold=fold,
                    values=dict(task.assignments),
                    until=task.until_epoch,
                )

    def _course(self, trial: int, place: int) -> LearningCurve:
        reached = self.known.get((trial, place))
        return LearningCurve() if reached is None else reached.course

    def note(self, stretch: Stretch, reached: Reached) -> None:
        """Take in what is known of a run after a stretch."""
        where = (stretch.trial, stretch.place)
        self.known[where] = reached
        self.tries.pop(where, None)
        self.computed[stretch.trial] = self.computed.get(stretch.trial, 0) + reached.computed
        self.seconds += reached.seconds
        self._learn(stretch.trial)

    def note_trouble(self, stretch: Stretch, error: SeedbedError) -> bool:
        """Count a try that says nothing about the trial; tell whether it is worth another one."""
        where = (stretch.trial, stretch.place)
        self.tries[where] = self.tries.get(where, 0) + 1
        if self.tries[where] <= self.sweep.spec.backoff_limit:
            return True
        known = self._course(*where)
        abandoned = LearningCurve(values=known.values, end=Undecided(reason=error.reason))
        self.known[where] = Reached(course=abandoned)
        self._learn(stretch.trial)
        return False

    def _learn(self, trial: int) -> None:
        places = range(len(self.sweep.fold_numbers))
        self.search.record_trial(trial, [self._course(trial, place) for place in places])

    @property
    def decided(self) -> list[DecidedTrial]:
        """Return the trials that are part of the sweep, by index."""
        return self.search.trials

    @property
    def reused(self) -> int:
        """Return how many decided trials were looked up and not trained."""
        return sum(map(self.is_reused, self.decided))

    def is_reused(self, trial: DecidedTrial) -> bool:
        """Say whether a trial cost this call no step; what fails is tried, whatever it costs."""
        return trial.state is not TrialState.FAILED and not self.computed.get(trial.index)

    def trial_runs(self) -> dict[int, TrialRuns]:
        """Return by what the runs of the decided trials are known: equal for every order of the facts."""
        return {trial.index: self.runs_of_trial(trial) for trial in self.decided}

    def runs_of_trial(self, trial: DecidedTrial) -> TrialRuns:
        """Return by what the runs of a decided trial are known."""
        runs = self.sweep.run_ids(dict(trial.assignments))
        if trial.state is not TrialState.SUCCEEDED:
            return TrialRuns(run_ids=runs)
        models = [self.known[trial.index, place].model for place in range(len(runs))]
        return TrialRuns(
            run_ids=runs, weights=tuple(model.weights_digest for model in models if model is not None)
        )


_HANG = InfrastructureError(
    "ProgressDeadlineExceeded", "no step came for spec.progressDeadlineSeconds; its process was ended"
)

Answer = Reached | SeedbedError | None
"""What a stretch came to; None where it was told to stop."""


@dataclass(kw_only=True, slots=True)
class Conducting:
    """A sweep whose stretches run elsewhere, each under a name that is given to it there."""

    standing: Standing
    stopping: threading.Event
    display: SweepDisplay
    most: int | None = None
    """Stretches that are handed out at a time; None: all that may be trained."""
    running: dict[str, Stretch] = field(default_factory=dict)
    not_before: dict[tuple[int, int], float] = field(default_factory=dict)
    """When a run may be tried again, by the monotonic clock."""
    hung: set[str] = field(default_factory=set)
    """Stretches that did not move for too long; their processes are ended."""
    broken: SeedbedError | None = None
    """What ends the sweep at once."""

    @property
    def over(self) -> bool:
        """Say whether nothing more is to be trained."""
        return self.broken is not None or self.stopping.is_set() or self.standing.search.ended is not None

    def next(self, name: str) -> Stretch | None:
        """Return what is to be trained next, from now on under `name`; None while nothing may begin."""
        if self.most is not None and len(self.running) >= self.most:
            return None
        busy = {(stretch.trial, stretch.place) for stretch in self.running.values()}
        for stretch in self.standing.open_stretches():
            where = (stretch.trial, stretch.place)
            if where not in busy and time.monotonic() >= self.not_before.get(where, 0.0):
                self.running[name] = stretch
                self.display.begin(stretch)
                return stretch
        return None

    def in_vain(self, name: str) -> bool:
        """Say whether what is trained decides nothing any more."""
        stretch = self.running.get(name)
        return stretch is None or self.over or not self.standing.search.is_needed(stretch.trial)

    def tell(self, name: str, progress: RunProgress) -> None:
        """Show how far a run is."""
        if name in self.running:
            self.display.update(self.running[name], progress)

    def note_hang(self, name: str) -> None:
        """Take in that a run does not move; that its process is lost follows."""
        self.hung.add(name)

    def answered(self, name: str, answer: Answer) -> None:
        """Take in what a stretch came to; of two answers the first counts."""
        stretch = self.running.pop(name, None)
        if stretch is None:
            return
        if name in self.hung and isinstance(answer, InfrastructureError):
            answer = _HANG
        match answer:
            case Reached():
                self.standing.note(stretch, answer)
                self.display.explain(stretch, answer)
            case InfrastructureError():
                self._note_trouble(stretch, answer)
            case SeedbedError():
                self.broken = self.broken or answer
        self.display.end(stretch)
        self.display.show(self.standing)

    def _note_trouble(self, stretch: Stretch, error: InfrastructureError) -> None:
        self.display.notice(f"trial {stretch.trial}: {error.reason}: {error.message}")
        if self.standing.note_trouble(stretch, error):
            where = (stretch.trial, stretch.place)
            self.not_before[where] = time.monotonic() + BACKOFF.delay(self.standing.tries[where])
