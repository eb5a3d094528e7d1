"""Dashboard of one SweepJob: trials by state, rungs, best trial, reused runs."""

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
    description="One SweepJob: trials by state, savings by early stopping and reused runs.",
    variables=(NAMESPACE, ONE_SWEEP),
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Decided",
                    "Finished fraction of all trials.",
                    "percentunit",
                    f"{_DECIDED} / {_max(names.TRIALS_PLANNED.name)}",
                    legend=EACH,
                ),
                number(
                    "Best objective",
                    "Best objective of succeeded trials.",
                    "short",
                    _max(names.BEST_OBJECTIVE.name),
                    legend=EACH,
                ),
                number(
                    "Failed",
                    "Trials that failed because of their values.",
                    COUNT,
                    f'sum by ({BY}) ({names.TRIALS.name}{{{OF_SWEEP}, state="Failed"}})',
                    limits=((1, BAD),),
                    legend=EACH,
                ),
                number(
                    "Reused",
                    "Trials whose finished run was reused.",
                    COUNT,
                    _max(names.TRIALS_REUSED.name),
                    legend=EACH,
                ),
                number(
                    "Time saved",
                    "Estimated training time of the reused trials, at the speed of the others.",
                    "s",
                    _max(names.SAVED_SECONDS.name),
                    legend=EACH,
                ),
                number(
                    "Planned",
                    "Maximum number of trials.",
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
                    "A waiting trial uses no slot: it waits at a rung for trials of lower index.",
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
                    "Best value so far, in the direction of the objective.",
                    "short",
                    (_max(names.BEST_OBJECTIVE.name), EACH),
                    span=12,
                    look=Look(from_zero=False),
                ),
                lines(
                    "Time saved by reuse",
                    "Estimated training seconds of the reused trials.",
                    "s",
                    (_max(names.SAVED_SECONDS.name), EACH),
                    span=12,
                ),
            ),
        ),
    ),
)
