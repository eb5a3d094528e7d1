"""Conditions, reasons and exit codes: the words in which a job answers "why is it not running?"."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Annotated, Literal

from seedbed_api.blocks import StatusBlock
from seedbed_api.lists import Bounded
from seedbed_api.scalars import CamelReason, Generation, Time, text

LONGEST_MESSAGE = 1024


class ExitCode(IntEnum):
    """Exit codes of the driver and of the command line; any other is a crash, retried within backoffLimit."""

    DONE = 0
    USER = 2
    """The user's fault (spec, dataset, model code, non-finite loss): no retry."""
    INFRASTRUCTURE = 75
    """Start-up, CUDA, storage, network: a retry may help."""
    STOPPED = 143
    """Told to stop, checkpointed."""


class ConditionType(StrEnum):
    """Types of conditions."""

    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    RUNNING = "Running"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class CompleteReason(StrEnum):
    """Why a job is complete."""

    TRAINED = "Trained"
    ALREADY_COMPUTED = "AlreadyComputed"


class FailedReason(StrEnum):
    """Why a job has failed for good."""

    INVALID_SPEC = "InvalidSpec"
    INVALID_DATASET = "InvalidDataset"
    DATASET_NOT_FOUND = "DatasetNotFound"
    DATASET_CHANGED = "DatasetChanged"
    EMPTY_CLASS = "EmptyClass"
    INVALID_STORAGE_URL = "InvalidStorageURL"
    STORAGE_NOT_FOUND = "StorageNotFound"
    STORAGE_DENIED = "StorageDenied"
    SECRET_NOT_FOUND = "SecretNotFound"
    ENVIRONMENT_CHANGED = "EnvironmentChanged"
    MODEL_ERROR = "ModelError"
    NON_FINITE_LOSS = "NonFiniteLoss"
    OUT_OF_MEMORY = "OutOfMemory"
    OUTPUT_UNWRITABLE = "OutputUnwritable"
    STORAGE_REFUSED = "StorageRefused"
    RANGES_UNSUPPORTED = "RangesUnsupported"
    INVALID_PATH = "InvalidPath"
    INVALID_OPTION = "InvalidOption"
    RUN_FOLDER_DAMAGED = "RunFolderDamaged"
    RUN_FOLDER_CONFLICT = "RunFolderConflict"
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    TRIAL_UNDECIDED = "TrialUndecided"


class AttemptReason(StrEnum):
    """Why an attempt failed that another one may mend; `seedbed run`, which is one attempt, ends with it."""

    STORAGE_UNAVAILABLE = "StorageUnavailable"
    FEED_FAILED = "FeedFailed"
    RAY_START_FAILED = "RayStartFailed"
    RAY_STARTING = "RayStarting"
    WORKERS_LOST = "WorkersLost"
    DEVICE_UNAVAILABLE = "DeviceUnavailable"
    OUT_OF_MEMORY = "OutOfMemory"
    ENVIRONMENT_CHANGED = "EnvironmentChanged"
    SUPERSEDED = "Superseded"


class RunningReason(StrEnum):
    """What a job is doing, or what it waits for; every terminal reason may stand here too."""

    TRAINING = "Training"
    EVALUATING = "Evaluating"
    CHECKPOINTING = "Checkpointing"
    PENDING = "Pending"
    QUEUED = "Queued"
    SUSPENDED = "Suspended"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    SECRET_NOT_FOUND = "SecretNotFound"
    PROFILE_NOT_FOUND = "ProfileNotFound"
    QUOTA_EXCEEDED = "QuotaExceeded"
    RAY_STARTING = "RayStarting"
    PREEMPTED = "Preempted"
    BACKING_OFF = "BackingOff"


class Condition(StatusBlock):
    """One aspect of an object's state."""

    type: CamelReason
    """Which aspect."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: CamelReason
    """Why, in one CamelCase word."""
    message: Annotated[str, text(LONGEST_MESSAGE)] = ""
    """Why, in one sentence."""
    last_transition_time: Time
    """When the status last changed between True, False and Unknown."""
    observed_generation: Generation | None = None
    """Generation of the spec that this was seen for."""


Conditions = Annotated[tuple[Condition, ...], Bounded(most=16, key="type")]


def with_condition(conditions: Sequence[Condition], new: Condition) -> tuple[Condition, ...]:
    """Return the conditions with one set; its time stays that of the old one unless the status flips."""
    old = next((condition for condition in conditions if condition.type == new.type), None)
    if old is None:
        return (*conditions, new)
    if old.status == new.status:
        new = new.model_copy(update={"last_transition_time": old.last_transition_time})
    return tuple(new if condition is old else condition for condition in conditions)


def one_line(message: str) -> str:
    """Return a message as one sentence that fits a condition."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"
