"""When a sweep ends: by the trial of lowest index that ends it, after all below it are decided."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

from seedbed.search.learning_curve import Undecided
from seedbed.search.objective_values import Goal
from seedbed.search.trial_decisions import Decided, Ended, State, Why


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What ends a sweep."""

    total: int
    """Trials, at least one."""
    most_failed: int
    """Trials that may fail before the sweep does."""
    goal: Goal


def is_content(goal: Goal, trial: Decided) -> bool:
    """Tell whether a trial reaches the target: one that was trained to its end, no rung on the way."""
    return trial.state is State.SUCCEEDED and trial.objective is not None and goal.reached(trial.objective)


class Ending:
    """The end of a sweep, from trials decided in any order."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.ended: Ended | None = None
        """How the sweep ended; None while a trial that may end it is open."""
        self._decided: dict[int, Decided] = {}
        self._undecided: dict[int, Undecided] = {}
        self._failed: list[int] = []
        self._last = limits.total - 1
        self._settled = 0

    @property
    def last(self) -> int:
        """Return the highest index that may still matter: no trial above it can be part of the sweep."""
        return self._last

    def decide(self, trial: Decided) -> None:
        """Take in a decided trial."""
        self._decided[trial.index] = trial
        if trial.state is State.FAILED:
            insort(self._failed, trial.index)
            self._bound(*self._failed[self.limits.most_failed :][:1])
        if is_content(self.limits.goal, trial):
            self._bound(trial.index)
        self._settle()

    def give_up(self, index: int, end: Undecided) -> None:
        """Take in a trial that cannot be decided."""
        self._undecided[index] = end
        self._bound(index)
        self._settle()

    def _bound(self, *indices: int) -> None:
        self._last = min([self._last, *indices])

    def _settle(self) -> None:
        """Go on from where all trials are decided."""
        while self.ended is None:
            if self._settled in self._undecided:
                reason = self._undecided[self._settled].reason
                self.ended = Ended(why=Why.UNDECIDED, index=self._settled, detail=reason)
            elif self._settled not in self._decided:
                return
            elif self._settled == self._last:
                self.ended = Ended(why=self._why(self._decided[self._last]), index=self._last)
            self._settled += 1

    def _why(self, last: Decided) -> Why:
        if is_content(self.limits.goal, last):
            return Why.TARGET_REACHED
        failed = sum(index <= last.index for index in self._failed)
        return Why.FAILURE_LIMIT if failed > self.limits.most_failed else Why.ALL_TRIED
