"""Why trials were pruned at their rungs, for the report of a finished sweep. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.search.objective_values import objective_goal
from seedbed.search.pruners import PrefixASHAPruner, RungComparison, RungTable, create_pruner
from seedbed.search.trial_decisions import DecidedTrial, TrialState
from seedbed_api.sweepjob import SweepJobSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class RungSummary:
    """How many trials reached a rung, and how many ended there."""

    epoch: int
    reached: int
    ended: int
    """Trials that were pruned there."""


def rung_summaries(spec: SweepJobSpec, trials: Sequence[DecidedTrial]) -> list[RungSummary]:
    """Return the rungs that at least one trial reached, ascending."""
    rungs = [
        RungSummary(
            epoch=epoch,
            reached=sum(any(epoch == there for there, _ in trial.rungs) for trial in trials),
            ended=sum(trial.state is TrialState.PRUNED and trial.rungs[-1][0] == epoch for trial in trials),
        )
        for epoch in create_pruner(spec).rungs
    ]
    return [rung for rung in rungs if rung.reached]


class PruneReasons:
    """Finds the reason of each pruned trial from all trials of a sweep."""

    def __init__(self, spec: SweepJobSpec, trials: Sequence[DecidedTrial]) -> None:
        self._pruner, self._table = create_pruner(spec), RungTable()
        better = objective_goal(spec.objective).sort_key
        for trial in trials:
            for rung, (_, value) in enumerate(trial.rungs):
                self._table.record_value(trial.index, rung, better(value))
            counts = trial.state is TrialState.SUCCEEDED or (
                trial.state is TrialState.PRUNED and self._pruner.counts_pruned
            )
            last = None if trial.objective is None or not counts else better(trial.objective)
            self._table.record_end(trial.index, len(trial.rungs), last)

    def comparison(self, trial: DecidedTrial) -> RungComparison:
        """Compare a pruned trial with those of lower index at its last rung."""
        return self._table.compare(trial.index, len(trial.rungs) - 1)

    def reason(self, trial: DecidedTrial) -> str:
        """Return why a trial was pruned at its last rung, in a few words."""
        lower = self.comparison(trial)
        if isinstance(self._pruner, PrefixASHAPruner):
            rank, count = lower.better + lower.equal + 1, lower.reached + 1
            go_on = count // self._pruner.reduction_factor
            best = "the best one goes on" if go_on == 1 else f"the best {go_on} go on"
            return f"place {rank} of the {count} up to its index; {best}"
        return f"{lower.better} of {lower.reached} trials of lower index were better"
