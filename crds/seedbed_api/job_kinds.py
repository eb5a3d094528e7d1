"""The two kinds of jobs, and types for either of them: job, spec, status."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from seedbed_api.sweepjob import SweepJob, SweepJobSpec
from seedbed_api.sweepjob_status import SweepJobStatus
from seedbed_api.trainingjob import TrainingJob, TrainingJobSpec
from seedbed_api.trainingjob_status import LifecycleStatus, TrainingJobStatus

JobKind: TypeAlias = Literal["TrainingJob", "SweepJob"]
JOB_KINDS: tuple[JobKind, ...] = get_args(JobKind)
Job: TypeAlias = TrainingJob | SweepJob
JobSpec: TypeAlias = TrainingJobSpec | SweepJobSpec
MODELS: dict[JobKind, type[Job]] = {"TrainingJob": TrainingJob, "SweepJob": SweepJob}
STATUSES: dict[JobKind, type[LifecycleStatus]] = {
    "TrainingJob": TrainingJobStatus,
    "SweepJob": SweepJobStatus,
}
