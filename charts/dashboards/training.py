"""Dashboard of one TrainingJob: progress, quality, speed, time by part."""

from __future__ import annotations

from alerts import CHECKPOINT_SECONDS
from dashboards.building import COUNT, Look, Page, Row, bars, lines, number, rows_of, stacked
from dashboards.selecting import BAD, BY, EACH, NAMESPACE, OF, ONE_JOB, STATES, rate
from seedbed_api import metric_names as names


def _max(name: str) -> str:
    return f"max by ({BY}) ({name}{{{OF}}})"


def _age(name: str) -> str:
    """Return how long ago something was, of the jobs that run: what is over loses nothing."""
    return f'(time() - {_max(name)}) and on ({BY}) {names.JOB_INFO.name}{{{OF}, condition="Running"}}'


_IN_A_STEP = OF + ', part=~"data|compute|reduce"'
PAGE = Page(
    uid="seedbed-trainingjob",
    title="Seedbed / TrainingJob",
    description="One TrainingJob: progress, loss, speed, time by part, reasons.",
    variables=(NAMESPACE, ONE_JOB),
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Progress",
                    "Completed fraction of all steps.",
                    "percentunit",
                    _max(names.JOB_PROGRESS.name),
                    legend=EACH,
                ),
                number(
                    "Time left",
                    "At the speed of the last seconds.",
                    "s",
                    f"clamp_min({_max(names.JOB_ESTIMATED_END.name)} - time(), 0)",
                    legend=EACH,
                ),
                number(
                    "Since the last checkpoint",
                    "Training time that a failure would cost now; an hour is too much.",
                    "s",
                    _age(names.JOB_CHECKPOINT.name),
                    limits=((CHECKPOINT_SECONDS, BAD),),
                    legend=EACH,
                ),
                number("Attempts", "Attempts so far.", COUNT, _max(names.JOB_ATTEMPTS.name), legend=EACH),
                number(
                    "Preemptions",
                    "Attempts that were preempted.",
                    COUNT,
                    _max(names.JOB_PREEMPTIONS.name),
                    legend=EACH,
                ),
                number(
                    "Workers replaced",
                    "Worker pods that were replaced in the current attempt.",
                    COUNT,
                    _max(names.JOB_WORKERS_REPLACED.name),
                    legend=EACH,
                ),
                rows_of(
                    "State",
                    "What the job does or waits for; `kubectl describe tjob` has the message.",
                    "short",
                    f"max by (namespace, name, profile, condition, reason) ({names.JOB_INFO.name}{{{OF}}})",
                    Look(columns=("namespace", "name", "condition", "reason", "profile"), colours=STATES),
                    height=5,
                ),
                rows_of(
                    "Run",
                    "Identity of the run, environment class and activity of the driver.",
                    "short",
                    "max by (namespace, name, attempt, activity, run_id, environment_class)"
                    f" ({names.RUN.name}{{{OF}}})",
                    Look(
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
                lines("Loss", "Training loss of the last step.", "short", (_max(names.LOSS.name), EACH)),
                lines(
                    "Metrics",
                    "Newest value of each metric, such as validation/accuracy.",
                    "short",
                    (f"max by ({BY}, metric) ({names.METRIC.name}{{{OF}}})", EACH + " {{metric}}"),
                    look=Look(from_zero=False),
                ),
                lines(
                    "Steps",
                    "Completed and planned steps, from the driver and from the status.",
                    "short",
                    (_max(names.STEP.name), EACH),
                    (_max(names.PLANNED_STEPS.name), EACH + " planned"),
                    (_max(names.JOB_STEPS.name), EACH + " in the status"),
                    (_max(names.JOB_PLANNED_STEPS.name), EACH + " planned, in the status"),
                ),
            ),
        ),
        Row(
            title="Speed",
            panels=(
                lines(
                    "Images per second",
                    "Over all workers.",
                    "short",
                    (rate(names.IMAGES.name, OF, by=BY), EACH),
                    span=6,
                ),
                stacked(
                    "Time by part",
                    "Share of rank 0's time: waiting for data, computing, reducing, checkpoints, evaluation.",
                    "percentunit",
                    (
                        f"{rate(names.SECONDS.name, OF, by='part')}"
                        f" / ignoring (part) group_left () {rate(names.SECONDS.name, OF)}",
                        "{{part}}",
                    ),
                    span=6,
                    look=Look(most=1),
                ),
                lines(
                    "Seconds per step",
                    "Rank 0's time without checkpoints and evaluation, per step.",
                    "s",
                    (
                        f"{rate(names.SECONDS.name, _IN_A_STEP, by=BY)}"
                        f" / {rate(names.STEPS.name, OF, by=BY)}",
                        EACH,
                    ),
                    span=6,
                ),
                lines(
                    "Workers",
                    "Ranks that train; ready and wanted workers in the status.",
                    COUNT,
                    (_max(names.WORKERS.name), EACH),
                    (_max(names.JOB_WORKERS_READY.name), EACH + " ready"),
                    (_max(names.JOB_WORKERS_DESIRED.name), EACH + " wanted"),
                    span=6,
                ),
                bars(
                    "Start-up",
                    "Seconds of each part of the start-up, up to the first step.",
                    "s",
                    (f"max by (part) ({names.START_UP_SECONDS.name}{{{OF}}})", "{{part}}"),
                ),
                lines(
                    "Memory",
                    "Resident memory of the driver and of each rank.",
                    "bytes",
                    (f"max by (process) ({names.MEMORY.name}{{{OF}}})", "{{process}}"),
                ),
                lines(
                    "GPU utilisation",
                    "Utilization of the GPU of each rank; empty on CPUs.",
                    "percentunit",
                    (f"max by (process) ({names.GPU_UTILIZATION.name}{{{OF}}})", "{{process}}"),
                    look=Look(most=1),
                ),
            ),
        ),
        Row(
            title="Checkpoints",
            panels=(
                lines(
                    "Age of the newest checkpoint",
                    "While the job runs: from the driver, and from the status.",
                    "s",
                    (_age(names.CHECKPOINT_TIME.name), EACH),
                    (_age(names.JOB_CHECKPOINT.name), EACH + " in the status"),
                ),
                rows_of(
                    "Newest checkpoint",
                    "Step and digest of the record of the newest checkpoint of this attempt.",
                    "short",
                    f"max by (namespace, name, step, digest) ({names.CHECKPOINT.name}{{{OF}}})",
                    Look(columns=("namespace", "name", "step", "digest"), widths={"step": 80, "digest": 600}),
                    span=16,
                ),
            ),
        ),
    ),
)
