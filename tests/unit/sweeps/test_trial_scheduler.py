"""Stretches that run elsewhere: whatever the order of their answers, the same is decided; trouble is no verdict."""

from __future__ import annotations

import random

import pytest

from seedbed.search.learning_curve import Failed, LearningCurve
from seedbed.search.trial_decisions import DecidedTrial, EndReason, TrialState
from seedbed.search.trial_segment import SegmentResult
from seedbed.sweeps.trial_scheduler import BACKOFF, TrialScheduler
from seedbed_api.errors import InfrastructureError, UserError
from unit.sweeps.scheduled_sweeps import result, scheduler

LOST = InfrastructureError("WorkersLost", "its process was lost")


def conduct(sweep: TrialScheduler, *, slots: int, order: random.Random) -> list[DecidedTrial]:
    """Answer in a random order until nothing is left to train."""
    count = 0
    while True:
        while len(sweep.running) < slots and sweep.next_segment(f"segment-{count}") is not None:
            count += 1
        if not sweep.running:
            return sweep.state.decided
        name = order.choice(sorted(sweep.running))
        if sweep.is_obsolete(name):
            sweep.report_result(name, None)
        else:
            sweep.report_result(name, result(sweep.running[name]))


def test_no_more_is_handed_out_than_may_be_and_nothing_else_changes() -> None:
    free, bound = scheduler(), scheduler()
    bound.max_running = 2
    assert [bound.next_segment(f"first-{count}") is not None for count in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    for name in list(bound.running):
        bound.report_result(name, result(bound.running[name]))
    decided = conduct(bound, slots=6, order=random.Random(1))
    assert decided == conduct(free, slots=6, order=random.Random(2))


@pytest.mark.parametrize("changes", [{}, {"crossValidation": {"folds": 3}}], ids=["runs", "folds"])
def test_every_order_of_answers_decides_the_same(changes: dict[str, object]) -> None:
    first = conduct(scheduler(**changes), slots=1, order=random.Random(0))
    assert {trial.state for trial in first} == {TrialState.SUCCEEDED, TrialState.PRUNED}
    for seed in range(30):
        order = random.Random(seed)
        assert conduct(scheduler(**changes), slots=1 + seed % 6, order=order) == first


def test_nothing_is_handed_out_twice() -> None:
    sweep = scheduler(earlyStopping=None)
    handed = [sweep.next_segment(str(number)) for number in range(8)]
    assert [segment and segment.trial for segment in handed] == [0, 1, 2, 3, 4, 5, None, None]


def test_a_lost_run_is_tried_again_and_then_fails_the_sweep_never_the_trial() -> None:
    sweep = scheduler(earlyStopping=None)
    sweep.next_segment("a")
    sweep.report_result("a", LOST)
    other = sweep.next_segment("early")
    assert other is not None
    assert other.trial == 1, "the lost one waits a while"
    sweep.not_before.clear()
    again = sweep.next_segment("b")
    assert again is not None
    assert again.trial == 0
    sweep.report_result("b", LOST)
    ended = sweep.state.search.ended
    assert ended is not None
    assert (ended.reason, ended.index, ended.detail) == (EndReason.UNDECIDED, 0, "WorkersLost")
    assert sweep.done
    assert sweep.state.decided == []


def test_a_run_that_hangs_is_lost_with_that_reason() -> None:
    sweep = scheduler(earlyStopping=None, backoffLimit=0)
    sweep.next_segment("a")
    sweep.report_hang("a")
    sweep.report_result("a", LOST)
    ended = sweep.state.search.ended
    assert ended is not None
    assert (ended.reason, ended.detail) == (EndReason.UNDECIDED, "ProgressDeadlineExceeded")


def test_a_success_between_two_losses_begins_the_count_anew() -> None:
    sweep = scheduler()
    for answer in (LOST, None):
        sweep.next_segment("x")
        segment = sweep.running["x"]
        sweep.report_result("x", answer or result(segment))
        sweep.not_before.clear()
    sweep.next_segment("y")
    sweep.report_result("y", LOST)
    assert sweep.state.search.ended is None


def test_two_answers_for_one_stretch_count_once() -> None:
    sweep = scheduler()
    sweep.next_segment("a")
    sweep.report_result("a", LOST)
    sweep.report_result("a", LOST)
    assert sweep.state.search.ended is None


def test_what_is_no_fault_of_a_trial_ends_the_sweep_with_its_own_words() -> None:
    sweep = scheduler()
    sweep.next_segment("a")
    changed = UserError("DatasetChanged", "spec.dataset.uri: …")
    sweep.report_result("a", changed)
    assert sweep.error is changed
    assert sweep.done


def test_a_trial_that_fails_by_itself_is_decided_and_its_other_folds_are_in_vain() -> None:
    sweep = scheduler(crossValidation={"folds": 3}, earlyStopping=None)
    sweep.next_segment("fold 0")
    sweep.next_segment("fold 1")
    sweep.report_result("fold 0", SegmentResult(curve=LearningCurve(end=Failed(reason="NonFiniteLoss"))))
    (trial,) = sweep.state.decided
    assert (trial.state, trial.reason) == (TrialState.FAILED, "NonFiniteLoss")
    assert sweep.is_obsolete("fold 1")


def test_told_to_stop_everything_is_in_vain() -> None:
    sweep = scheduler()
    sweep.next_segment("a")
    assert not sweep.is_obsolete("a")
    sweep.stopping.set()
    assert sweep.is_obsolete("a")


@pytest.mark.parametrize(("tries", "seconds"), [(1, 1.0), (2, 2.0), (4, 8.0), (7, 60.0), (10_000, 60.0)])
def test_pauses_grow_to_a_minute(tries: int, seconds: float) -> None:
    assert BACKOFF.delay(tries) == seconds
