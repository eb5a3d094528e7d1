"""A sweep without any training: every trial has a fate, and an executor that lets them come out in some order."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from seedbed.runs.sweep_record import sweep_record
from seedbed.search import (
    Assignments,
    Failed,
    Finished,
    LearningCurve,
    Search,
    SweepEnd,
    TrialTask,
    Undecided,
)
from seedbed.search.trial_decisions import TrialRuns
from seedbed_api.sweepjob import SweepJobSpec

HALF = 10**12 // 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """What one run comes to if it is trained to its end."""

    course: LearningCurve
    """With all evaluations up to the end."""

    def until(self, epoch: int | None) -> LearningCurve:
        """Return what is known of it when it was trained up to an epoch."""
        if epoch is None:
            return self.course
        known = tuple(pair for pair in self.course.values if pair[0] <= epoch)
        over = known == self.course.values and (not known or known[-1][0] < epoch)
        return LearningCurve(values=known, end=self.course.end if over else None)


Oracle = Callable[[Assignments, int, int], Fate]
"""(point, fold, horizon) -> fate: as in life it is a function of the recipe and nothing else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Luck:
    """How often, in percent, what happens."""

    fails: int = 15
    stops_by_itself: int = 10
    is_lost: int = 0
    """Hung or out of memory, however often it is tried."""
    levels: int = 6
    """Values that an objective can have: few make many ties."""


def chances(salt: int, luck: Luck) -> Oracle:
    """Return fates that are drawn by hashing."""

    def fate(point: Assignments, fold: int, horizon: int) -> Fate:
        draw = random.Random(sha256(repr((salt, point, fold)).encode()).digest())
        last = (
            draw.randint(1, horizon) if draw.randrange(100) < luck.fails + luck.stops_by_itself else horizon
        )
        values = tuple((epoch, HALF + draw.randrange(luck.levels)) for epoch in range(1, last + 1))
        if draw.randrange(100) < luck.is_lost:
            return Fate(
                course=LearningCurve(values=values[: horizon // 2], end=Undecided(reason="OutOfMemory"))
            )
        if last < horizon and draw.randrange(luck.fails + luck.stops_by_itself) < luck.fails:
            return Fate(
                course=LearningCurve(
                    values=values, end=Failed(reason=draw.choice(["NonFiniteLoss", "ModelError"]))
                )
            )
        return Fate(course=LearningCurve(values=values, end=Finished(value=values[-1][1])))

    return fate


@dataclass(kw_only=True)
class SearchOutcome:
    """What a sweep came to."""

    ended: SweepEnd
    record: bytes
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
    kills: int = 0
    """Percent of steps after which the driver is killed and begins again with what is stored."""
    make: Callable[[SweepJobSpec], Search] = Search

    def run(self) -> SearchOutcome:
        search, running = self.make(self.spec), dict[int, TrialTask]()
        stored: dict[int, list[LearningCurve]] = {}
        while search.ended is None:
            for index in [index for index in running if not search.is_needed(index)]:
                del running[index]
            if self._fill(search, running, stored):
                continue  # something was looked up: there may be more to do now
            assert running, f"nothing to do and no end: {search.waiting}"
            self._step(running[sorted(running)[self.choose(len(running))]], search, running, stored)
            if self.kills and self.choose(100) < self.kills:
                search, running = self.make(self.spec), {}
        return self._outcome(search, stored)

    def _fill(
        self, search: Search, running: dict[int, TrialTask], stored: dict[int, list[LearningCurve]]
    ) -> bool:
        """Give tasks to free slots; tell whether one was there already, in what an earlier driver stored."""
        for task in search.tasks():
            if len(running) == self.slots:
                return False
            if task.index in running:
                continue
            folds = stored.setdefault(task.index, [LearningCurve() for _ in range(search.folds)])
            if all(self._is_there(course, task.until_epoch) for course in folds):
                search.record_trial(task.index, folds)
                return True
            running[task.index] = task
        return False

    def _step(
        self,
        task: TrialTask,
        search: Search,
        running: dict[int, TrialTask],
        stored: dict[int, list[LearningCurve]],
    ) -> None:
        """Let one fold of a trial come as far as it may, or to its end where a memo knows that."""
        folds = stored[task.index]
        todo = [fold for fold, course in enumerate(folds) if not self._is_there(course, task.until_epoch)]
        fold = todo[self.choose(len(todo))]
        fate = self.oracle(task.assignments, fold, self.spec.trial_template.spec.training.epochs or 1)
        folds[fold] = fate.until(None if self._is_known(task.index, fold) else task.until_epoch)
        search.record_trial(task.index, folds)
        if len(todo) == 1:
            running.pop(task.index, None)

    def _is_known(self, index: int, fold: int) -> bool:
        return sha256(f"{index} {fold}".encode()).digest()[0] * 100 < self.ahead * 256

    @staticmethod
    def _is_there(course: LearningCurve, until: int | None) -> bool:
        return course.end is not None or (until is not None and course.objective_at(until) is not None)

    @staticmethod
    def _outcome(search: Search, stored: Mapping[int, list[LearningCurve]]) -> SearchOutcome:
        assert search.ended is not None
        trial_runs = {
            index: TrialRuns(run_ids=tuple(f"{trial.assignments} {fold}" for fold in range(search.folds)))
            for index, trial in search.decided.items()
        }
        record = sweep_record(search.decided.values(), sweep={}, ended=search.ended, trial_runs=trial_runs)
        trained = {
            (index, fold): len(course.values)
            for index, folds in stored.items()
            for fold, course in enumerate(folds)
        }
        return SearchOutcome(
            ended=search.ended, record=record.to_bytes(), decided=search.decided, trained=trained
        )


def in_sequence(spec: SweepJobSpec, oracle: Oracle, **more: object) -> SearchOutcome:
    """Run one after another, the lowest first: what every other execution must agree with."""
    return Executor(spec=spec, oracle=oracle, slots=1, choose=lambda _: 0, **more).run()  # type: ignore[arg-type]
