"""Early stopping and selection of the best model: pure functions of the evaluation records.

Scores are exact fractions of the integers in the records, so a resume or another W cannot change a decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The selection metric of one evaluation."""

    completed: int
    """Milestone: completed steps."""
    value: Fraction
    """Exact value of the metric, as the record's integers give it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyStopping:
    """When to stop: no improvement by more than `min_delta` for `patience` evaluations."""

    metric: str
    """Registry name, such as `validation/accuracy`."""
    maximize: bool
    patience: int
    min_delta: Fraction


def improves(rule: EarlyStopping, candidate: Fraction, best: Fraction) -> bool:
    """Say whether a candidate beats the best so far by more than the rule's margin."""
    gain = candidate - best if rule.maximize else best - candidate
    return gain > rule.min_delta


def should_stop(rule: EarlyStopping | None, scores: Sequence[Score]) -> bool:
    """Say whether the run ends after the last of `scores` (ascending by milestone)."""
    if rule is None or not scores:
        return False
    best, since = scores[0].value, 0
    for score in scores[1:]:
        if improves(rule, score.value, best):
            best, since = score.value, 0
        else:
            since += 1
    return since >= rule.patience


def best_score(scores: Sequence[Score], *, maximize: bool) -> Score:
    """Return the best evaluation; the earliest wins a tie."""
    assert scores, "a best model needs at least one evaluation"
    sign = 1 if maximize else -1
    return max(scores, key=lambda score: (sign * score.value, -score.completed))
