"""Conditions, reasons and exit codes: the words in which a job answers "why is it not running?"."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Annotated, Literal

from seedbed_api.base_model import StatusBlock
from seedbed_api.bounded_lists import Bounded
from seedbed_api.scalar_types import CamelReason, Generation, Time, text

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
    """True when the model and its receipt are written and the last pod of the job is gone."""
    FAILED = "Failed"
    """True when the job has failed for good."""
    SUSPENDED = "Suspended"
    """True when spec.suspend is set and the last pod of the job is gone."""
    RUNNING = "Running"
    """True while the job trains; where False, the reason and message answer why not, and what to change."""
    RECONCILING = "Reconciling"
    """True until training runs, or the job is at rest (as kstatus wants it: `helm --wait` waits for this)."""
    STALLED = "Stalled"
    """True where nothing happens until somebody changes something: the job, its profile, the cluster."""


class CompleteReason(StrEnum):
    """Why a job is complete."""

    TRAINED = "Trained"
    """It was trained."""
    ALREADY_COMPUTED = "AlreadyComputed"
    """The output store held the same run already."""


class FailedReason(StrEnum):
    """Why a job has failed for good."""

    INVALID_SPEC = "InvalidSpec"
    """The manifest breaks a rule that the API server cannot check."""
    INVALID_DATASET = "InvalidDataset"
    """What lies at dataset.uri is no dataset, or a damaged one."""
    DATASET_NOT_FOUND = "DatasetNotFound"
    """Nothing lies at dataset.uri."""
    DATASET_CHANGED = "DatasetChanged"
    """The dataset has not the digest that the spec or the first attempt pinned."""
    EMPTY_CLASS = "EmptyClass"
    """After split, fold and subset a class has no row to train on."""
    INVALID_STORAGE_URL = "InvalidStorageURL"
    """A URL has a scheme that nothing can open, or names no bucket."""
    STORAGE_NOT_FOUND = "StorageNotFound"
    """The bucket or folder is not there."""
    STORAGE_DENIED = "StorageDenied"
    """The store refuses the credentials."""
    SECRET_NOT_FOUND = "SecretNotFound"
    """A Secret that the job names is not there, or lacks a key."""
    ENVIRONMENT_CHANGED = "EnvironmentChanged"
    """Another environment class than that of the first attempt: it would not give the same bits."""
    MODEL_ERROR = "ModelError"
    """The model, or the user's code, raised an error or is not deterministic."""
    NON_FINITE_LOSS = "NonFiniteLoss"
    """The loss became infinite or NaN."""
    OUT_OF_MEMORY = "OutOfMemory"
    """A process used more memory than its limit, until backoffLimit was reached."""
    OUTPUT_UNWRITABLE = "OutputUnwritable"
    """The output store can be read and not written."""
    STORAGE_REFUSED = "StorageRefused"
    """The store answered a request with an error that no retry mends."""
    RANGES_UNSUPPORTED = "RangesUnsupported"
    """The store cannot read a range of bytes."""
    INVALID_PATH = "InvalidPath"
    """A path in a manifest of data leads out of its folder."""
    INVALID_OPTION = "InvalidOption"
    """An option of the command line, or a setting of the environment, has a value that cannot be."""
    RUN_FOLDER_DAMAGED = "RunFolderDamaged"
    """An object of the run folder does not have the digest that it should have."""
    RUN_FOLDER_CONFLICT = "RunFolderConflict"
    """The run folder holds other bytes than this run computes."""
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    """More attempts failed than backoffLimit allows; status.lastFailure tells of the last one."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """The job was active for longer than activeDeadlineSeconds."""
    TRIAL_UNDECIDED = "TrialUndecided"
    """A trial of a sweep could not be decided for lack of machines, memory or time."""
    TRIALS_FAILED = "TrialsFailed"
    """More trials of a sweep failed by their own values than maxFailedTrialCount allows, or all of them."""


class AttemptReason(StrEnum):
    """Why an attempt failed that another one may mend; `seedbed run`, which is one attempt, ends with it."""

    STORAGE_UNAVAILABLE = "StorageUnavailable"
    """A store did not answer for a minute."""
    FEED_FAILED = "FeedFailed"
    """Reading or decoding the rows failed by no fault of theirs."""
    RAY_START_FAILED = "RayStartFailed"
    """Ray did not start."""
    INIT_CONTAINER_FAILED = "InitContainerFailed"
    """A container that somebody else put into a pod failed before ours began: a mesh's, a vault's."""
    RAY_STARTING = "RayStarting"
    """Ray had not started in time."""
    RAY_UNHEALTHY = "RayUnhealthy"
    """Ray ran and then stopped answering."""
    WORKERS_LOST = "WorkersLost"
    """Workers died or went silent, and fewer than workers.min were left."""
    DRIVER_LOST = "DriverLost"
    """The driver pod vanished, or ended without saying why."""
    DRIVER_CRASHED = "DriverCrashed"
    """The driver ended by a signal or by an exit code that has no meaning here."""
    NODE_LOST = "NodeLost"
    """The node of a pod went away or stopped answering."""
    PREEMPTED = "Preempted"
    """A pod had to make room: preemption, drain, eviction by the API, a spot node taken back."""
    EVICTED = "Evicted"
    """The kubelet evicted a pod: its node ran out of disk or memory, or the pod used too much disk."""
    DEVICE_UNAVAILABLE = "DeviceUnavailable"
    """A GPU is not there or answers with an error."""
    OUT_OF_MEMORY = "OutOfMemory"
    """A process used more memory than its limit."""
    PRE_RUNNING_DEADLINE_EXCEEDED = "PreRunningDeadlineExceeded"
    """The attempt made no step within preRunningDeadlineSeconds."""
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    """The attempt hung: no step for progressDeadlineSeconds."""
    ENVIRONMENT_CHANGED = "EnvironmentChanged"
    """A node has another environment class than the first attempt."""
    SUPERSEDED = "Superseded"
    """A later attempt, or another job with the same run, took over."""


class RunningReason(StrEnum):
    """What a job is doing, or what it waits for; the reasons of Complete and Failed stand here at the end.

    It is the STATUS of `kubectl get`. The first three come with Running=True, InternalError with either.
    """

    TRAINING = "Training"
    """Steps are done."""
    EVALUATING = "Evaluating"
    """The model is evaluated between two steps, or at the end."""
    CHECKPOINTING = "Checkpointing"
    """A checkpoint is written."""
    PENDING = "Pending"
    """Seen, and not yet acted upon."""
    QUEUED = "Queued"
    """A queue (Kueue) has not admitted the job, or holds its pods by a scheduling gate."""
    SUSPENDED = "Suspended"
    """spec.suspend is set; no pod is left."""
    STOPPING = "Stopping"
    """The driver was told to stop: it ends its step and writes a checkpoint."""
    TERMINATING_OLD_PODS = "TerminatingOldPods"
    """Pods of an earlier attempt, or of a deleted job of the same name, have to go first."""
    PROFILE_NOT_FOUND = "ProfileNotFound"
    """spec.cluster.profile names no TrainingProfile."""
    PROFILE_INVALID = "ProfileInvalid"
    """The TrainingProfile breaks a rule that the API server cannot check; its admin must mend it."""
    BACKEND_UNAVAILABLE = "BackendUnavailable"
    """The profile wants a backend that this cluster does not have, for example KubeRay."""
    OVERRIDE_NOT_ALLOWED = "OverrideNotAllowed"
    """spec.cluster.overrides sets a field, or a value, that the profile does not allow."""
    SECRET_NOT_ALLOWED = "SecretNotAllowed"
    """The job names a Secret that is not in the profile's allowedSecrets."""
    URI_NOT_ALLOWED = "URINotAllowed"
    """A URL is not below the profile's allowedURIPrefixes, names a claim that is not in its
    allowedPersistentVolumeClaims, or is a path inside of the pod."""
    SECRET_NOT_FOUND = "SecretNotFound"
    """A Secret that a pod mounts or pulls its image with is not there."""
    CLAIM_NOT_FOUND = "ClaimNotFound"
    """A PersistentVolumeClaim that a pod mounts is not there."""
    SERVICE_ACCOUNT_NOT_FOUND = "ServiceAccountNotFound"
    """The service account of the pods is not there."""
    PRIORITY_CLASS_NOT_FOUND = "PriorityClassNotFound"
    """The priority class of the pods is not there."""
    QUOTA_EXCEEDED = "QuotaExceeded"
    """A ResourceQuota of the namespace has no room for the pods."""
    ADMISSION_DENIED = "AdmissionDenied"
    """The API server refused a pod: Pod Security, a webhook, a limit range; the message has its words."""
    NAME_CONFLICT = "NameConflict"
    """An object that belongs to somebody else has the name of a pod, Service or Secret of the job."""
    UNSCHEDULABLE = "Unschedulable"
    """No node has room for a pod, or none bears the labels and taints that it wants."""
    WORKERS_PENDING = "WorkersPending"
    """The driver runs; fewer worker pods than workers.min have a node."""
    VOLUME_UNAVAILABLE = "VolumeUnavailable"
    """A volume cannot be mounted or attached."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """An image cannot be pulled: no such image, no access, or no answer of the registry."""
    IMAGE_INVALID = "ImageInvalid"
    """The name of an image is none, or the image is not for this kind of machine."""
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    """The kubelet cannot make the container, for example because a key of a Secret is not there."""
    CONTAINER_CREATING = "ContainerCreating"
    """Pods have a node, and their images are pulled and volumes mounted."""
    RAY_STARTING = "RayStarting"
    """The containers run, and Ray is coming up."""
    WAITING_FOR_WORKERS = "WaitingForWorkers"
    """Ray runs; fewer workers than workers.min have joined it."""
    RAY_UNHEALTHY = "RayUnhealthy"
    """Ray ran and then broke down; the next attempt follows."""
    NODE_LOST = "NodeLost"
    """The node of the driver stopped answering; the next attempt follows."""
    DRIVER_LOST = "DriverLost"
    """The driver pod vanished; the next attempt follows."""
    PRE_RUNNING_DEADLINE_EXCEEDED = "PreRunningDeadlineExceeded"
    """The attempt made no step within preRunningDeadlineSeconds; the next one follows."""
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    """No step for progressDeadlineSeconds: the attempt hung; the next one follows."""
    PREEMPTED = "Preempted"
    """The pods had to make room; the next attempt follows."""
    BACKING_OFF = "BackingOff"
    """An attempt failed for a reason that the message names; the next one begins at status.retryTime."""
    INTERNAL_ERROR = "InternalError"
    """The operator failed at this object three times in a row; it tries again, and pods go on meanwhile."""


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
