"""Dashboard of a cluster: running and waiting jobs, reasons, GPUs."""

from __future__ import annotations

from dashboards.panel_builders import (
    COUNT,
    Dashboard,
    PanelStyle,
    Row,
    bar_panel,
    line_panel,
    rows_of,
    stacked_panel,
    stat_panel,
)
from dashboards.promql import BAD, NAMESPACE, NAMESPACE_FILTER, STATES, WAITING, increase_by, quantile, rate
from seedbed_api import metric_names as names


def _jobs(condition: str) -> str:
    return f'sum({names.JOBS.name}{{{NAMESPACE_FILTER}, condition="{condition}"}}) or vector(0)'


def _all(name: str) -> str:
    return f"sum({name}{{{NAMESPACE_FILTER}}}) or vector(0)"


def _leading(expr: str) -> str:
    """Return rows with the dashboard of each as another label."""
    for kind, uid in (("TrainingJob", "seedbed-trainingjob"), ("SweepJob", "seedbed-sweepjob")):
        expr = f'label_replace({expr}, "page", "{uid}", "kind", "{kind}")'
    return expr


_EACH_JOB = (
    "max by (namespace, name, kind, profile, condition, reason)"
    f" ({names.JOB_INFO.name}{{{NAMESPACE_FILTER}}})"
)
_PROGRESS = (
    f"max by (namespace, name, kind) ({names.JOB_PROGRESS.name}{{{NAMESPACE_FILTER}}})"
    f" * on (namespace, name, kind) group_right () {_EACH_JOB} or 0 * {_EACH_JOB}"
)
_LINK = (
    "/d/${__data.fields.page}?var-namespace=${__data.fields.namespace}"
    "&var-job=${__data.fields.name}&var-sweep=${__data.fields.name}"
    "&${datasource:queryparam}&${__url_time_range}"
)
DASHBOARD = Dashboard(
    uid="seedbed-fleet",
    title="Seedbed / Fleet",
    description="All jobs and sweeps: which run, which wait and why, use of GPUs.",
    variables=(NAMESPACE,),
    rows=(
        Row(
            title="Now",
            panels=(
                stat_panel("Running", "Jobs that train.", COUNT, _jobs("Running")),
                stat_panel(
                    "Waiting",
                    "Jobs that should run and do not; reasons are below.",
                    COUNT,
                    _jobs("Waiting"),
                    limits=((1, WAITING),),
                ),
                stat_panel("Suspended", "Suspended jobs.", COUNT, _jobs("Suspended")),
                stat_panel(
                    "Failed",
                    "Failed jobs that still exist.",
                    COUNT,
                    _jobs("Failed"),
                    limits=((1, BAD),),
                ),
                stat_panel(
                    "GPUs held",
                    "GPUs of worker pods that have a node.",
                    COUNT,
                    _all(names.GPUS_HELD.name),
                ),
                stat_panel(
                    "GPUs wanted",
                    "GPUs that unfinished jobs want at most.",
                    COUNT,
                    _all(names.GPUS_REQUESTED.name),
                ),
            ),
        ),
        Row(
            title="Jobs",
            panels=(
                stacked_panel(
                    "Jobs by state",
                    "Each job once: Complete, Failed, Suspended, Running, or Waiting if none is true.",
                    COUNT,
                    (f"sum by (condition) ({names.JOBS.name}{{{NAMESPACE_FILTER}}})", "{{condition}}"),
                    span=12,
                    style=PanelStyle(colours=STATES),
                ),
                stacked_panel(
                    "Why jobs wait",
                    "Reasons of waiting jobs, as `kubectl get tjob` shows them.",
                    COUNT,
                    (
                        f'sum by (reason) ({names.JOBS.name}{{{NAMESPACE_FILTER}, condition="Waiting"}})',
                        "{{reason}}",
                    ),
                    span=12,
                ),
                rows_of(
                    "Every job",
                    "State, reason and progress of each job, until an hour after its end.",
                    "percentunit",
                    _leading(_PROGRESS),
                    PanelStyle(
                        columns=("namespace", "name", "kind", "condition", "reason", "profile"),
                        value="progress",
                        colours=STATES,
                        link=_LINK,
                    ),
                ),
            ),
        ),
        Row(
            title="Resources and throughput",
            panels=(
                line_panel(
                    "GPUs by profile",
                    "Held: worker pods with a node. Wanted: the most that unfinished jobs may use.",
                    COUNT,
                    (f"sum by (profile) ({names.GPUS_HELD.name}{{{NAMESPACE_FILTER}}})", "{{profile}} held"),
                    (
                        f"sum by (profile) ({names.GPUS_REQUESTED.name}{{{NAMESPACE_FILTER}}})",
                        "{{profile}} wanted",
                    ),
                ),
                line_panel(
                    "Images per second",
                    "Images per second of all drivers.",
                    "short",
                    (rate(names.IMAGES.name, NAMESPACE_FILTER, by="namespace"), "{{namespace}}"),
                ),
                stacked_panel(
                    "Time by part",
                    "Share of rank 0's time: waiting for data, computing, reducing, checkpoints, evaluation.",
                    "percentunit",
                    (
                        f"{rate(names.SECONDS.name, NAMESPACE_FILTER, by='part')}"
                        f" / ignoring (part) group_left () {rate(names.SECONDS.name, NAMESPACE_FILTER)}",
                        "{{part}}",
                    ),
                    style=PanelStyle(most=1),
                ),
            ),
        ),
        Row(
            title="From apply to the first step",
            panels=(
                line_panel(
                    "Time to Running",
                    "From creation, or the last resumption, to Running: median and 95th percentile.",
                    "s",
                    (quantile(0.5, names.TIME_TO_RUNNING.name), "half"),
                    (quantile(0.95, names.TIME_TO_RUNNING.name), "95 %"),
                ),
                line_panel(
                    "Time to the first step",
                    "From creation, or the last resumption, to the first step: median and 95th percentile.",
                    "s",
                    (quantile(0.5, names.TIME_TO_FIRST_STEP.name), "half"),
                    (quantile(0.95, names.TIME_TO_FIRST_STEP.name), "95 %"),
                ),
                bar_panel(
                    "Ends of attempts",
                    "Attempts that ended in the selected time; all except Done and User are retried.",
                    COUNT,
                    (
                        increase_by(names.ATTEMPTS_ENDED.name, NAMESPACE_FILTER, by="cause, reason"),
                        "{{cause}}: {{reason}}",
                    ),
                ),
            ),
        ),
    ),
)
