"""Whether a ledger follows from its spec: proposals, verdicts and the end, decided again from its values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from seedbed.search.learning_curve import Course, Failed, Finished, Undecided
from seedbed.search.search_state import Search
from seedbed.search.trial_decisions import Decided, Ended, State, Why
from seedbed_api.sweepjob import SweepJobSpec


def disagreements(spec: SweepJobSpec, trials: Sequence[Decided], ended: Ended) -> list[str]:
    """Return a line for each decision of a ledger that its spec and the values before it do not give."""
    search = Search(spec)
    lines: list[str] = []
    for trial in trials:
        lines.extend(_of_trial(search, trial))
        if lines:
            return lines
    if ended.why is Why.UNDECIDED:
        end = Undecided(reason=ended.detail or "")
        search.learn(ended.index, [Course(end=end)] * search.folds)
    if search.ended != ended:
        lines.append(f"the sweep ends {ended}, its trials say {search.ended}")
    return lines


def _of_trial(search: Search, trial: Decided) -> Iterator[str]:
    if search.ended is not None:
        yield f"trial {trial.index} comes after the end of the sweep, {search.ended}"
        return
    if search.point(trial.index) != trial.point:
        yield f"trial {trial.index} tried {trial.point}, its proposal is {search.point(trial.index)}"
        return
    if len(trial.folds) not in (0, search.folds):
        yield f"trial {trial.index} has {len(trial.folds)} folds, the sweep has {search.folds}"
        return
    search.learn(trial.index, [_course(trial, fold) for fold in range(search.folds)])
    again = search.decided.get(trial.index)
    if again is None:
        yield f"trial {trial.index} ended {trial.state}, the rungs say that it goes on"
        return
    for name in (field.name for field in fields(Decided)):
        told, found = getattr(trial, name), getattr(again, name)
        if told != found:
            yield f"trial {trial.index} has {name} {told}, the values before it say {found}"


def _course(trial: Decided, fold: int) -> Course:
    """Return a fold with which the trial has the same means: at earlier rungs those of folds are not kept."""
    if trial.state is State.PRUNED and trial.folds:
        ended_at = [(epoch, trial.folds[fold]) for epoch, _ in trial.rungs[-1:]]
        return Course(values=(*trial.rungs[:-1], *ended_at))
    end = Finished(value=trial.folds[fold]) if trial.folds else Failed(reason=trial.reason or "")
    return Course(values=trial.rungs, end=end)
