"""Check of a sweep record: proposals, verdicts and the end, decided again from the spec and the values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from seedbed.search.learning_curve import Failed, Finished, LearningCurve, Undecided
from seedbed.search.search_state import Search
from seedbed.search.trial_decisions import DecidedTrial, EndReason, SweepEnd, TrialState
from seedbed_api.sweepjob import SweepJobSpec


def disagreements(spec: SweepJobSpec, trials: Sequence[DecidedTrial], ended: SweepEnd) -> list[str]:
    """Return a line for each decision that does not follow from the spec and the trials before it."""
    search = Search(spec)
    lines: list[str] = []
    for trial in trials:
        lines.extend(_of_trial(search, trial))
        if lines:
            return lines
    if ended.reason is EndReason.UNDECIDED:
        end = Undecided(reason=ended.detail or "")
        search.record_trial(ended.index, [LearningCurve(end=end)] * search.folds)
    if search.ended != ended:
        lines.append(f"the sweep ends {ended}, by its trials {search.ended}")
    return lines


def _of_trial(search: Search, trial: DecidedTrial) -> Iterator[str]:
    if search.ended is not None:
        yield f"trial {trial.index} comes after the end of the sweep, {search.ended}"
        return
    if search.assignments(trial.index) != trial.assignments:
        proposal = search.assignments(trial.index)
        yield f"trial {trial.index} has the values {trial.assignments}, its proposal is {proposal}"
        return
    if len(trial.folds) not in (0, search.folds):
        yield f"trial {trial.index} has {len(trial.folds)} folds, the sweep has {search.folds}"
        return
    search.record_trial(trial.index, [_course(trial, fold) for fold in range(search.folds)])
    again = search.decided.get(trial.index)
    if again is None:
        yield f"trial {trial.index} ended {trial.state}, by its rungs it continues"
        return
    for name in (field.name for field in fields(DecidedTrial)):
        stored, found = getattr(trial, name), getattr(again, name)
        if stored != found:
            yield f"trial {trial.index} has {name} {stored}, by the values before it {found}"


def _course(trial: DecidedTrial, fold: int) -> LearningCurve:
    """Return a curve with the same means: the record has no values of folds at earlier rungs."""
    if trial.state is TrialState.PRUNED and trial.folds:
        ended_at = [(epoch, trial.folds[fold]) for epoch, _ in trial.rungs[-1:]]
        return LearningCurve(values=(*trial.rungs[:-1], *ended_at))
    end = Finished(value=trial.folds[fold]) if trial.folds else Failed(reason=trial.reason or "")
    return LearningCurve(values=trial.rungs, end=end)
