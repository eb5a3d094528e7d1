"""How a sweep ends: stories by index, and that the order in which trials are decided changes nothing."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.search import DecidedTrial, EndReason, SweepEnd, TrialState, Undecided
from seedbed.search.objective_values import Goal
from seedbed.search.search_state import StopCriteria, StopLimits

TARGET = 10


def limits(total: int, most_failed: int = 1) -> StopLimits:
    return StopLimits(total=total, most_failed=most_failed, goal=Goal(maximize=True, target=Fraction(TARGET)))


def tell(ending: StopCriteria, index: int, fate: str) -> None:
    """s: succeeded, t: with the target, p: pruned (though better), f: failed, u: undecided."""
    if fate == "u":
        ending.abandon(index, Undecided(reason="Hung"))
        return
    state = {
        "s": TrialState.SUCCEEDED,
        "t": TrialState.SUCCEEDED,
        "p": TrialState.PRUNED,
        "f": TrialState.FAILED,
    }[fate]
    value = {"s": TARGET - 1, "t": TARGET, "p": TARGET + 1, "f": None}[fate]
    ending.decide(DecidedTrial(index=index, assignments=(), state=state, objective=value))


STORIES = {
    "all tried": ("sps", SweepEnd(reason=EndReason.ALL_TRIED, index=2)),
    "the target": ("sts", SweepEnd(reason=EndReason.TARGET_REACHED, index=1)),
    "the lowest that reaches the target": ("stt", SweepEnd(reason=EndReason.TARGET_REACHED, index=1)),
    "the target at last": ("sst", SweepEnd(reason=EndReason.TARGET_REACHED, index=2)),
    "a rung is no target": ("pps", SweepEnd(reason=EndReason.ALL_TRIED, index=2)),
    "as many failures as may be": ("fss", SweepEnd(reason=EndReason.ALL_TRIED, index=2)),
    "one too many": ("fsfs", SweepEnd(reason=EndReason.FAILURE_LIMIT, index=2)),
    "the target comes before the failures": ("ftff", SweepEnd(reason=EndReason.TARGET_REACHED, index=1)),
    "the failures come before the target": ("fft", SweepEnd(reason=EndReason.FAILURE_LIMIT, index=1)),
    "undecided": ("sus", SweepEnd(reason=EndReason.UNDECIDED, index=1, detail="Hung")),
    "undecided, but the target came before": ("tus", SweepEnd(reason=EndReason.TARGET_REACHED, index=0)),
    "undecided before the target": ("utt", SweepEnd(reason=EndReason.UNDECIDED, index=0, detail="Hung")),
}


@pytest.mark.parametrize(("fates", "ended"), STORIES.values(), ids=STORIES.keys())
def test_stories(fates: str, ended: SweepEnd) -> None:
    for order in (range(len(fates)), reversed(range(len(fates)))):
        ending = StopCriteria(limits(len(fates)))
        for index in order:
            tell(ending, index, fates[index])
        assert ending.ended == ended
        assert ending.last == ended.index


def by_hand(fates: str, rule: StopLimits) -> tuple[EndReason, int]:
    """Return the end by walking from the first trial on."""
    for index, fate in enumerate(fates):
        if fate == "u":
            return EndReason.UNDECIDED, index
        if fate == "t":
            return EndReason.TARGET_REACHED, index
        if fates[: index + 1].count("f") > rule.most_failed:
            return EndReason.FAILURE_LIMIT, index
    return EndReason.ALL_TRIED, len(fates) - 1


@given(st.text("stpfu", min_size=1, max_size=9), st.integers(0, 3), st.randoms())
def test_the_order_of_decisions_changes_nothing(fates: str, most_failed: int, chance: object) -> None:
    rule = limits(len(fates), most_failed)
    order = list(range(len(fates)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    ending, why_index, told = StopCriteria(rule), by_hand(fates, rule), set()
    for index in order:
        tell(ending, index, fates[index])
        told.add(index)
        known = set(range(why_index[1] + 1)) <= told
        assert (ending.ended is not None) == known
        assert ending.last >= why_index[1]
    assert ending.ended is not None
    assert (ending.ended.reason, ending.ended.index) == why_index


def test_nothing_above_the_end_is_needed_any_more() -> None:
    ending = StopCriteria(limits(100))
    assert ending.last == 99
    tell(ending, 60, "t")
    assert ending.last == 60
    for index in (50, 40):
        tell(ending, index, "f")
    assert ending.last == 50
    tell(ending, 30, "f")
    assert ending.last == 40
    tell(ending, 7, "u")
    assert (ending.last, ending.ended) == (7, None)
