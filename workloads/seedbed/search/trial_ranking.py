"""The best of the trials, and how many are in which state: what status, table and report show."""

from __future__ import annotations

from collections.abc import Iterable

from seedbed.search.objective_values import Goal, spelled
from seedbed.search.trial_decisions import Decided, State
from seedbed_api.sweepjob_status import MOST_TOP_TRIALS, Assignment, Trial, TrialCounts
from seedbed_api.trainingjob_status import ModelStatus


def ranked(trials: Iterable[Decided], goal: Goal) -> list[Decided]:
    """Return the trials that succeeded, best first; the lower index wins a tie."""
    done = [trial for trial in trials if trial.state is State.SUCCEEDED]
    return sorted(done, key=lambda trial: (goal.key(trial.objective or 0), trial.index))


def top(trials: Iterable[Decided], goal: Goal) -> list[Decided]:
    """Return the trials of the status; the first is the best."""
    return ranked(trials, goal)[:MOST_TOP_TRIALS]


def status_row(trial: Decided, *, run_id: str | None = None, model: ModelStatus | None = None) -> Trial:
    """Return a trial as the status shows it."""
    return Trial(
        index=trial.index,
        run_id=run_id,
        objective=None if trial.objective is None else spelled(trial.objective),
        parameters=tuple(Assignment(name=name, value=value) for name, value in trial.point),
        model=model,
    )


def counts(trials: Iterable[Decided], *, running: int = 0, reused: int = 0, planned: int = 0) -> TrialCounts:
    """Return how many trials are in which state, of those that are `planned` where that is known."""
    states = [trial.state for trial in trials]
    return TrialCounts(
        total=len(states) + running,
        running=running,
        succeeded=states.count(State.SUCCEEDED),
        pruned=states.count(State.PRUNED),
        failed=states.count(State.FAILED),
        reused=reused,
        finished=f"{len(states)}/{planned}" if planned else None,
    )
