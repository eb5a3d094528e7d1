"""What was seen of all runs of a sweep, in one attempt: sums that only grow, and who trains now."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, field
from threading import Lock

from seedbed.search.learning_curve import Failed
from seedbed.sweeps.trial_runner import Reached
from seedbed.training.run_progress import PartSeconds, RunProgress

Place = tuple[int, int]
"""Trial, and place among its folds."""


@dataclass(kw_only=True, slots=True)
class Tally:
    """What was seen of all runs of this attempt together."""

    steps: int = 0
    """Only ever more, also where a run that was lost does some of them again."""
    kept: float | None = None
    """When a run last kept its state or came to where it was to, in seconds since 1970."""
    running: dict[Place, int] = field(default_factory=dict)
    """Steps that were counted of the stretches under way."""
    at: dict[Place, RunProgress] = field(default_factory=dict)
    """How far each of them was seen last."""
    spent: PartSeconds = field(default_factory=PartSeconds)
    """Seconds of the worker groups that are over."""
    _lock: Lock = field(default_factory=Lock)
    """No second is between the groups that are over and those under way when somebody asks."""

    def begin(self, place: Place) -> None:
        """Count a stretch from now on."""
        self.running[place] = 0
        self._leave(place)

    def see(self, place: Place, progress: RunProgress) -> None:
        """Take in how far a run is."""
        before = self.at.get(place)
        self._add(place, progress.step - (before.step if before else progress.resumed_from))
        if before is not None and sum(astuple(progress.seconds)) < sum(astuple(before.seconds)):
            self._leave(place)  # another worker group, which counts from 0
        with self._lock:
            self.at[place] = progress
        if progress.kept is not None:
            self.kept = max(self.kept or 0.0, progress.kept.time)

    def reach(self, place: Place, reached: Reached, now: float) -> None:
        """Take in what a stretch came to: one that is short was not seen on its way."""
        self._add(place, reached.computed - self.running.get(place, 0))
        if reached.computed and not isinstance(reached.course.end, Failed):
            self.kept = max(self.kept or 0.0, now)

    def end(self, place: Place) -> None:
        """Count a stretch no longer."""
        self.running.pop(place, None)
        self._leave(place)

    def seconds(self) -> PartSeconds:
        """Return the seconds of rank 0 of all runs together, as far as they were seen."""
        with self._lock:
            return _total(self.spent, *(progress.seconds for progress in self.at.values()))

    def under_way(self) -> list[RunProgress]:
        """Return how far the runs are that train now, by trial."""
        with self._lock:
            return [self.at[place] for place in sorted(self.at)]

    def _leave(self, place: Place) -> None:
        with self._lock:
            before = self.at.pop(place, None)
            if before is not None:
                self.spent = _total(self.spent, before.seconds)

    def _add(self, place: Place, steps: int) -> None:
        if steps > 0:
            self.steps += steps
            self.running[place] = self.running.get(place, 0) + steps


def _total(*spent: PartSeconds) -> PartSeconds:
    names = asdict(PartSeconds())
    return PartSeconds(**{name: sum(getattr(each, name) for each in spent) for name in names})
