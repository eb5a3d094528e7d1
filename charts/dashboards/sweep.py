"""One SweepJob: trials by state, rungs, the best so far, what the memo saved."""

from __future__ import annotations

from dashboards.building import COUNT, Look, Page, Row, bars, lines, number, stacked
from dashboards.selecting import BAD, BY, EACH, NAMESPACE, OF_SWEEP, ONE_SWEEP, TRIALS
from seedbed_api import metric_names as names


def _max(name: str) -> str:
    return f"max by ({BY}) ({name}{{{OF_SWEEP}}})"


_DECIDED = f'sum by ({BY}) ({names.TRIALS.name}{{{OF_SWEEP}, state=~"Succeeded|Pruned|Failed"}})'
PAGE = Page(
    uid="seedbed-sweepjob",
    title="Seedbed / SweepJob",
    description="One SweepJob: how its trials stand, what early stopping and the memo save.",
    variables=(NAMESPACE, ONE_SWEEP),
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Decided",
                    "Trials about which nothing is open, of those there may be.",
                    "percentunit",
                    f"{_DECIDED} / {_max(names.TRIALS_PLANNED.name)}",
                    legend=EACH,
                ),
                number(
                    "Best objective",
                    "Of the trials that succeeded.",
                    "short",
                    _max(names.BEST_OBJECTIVE.name),
                    legend=EACH,
                ),
                number(
                    "Failed",
                    "Trials that failed by their own values.",
                    COUNT,
                    f'sum by ({BY}) ({names.TRIALS.name}{{{OF_SWEEP}, state="Failed"}})',
                    limits=((1, BAD),),
                    legend=EACH,
                ),
                number(
                    "Looked up",
                    "Trials that the memo knew: none was paid twice.",
                    COUNT,
                    _max(names.TRIALS_REUSED.name),
                    legend=EACH,
                ),
                number(
                    "Time saved",
                    "What the looked-up trials would have taken, at the pace of the others.",
                    "s",
                    _max(names.SAVED_SECONDS.name),
                    legend=EACH,
                ),
                number(
                    "Planned",
                    "Trials that there may be at most.",
                    COUNT,
                    _max(names.TRIALS_PLANNED.name),
                    legend=EACH,
                ),
            ),
        ),
        Row(
            title="Trials",
            panels=(
                stacked(
                    "Trials by state",
                    "Waiting trials hold no slot: they wait at a rung for trials of lower index.",
                    COUNT,
                    (f"sum by (state) ({names.TRIALS.name}{{{OF_SWEEP}}})", "{{state}}"),
                    span=12,
                    look=Look(colours=TRIALS),
                ),
                bars(
                    "Rungs",
                    "Trials that have reached the rung of an epoch; empty without early stopping.",
                    COUNT,
                    (f"sum by (epoch) ({names.RUNG_TRIALS.name}{{{OF_SWEEP}}})", "epoch {{epoch}}"),
                    span=12,
                ),
                lines(
                    "Best objective",
                    "It only ever gets better; the direction is the objective's.",
                    "short",
                    (_max(names.BEST_OBJECTIVE.name), EACH),
                    span=12,
                    look=Look(from_zero=False),
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
