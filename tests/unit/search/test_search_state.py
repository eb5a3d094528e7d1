"""A sweep under way: a few stories told fact by fact."""

from __future__ import annotations

from seedbed.search import EndReason, Failed, Finished, LearningCurve, Search, TrialState
from unit.search.sweeps import a_rate, a_sweep

HALVING = {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": 3, "minEpochs": 1}}


def test_without_early_stopping_all_trials_are_trained_to_the_end() -> None:
    search = Search(a_sweep(a_rate(), maxTrialCount=3))
    tasks = list(search.tasks())
    assert [(task.index, task.until_epoch) for task in tasks] == [(0, None), (1, None), (2, None)]
    for index, value in ((2, 9), (0, 5), (1, 7)):
        assert search.ended is None
        search.record_trial(index, [LearningCurve(end=Finished(value=value))])
    assert search.ended is not None
    assert (search.ended.reason, search.ended.index) == (EndReason.ALL_TRIED, 2)
    assert [search.decided[index].objective for index in range(3)] == [5, 7, 9]


def test_a_trial_waits_at_a_rung_only_for_lower_ones_that_could_change_its_verdict() -> None:
    search = Search(a_sweep(a_rate(), earlyStopping=HALVING))
    search.record_trial(1, [LearningCurve(values=((1, 5),))])
    assert search.waiting == {}  # the first three go on whatever the others do
    search.record_trial(3, [LearningCurve(values=((1, 4),))])
    assert search.waiting == {3: (0, 2)}
    search.record_trial(0, [LearningCurve(values=((1, 6),))])
    assert search.waiting == {3: (2,)}  # would trial 2 fail, then trial 3 were among the first three
    search.record_trial(2, [LearningCurve(values=((1, 3),))])
    assert search.decided[3].state is TrialState.PRUNED
    assert search.decided[3].objective == 4


def test_a_failed_trial_is_no_rival() -> None:
    search = Search(a_sweep(a_rate(), earlyStopping=HALVING))
    for index in range(3):
        search.record_trial(index, [LearningCurve(end=Failed(reason="NonFiniteLoss"))])
    search.record_trial(3, [LearningCurve(values=((1, 4),))])
    assert search.decided.keys() == {0, 1, 2}
    assert next(iter(search.tasks())).until_epoch == 3
