"""A sweep without any training: every trial has a fate, and an executor that lets them come out in some order."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from seedbed.search import Course, Ended, Failed, Finished, Point, Search, Undecided
from seedbed.search.ledger import Evidence, ledger
from seedbed_api.sweepjob import SweepJobSpec

HALF = 10**12 // 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """What one run comes to if it is trained to its end."""

    course: Course
    """With all evaluations up to the end."""

    def until(self, epoch: int | None) -> Course:
        """Return what is known of it when it was trained up to an epoch."""
        if epoch is None:
            return self.course
        known = tuple(pair for pair in self.course.values if pair[0] <= epoch)
        over = known == self.course.values and (not known or known[-1][0] < epoch)
        return Course(values=known, end=self.course.end if over else None)


Oracle = Callable[[Point, int, int], Fate]
"""(point, fold, horizon) -> fate: as in life it is a function of the recipe and nothing else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Luck:
    """How often, in percent, what happens."""

    fails: int = 15
    stops_by_itself: int = 10
    levels: int = 6
    """Values that an objective can have: few make many ties."""


def chances(salt: int, luck: Luck) -> Oracle:
    """Return fates that are drawn by hashing."""

    def fate(point: Point, fold: int, horizon: int) -> Fate:
        draw = random.Random(sha256(repr((salt, point, fold)).encode()).digest())
        last = (
            draw.randint(1, horizon) if draw.randrange(100) < luck.fails + luck.stops_by_itself else horizon
        )
        values = tuple((epoch, HALF + draw.randrange(luck.levels)) for epoch in range(1, last + 1))
        if last < horizon and draw.randrange(luck.fails + luck.stops_by_itself) < luck.fails:
            return Fate(
                course=Course(values=values, end=Failed(reason=draw.choice(["NonFiniteLoss", "ModelError"])))
            )
        return Fate(course=Course(values=values, end=Finished(value=values[-1][1])))

    return fate


@dataclass(kw_only=True)
class Outcome:
    """What a sweep came to."""

    ended: Ended
    ledger: bytes
    decided: Mapping[int, object]
    trained: dict[tuple[int, int], int] = field(default_factory=dict)
    """Epochs by (trial, fold)."""


@dataclass(kw_only=True)
class Executor:
    """Runs folds of trials in slots; which one is the next to come forward is up to `choose`."""

    spec: SweepJobSpec
    oracle: Oracle
    slots: int
    choose: Callable[[int], int]
    """Given how many runs are in progress, which one makes the next step."""
    ahead: int = 0
    """Percent of runs that a memo knows to the end."""
    make: Callable[[SweepJobSpec], Search] = Search

    def run(self) -> Outcome:
        search, horizon = self.make(self.spec), self.spec.trial_template.spec.training.epochs or 1
        running: dict[int, tuple[Point, int | None]] = {}
        facts: dict[int, list[Course]] = {}
        trained: dict[tuple[int, int], int] = {}
        while search.ended is None:
            for index in [index for index in running if not search.is_needed(index)]:
                del running[index]
            for task in search.tasks():
                if len(running) == self.slots:
                    break
                if task.index not in running:
                    running[task.index] = (task.point, task.until)
                    facts.setdefault(task.index, [Course() for _ in range(search.folds)])
            assert running, f"nothing to do and no end: {search.waiting}"
            index = sorted(running)[self.choose(len(running))]
            point, until = running[index]
            fold = self._next_fold(facts[index], until, index)
            fate = self.oracle(point, fold, horizon)
            facts[index][fold] = fate.until(None if self._is_known(index, fold) else until)
            trained[index, fold] = len(facts[index][fold].values)
            search.learn(index, facts[index])
            if all(self._is_there(course, until) for course in facts[index]):
                running.pop(index, None)
        return self._outcome(search, trained)

    def _next_fold(self, courses: list[Course], until: int | None, index: int) -> int:
        todo = [fold for fold, course in enumerate(courses) if not self._is_there(course, until)]
        return todo[self.choose(len(todo))]

    def _is_known(self, index: int, fold: int) -> bool:
        return sha256(f"{index} {fold}".encode()).digest()[0] * 100 < self.ahead * 256

    @staticmethod
    def _is_there(course: Course, until: int | None) -> bool:
        return course.end is not None or (until is not None and course.at(until) is not None)

    @staticmethod
    def _outcome(search: Search, trained: dict[tuple[int, int], int]) -> Outcome:
        assert search.ended is not None
        evidence = {
            index: Evidence(run_ids=tuple(f"{trial.point} {fold}" for fold in range(search.folds)))
            for index, trial in search.decided.items()
        }
        written = ledger(search.decided.values(), sweep={}, ended=search.ended, evidence=evidence)
        return Outcome(ended=search.ended, ledger=written.data, decided=search.decided, trained=trained)


def in_sequence(spec: SweepJobSpec, oracle: Oracle, **more: object) -> Outcome:
    """Run one after another, the lowest first: what every other execution must agree with."""
    return Executor(spec=spec, oracle=oracle, slots=1, choose=lambda _: 0, **more).run()  # type: ignore[arg-type]


__all__ = ["Executor", "Fate", "Luck", "Outcome", "Undecided", "chances", "in_sequence"]
