"""One SweepJob: trials by state, rungs, the best so far, what the memo saved."""

from __future__ import annotations

from dashboards.building import Page, Row, bars, lines, number, stacked
from dashboards.selecting import BY, EACH, NAMESPACE, OF, SWEEP
from seedbed_api import metrics as names


def _max(name: str) -> str:
    return f"max by ({BY}) ({name}{{{OF}}})"


_DECIDED = f'sum by ({BY}) ({names.TRIALS.name}{{{OF}, state=~"Succeeded|Pruned|Failed"}})'
PAGE = Page(
    uid="seedbed-sweepjob",
    title="Seedbed / SweepJob",
    description="One SweepJob: how its trials stand, what early stopping and the memo save.",
    variables=(NAMESPACE, SWEEP),
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Decided",
                    "Trials about which nothing is open, of those there may be.",
                    "percentunit",
                    f"{_DECIDED} / {_max(names.TRIALS_PLANNED.name)}",
                ),
                number(
                    "Best objective",
                    "Of the trials that succeeded.",
                    "short",
                    _max(names.BEST_OBJECTIVE.name),
                ),
                number(
                    "Failed",
                    "Trials that failed by their own values.",
                    "short",
                    f'sum({names.TRIALS.name}{{{OF}, state="Failed"}})',
                ),
                number(
                    "Looked up",
                    "Trials that the memo knew: none was paid twice.",
                    "short",
                    _max(names.TRIALS_REUSED.name),
                ),
                number(
                    "Time saved",
                    "What the looked-up trials would have taken, at the pace of the others.",
                    "s",
                    _max(names.SAVED_SECONDS.name),
                ),
                number(
                    "Planned", "Trials that there may be at most.", "short", _max(names.TRIALS_PLANNED.name)
                ),
            ),
        ),
        Row(
            title="Trials",
            panels=(
                stacked(
                    "Trials by state",
                    "Waiting trials hold no slot: they wait at a rung for trials of lower index.",
                    "short",
                    (f"sum by (state) ({names.TRIALS.name}{{{OF}}})", "{{state}}"),
                    span=12,
                ),
                bars(
                    "Rungs",
                    "Trials that have reached the rung of an epoch; empty without early stopping.",
                    "short",
                    (f"sum by (epoch) ({names.RUNG_TRIALS.name}{{{OF}}})", "epoch {{epoch}}"),
                    span=12,
                ),
                lines(
                    "Best objective",
                    "It only ever gets better; the direction is the objective's.",
                    "short",
                    (_max(names.BEST_OBJECTIVE.name), EACH),
                    span=12,
                ),
                lines(
                    "Saved by the memo",
                    "Seconds that looked-up trials would have taken.",
                    "s",
                    (_max(names.SAVED_SECONDS.name), EACH),
                    span=12,
                ),
            ),
        ),
    ),
)
