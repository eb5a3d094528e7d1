"""The step schedule: when a run evaluates and writes checkpoints."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.training.step_schedule import EveryEpochs, EverySteps, StepSchedule


def milestones(
    evaluation: EveryEpochs | EverySteps | None, *, total: int = 20, best: bool = False
) -> StepSchedule:
    return StepSchedule(
        total_steps=total, evaluation=evaluation, checkpoint_every_steps=1000, checkpoint_at_evaluations=best
    )


@pytest.mark.parametrize(
    ("evaluation", "expected"),
    [
        pytest.param(
            EveryEpochs(epochs=1, samples=100, global_rows=20), [5, 10, 15, 20], id="batches divide the epoch"
        ),
        pytest.param(
            EveryEpochs(epochs=1, samples=100, global_rows=16),
            [7, 13, 19, 20],
            id="a batch reaches into the next epoch",
        ),
        pytest.param(EveryEpochs(epochs=2, samples=100, global_rows=20), [10, 20], id="every second epoch"),
        pytest.param(
            EveryEpochs(epochs=1, samples=100, global_rows=100),
            list(range(1, 21)),
            id="one batch is one epoch",
        ),
        pytest.param(EverySteps(steps=6), [6, 12, 18, 20], id="every six steps, and the end"),
        pytest.param(None, [20], id="only the end"),
    ],
)
def test_evaluations(evaluation: EveryEpochs | EverySteps | None, expected: list[int]) -> None:
    assert milestones(evaluation).evaluations_until(20) == expected


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 60), st.integers(1, 200), st.integers(1, 200), st.integers(1, 4))
def test_each_full_period_of_epochs_is_evaluated_once(
    total: int, samples: int, rows: int, every: int
) -> None:
    rows = min(rows, samples)
    marks = milestones(EveryEpochs(epochs=every, samples=samples, global_rows=rows), total=total)
    periods = total * rows // (every * samples)
    regular = {-(-k * every * samples // rows) for k in range(1, periods + 1)}
    assert set(marks.evaluations_until(total)) == regular | {total}


def test_the_end_is_always_kept() -> None:
    assert [step for step in range(1, 21) if milestones(None).is_checkpoint(step)] == [20]


def test_a_best_model_is_kept_wherever_it_may_be_chosen() -> None:
    marks = milestones(EverySteps(steps=6), best=True)
    assert [step for step in range(1, 21) if marks.is_checkpoint(step)] == marks.evaluations_until(20)


@settings(deadline=None, max_examples=60)
@given(
    total=st.integers(1, 60),
    done=st.integers(0, 60),
    every=st.integers(1, 70),
    keep=st.integers(1, 70),
    evaluated=st.booleans(),
    saved=st.booleans(),
    rows=st.integers(1, 50),
)
def test_what_is_ahead_is_what_comes(
    total: int, done: int, every: int, keep: int, evaluated: bool, saved: bool, rows: int
) -> None:
    done = min(done, total)
    for evaluation in (None, EverySteps(steps=every), EveryEpochs(epochs=1, samples=50, global_rows=rows)):
        marks = StepSchedule(
            total_steps=total,
            evaluation=evaluation,
            checkpoint_every_steps=keep,
            checkpoint_at_evaluations=False,
        )
        ahead = marks.remaining(done, evaluated=evaluated, saved=saved)
        coming = range(done + 1, total + 1)
        here = [done] if done else []
        assert ahead.steps == len(coming)
        assert ahead.evaluations == sum(map(marks.is_evaluation, [*coming, *([] if evaluated else here)]))
        assert ahead.checkpoints == sum(map(marks.is_checkpoint, [*coming, *([] if saved else here)]))


def test_a_checkpoint_at_an_evaluation_is_ahead_too() -> None:
    marks = milestones(EverySteps(steps=6), best=True)
    assert marks.remaining(0, evaluated=True, saved=True).checkpoints == 4
    assert marks.remaining(12, evaluated=True, saved=False).checkpoints == 3
    assert marks.remaining(20, evaluated=True, saved=True).checkpoints == 0
