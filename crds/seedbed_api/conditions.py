"""Conditions, reasons and exit codes of a job: the vocabulary of its status."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Annotated, Literal

from seedbed_api.base_model import StatusBlock
from seedbed_api.bounded_lists import BoundedList
from seedbed_api.printable_text import on_one_line, without_credentials
from seedbed_api.scalar_types import CamelReason, Generation, Time, text

LONGEST_MESSAGE = 1024


class ExitCode(IntEnum):
    """Exit codes of the driver and of the command line; any other is a crash, retried within backoffLimit."""

    DONE = 0
    USER = 2
    """The user's mistake (spec, dataset, model code, non-finite loss): no retry."""
    INFRASTRUCTURE = 75
    """Start-up, CUDA, storage, network: a retry may help."""
    STOPPED = 143
    """Stopped by request, after a checkpoint."""


class ConditionType(StrEnum):
    """Types of conditions."""

    COMPLETE = "Complete"
    """True when the model and its receipt are written and the last pod of the job is gone."""
    FAILED = "Failed"
    """True when the job has failed for good."""
    SUSPENDED = "Suspended"
    """True when spec.suspend is set and the last pod of the job is gone."""
    RUNNING = "Running"
    """True while the job trains; if False, reason and message say why not and what to change."""
    RECONCILING = "Reconciling"
    """True until the job trains or is at rest (the rule of kstatus: `helm --wait` waits for this)."""
    STALLED = "Stalled"
    """True if nothing happens until a person changes the job, its profile, or the cluster."""
    SIGNED = "Signed"
    """True when the operator has signed the digest of the receipt, or of a sweep's record."""
    SIGNATURE_STORED = "SignatureStored"
    """True when the operator's signature is stored beside the receipt, where `seedbed verify` finds it."""
    REPRODUCED = "Reproduced"
    """True when a pod has recomputed the run from its receipt, bit by bit; see seedbed.dev/verify."""


class CompleteReason(StrEnum):
    """Why a job is complete."""

    TRAINED = "Trained"
    """The job was trained."""
    ALREADY_COMPUTED = "AlreadyComputed"
    """The output store already held the same run."""


class SignedReason(StrEnum):
    """Why the receipt of a complete job is signed or not."""

    SIGNED = "Signed"
    """The operator's signature is in status.receipt.signature, or status.ledger.signature."""
    NO_SIGNING_KEY = "NoSigningKey"
    """The operator has no key: the chart's value signing.existingSecret is not set."""
    ALREADY_COMPUTED = "AlreadyComputed"
    """The job found the run in the output store, so the operator cannot say which job made it."""
    NO_RECEIPT = "NoReceipt"
    """The driver reported no receipt, or no identity of the run."""


class SignatureStoredReason(StrEnum):
    """Whether the operator's signature is beside the receipt, or a reason of Running that delays its pod."""

    STORED = "Stored"
    """It is in `signatures/` beside the receipt."""
    STORING = "Storing"
    """A pod stores it."""
    REFUSED = "Refused"
    """The receipt is not that of the job, or the store takes no signature; the message says what to do."""
    NOT_STORED = "NotStored"
    """No pod could store it; `seedbed sign --envelope` does, with the envelope in the status."""


class ReproducedReason(StrEnum):
    """What a verification found or waits for; a reason of Running where its pod cannot be created."""

    REPRODUCED = "Reproduced"
    """A pod has recomputed every step from the receipt and found the same bits."""
    DIFFERS = "Differs"
    """A recomputed step differs; the message names it."""
    UNVERIFIED = "Unverified"
    """The output store holds nothing to compare with."""
    REFUSED = "Refused"
    """Receipt, dataset, code or environment are not those of the run; the message names what differs."""
    VERIFYING = "Verifying"
    """A pod recomputes the run."""
    VERIFIER_FAILED = "VerifierFailed"
    """Three pods ended without a result; another value of the annotation seedbed.dev/verify tries again."""
    WITHDRAWN = "Withdrawn"
    """The annotation seedbed.dev/verify was removed before there was a result."""


class FailedReason(StrEnum):
    """Why a job has failed for good."""

    INVALID_SPEC = "InvalidSpec"
    """The manifest breaks a rule that the API server cannot check."""
    INVALID_DATASET = "InvalidDataset"
    """dataset.uri holds no dataset, or a damaged one."""
    DATASET_NOT_FOUND = "DatasetNotFound"
    """There is nothing at dataset.uri."""
    DATASET_CHANGED = "DatasetChanged"
    """The digest of the dataset is not the one that the spec or the first attempt pinned."""
    EMPTY_CLASS = "EmptyClass"
    """A class has no training row left after split, fold and subset."""
    INVALID_STORAGE_URL = "InvalidStorageURL"
    """A URL has an unknown scheme, or names no bucket."""
    STORAGE_NOT_FOUND = "StorageNotFound"
    """The bucket or folder does not exist."""
    STORAGE_DENIED = "StorageDenied"
    """The store rejects the credentials."""
    SECRET_NOT_FOUND = "SecretNotFound"
    """A Secret that the job names does not exist, or lacks a key."""
    ENVIRONMENT_CHANGED = "EnvironmentChanged"
    """The environment class is not that of the first attempt; the weights would differ."""
    MODEL_ERROR = "ModelError"
    """The model or the user's code raised an error, or is not deterministic."""
    NON_FINITE_LOSS = "NonFiniteLoss"
    """The loss became infinite or NaN."""
    OUT_OF_MEMORY = "OutOfMemory"
    """A process used more memory than its limit, until backoffLimit was reached."""
    OUTPUT_UNWRITABLE = "OutputUnwritable"
    """The output store can be read but not written."""
    OUTPUT_NOT_OWNED = "OutputNotOwned"
    """Somebody else wrote the run's folder, and also the place of this owner in the same store."""
    OWNER_KEY_UNREADABLE = "OwnerKeyUnreadable"
    """The key of the user or namespace, which spec.output.trust needs, is missing or no secret."""
    STORAGE_REFUSED = "StorageRefused"
    """The store answered a request with an error that no retry can fix."""
    OBJECT_TOO_LARGE = "ObjectTooLarge"
    """An object of a store has more bytes than its kind may have."""
    RANGES_UNSUPPORTED = "RangesUnsupported"
    """The store cannot read a range of bytes."""
    INVALID_PATH = "InvalidPath"
    """A path in the manifest of a dataset leads out of its folder."""
    INVALID_OPTION = "InvalidOption"
    """A command-line option or an environment variable has an invalid value."""
    RUN_FOLDER_DAMAGED = "RunFolderDamaged"
    """An object of the run folder does not match its digest."""
    RUN_FOLDER_CONFLICT = "RunFolderConflict"
    """The run folder holds other bytes than this run computes."""
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    """More attempts failed than backoffLimit allows; status.lastFailure describes the last one."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """The job was active for longer than activeDeadlineSeconds."""
    TRIAL_UNDECIDED = "TrialUndecided"
    """A trial of a sweep could not be decided because machines, memory or time were missing."""
    TRIALS_FAILED = "TrialsFailed"
    """All trials of a sweep failed because of their values, or more of them than maxFailedTrialCount."""


class AttemptReason(StrEnum):
    """Why an attempt failed when another may succeed; `seedbed run` is one attempt and ends with it."""

    STORAGE_UNAVAILABLE = "StorageUnavailable"
    """A store did not answer for a minute."""
    FEED_FAILED = "FeedFailed"
    """Reading or decoding rows failed, although the rows are valid."""
    RAY_START_FAILED = "RayStartFailed"
    """Ray did not start."""
    INIT_CONTAINER_FAILED = "InitContainerFailed"
    """A container that a mesh, a vault or another webhook added to a pod failed before ours started."""
    RAY_STARTING = "RayStarting"
    """Ray did not start in time."""
    RAY_UNHEALTHY = "RayUnhealthy"
    """Ray ran and then stopped answering."""
    WORKERS_LOST = "WorkersLost"
    """Workers died or stopped answering, and fewer than workers.min were left."""
    DRIVER_LOST = "DriverLost"
    """The driver pod disappeared, or ended without a termination message."""
    DRIVER_CRASHED = "DriverCrashed"
    """The driver ended by a signal or with an unknown exit code."""
    NODE_LOST = "NodeLost"
    """The node of a pod disappeared or stopped answering."""
    PREEMPTED = "Preempted"
    """A pod was removed: preemption, drain, eviction by the API, a reclaimed spot node."""
    EVICTED = "Evicted"
    """The kubelet evicted a pod: its node ran out of disk or memory, or the pod used too much disk."""
    DEVICE_UNAVAILABLE = "DeviceUnavailable"
    """A GPU is missing or answers with an error."""
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
    RUN_FOLDER_TAKEN = "RunFolderTaken"
    """Somebody else claimed the folder of the run meanwhile; the next attempt has a folder of its own."""


class RunningReason(StrEnum):
    """What a job does or waits for; at its end, the reason of Complete or Failed.

    `kubectl get` shows it as STATUS. The first three come with Running=True, InternalError with either.
    """

    TRAINING = "Training"
    """The job makes optimizer steps."""
    EVALUATING = "Evaluating"
    """The model is evaluated between two steps, or at the end."""
    CHECKPOINTING = "Checkpointing"
    """A checkpoint is being written."""
    PENDING = "Pending"
    """The operator has seen the job and not acted yet."""
    QUEUED = "Queued"
    """A queue (Kueue) has not admitted the job, or holds its pods by a scheduling gate."""
    SUSPENDED = "Suspended"
    """spec.suspend is set; no pod is left."""
    STOPPING = "Stopping"
    """The driver was told to stop: it ends its step and writes a checkpoint."""
    TERMINATING_OLD_PODS = "TerminatingOldPods"
    """Pods of an earlier attempt, or of a deleted job of the same name, must end first."""
    PROFILE_NOT_FOUND = "ProfileNotFound"
    """spec.cluster.profile names no TrainingProfile."""
    PROFILE_INVALID = "ProfileInvalid"
    """The TrainingProfile breaks a rule that the API server cannot check; its admin must correct it."""
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    """The profile's allowedNamespaces do not have the namespace of the job, or the profile grants a hostPath,
    a priority class or a service account and names no namespaces."""
    PROFILE_LIMIT_EXCEEDED = "ProfileLimitExceeded"
    """The job is larger than the profile's maxPerJob: workers, cpu, memory or gpus."""
    BACKEND_UNAVAILABLE = "BackendUnavailable"
    """The profile names a backend that this cluster does not have, for example KubeRay."""
    OVERRIDE_NOT_ALLOWED = "OverrideNotAllowed"
    """spec.cluster.overrides sets a field, or a value, that the profile does not allow."""
    METADATA_TOO_LARGE = "MetadataTooLarge"
    """The job has more than 8 KiB of labels, or of annotations, that the profile copies to pods."""
    SECRET_NOT_ALLOWED = "SecretNotAllowed"
    """The job names a Secret that is not in the profile's allowedSecrets."""
    URI_NOT_ALLOWED = "URINotAllowed"
    """A URL is not below the profile's allowedURIPrefixes, names a claim that is not in its
    allowedPersistentVolumeClaims, or is a path inside of the pod."""
    SECRET_NOT_FOUND = "SecretNotFound"
    """A Secret that a pod mounts, or pulls its image with, does not exist."""
    CLAIM_NOT_FOUND = "ClaimNotFound"
    """A PersistentVolumeClaim that a pod mounts does not exist."""
    SERVICE_ACCOUNT_NOT_FOUND = "ServiceAccountNotFound"
    """The service account of the pods does not exist."""
    PRIORITY_CLASS_NOT_FOUND = "PriorityClassNotFound"
    """The priority class of the pods does not exist."""
    QUOTA_EXCEEDED = "QuotaExceeded"
    """A ResourceQuota of the namespace has no room for the pods."""
    ADMISSION_DENIED = "AdmissionDenied"
    """The API server rejected a pod: Pod Security, a webhook, a limit range; the message quotes it."""
    NAME_CONFLICT = "NameConflict"
    """An object that does not belong to the job has the name of one of its pods, Services or Secrets."""
    UNSCHEDULABLE = "Unschedulable"
    """No node has room for a pod, or none has the labels and taints that it needs."""
    WORKERS_PENDING = "WorkersPending"
    """The driver runs; fewer worker pods than workers.min have a node."""
    VOLUME_UNAVAILABLE = "VolumeUnavailable"
    """A volume cannot be mounted or attached."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """An image cannot be pulled: it does not exist, access is denied, or the registry does not answer."""
    IMAGE_INVALID = "ImageInvalid"
    """The name of an image is invalid, or the image is for another kind of machine."""
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    """The kubelet cannot create the container, for example because a key of a Secret is missing."""
    CONTAINER_CREATING = "ContainerCreating"
    """Pods have a node; images are being pulled and volumes mounted."""
    RAY_STARTING = "RayStarting"
    """The containers run, and Ray is starting."""
    WAITING_FOR_WORKERS = "WaitingForWorkers"
    """Ray runs; fewer workers than workers.min have joined it."""
    RAY_UNHEALTHY = "RayUnhealthy"
    """Ray ran and then failed; the next attempt follows."""
    NODE_LOST = "NodeLost"
    """The node of the driver stopped answering; the next attempt follows."""
    DRIVER_LOST = "DriverLost"
    """The driver pod disappeared; the next attempt follows."""
    PRE_RUNNING_DEADLINE_EXCEEDED = "PreRunningDeadlineExceeded"
    """The attempt made no step within preRunningDeadlineSeconds; the next one follows."""
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    """The attempt hung: no step for progressDeadlineSeconds; the next one follows."""
    PREEMPTED = "Preempted"
    """The pods were preempted; the next attempt follows."""
    BACKING_OFF = "BackingOff"
    """An attempt failed for the reason in the message; the next one starts at status.retryTime."""
    INTERNAL_ERROR = "InternalError"
    """The operator failed on this object three times in a row; it tries again, and pods continue."""


class Condition(StatusBlock):
    """One aspect of an object's state."""

    type: CamelReason
    """Type of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition is true."""
    reason: CamelReason
    """Reason in one CamelCase word."""
    message: Annotated[str, text(LONGEST_MESSAGE)] = ""
    """Reason in one sentence."""
    last_transition_time: Time
    """When the status last changed between True, False and Unknown."""
    observed_generation: Generation | None = None
    """Generation of the spec that the condition describes."""


Conditions = Annotated[tuple[Condition, ...], BoundedList(most=16, key="type")]


def with_condition(conditions: Sequence[Condition], new: Condition) -> tuple[Condition, ...]:
    """Return the conditions with one replaced; its transition time changes only when its status changes."""
    old = next((condition for condition in conditions if condition.type == new.type), None)
    if old is None:
        return (*conditions, new)
    if old.status == new.status:
        new = new.model_copy(update={"last_transition_time": old.last_transition_time})
    return tuple(new if condition is old else condition for condition in conditions)


def one_line(message: str) -> str:
    """Return a message as one sentence that fits a condition, fit to be shown: no codes, no credentials."""
    line = on_one_line(without_credentials(" ".join(message.split())))
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"
