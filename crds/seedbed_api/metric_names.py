"""The registry of all metrics: exporters, dashboards, alerts, docs and tests take names from it.

Conventions of prometheus.io: base units, `_total` for counters, `_info` for facts, times in Unix seconds.
Series about one job have its namespace, name and kind, and end when the job is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of the page that Prometheus reads."""
JOB = ("namespace", "name", "kind")
"""Labels of series about one TrainingJob or SweepJob."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One metric; samples of a histogram end in `_bucket`, `_sum` and `_count`."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    seldom: bool = False
    """Whether it exists only if there is something to measure, such as a GPU."""

    @property
    def base(self) -> str:
        """Return the name without the suffix of its kind."""
        return self.name.removesuffix({"counter": "_total", "info": "_info"}.get(self.kind, ""))


def _counter(name: str, meaning: str, *labels: str) -> Family:
    return Family(name=name, kind="counter", meaning=meaning, labels=labels)


def _gauge(name: str, meaning: str, *labels: str, seldom: bool = False) -> Family:
    return Family(name=name, kind="gauge", meaning=meaning, labels=labels, seldom=seldom)


def _histogram(name: str, meaning: str, *labels: str) -> Family:
    return Family(name=name, kind="histogram", meaning=meaning, labels=labels)


def _info(name: str, meaning: str, *labels: str) -> Family:
    return Family(name=name, kind="info", meaning=meaning, labels=labels)


# -- the operator, about itself ------------------------------------------------------------------------------

BUILD = _info(
    "seedbed_operator_build_info", "Version of the operator and of Python; always 1.", "version", "python"
)
LEADER = _gauge("seedbed_operator_leader", "1 for the operator that holds the Lease, 0 for a standby.")
RECONCILES = _counter(
    "seedbed_operator_reconciles_total", "Reconciles of jobs, by success or failure.", "result"
)
RECONCILE_SECONDS = _histogram(
    "seedbed_operator_reconcile_duration_seconds", "Duration of a reconcile of a job."
)
QUEUE_LENGTH = _gauge("seedbed_operator_queue_length", "Jobs that are ready for a reconcile and wait for it.")
QUEUE_AGE = _gauge(
    "seedbed_operator_queue_age_seconds", "How long the oldest job in the queue has waited; 0 if it is empty."
)
REQUESTS = _counter(
    "seedbed_operator_api_requests_total",
    "Requests to the API server; the code is `none` if no answer came.",
    "verb",
    "resource",
    "code",
)
OBJECTS = _gauge("seedbed_operator_objects", "Objects that the operator keeps in memory.", "resource")
UNREADABLE = _counter(
    "seedbed_operator_unreadable_objects_total",
    "Versions of objects that the operator could not read and left out; its log names them.",
    "resource",
)
RELISTS = _counter("seedbed_operator_relists_total", "Successful relists of all objects.")
CORRECTIONS = _counter(
    "seedbed_operator_relist_corrections_total",
    "Deletions that a relist found and the watch had missed.",
)
RELIST_AGE = _gauge(
    "seedbed_operator_relist_age_seconds",
    "Age of the last successful relist, or time as leader without one; the liveness probe uses it.",
)
WATCH_AGE = _gauge("seedbed_operator_watch_age_seconds", "Time since the watches last brought an event.")
CLOCK_SKEW = _gauge(
    "seedbed_operator_clock_skew_seconds",
    "How far the operator's clock is at least ahead of the API server's; negative if it is behind.",
)

# -- the operator, about jobs --------------------------------------------------------------------------------

JOBS = _gauge(
    "seedbed_jobs",
    "Jobs by state (Complete, Failed, Suspended, Running or Waiting) and reason, as `kubectl get` shows it.",
    "namespace",
    "kind",
    "condition",
    "reason",
)
ATTEMPTS_ENDED = _counter(
    "seedbed_job_attempts_ended_total",
    "Ended attempts by cause: Done, User, Failure, Infrastructure, Preemption, Stopped, GivenBack (released"
    " without enough nodes; the reason says what was missing). A new series is 0 for two minutes.",
    "namespace",
    "kind",
    "cause",
    "reason",
)
TIME_TO_RUNNING = _histogram(
    "seedbed_job_time_to_running_seconds",
    "Time from creation, or the last resumption, to Running, over all attempts.",
    "kind",
)
TIME_TO_FIRST_STEP = _histogram(
    "seedbed_job_time_to_first_step_seconds",
    "Time from creation, or the last resumption, to the next step, over all attempts.",
    "kind",
)
GPUS_REQUESTED = _gauge(
    "seedbed_gpus_requested", "Most GPUs that unfinished jobs may use.", "namespace", "kind", "profile"
)
GPUS_HELD = _gauge(
    "seedbed_gpus_held",
    "GPUs of running worker pods with a node.",
    "namespace",
    "kind",
    "profile",
)
JOB_INFO = _info(
    "seedbed_job_info",
    "State and reason of one job, as in seedbed_jobs; always 1.",
    *JOB,
    "profile",
    "condition",
    "reason",
)
JOB_STALLED = _gauge("seedbed_job_stalled", "1 if the job waits until a person changes something.", *JOB)
JOB_PROGRESS = _gauge(
    "seedbed_job_progress_ratio", "Completed fraction of the steps, or of the trials of a sweep.", *JOB
)
JOB_STEPS = _gauge("seedbed_job_steps", "Completed optimizer steps.", *JOB)
JOB_PLANNED_STEPS = _gauge("seedbed_job_planned_steps", "Optimizer steps of the whole training.", *JOB)
JOB_WORKERS_READY = _gauge("seedbed_job_workers_ready", "Ready workers of the current attempt.", *JOB)
JOB_WORKERS_DESIRED = _gauge("seedbed_job_workers_desired", "Workers that are wanted.", *JOB)
JOB_WORKERS_REPLACED = _gauge(
    "seedbed_job_workers_replaced", "Worker pods that were replaced in the current attempt.", *JOB
)
JOB_ATTEMPTS = _gauge("seedbed_job_attempts", "Attempts so far.", *JOB)
JOB_PREEMPTIONS = _gauge("seedbed_job_preemptions", "Attempts that were preempted.", *JOB)
JOB_ADVANCE = _gauge(
    "seedbed_job_advance_timestamp_seconds",
    "When the driver last reported progress (a step, a trial, another activity); only while it trains.",
    *JOB,
)
JOB_PROGRESS_DEADLINE = _gauge(
    "seedbed_job_progress_deadline_seconds",
    "Time without progress after which an attempt counts as hung.",
    *JOB,
)
JOB_CLOCK_SKEW = _gauge(
    "seedbed_job_clock_skew_seconds",
    "How far the driver's clock was ahead of the operator's at its last answer; negative if behind.",
    *JOB,
)
JOB_FAILURE = _gauge(
    "seedbed_job_last_failure_timestamp_seconds", "When an attempt last failed, and why.", *JOB, "reason"
)
JOB_ATTEMPT_START = _gauge(
    "seedbed_job_attempt_start_timestamp_seconds", "When the newest attempt started.", *JOB
)
JOB_CHECKPOINT = _gauge(
    "seedbed_job_checkpoint_timestamp_seconds",
    "When the newest checkpoint was written, or the current attempt made its first step, if later.",
    *JOB,
)
JOB_ESTIMATED_END = _gauge(
    "seedbed_job_estimated_completion_timestamp_seconds",
    "Estimated end of the job at the current speed; only while it trains.",
    *JOB,
)
JOB_END = _gauge("seedbed_job_completion_timestamp_seconds", "When the job completed or failed.", *JOB)

# -- the driver of a TrainingJob -----------------------------------------------------------------------------

RUN = _info(
    "seedbed_training_run_info",
    "Identity of the run, environment class and activity of the driver; always 1.",
    *JOB,
    "attempt",
    "activity",
    "run_id",
    "environment_class",
)
IMAGES = _counter("seedbed_training_images_total", "Images that this attempt has trained on.", *JOB)
STEPS = _counter("seedbed_training_steps_total", "Optimizer steps that this attempt has computed.", *JOB)
STEP = _gauge("seedbed_training_step", "Completed optimizer steps of all attempts.", *JOB)
PLANNED_STEPS = _gauge("seedbed_training_planned_steps", "Optimizer steps of the whole training.", *JOB)
SECONDS = _counter(
    "seedbed_training_seconds_total",
    "Seconds of rank 0 by part: data (waiting), compute, reduce, checkpoint, evaluation.",
    *JOB,
    "part",
)
START_UP_SECONDS = _gauge(
    "seedbed_training_startup_seconds",
    "Seconds of each part of the start-up, up to the first step.",
    *JOB,
    "part",
)
LOSS = _gauge("seedbed_training_loss", "Training loss of the last step.", *JOB)
METRIC = _gauge(
    "seedbed_training_metric", "Newest value of a metric, such as validation/accuracy.", *JOB, "metric"
)
WORKERS = _gauge("seedbed_training_workers", "Ranks of the current worker group.", *JOB)
CHECKPOINT = _info("seedbed_training_checkpoint_info", "Newest checkpoint; always 1.", *JOB, "step", "digest")
CHECKPOINT_TIME = _gauge(
    "seedbed_training_checkpoint_timestamp_seconds", "When this attempt wrote its newest checkpoint.", *JOB
)
CACHE_REQUESTS = _counter(
    "seedbed_dataset_cache_requests_total",
    "Reads of record batches and decoded images from the cache: hit, miss, or rejected (damaged).",
    *JOB,
    "result",
)
FETCHED_BYTES = _counter(
    "seedbed_dataset_fetched_bytes_total",
    "Bytes of record batches read from the dataset's store.",
    *JOB,
    "store",
)
MEMORY = _gauge(
    "seedbed_training_resident_memory_bytes",
    "Resident memory of a process: the driver, or a rank.",
    *JOB,
    "process",
)
GPU_UTILIZATION = _gauge(
    "seedbed_training_gpu_utilization_ratio",
    "Utilization of the GPU of a rank.",
    *JOB,
    "process",
    seldom=True,
)

# -- the driver of a SweepJob --------------------------------------------------------------------------------

TRIALS = _gauge("seedbed_sweep_trials", "Trials by state: Running, Succeeded, Pruned, Failed.", *JOB, "state")
TRIALS_PLANNED = _gauge("seedbed_sweep_planned_trials", "Maximum number of trials.", *JOB)
RUNG_TRIALS = _gauge(
    "seedbed_sweep_rung_trials", "Trials that have reached a rung, by its epoch.", *JOB, "epoch"
)
TRIALS_REUSED = _gauge("seedbed_sweep_reused_trials", "Trials whose finished run was reused.", *JOB)
SAVED_SECONDS = _gauge(
    "seedbed_sweep_saved_seconds",
    "Estimated training time of the reused trials, at the speed of the trained ones.",
    *JOB,
)
BEST_OBJECTIVE = _gauge("seedbed_sweep_best_objective", "Objective of the best trial so far.", *JOB)

FAMILIES: tuple[Family, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Family))
"""All metrics, in the order of this module."""
