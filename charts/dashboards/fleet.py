"""What runs, what waits and why, and what the GPUs do: the page for whoever shares a cluster."""

from __future__ import annotations

from dashboards.building import COUNT, Look, Page, Row, bars, lines, number, rows_of, stacked
from dashboards.selecting import BAD, IN, NAMESPACE, STATES, WAITING, grown, quantile, rate
from seedbed_api import metric_names as names


def _jobs(condition: str) -> str:
    return f'sum({names.JOBS.name}{{{IN}, condition="{condition}"}}) or vector(0)'


def _all(name: str) -> str:
    return f"sum({name}{{{IN}}}) or vector(0)"


def _leading(expr: str) -> str:
    """Return rows with the dashboard of each as another label."""
    for kind, uid in (("TrainingJob", "seedbed-trainingjob"), ("SweepJob", "seedbed-sweepjob")):
        expr = f'label_replace({expr}, "page", "{uid}", "kind", "{kind}")'
    return expr


_EACH_JOB = f"max by (namespace, name, kind, profile, condition, reason) ({names.JOB_INFO.name}{{{IN}}})"
_PROGRESS = (
    f"max by (namespace, name, kind) ({names.JOB_PROGRESS.name}{{{IN}}})"
    f" * on (namespace, name, kind) group_right () {_EACH_JOB} or 0 * {_EACH_JOB}"
)
_LINK = (
    "/d/${__data.fields.page}?var-namespace=${__data.fields.namespace}"
    "&var-job=${__data.fields.name}&var-sweep=${__data.fields.name}"
    "&${datasource:queryparam}&${__url_time_range}"
)
PAGE = Page(
    uid="seedbed-fleet",
    title="Seedbed / Fleet",
    description="All jobs and sweeps: what runs, what waits for what, what the GPUs do.",
    variables=(NAMESPACE,),
    rows=(
        Row(
            title="Now",
            panels=(
                number("Running", "Jobs that train.", COUNT, _jobs("Running")),
                number(
                    "Waiting",
                    "Jobs that are to run and do not; see why below.",
                    COUNT,
                    _jobs("Waiting"),
                    limits=((1, WAITING),),
                ),
                number("Suspended", "Jobs that somebody has suspended.", COUNT, _jobs("Suspended")),
                number(
                    "Failed",
                    "Jobs that have failed for good and are still there.",
                    COUNT,
                    _jobs("Failed"),
                    limits=((1, BAD),),
                ),
                number(
                    "GPUs held",
                    "GPUs of worker pods that have a node.",
                    COUNT,
                    _all(names.GPUS_HELD.name),
                ),
                number(
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
                stacked(
                    "Jobs by state",
                    "Each job once: Complete, Failed, Suspended or Running, if one holds, else Waiting.",
                    COUNT,
                    (f"sum by (condition) ({names.JOBS.name}{{{IN}}})", "{{condition}}"),
                    span=12,
                    look=Look(colours=STATES),
                ),
                stacked(
                    "Why jobs wait",
                    "Reasons of the jobs that are to run and do not, as `kubectl get tjob` shows them.",
                    COUNT,
                    (f'sum by (reason) ({names.JOBS.name}{{{IN}, condition="Waiting"}})', "{{reason}}"),
                    span=12,
                ),
                rows_of(
                    "Every job",
                    "State, reason and progress of each job that is not over for more than an hour.",
                    "percentunit",
                    _leading(_PROGRESS),
                    Look(
                        columns=("namespace", "name", "kind", "condition", "reason", "profile"),
                        value="progress",
                        colours=STATES,
                        link=_LINK,
                    ),
                ),
            ),
        ),
        Row(
            title="What it costs and gives",
            panels=(
                lines(
                    "GPUs by profile",
                    "Held: worker pods with a node. Wanted: what unfinished jobs may use at most.",
                    COUNT,
                    (f"sum by (profile) ({names.GPUS_HELD.name}{{{IN}}})", "{{profile}} held"),
                    (f"sum by (profile) ({names.GPUS_REQUESTED.name}{{{IN}}})", "{{profile}} wanted"),
                ),
                lines(
                    "Images per second",
                    "Images that all drivers have trained on, per second.",
                    "short",
                    (rate(names.IMAGES.name, IN, by="namespace"), "{{namespace}}"),
                ),
                stacked(
                    "Where the seconds go",
                    "Share of rank 0's time: waiting for data, computing, reducing, checkpoints, evaluation.",
                    "percentunit",
                    (
                        f"{rate(names.SECONDS.name, IN, by='part')}"
                        f" / ignoring (part) group_left () {rate(names.SECONDS.name, IN)}",
                        "{{part}}",
                    ),
                    look=Look(most=1),
                ),
            ),
        ),
        Row(
            title="From apply to the first step",
            panels=(
                lines(
                    "Time to Running",
                    "From creation, or the last resumption, to Running: half of the jobs, and 95 in 100.",
                    "s",
                    (quantile(0.5, names.TIME_TO_RUNNING.name), "half"),
                    (quantile(0.95, names.TIME_TO_RUNNING.name), "95 %"),
                ),
                lines(
                    "Time to the first step",
                    "From creation, or the last resumption, to it: half of the jobs, and 95 in 100.",
                    "s",
                    (quantile(0.5, names.TIME_TO_FIRST_STEP.name), "half"),
                    (quantile(0.95, names.TIME_TO_FIRST_STEP.name), "95 %"),
                ),
                bars(
                    "Ends of attempts",
                    "Attempts that ended in the time shown; all but Done and User are tried again.",
                    COUNT,
                    (grown(names.ATTEMPTS_ENDED.name, IN, by="cause, reason"), "{{cause}}: {{reason}}"),
                ),
            ),
        ),
    ),
)
