"""Ranking of trials and their counts by state, for status, table and report."""

from __future__ import annotations

from collections.abc import Iterable

from seedbed.search.objective_values import Goal, format_objective
from seedbed.search.trial_decisions import DecidedTrial, TrialState
from seedbed_api.sweepjob_status import MOST_TOP_TRIALS, Assignment, Trial, TrialCounts
from seedbed_api.trainingjob_status import ModelStatus


def rank_trials(trials: Iterable[DecidedTrial], goal: Goal) -> list[DecidedTrial]:
    """Return the trials that succeeded, best first; the lower index wins a tie."""
    done = [trial for trial in trials if trial.state is TrialState.SUCCEEDED]
    return sorted(done, key=lambda trial: (goal.sort_key(trial.objective or 0), trial.index))


def best_trials(trials: Iterable[DecidedTrial], goal: Goal) -> list[DecidedTrial]:
    """Return the best trials, as many as a status shows."""
    return rank_trials(trials, goal)[:MOST_TOP_TRIALS]


def trial_status(
    trial: DecidedTrial, *, run_id: str | None = None, model: ModelStatus | None = None
) -> Trial:
    """Return a trial as a row of the status."""
    return Trial(
        index=trial.index,
        run_id=run_id,
        objective=None if trial.objective is None else format_objective(trial.objective),
        parameters=tuple(Assignment(name=name, value=value) for name, value in trial.assignments),
        model=model,
    )


def count_trials(
    trials: Iterable[DecidedTrial], *, running: int = 0, reused: int = 0, planned: int = 0
) -> TrialCounts:
    """Return how many trials are in which state, of `planned` ones if that is known."""
    states = [trial.state for trial in trials]
    return TrialCounts(
        total=len(states) + running,
        running=running,
        succeeded=states.count(TrialState.SUCCEEDED),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAILED),
        reused=reused,
        finished=f"{len(states)}/{planned}" if planned else None,
    )
