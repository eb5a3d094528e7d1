"""State of a search: learning curves go in, in any order; trials to run next and decided trials come out.

Decided trials, their ranking and the end of the sweep are a function of the curves, whatever their order.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seedbed.search.learning_curve import Failed, Finished, LearningCurve, Undecided, mean_curve
from seedbed.search.objective_values import Goal, mean_objective, objective_goal, standard_deviation
from seedbed.search.pruners import RungTable, Verdict, create_pruner
from seedbed.search.samplers import create_sampler
from seedbed.search.search_space import Assignments
from seedbed.search.trial_decisions import DecidedTrial, EndReason, SweepEnd, TrialState, TrialTask
from seedbed_api.sweepjob import SweepJobSpec


class Search:
    """The decisions of one sweep.

    Loop until `ended`: start `tasks()` that are not running, train each up to its `until_epoch`, report the
    curves with `record_trial`, stop trials that `is_needed` no longer names.
    """

    def __init__(self, spec: SweepJobSpec) -> None:
        """Take a spec that `sweep_validation.require_possible_search` accepts."""
        self.spec = spec
        self.goal = objective_goal(spec.objective)
        self.folds = 1 if spec.cross_validation is None else spec.cross_validation.folds
        self.sampler = create_sampler(spec)
        self.pruner = create_pruner(spec)
        self.decided: dict[int, DecidedTrial] = {}
        """By index; `trials` leaves out those above the end of the sweep."""
        limits = StopLimits(total=self.sampler.total, most_failed=spec.max_failed_trial_count, goal=self.goal)
        self._stop = StopCriteria(limits)
        self._rungs = RungTable()
        self._assignments: dict[int, Assignments] = {}
        self._folds: dict[int, tuple[LearningCurve, ...]] = {}
        self._curves: dict[int, LearningCurve] = {}
        self._passed_rungs: dict[int, int] = {}
        self._waiting: set[int] = set()
        self._abandoned: set[int] = set()
        self._decided_prefix: list[DecidedTrial] = []

    @property
    def ended(self) -> SweepEnd | None:
        """How the sweep ended; None while it runs."""
        return self._stop.ended

    @property
    def trials(self) -> list[DecidedTrial]:
        """Return the decided trials of the sweep by index."""
        last = self._stop.limits.total if self.ended is None else self.ended.index
        return [self.decided[index] for index in sorted(self.decided) if index <= last]

    @property
    def waiting(self) -> dict[int, tuple[int, ...]]:
        """Return the trials that wait at a rung, and the trials of lower index that each waits for."""
        return {
            index: self._rungs.undecided(index, self._passed_rungs.get(index, 0))
            for index in sorted(self._waiting)
            if index <= self._stop.last
        }

    def assignments(self, index: int) -> Assignments | None:
        """Return the values of a trial; None while they depend on trials that are not decided yet."""
        if index not in self._assignments and len(self._decided_prefix) >= self.sampler.trials_needed(index):
            self._assignments[index] = self.sampler.propose(index, self._decided_prefix)
        return self._assignments.get(index)

    def tasks(self) -> Iterator[TrialTask]:
        """Yield the trials that may be trained now, lowest index first; started in this order none blocks.

        A running trial stays among them until the curve up to its rung or its end is recorded.
        """
        if self.ended is not None:
            return
        for index in range(len(self._decided_prefix), self._stop.last + 1):
            if not self.is_needed(index):
                continue
            assignments = self.assignments(index)
            if assignments is None:
                return
            yield TrialTask(index=index, assignments=assignments, until_epoch=self._next_rung(index))

    def is_needed(self, index: int) -> bool:
        """Say whether a running trial is still among the tasks."""
        settled = index in self.decided or index in self._waiting or index in self._abandoned
        return self.ended is None and index <= self._stop.last and not settled

    def record_trial(self, index: int, folds: Sequence[LearningCurve]) -> None:
        """Store the curves of a trial's folds; each must continue the one that was stored before."""
        assert len(folds) == self.folds, (len(folds), self.folds)
        self._folds[index] = tuple(folds)
        if index in self.decided:
            return
        self._curves[index] = mean_curve(folds, self.pruner.rungs)
        if self._advance(index):
            for other in sorted(self._waiting):
                if other > index:
                    self._advance(other)

    def _advance(self, index: int) -> bool:
        """Judge a trial at the rungs it has reached; say whether other trials may depend on the result."""
        curve, before = self._curves[index], self._passed_rungs.get(index, 0)
        self._waiting.discard(index)
        for rung in range(before, len(curve.values)):
            key = self.goal.sort_key(curve.values[rung][1])
            self._rungs.record_value(index, rung, key)
            verdict = self.pruner.verdict(self._rungs.compare(index, rung))
            if verdict is Verdict.WAIT:
                self._waiting.add(index)
                return True
            self._passed_rungs[index] = rung + 1
            if verdict is Verdict.PRUNE:
                self._rungs.record_end(index, rung + 1, key if self.pruner.counts_pruned else None)
                self._decide(index, TrialState.PRUNED)
                return True
        return self._finish(index, curve) or self._passed_rungs.get(index, 0) > before

    def _finish(self, index: int, curve: LearningCurve) -> bool:
        """Decide a trial whose curve has ended; say whether it has."""
        rung = len(curve.values)
        if isinstance(curve.end, Finished):
            self._rungs.record_end(index, rung, self.goal.sort_key(curve.end.value))
            self._decide(index, TrialState.SUCCEEDED)
        elif isinstance(curve.end, Failed):
            self._rungs.record_end(index, rung, None)
            self._decide(index, TrialState.FAILED)
        elif isinstance(curve.end, Undecided):
            self._abandoned.add(index)
            self._stop.abandon(index, curve.end)
        return curve.end is not None

    def _decide(self, index: int, state: TrialState) -> None:
        curve, assignments = self._curves[index], self.assignments(index)
        assert assignments is not None, f"trial {index} ran before it was proposed"
        reached, failed = curve.values[: self._passed_rungs.get(index, 0)], state is TrialState.FAILED
        final = self._final_values(index, reached if state is TrialState.PRUNED else ()) if not failed else ()
        self.decided[index] = DecidedTrial(
            index=index,
            assignments=assignments,
            state=state,
            rungs=reached,
            folds=final,
            objective=mean_objective(final) if final else None,
            deviation=standard_deviation(final) if final else None,
            reason=curve.end.reason if isinstance(curve.end, Failed) and failed else None,
        )
        self._stop.decide(self.decided[index])
        while len(self._decided_prefix) in self.decided:
            self._decided_prefix.append(self.decided[len(self._decided_prefix)])

    def _final_values(self, index: int, pruned_at: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        """Return the objective of each fold where the trial ended: at a rung or at its last epoch."""
        folds = self._folds[index]
        if pruned_at:
            values = [fold.objective_at(pruned_at[-1][0]) for fold in folds]
        else:
            values = [fold.end.value if isinstance(fold.end, Finished) else None for fold in folds]
        known = tuple(value for value in values if value is not None)
        assert len(known) == len(folds), index
        return known

    def _next_rung(self, index: int) -> int | None:
        passed = self._passed_rungs.get(index, 0)
        return self.pruner.rungs[passed] if passed < len(self.pruner.rungs) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class StopLimits:
    """What final a sweep."""

    total: int
    """Number of trials, at least one."""
    most_failed: int
    """Failed trials that the sweep tolerates."""
    goal: Goal


def reaches_target(goal: Goal, trial: DecidedTrial) -> bool:
    """Say whether a trial reaches the target at the end of its training; rungs before it do not count."""
    return (
        trial.state is TrialState.SUCCEEDED
        and trial.objective is not None
        and goal.is_reached_by(trial.objective)
    )


class StopCriteria:
    """Finds the end of a sweep: the lowest trial that ends it once all below it are decided, in any order."""

    def __init__(self, limits: StopLimits) -> None:
        self.limits = limits
        self.ended: SweepEnd | None = None
        """How the sweep ended; None while a trial that may end it is undecided."""
        self._decided: dict[int, DecidedTrial] = {}
        self._undecided: dict[int, Undecided] = {}
        self._failed: list[int] = []
        self._last = limits.total - 1
        self._settled = 0

    @property
    def last(self) -> int:
        """Return the highest index that may be part of the sweep."""
        return self._last

    def decide(self, trial: DecidedTrial) -> None:
        """Store a decided trial."""
        self._decided[trial.index] = trial
        if trial.state is TrialState.FAILED:
            insort(self._failed, trial.index)
            self._bound(*self._failed[self.limits.most_failed :][:1])
        if reaches_target(self.limits.goal, trial):
            self._bound(trial.index)
        self._settle()

    def abandon(self, index: int, end: Undecided) -> None:
        """Store a trial that cannot be decided."""
        self._undecided[index] = end
        self._bound(index)
        self._settle()

    def _bound(self, *indices: int) -> None:
        self._last = min([self._last, *indices])

    def _settle(self) -> None:
        """Advance over decided trials, up to the one that ends the sweep."""
        while self.ended is None:
            if self._settled in self._undecided:
                reason = self._undecided[self._settled].reason
                self.ended = SweepEnd(reason=EndReason.UNDECIDED, index=self._settled, detail=reason)
            elif self._settled not in self._decided:
                return
            elif self._settled == self._last:
                self.ended = SweepEnd(reason=self._reason(self._decided[self._last]), index=self._last)
            self._settled += 1

    def _reason(self, last: DecidedTrial) -> EndReason:
        if reaches_target(self.limits.goal, last):
            return EndReason.TARGET_REACHED
        failed = sum(index <= last.index for index in self._failed)
        return EndReason.FAILURE_LIMIT if failed > self.limits.most_failed else EndReason.ALL_TRIED
