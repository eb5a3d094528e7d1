"""Statuses in which every field is set."""

from __future__ import annotations

from seedbed_api.conditions import Condition
from seedbed_api.sweepjob_status import (
    MOST_TOP_TRIALS,
    Assignment,
    SweepJobStatus,
    Trial,
    TrialCounts,
)
from seedbed_api.trainingjob_status import (
    CheckpointStatus,
    DatasetStatus,
    Environment,
    Failure,
    LifecycleStatus,
    Metric,
    ModelStatus,
    ObjectStatus,
    Progress,
    Timing,
    TrainingJobStatus,
    VerificationStatus,
    WorkerCounts,
)
from support.manifests.base_manifests import DIGEST

NOON = "2030-01-02T12:00:00Z"


def a_full_status() -> TrainingJobStatus:
    """Return a status of a job that failed once and then trained."""
    return TrainingJobStatus(
        observed_generation=1,
        run_id=DIGEST,
        environment=Environment(
            class_=DIGEST,
            image=f"registry.example/seedbed@{DIGEST}",
            image_digest=DIGEST,
            profile_generation=3,
        ),
        backend="Pods",
        start_time=NOON,
        completion_time=NOON,
        duration="1h02m",
        log_uri="s3://runs/x/logs/4/small-4-driver/",
        resume_time=NOON,
        attempts=5,
        attempt_start_time=NOON,
        accounted_attempts=4,
        failures=1,
        infrastructure_failures=2,
        preemptions=1,
        attempt_progressed=False,
        attempts_without_checkpoint=1,
        retry_time=NOON,
        timings=(Timing(name="FirstStep", milliseconds=12_000),),
        workers=WorkerCounts(ready=2, desired=2),
        progress=Progress(epoch=1, step=3, total_steps=6, percent=50, estimated_completion_time=NOON),
        metrics=(Metric(name="validation/accuracy", value="0.98"),),
        dataset=DatasetStatus(digest=DIGEST, samples=1000),
        checkpoint=CheckpointStatus(step=3, digest=DIGEST, time=NOON),
        model=ModelStatus(uri="s3://runs/x/model", weights_digest=DIGEST),
        receipt=ObjectStatus(uri="s3://runs/x/receipt.json", digest=DIGEST, signature="{}"),
        verification=VerificationStatus(request="now", number=1, receipt_digest=DIGEST),
        last_failure=Failure(
            attempt=4,
            reason="OutOfMemory",
            message="worker 1 used more than 16Gi of memory; ask for more, or lower batch.microSize",
            time=NOON,
            pod="small-4-worker-1",
            node="node-1",
            exit_code=137,
            log_tail="Killed",
            log_uri="s3://runs/x/logs/4/small-4-worker-1",
        ),
        conditions=(
            Condition(
                type="Running",
                status="True",
                reason="Training",
                message="2 of 2 workers train",
                last_transition_time=NOON,
                observed_generation=1,
            ),
        ),
    )


def a_full_sweep_status() -> SweepJobStatus:
    """Return a status of a sweep that failed once and then trained."""
    lived = {name: getattr(a_full_status(), name) for name in LifecycleStatus.model_fields}
    best = Trial(
        index=3,
        run_id=DIGEST,
        objective="0.98",
        parameters=(Assignment(name="lr", value="0.05"), Assignment(name="net", value="simple-cnn")),
        model=ModelStatus(uri="s3://runs/x/model", weights_digest=DIGEST),
    )
    counts = TrialCounts(total=9, running=2, succeeded=5, pruned=1, failed=1, reused=1, finished="7/10")
    return SweepJobStatus(
        **lived,
        sweep_id=DIGEST,
        trials=counts,
        best_trial=best,
        top_trials=(best,) * MOST_TOP_TRIALS,
        ledger=ObjectStatus(uri="s3://runs/sweeps/x/ledger.json", digest=DIGEST),
        last_progress_time=NOON,
    )
