"""How a sweep stands: the search, what is known of each run, and which run comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from seedbed.search.learning_curve import Course, Undecided
from seedbed.search.search_state import Search
from seedbed.search.sweep_record import Evidence
from seedbed.search.trial_decisions import Decided, State, Task
from seedbed.sweeps.resolve_sweep import Sweep
from seedbed.sweeps.trial_runner import Reached, Stretch
from seedbed_api.errors import SeedbedError


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

    def _stretches(self, task: Task) -> Iterator[Stretch]:
        for place, fold in enumerate(self.sweep.fold_numbers):
            if not self._course(task.index, place).has_come(task.until):
                yield Stretch(
                    trial=task.index, place=place, fold=fold, values=dict(task.point), until=task.until
                )

    def _course(self, trial: int, place: int) -> Course:
        reached = self.known.get((trial, place))
        return Course() if reached is None else reached.course

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
        abandoned = Course(values=known.values, end=Undecided(reason=error.reason))
        self.known[where] = Reached(course=abandoned)
        self._learn(stretch.trial)
        return False

    def _learn(self, trial: int) -> None:
        places = range(len(self.sweep.fold_numbers))
        self.search.learn(trial, [self._course(trial, place) for place in places])

    @property
    def decided(self) -> list[Decided]:
        """Return the trials that are part of the sweep, by index."""
        return self.search.trials

    @property
    def reused(self) -> int:
        """Return how many decided trials were looked up and not trained."""
        return sum(map(self.is_reused, self.decided))

    def is_reused(self, trial: Decided) -> bool:
        """Say whether a trial cost this call no step; what fails is tried, whatever it costs."""
        return trial.state is not State.FAILED and not self.computed.get(trial.index)

    def evidence(self) -> dict[int, Evidence]:
        """Return by what the runs of the decided trials are known: equal for every order of the facts."""
        return {trial.index: self.evidence_of(trial) for trial in self.decided}

    def evidence_of(self, trial: Decided) -> Evidence:
        """Return by what the runs of a decided trial are known."""
        runs = self.sweep.run_ids(dict(trial.point))
        if trial.state is not State.SUCCEEDED:
            return Evidence(run_ids=runs)
        models = [self.known[trial.index, place].model for place in range(len(runs))]
        return Evidence(
            run_ids=runs, weights=tuple(model.weights_digest for model in models if model is not None)
        )
