"""Why trials were ended at their rungs, told when all is known: what a report says, which decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.search.objective_values import goal
from seedbed.search.pruners import PrefixHalving, Rivals, Standings, stopper
from seedbed.search.trial_decisions import Decided, State
from seedbed_api.sweepjob import SweepJobSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """What came of the trials that reached a rung."""

    epoch: int
    reached: int
    ended: int
    """Trials that were ended there."""


def rungs_of(spec: SweepJobSpec, trials: Sequence[Decided]) -> list[Rung]:
    """Return the rungs that at least one trial reached, ascending."""
    rungs = [
        Rung(
            epoch=epoch,
            reached=sum(any(epoch == there for there, _ in trial.rungs) for trial in trials),
            ended=sum(trial.state is State.PRUNED and trial.rungs[-1][0] == epoch for trial in trials),
        )
        for epoch in stopper(spec).rungs
    ]
    return [rung for rung in rungs if rung.reached]


class Hindsight:
    """How all trials of a sweep stood at each rung."""

    def __init__(self, spec: SweepJobSpec, trials: Sequence[Decided]) -> None:
        self._stopper, self._standings = stopper(spec), Standings()
        better = goal(spec.objective).key
        for trial in trials:
            for rung, (_, value) in enumerate(trial.rungs):
                self._standings.reach(trial.index, rung, better(value))
            counts = trial.state is State.SUCCEEDED or (
                trial.state is State.PRUNED and self._stopper.keeps_pruned
            )
            last = None if trial.objective is None or not counts else better(trial.objective)
            self._standings.end(trial.index, len(trial.rungs), last)

    def rivals(self, trial: Decided) -> Rivals:
        """Return how the trials of lower index stood at the last rung of one that was ended there."""
        return self._standings.rivals(trial.index, len(trial.rungs) - 1)

    def why(self, trial: Decided) -> str:
        """Return why a trial was ended at its last rung, in a few words."""
        rivals = self.rivals(trial)
        if isinstance(self._stopper, PrefixHalving):
            rank, count = rivals.better + rivals.equal + 1, rivals.reached + 1
            go_on = count // self._stopper.reduction_factor
            best = "the best one goes on" if go_on == 1 else f"the best {go_on} go on"
            return f"place {rank} of the {count} up to its index; {best}"
        return f"{rivals.better} of {rivals.reached} trials of lower index were better"
