"""A trial from its folds: what it reached, how it ended, and which fold tells the reason."""

from __future__ import annotations

from itertools import product

import pytest

from seedbed.search import Failed, Finished, LearningCurve, Undecided
from seedbed.search.learning_curve import RunEnd, mean_curve

RUNGS = (1, 3)
BAD, WORSE = Failed(reason="NonFiniteLoss"), Failed(reason="ModelError")
LOST = Undecided(reason="OutOfMemory")


def run(*values: tuple[int, int], end: RunEnd | None = None) -> LearningCurve:
    return LearningCurve(values=values, end=end)


def done(value: int) -> Finished:
    return Finished(value=value)


CASES: dict[str, tuple[list[LearningCurve], LearningCurve]] = {
    "nothing is known": ([run()], run()),
    "one fold is its own mean": ([run((1, 5))], run((1, 5))),
    "evaluations between rungs are passed over": ([run((1, 5), (2, 9), (3, 7))], run((1, 5), (3, 7))),
    "a rung is reached by the last fold": ([run((1, 5)), run()], run()),
    "means of two": ([run((1, 5)), run((1, 8))], run((1, 6))),
    "finished": ([run((1, 5), (3, 6), end=done(9))], run((1, 5), (3, 6), end=done(9))),
    "stopped by itself before the last rung": ([run((1, 5), (2, 4), end=done(4))], run((1, 5), end=done(4))),
    "stopped by itself at a rung": ([run((1, 5), end=done(5))], run((1, 5), end=done(5))),
    "one fold stopped, its value stays": (
        [run((1, 4), end=done(4)), run((1, 6), (3, 8))],
        run((1, 5), (3, 6)),
    ),
    "all folds stopped at different epochs": (
        [run((1, 4), end=done(4)), run((1, 6), (3, 8), end=done(10))],
        run((1, 5), (3, 6), end=done(7)),
    ),
    "failed after a rung": ([run((1, 5), end=BAD)], run((1, 5), end=BAD)),
    "failed, and a lower fold may tell another reason": ([run(), run(end=BAD)], run()),
    "failed, and the lower folds have come as far": ([run((1, 5)), run(end=BAD)], run(end=BAD)),
    "the lowest that fails tells the reason": ([run(end=WORSE), run(end=BAD)], run(end=WORSE)),
    "failed at the same stretch, whatever the epoch": (
        [run((1, 1), (2, 5), end=WORSE), run((1, 1), end=BAD)],
        run((1, 1), end=WORSE),
    ),
    "a failure that a memo knows ahead of the rung": (
        [run((1, 4), end=BAD), run()],
        run(),
    ),
    "after the last rung": ([run((1, 5), (3, 6), end=BAD)], run((1, 5), (3, 6), end=BAD)),
    "undecided": ([run((1, 5)), run((1, 5), end=LOST)], run((1, 5))),
    "undecided, when its turn comes": (
        [run((1, 5), (3, 5)), run((1, 5), end=LOST)],
        run((1, 5), end=LOST),
    ),
    "a failure below hides what could not be decided": ([run(end=BAD), run(end=LOST)], run(end=BAD)),
}


@pytest.mark.parametrize(("folds", "trial"), CASES.values(), ids=CASES.keys())
def test_merged(folds: list[LearningCurve], trial: LearningCurve) -> None:
    assert mean_curve(folds, RUNGS) == trial


LIVES = [
    run((1, 1), (3, 2), end=done(3)),
    run((1, 4), (2, 5), end=done(5)),
    run((1, 2), end=BAD),
    run(end=WORSE),
    run((1, 7), (2, 7), (3, 7), (4, 7), end=BAD),
]


def stages(life: LearningCurve) -> list[LearningCurve]:
    """Return what is known of a run from its first evaluation to its end."""
    return [LearningCurve(values=life.values[:count]) for count in range(len(life.values) + 1)] + [life]


@pytest.mark.parametrize("lives", list(product(LIVES, LIVES)))
def test_what_is_known_only_grows(lives: tuple[LearningCurve, LearningCurve]) -> None:
    """Whichever fold comes forward first, nothing that was said about the trial is taken back."""
    final = mean_curve(lives, RUNGS)
    assert final.end is not None
    for known in product(*map(stages, lives)):
        trial = mean_curve(known, RUNGS)
        assert trial.values == final.values[: len(trial.values)]
        assert trial.end in (None, final.end)
