"""A sweep under way: a few stories told fact by fact."""

from __future__ import annotations

from seedbed.search import Course, Failed, Finished, Search, State, Why
from unit.search.sweeps import a_rate, a_sweep

HALVING = {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": 3, "minEpochs": 1}}


def test_without_early_stopping_all_trials_are_trained_to_the_end() -> None:
    search = Search(a_sweep(a_rate(), maxTrialCount=3))
    tasks = list(search.tasks())
    assert [(task.index, task.until) for task in tasks] == [(0, None), (1, None), (2, None)]
    for index, value in ((2, 9), (0, 5), (1, 7)):
        assert search.ended is None
        search.learn(index, [Course(end=Finished(value=value))])
    assert search.ended is not None
    assert (search.ended.why, search.ended.index) == (Why.ALL_TRIED, 2)
    assert [search.decided[index].objective for index in range(3)] == [5, 7, 9]


def test_a_trial_waits_at_a_rung_only_for_lower_ones_that_could_change_its_verdict() -> None:
    search = Search(a_sweep(a_rate(), earlyStopping=HALVING))
    search.learn(1, [Course(values=((1, 5),))])
    assert search.waiting == {}  # the first three go on whatever the others do
    search.learn(3, [Course(values=((1, 4),))])
    assert search.waiting == {3: (0, 2)}
    search.learn(0, [Course(values=((1, 6),))])
    assert search.waiting == {3: (2,)}  # would trial 2 fail, then trial 3 were among the first three
    search.learn(2, [Course(values=((1, 3),))])
    assert search.decided[3].state is State.PRUNED
    assert search.decided[3].objective == 4


def test_a_failed_trial_is_no_rival() -> None:
    search = Search(a_sweep(a_rate(), earlyStopping=HALVING))
    for index in range(3):
        search.learn(index, [Course(end=Failed(reason="NonFiniteLoss"))])
    search.learn(3, [Course(values=((1, 4),))])
    assert search.decided.keys() == {0, 1, 2}
    assert next(iter(search.tasks())).until == 3
