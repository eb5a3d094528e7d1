"""Dashboard of one SweepJob: trials by state, rungs, best trial, reused runs."""

from __future__ import annotations

from dashboards.panel_builders import (
    COUNT,
    Dashboard,
    PanelStyle,
    Row,
    bar_panel,
    line_panel,
    stacked_panel,
    stat_panel,
)
from dashboards.promql import BAD, JOB_LABELS, JOB_LEGEND, NAMESPACE, ONE_SWEEP, SWEEP_FILTER, TRIALS
from seedbed_api import metric_names as names


def _max(name: str) -> str:
    return f"max by ({JOB_LABELS}) ({name}{{{SWEEP_FILTER}}})"


_DECIDED = f'sum by ({JOB_LABELS}) ({names.TRIALS.name}{{{SWEEP_FILTER}, state=~"Succeeded|Pruned|Failed"}})'
DASHBOARD = Dashboard(
    uid="seedbed-sweepjob",
    title="Seedbed / SweepJob",
    description="One SweepJob: trials by state, savings by early stopping and reused runs.",
    variables=(NAMESPACE, ONE_SWEEP),
    rows=(
        Row(
            title="Now",
            panels=(
                stat_panel(
                    "Decided",
                    "Finished fraction of all trials.",
                    "percentunit",
                    f"{_DECIDED} / {_max(names.TRIALS_PLANNED.name)}",
                    legend=JOB_LEGEND,
                ),
                stat_panel(
                    "Best objective",
                    "Best objective of succeeded trials.",
                    "short",
                    _max(names.BEST_OBJECTIVE.name),
                    legend=JOB_LEGEND,
                ),
                stat_panel(
                    "Failed",
                    "Trials that failed because of their values.",
                    COUNT,
                    f'sum by ({JOB_LABELS}) ({names.TRIALS.name}{{{SWEEP_FILTER}, state="Failed"}})',
                    limits=((1, BAD),),
                    legend=JOB_LEGEND,
                ),
                stat_panel(
                    "Reused",
                    "Trials whose finished run was reused.",
                    COUNT,
                    _max(names.TRIALS_REUSED.name),
                    legend=JOB_LEGEND,
                ),
                stat_panel(
                    "Time saved",
                    "Estimated training time of the reused trials, at the speed of the others.",
                    "s",
                    _max(names.SAVED_SECONDS.name),
                    legend=JOB_LEGEND,
                ),
                stat_panel(
                    "Planned",
                    "Maximum number of trials.",
                    COUNT,
                    _max(names.TRIALS_PLANNED.name),
                    legend=JOB_LEGEND,
                ),
            ),
        ),
        Row(
            title="Trials",
            panels=(
                stacked_panel(
                    "Trials by state",
                    "A waiting trial uses no slot: it waits at a rung for trials of lower index.",
                    COUNT,
                    (f"sum by (state) ({names.TRIALS.name}{{{SWEEP_FILTER}}})", "{{state}}"),
                    span=12,
                    style=PanelStyle(colours=TRIALS),
                ),
                bar_panel(
                    "Rungs",
                    "Trials that have reached the rung of an epoch; empty without early stopping.",
                    COUNT,
                    (f"sum by (epoch) ({names.RUNG_TRIALS.name}{{{SWEEP_FILTER}}})", "epoch {{epoch}}"),
                    span=12,
                ),
                line_panel(
                    "Best objective",
                    "Best value so far, in the direction of the objective.",
                    "short",
                    (_max(names.BEST_OBJECTIVE.name), JOB_LEGEND),
                    span=12,
                    style=PanelStyle(from_zero=False),
                ),
                line_panel(
                    "Time saved by reuse",
                    "Estimated training seconds of the reused trials.",
                    "s",
                    (_max(names.SAVED_SECONDS.name), JOB_LEGEND),
                    span=12,
                ),
            ),
        ),
    ),
)
