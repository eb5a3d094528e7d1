"""A sweep under way: facts about runs go in, in any order; what to train next and what is decided come out.

Memory of a pure function: decisions, winner and ledger are those of the facts, whatever their order.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seedbed.search.learning_curve import Course, Failed, Finished, Undecided, merged
from seedbed.search.objective_values import Goal, deviation, goal, mean
from seedbed.search.pruners import Standings, stopper
from seedbed.search.samplers import proposer
from seedbed.search.search_space import Point
from seedbed.search.trial_decisions import Decided, Ended, State, Task, Verdict, Why
from seedbed_api.sweepjob import SweepJobSpec


class Search:
    """The decisions of one sweep.

    Loop: take `tasks()` that are not running, train them up to `until`, tell what came out by `learn`, stop
    what is no longer among the tasks; until `ended`.
    """

    def __init__(self, spec: SweepJobSpec) -> None:
        """Take a spec that `checking.refuse_impossible_search` has let pass."""
        self.spec = spec
        self.goal = goal(spec.objective)
        self.folds = 1 if spec.cross_validation is None else spec.cross_validation.folds
        self.proposer = proposer(spec)
        self.stopper = stopper(spec)
        self.decided: dict[int, Decided] = {}
        """Trials about which nothing is open, by index; those above the end of the sweep are none of it."""
        limits = Limits(total=self.proposer.total, most_failed=spec.max_failed_trial_count, goal=self.goal)
        self._ending = Ending(limits)
        self._standings = Standings()
        self._points: dict[int, Point] = {}
        self._facts: dict[int, tuple[Course, ...]] = {}
        self._courses: dict[int, Course] = {}
        self._passed: dict[int, int] = {}
        self._waiting: set[int] = set()
        self._given_up: set[int] = set()
        self._told: list[Decided] = []

    @property
    def ended(self) -> Ended | None:
        """How the sweep ended; None while it goes on."""
        return self._ending.ended

    @property
    def trials(self) -> list[Decided]:
        """Return the decided trials by index; after the end those of the sweep alone."""
        last = self._ending.limits.total if self.ended is None else self.ended.index
        return [self.decided[index] for index in sorted(self.decided) if index <= last]

    @property
    def waiting(self) -> dict[int, tuple[int, ...]]:
        """Return the trials that wait at a rung, and for which of lower index."""
        return {
            index: self._standings.unknown(index, self._passed.get(index, 0))
            for index in sorted(self._waiting)
            if index <= self._ending.last
        }

    def point(self, index: int) -> Point | None:
        """Return what a trial tries; None while that depends on trials which are not decided yet."""
        if index not in self._points and len(self._told) >= self.proposer.needs(index):
            self._points[index] = self.proposer.propose(index, self._told)
        return self._points.get(index)

    def tasks(self) -> Iterator[Task]:
        """Yield the trials that may be trained now, lowest index first: in that order none waits in vain.

        A trial that is running stays among them until its rung or its end is learnt.
        """
        if self.ended is not None:
            return
        for index in range(len(self._told), self._ending.last + 1):
            if not self.is_needed(index):
                continue
            point = self.point(index)
            if point is None:
                return
            yield Task(index=index, point=point, until=self._next_rung(index))

    def is_needed(self, index: int) -> bool:
        """Tell whether a trial that is running may go on: it is still among the tasks."""
        settled = index in self.decided or index in self._waiting or index in self._given_up
        return self.ended is None and index <= self._ending.last and not settled

    def learn(self, index: int, folds: Sequence[Course]) -> None:
        """Take in all that is known of a trial's folds; what was known before must be part of it."""
        assert len(folds) == self.folds, (len(folds), self.folds)
        self._facts[index] = tuple(folds)
        if index in self.decided:
            return
        self._courses[index] = merged(folds, self.stopper.rungs)
        if self._advance(index):
            for other in sorted(self._waiting):
                if other > index:
                    self._advance(other)

    def _advance(self, index: int) -> bool:
        """Take a trial as far as verdicts let it; tell whether others may depend on what came of it."""
        course, before = self._courses[index], self._passed.get(index, 0)
        self._waiting.discard(index)
        for rung in range(before, len(course.values)):
            key = self.goal.key(course.values[rung][1])
            self._standings.reach(index, rung, key)
            verdict = self.stopper.verdict(self._standings.rivals(index, rung))
            if verdict is Verdict.WAIT:
                self._waiting.add(index)
                return True
            self._passed[index] = rung + 1
            if verdict is Verdict.PRUNE:
                self._standings.end(index, rung + 1, key if self.stopper.keeps_pruned else None)
                self._decide(index, State.PRUNED)
                return True
        return self._finish(index, course) or self._passed.get(index, 0) > before

    def _finish(self, index: int, course: Course) -> bool:
        """Decide a trial that has come to its end; tell whether it has."""
        rung = len(course.values)
        if isinstance(course.end, Finished):
            self._standings.end(index, rung, self.goal.key(course.end.value))
            self._decide(index, State.SUCCEEDED)
        elif isinstance(course.end, Failed):
            self._standings.end(index, rung, None)
            self._decide(index, State.FAILED)
        elif isinstance(course.end, Undecided):
            self._given_up.add(index)
            self._ending.give_up(index, course.end)
        return course.end is not None

    def _decide(self, index: int, state: State) -> None:
        course, point = self._courses[index], self.point(index)
        assert point is not None, f"trial {index} ran before it was proposed"
        reached = course.values[: self._passed.get(index, 0)]
        ends = None if state is State.FAILED else self._ends(index, reached if state is State.PRUNED else ())
        self.decided[index] = Decided(
            index=index,
            point=point,
            state=state,
            rungs=reached,
            folds=ends or (),
            objective=None if ends is None else mean(ends),
            deviation=None if ends is None else deviation(ends),
            reason=course.end.reason if isinstance(course.end, Failed) and state is State.FAILED else None,
        )
        self._ending.decide(self.decided[index])
        while len(self._told) in self.decided:
            self._told.append(self.decided[len(self._told)])

    def _ends(self, index: int, pruned_at: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        """Return the value of each fold where the trial ended: at a rung, or at the end of its training."""
        folds = self._facts[index]
        if pruned_at:
            values = [fold.at(pruned_at[-1][0]) for fold in folds]
        else:
            values = [fold.end.value if isinstance(fold.end, Finished) else None for fold in folds]
        known = tuple(value for value in values if value is not None)
        assert len(known) == len(folds), index
        return known

    def _next_rung(self, index: int) -> int | None:
        passed = self._passed.get(index, 0)
        return self.stopper.rungs[passed] if passed < len(self.stopper.rungs) else None


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
