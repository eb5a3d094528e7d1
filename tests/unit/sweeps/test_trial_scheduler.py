"""Stretches that run elsewhere: whatever the order of their answers, the same is decided; trouble is no verdict."""

from __future__ import annotations

import random

import pytest

from seedbed.search.learning_curve import Failed, LearningCurve
from seedbed.search.trial_decisions import DecidedTrial, EndReason, TrialState
from seedbed.sweeps.trial_runner import Reached
from seedbed.sweeps.trial_scheduler import BACKOFF, Conducting
from seedbed_api.errors import InfrastructureError, UserError
from unit.sweeps.scheduled_sweeps import conducting, reached

LOST = InfrastructureError("WorkersLost", "its process was lost")


def conduct(course: Conducting, *, slots: int, order: random.Random) -> list[DecidedTrial]:
    """Answer in a random order until nothing is left to train."""
    count = 0
    while True:
        while len(course.running) < slots and course.next(f"stretch-{count}") is not None:
            count += 1
        if not course.running:
            return course.standing.decided
        name = order.choice(sorted(course.running))
        if course.in_vain(name):
            course.answered(name, None)
        else:
            course.answered(name, reached(course.running[name]))


def test_no_more_is_handed_out_than_may_be_and_nothing_else_changes() -> None:
    free, bound = conducting(), conducting()
    bound.most = 2
    assert [bound.next(f"first-{count}") is not None for count in range(4)] == [True, True, False, False]
    for name in list(bound.running):
        bound.answered(name, reached(bound.running[name]))
    decided = conduct(bound, slots=6, order=random.Random(1))
    assert decided == conduct(free, slots=6, order=random.Random(2))


@pytest.mark.parametrize("changes", [{}, {"crossValidation": {"folds": 3}}], ids=["runs", "folds"])
def test_every_order_of_answers_decides_the_same(changes: dict[str, object]) -> None:
    first = conduct(conducting(**changes), slots=1, order=random.Random(0))
    assert {trial.state for trial in first} == {TrialState.SUCCEEDED, TrialState.PRUNED}
    for seed in range(30):
        order = random.Random(seed)
        assert conduct(conducting(**changes), slots=1 + seed % 6, order=order) == first


def test_nothing_is_handed_out_twice() -> None:
    course = conducting(earlyStopping=None)
    handed = [course.next(str(number)) for number in range(8)]
    assert [stretch and stretch.trial for stretch in handed] == [0, 1, 2, 3, 4, 5, None, None]


def test_a_lost_run_is_tried_again_and_then_fails_the_sweep_never_the_trial() -> None:
    course = conducting(earlyStopping=None)
    course.next("a")
    course.answered("a", LOST)
    other = course.next("early")
    assert other is not None
    assert other.trial == 1, "the lost one waits a while"
    course.not_before.clear()
    again = course.next("b")
    assert again is not None
    assert again.trial == 0
    course.answered("b", LOST)
    ended = course.standing.search.ended
    assert ended is not None
    assert (ended.reason, ended.index, ended.detail) == (EndReason.UNDECIDED, 0, "WorkersLost")
    assert course.over
    assert course.standing.decided == []


def test_a_run_that_hangs_is_lost_with_that_reason() -> None:
    course = conducting(earlyStopping=None, backoffLimit=0)
    course.next("a")
    course.note_hang("a")
    course.answered("a", LOST)
    ended = course.standing.search.ended
    assert ended is not None
    assert (ended.reason, ended.detail) == (EndReason.UNDECIDED, "ProgressDeadlineExceeded")


def test_a_success_between_two_losses_begins_the_count_anew() -> None:
    course = conducting()
    for answer in (LOST, None):
        course.next("x")
        stretch = course.running["x"]
        course.answered("x", answer or reached(stretch))
        course.not_before.clear()
    course.next("y")
    course.answered("y", LOST)
    assert course.standing.search.ended is None


def test_two_answers_for_one_stretch_count_once() -> None:
    course = conducting()
    course.next("a")
    course.answered("a", LOST)
    course.answered("a", LOST)
    assert course.standing.search.ended is None


def test_what_is_no_fault_of_a_trial_ends_the_sweep_with_its_own_words() -> None:
    course = conducting()
    course.next("a")
    changed = UserError("DatasetChanged", "spec.dataset.uri: …")
    course.answered("a", changed)
    assert course.broken is changed
    assert course.over


def test_a_trial_that_fails_by_itself_is_decided_and_its_other_folds_are_in_vain() -> None:
    course = conducting(crossValidation={"folds": 3}, earlyStopping=None)
    course.next("fold 0")
    course.next("fold 1")
    course.answered("fold 0", Reached(course=LearningCurve(end=Failed(reason="NonFiniteLoss"))))
    (trial,) = course.standing.decided
    assert (trial.state, trial.reason) == (TrialState.FAILED, "NonFiniteLoss")
    assert course.in_vain("fold 1")


def test_told_to_stop_everything_is_in_vain() -> None:
    course = conducting()
    course.next("a")
    assert not course.in_vain("a")
    course.stopping.set()
    assert course.in_vain("a")


@pytest.mark.parametrize(("tries", "seconds"), [(1, 1.0), (2, 2.0), (4, 8.0), (7, 60.0), (10_000, 60.0)])
def test_pauses_grow_to_a_minute(tries: int, seconds: float) -> None:
    assert BACKOFF.delay(tries) == seconds
