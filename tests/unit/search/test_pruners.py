"""Early stopping: tables of verdicts, and that a verdict comes exactly when nothing unknown can change it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.search.pruners import (
    MedianPruner,
    NoPruner,
    PrefixASHAPruner,
    Pruner,
    RungComparison,
    Verdict,
    create_pruner,
)
from unit.search.sweeps import a_rate, a_sweep

HALVING = PrefixASHAPruner(rungs=(1, 3), reduction_factor=3)
MEDIAN = MedianPruner(rungs=(2, 3), min_trials=4)
RULES: list[Pruner] = [
    HALVING,
    PrefixASHAPruner(rungs=(1,), reduction_factor=2),
    MEDIAN,
    MedianPruner(rungs=(1,), min_trials=1),
]


def rivals(better: int = 0, equal: int = 0, worse: int = 0, unknown: int = 0) -> RungComparison:
    return RungComparison(better=better, equal=equal, worse=worse, unknown=unknown)


VERDICTS = {
    "the first": (HALVING, rivals(), "Promote"),
    "the last of the first three": (HALVING, rivals(better=2), "Promote"),
    "fourth, and worst": (HALVING, rivals(better=3), "Prune"),
    "fourth, and best": (HALVING, rivals(worse=3), "Promote"),
    "fourth, as good as the best: the lower index goes first": (HALVING, rivals(equal=1, worse=2), "Prune"),
    "the sixth may be second": (HALVING, rivals(better=1, worse=4), "Promote"),
    "the fifth may not": (HALVING, rivals(better=1, worse=3), "Prune"),
    "best so far, one unknown": (HALVING, rivals(worse=4, unknown=1), "Promote"),
    "best so far, but the fourth may be better": (HALVING, rivals(worse=2, unknown=1), "Wait"),
    "all unknown, but no more than three": (HALVING, rivals(unknown=2), "Promote"),
    "beaten by too many already": (HALVING, rivals(better=3, unknown=1), "Prune"),
    "a median of too few": (MEDIAN, rivals(better=3), "Promote"),
    "worse than the median": (MEDIAN, rivals(better=3, worse=1), "Prune"),
    "half are better": (MEDIAN, rivals(better=2, worse=2), "Promote"),
    "equals are not better": (MEDIAN, rivals(equal=4), "Promote"),
    "the unknown one decides": (MEDIAN, rivals(better=2, worse=2, unknown=1), "Wait"),
    "the unknown one cannot help": (MEDIAN, rivals(better=4, unknown=1), "Prune"),
    "there may be enough for a median": (MEDIAN, rivals(better=3, unknown=1), "Wait"),
    "never": (NoPruner(), rivals(better=9), "Promote"),
}


@pytest.mark.parametrize(("rule", "standing", "verdict"), VERDICTS.values(), ids=VERDICTS.keys())
def test_verdict(rule: Pruner, standing: RungComparison, verdict: str) -> None:
    assert rule.verdict(standing) == verdict


@given(
    rule=st.sampled_from(RULES),
    better=st.integers(0, 6),
    equal=st.integers(0, 3),
    worse=st.integers(0, 6),
    unknown=st.integers(0, 4),
)
def test_a_verdict_comes_when_no_future_can_change_it(
    rule: Pruner, better: int, equal: int, worse: int, unknown: int
) -> None:
    """Each unknown one will be better, equal, worse or never come: all of these are tried."""
    futures = {
        rule.verdict(rivals(better + future.count("b"), equal + future.count("e"), worse + future.count("w")))
        for future in product("bew-", repeat=unknown)
    }
    now = rule.verdict(rivals(better, equal, worse, unknown))
    assert now == (futures.pop() if len(futures) == 1 else Verdict.WAIT)


RUNGS: dict[str, tuple[dict[str, Any] | None, int, int, tuple[int, ...]]] = {
    "none": (None, 9, 1, ()),
    "powers of three below nine": (
        {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": 3, "minEpochs": 1}},
        9,
        1,
        (1, 3),
    ),
    "powers of three below ten": (
        {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": 3, "minEpochs": 1}},
        10,
        1,
        (1, 3, 9),
    ),
    "twice as long from four": (
        {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": 2, "minEpochs": 4}},
        64,
        2,
        (4, 8, 16, 32),
    ),
    "every evaluation from the third epoch": (
        {"type": "Median", "median": {"minEpochs": 3}},
        9,
        2,
        (4, 6, 8),
    ),
    "not the last evaluation": ({"type": "Median", "median": {"minEpochs": 3}}, 9, 3, (3, 6)),
}


@pytest.mark.parametrize(("rule", "epochs", "every", "rungs"), RUNGS.values(), ids=RUNGS.keys())
def test_rungs(rule: dict[str, Any] | None, epochs: int, every: int, rungs: tuple[int, ...]) -> None:
    assert create_pruner(a_sweep(a_rate(), epochs=epochs, every=every, earlyStopping=rule)).rungs == rungs
