"""One TrainingJob: how far it is, how well, how fast, and where its time goes."""

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
    description="One TrainingJob: progress, loss, speed, where the time goes, what it is stopped by.",
    variables=(NAMESPACE, ONE_JOB),
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Progress",
                    "Steps that are done, of all.",
                    "percentunit",
                    _max(names.JOB_PROGRESS.name),
                    legend=EACH,
                ),
                number(
                    "Time left",
                    "At the pace of the last seconds.",
                    "s",
                    f"clamp_min({_max(names.JOB_ESTIMATED_END.name)} - time(), 0)",
                    legend=EACH,
                ),
                number(
                    "Since the last checkpoint",
                    "What a kill would cost now, of a job that runs; an hour is too much.",
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
                    "Worker pods that were replaced in the present attempt.",
                    COUNT,
                    _max(names.JOB_WORKERS_REPLACED.name),
                    legend=EACH,
                ),
                rows_of(
                    "State",
                    "What the job does or waits for; the message is in `kubectl describe tjob`.",
                    "short",
                    f"max by (namespace, name, profile, condition, reason) ({names.JOB_INFO.name}{{{OF}}})",
                    Look(columns=("namespace", "name", "condition", "reason", "profile"), colours=STATES),
                    height=5,
                ),
                rows_of(
                    "Run",
                    "Identity of the run, environment class and what the driver does.",
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
            title="How well",
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
                    "Done and planned: by the driver, and as the status tells where the driver is away.",
                    "short",
                    (_max(names.STEP.name), EACH),
                    (_max(names.PLANNED_STEPS.name), EACH + " planned"),
                    (_max(names.JOB_STEPS.name), EACH + " in the status"),
                    (_max(names.JOB_PLANNED_STEPS.name), EACH + " planned, in the status"),
                ),
            ),
        ),
        Row(
            title="How fast",
            panels=(
                lines(
                    "Images per second",
                    "Over all workers.",
                    "short",
                    (rate(names.IMAGES.name, OF, by=BY), EACH),
                    span=6,
                ),
                stacked(
                    "Where a second goes",
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
                    "Ranks that train; workers that are ready and wanted as the status tells.",
                    COUNT,
                    (_max(names.WORKERS.name), EACH),
                    (_max(names.JOB_WORKERS_READY.name), EACH + " ready"),
                    (_max(names.JOB_WORKERS_DESIRED.name), EACH + " wanted"),
                    span=6,
                ),
                bars(
                    "Start-up",
                    "Seconds of each part of the way to the first step.",
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
                    "How busy the GPU of each rank is; empty on CPUs.",
                    "percentunit",
                    (f"max by (process) ({names.GPU_UTILIZATION.name}{{{OF}}})", "{{process}}"),
                    look=Look(most=1),
                ),
            ),
        ),
        Row(
            title="What it keeps",
            panels=(
                lines(
                    "Age of the newest checkpoint",
                    "While the job runs: as the driver tells, and as the status does.",
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
