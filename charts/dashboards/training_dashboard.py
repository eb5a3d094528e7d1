"""Dashboard of one TrainingJob: progress, quality, speed, time by part."""

from __future__ import annotations

from alerts import CHECKPOINT_SECONDS
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
from dashboards.promql import BAD, JOB_FILTER, JOB_LABELS, JOB_LEGEND, NAMESPACE, ONE_JOB, STATES, rate
from seedbed_api import metric_names as names


def _max(name: str) -> str:
    return f"max by ({JOB_LABELS}) ({name}{{{JOB_FILTER}}})"


def _age(name: str) -> str:
    """Return how long ago something was, of the jobs that run: what is over loses nothing."""
    running = f'{names.JOB_INFO.name}{{{JOB_FILTER}, condition="Running"}}'
    return f"(time() - {_max(name)}) and on ({JOB_LABELS}) {running}"


_IN_A_STEP = JOB_FILTER + ', part=~"data|compute|reduce"'
DASHBOARD = Dashboard(
    uid="seedbed-trainingjob",
    title="Seedbed / TrainingJob",
    description="One TrainingJob: progress, loss, speed, time by part, reasons.",
    variables=(NAMESPACE, ONE_JOB),
    rows=(
        Row(
            title="Now",
            panels=(
                stat_panel(
                    "Progress",
                    "Completed fraction of all steps.",
                    "percentunit",
                    _max(names.JOB_PROGRESS.name),
                    legend=JOB_LEGEND,
                ),
                stat_panel(
                    "Time left",
                    "At the speed of the last seconds.",
                    "s",
                    f"clamp_min({_max(names.JOB_ESTIMATED_END.name)} - time(), 0)",
                    legend=JOB_LEGEND,
                ),
                stat_panel(
                    "Since the last checkpoint",
                    "Training time that a failure would cost now; an hour is too much.",
                    "s",
                    _age(names.JOB_CHECKPOINT.name),
                    limits=((CHECKPOINT_SECONDS, BAD),),
                    legend=JOB_LEGEND,
                ),
                stat_panel(
                    "Attempts", "Attempts so far.", COUNT, _max(names.JOB_ATTEMPTS.name), legend=JOB_LEGEND
                ),
                stat_panel(
                    "Preemptions",
                    "Attempts that were preempted.",
                    COUNT,
                    _max(names.JOB_PREEMPTIONS.name),
                    legend=JOB_LEGEND,
                ),
                stat_panel(
                    "Workers replaced",
                    "Worker pods that were replaced in the current attempt.",
                    COUNT,
                    _max(names.JOB_WORKERS_REPLACED.name),
                    legend=JOB_LEGEND,
                ),
                rows_of(
                    "State",
                    "What the job does or waits for; `kubectl describe tjob` has the message.",
                    "short",
                    "max by (namespace, name, profile, condition, reason)"
                    f" ({names.JOB_INFO.name}{{{JOB_FILTER}}})",
                    PanelStyle(
                        columns=("namespace", "name", "condition", "reason", "profile"), colours=STATES
                    ),
                    height=5,
                ),
                rows_of(
                    "Run",
                    "Identity of the run, environment class and activity of the driver.",
                    "short",
                    "max by (namespace, name, attempt, activity, run_id, environment_class)"
                    f" ({names.RUN.name}{{{JOB_FILTER}}})",
                    PanelStyle(
                        columns=("namespace", "name", "attempt", "activity", "run_id", "environment_class"),
                        widths={"attempt": 80, "activity": 110, "run_id": 560, "environment_class": 560},
                    ),
                    height=5,
                ),
            ),
        ),
        Row(
            title="Quality",
            panels=(
                line_panel(
                    "Loss", "Training loss of the last step.", "short", (_max(names.LOSS.name), JOB_LEGEND)
                ),
                line_panel(
                    "Metrics",
                    "Newest value of each metric, such as validation/accuracy.",
                    "short",
                    (
                        f"max by ({JOB_LABELS}, metric) ({names.METRIC.name}{{{JOB_FILTER}}})",
                        JOB_LEGEND + " {{metric}}",
                    ),
                    style=PanelStyle(from_zero=False),
                ),
                line_panel(
                    "Steps",
                    "Completed and planned steps, from the driver and from the status.",
                    "short",
                    (_max(names.STEP.name), JOB_LEGEND),
                    (_max(names.PLANNED_STEPS.name), JOB_LEGEND + " planned"),
                    (_max(names.JOB_STEPS.name), JOB_LEGEND + " in the status"),
                    (_max(names.JOB_PLANNED_STEPS.name), JOB_LEGEND + " planned, in the status"),
                ),
            ),
        ),
        Row(
            title="Speed",
            panels=(
                line_panel(
                    "Images per second",
                    "Over all workers.",
                    "short",
                    (rate(names.IMAGES.name, JOB_FILTER, by=JOB_LABELS), JOB_LEGEND),
                    span=6,
                ),
                stacked_panel(
                    "Time by part",
                    "Share of rank 0's time: waiting for data, computing, reducing, checkpoints, evaluation.",
                    "percentunit",
                    (
                        f"{rate(names.SECONDS.name, JOB_FILTER, by='part')}"
                        f" / ignoring (part) group_left () {rate(names.SECONDS.name, JOB_FILTER)}",
                        "{{part}}",
                    ),
                    span=6,
                    style=PanelStyle(most=1),
                ),
                line_panel(
                    "Seconds per step",
                    "Rank 0's time without checkpoints and evaluation, per step.",
                    "s",
                    (
                        f"{rate(names.SECONDS.name, _IN_A_STEP, by=JOB_LABELS)}"
                        f" / {rate(names.STEPS.name, JOB_FILTER, by=JOB_LABELS)}",
                        JOB_LEGEND,
                    ),
                    span=6,
                ),
                line_panel(
                    "Workers",
                    "Ranks that train; ready and wanted workers in the status.",
                    COUNT,
                    (_max(names.WORKERS.name), JOB_LEGEND),
                    (_max(names.JOB_WORKERS_READY.name), JOB_LEGEND + " ready"),
                    (_max(names.JOB_WORKERS_DESIRED.name), JOB_LEGEND + " wanted"),
                    span=6,
                ),
                bar_panel(
                    "Start-up",
                    "Seconds of each part of the start-up, up to the first step.",
                    "s",
                    (f"max by (part) ({names.START_UP_SECONDS.name}{{{JOB_FILTER}}})", "{{part}}"),
                ),
                line_panel(
                    "Memory",
                    "Resident memory of the driver and of each rank.",
                    "bytes",
                    (f"max by (process) ({names.MEMORY.name}{{{JOB_FILTER}}})", "{{process}}"),
                ),
                line_panel(
                    "GPU utilisation",
                    "Utilization of the GPU of each rank; empty on CPUs.",
                    "percentunit",
                    (f"max by (process) ({names.GPU_UTILIZATION.name}{{{JOB_FILTER}}})", "{{process}}"),
                    style=PanelStyle(most=1),
                ),
            ),
        ),
        Row(
            title="Checkpoints",
            panels=(
                line_panel(
                    "Age of the newest checkpoint",
                    "While the job runs: from the driver, and from the status.",
                    "s",
                    (_age(names.CHECKPOINT_TIME.name), JOB_LEGEND),
                    (_age(names.JOB_CHECKPOINT.name), JOB_LEGEND + " in the status"),
                ),
                rows_of(
                    "Newest checkpoint",
                    "Step and digest of the record of the newest checkpoint of this attempt.",
                    "short",
                    f"max by (namespace, name, step, digest) ({names.CHECKPOINT.name}{{{JOB_FILTER}}})",
                    PanelStyle(
                        columns=("namespace", "name", "step", "digest"), widths={"step": 80, "digest": 600}
                    ),
                    span=16,
                ),
            ),
        ),
    ),
)
