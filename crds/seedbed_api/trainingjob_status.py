"""The lifecycle in every status, and the status of a TrainingJob, which `seedbed run -o json` prints too.

Measured values are strings.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from seedbed_api.base_model import StatusBlock
from seedbed_api.bounded_lists import BoundedList
from seedbed_api.conditions import LONGEST_MESSAGE, Condition, Conditions
from seedbed_api.scalar_types import (
    CamelReason,
    Count,
    Digest,
    Flag,
    Generation,
    Image,
    Integer,
    Measured,
    MetricId,
    ObservedGeneration,
    ResourceName,
    StoredUri,
    Time,
    Whole,
    text,
)

MOST_METRICS = 32
LONGEST_LOG_TAIL = 2048
LONGEST_SIGNATURE = 8192


class Environment(StatusBlock):
    """Environment in which the bits of the model are reproducible."""

    class_: Annotated[Digest | None, Field(alias="class")] = None
    """Digest of the environment class; on a cluster the first attempt reports it."""
    image: Image | None = None
    """Image by digest, pinned at the first attempt and used by every later one."""
    image_digest: Digest | None = None
    """Digest of that image."""
    profile_generation: Generation | None = None
    """Generation of the profile, pinned at the first attempt."""


class Timing(StatusBlock):
    """How long one part of the way took."""

    name: CamelReason
    """Name of the part, for example RayStarted or FirstStep."""
    milliseconds: Whole
    """Duration."""


class WorkerCounts(StatusBlock):
    """Workers of the present attempt."""

    ready: Count
    """Workers that are ready."""
    desired: Count
    """Workers that are wanted."""
    replaced: Count | None = None
    """Worker pods that were replaced in this attempt; too many of them end it as preempted."""
    placed_since: Time | None = None
    """Since when all pods of an attempt have a node, before its first step; preRunningDeadlineSeconds
    counts from then."""
    lacking_since: Time | None = None
    """Since when an attempt that has trained has fewer running worker pods than its minimum."""
    complete_since: Time | None = None
    """Since when it has its minimum again; progressDeadlineSeconds counts from then at the earliest."""
    shown: Annotated[str, text(24)] | None = None
    """Ready and wanted workers as kubectl shows them: 2/4."""

    @model_validator(mode="before")
    @classmethod
    def _show(cls, value: Any) -> Any:
        return shown(value, "{ready}/{desired}")


class Progress(StatusBlock):
    """Progress of the training."""

    epoch: Whole
    """Epoch of the last finished step, from 0."""
    step: Whole
    """Completed optimizer steps."""
    total_steps: Whole
    """Optimizer steps of the whole training."""
    percent: Annotated[Integer, Field(ge=0, le=100)]
    """Completed steps in percent."""
    shown: Annotated[str, text(8)] | None = None
    """Completed steps as kubectl shows them: 45%."""
    estimated_completion_time: Time | None = None
    """Estimated end of the training at the current speed."""

    @model_validator(mode="before")
    @classmethod
    def _show(cls, value: Any) -> Any:
        return shown(value, "{percent}%")


class Metric(StatusBlock):
    """One measured value."""

    name: MetricId
    """Name in the registry of metrics."""
    value: Measured
    """Value as a decimal string."""


class DatasetStatus(StatusBlock):
    """Dataset that the first attempt found."""

    digest: Digest
    """Digest of its rows."""
    samples: Whole
    """Rows that the job trains on in an epoch."""


class CheckpointStatus(StatusBlock):
    """The newest checkpoint."""

    step: Whole
    """Completed steps in the checkpoint."""
    digest: Digest
    """Digest of its record."""
    time: Time
    """When it was written."""


class ModelStatus(StatusBlock):
    """The trained model."""

    uri: StoredUri
    """Folder with model.safetensors and config.json."""
    weights_digest: Digest
    """Digest of parameters and buffers."""


class ObjectStatus(StatusBlock):
    """An object of the output store."""

    uri: StoredUri
    """URL of the object."""
    digest: Digest
    """Digest of its bytes, or of its deterministic part."""
    signature: Annotated[str, text(LONGEST_SIGNATURE)] | None = None
    """The operator's DSSE envelope as JSON, for `seedbed verify --signature`: it started this job with these
    images, and the job's driver reported this digest. Unset without a signing key."""


class VerificationStatus(StatusBlock):
    """The newest verification of a complete job."""

    request: Annotated[str, text(64)]
    """Value of the annotation seedbed.dev/verify that asked for it."""
    number: Count
    """Number of its pod, counted over the life of the job."""
    failures: Count = 0
    """Pods of this request that ended without a result."""
    receipt_digest: Digest
    """Digest of the receipt that is verified."""


class Failure(StatusBlock):
    """The last failed attempt, with what a person needs when its pods are gone."""

    attempt: Count
    """Number of the attempt, as in the names of its pods; for seedbed run, counted from 0."""
    reason: CamelReason
    """Why it failed."""
    message: Annotated[str, text(LONGEST_MESSAGE)] | None = None
    """Why it failed, in one sentence."""
    time: Time | None = None
    """When it failed."""
    pod: ResourceName | None = None
    """Pod that failed first."""
    node: ResourceName | None = None
    """Node of that pod."""
    exit_code: Annotated[Integer, Field(ge=-255, le=255)] | None = None
    """Exit code of its container; negative for a signal."""
    log_tail: Annotated[str, text(LONGEST_LOG_TAIL)] | None = None
    """End of its log."""
    log_uri: StoredUri | None = None
    """Its whole log in the output store."""


Metrics = Annotated[tuple[Metric, ...], BoundedList(most=MOST_METRICS, key="name")]
Timings = Annotated[tuple[Timing, ...], BoundedList(most=32, key="name")]


class LifecycleStatus(StatusBlock):
    """What a job has been through, whatever it trains; a cache of what the output store holds."""

    observed_generation: ObservedGeneration | None = None
    """Generation of the spec that this status describes; -1 until the first reconcile."""
    environment: Environment | None = None
    """Environment in which the bits of the model are reproducible."""
    backend: Literal["Local", "Pods", "KubeRay"] | None = None
    """Backend that runs Ray for this job; chosen once."""
    start_time: Time | None = None
    """When the first pod of the job was admitted or rejected; not set while a queue holds all pods."""
    completion_time: Time | None = None
    """When the job completed or failed."""
    duration: Annotated[str, text(16)] | None = None
    """Time from start to end of a job that is over: 1h02m."""
    resume_time: Time | None = None
    """When the job was last started, resumed, or admitted by a queue; activeDeadlineSeconds counts from
    it. Unset while a queue holds all pods."""
    attempts: Count | None = None
    """Number of attempts so far, which is the number of the newest one."""
    attempt_start_time: Time | None = None
    """When the newest attempt started; preRunningDeadlineSeconds counts from it."""
    accounted_attempts: Count | None = None
    """Highest attempt whose end is counted in the fields below; a later attempt is still open."""
    failures: Count | None = None
    """Failed attempts that count towards backoffLimit."""
    infrastructure_failures: Count | None = None
    """Attempts that failed because of the infrastructure; they do not count towards backoffLimit, unless
    several in a row make no checkpoint."""
    preemptions: Count | None = None
    """Attempts that were preempted; they do not count towards backoffLimit."""
    attempt_progressed: Flag | None = None
    """Whether the newest attempt made lasting progress: a checkpoint with more steps, or the state or
    result of a trial. Unset if no attempt has since the job was last resumed."""
    attempts_without_checkpoint: Count | None = None
    """Attempts in a row that failed without a new checkpoint; the third and later ones count as failures.
    Attempts that were preempted, or whose pods a node rejected, are skipped."""
    retry_time: Time | None = None
    """When the back-off ends and the next attempt may start."""
    timings: Timings = ()
    """Durations of the parts of the start-up."""
    workers: WorkerCounts | None = None
    """Workers of the present attempt."""
    dataset: DatasetStatus | None = None
    """Dataset that the first attempt found."""
    log_uri: StoredUri | None = None
    """URL of the log of the newest attempt that ended, successful or not."""
    last_failure: Failure | None = None
    """The last failed attempt."""
    conditions: Conditions = ()
    """Complete, Failed, Suspended, Running, Reconciling, Stalled, Signed, SignatureStored, Reproduced. Reason
    and message of Running say what the job does or waits for."""

    def condition(self, kind: str) -> Condition | None:
        """Return a condition of either status; None if it was never written."""
        return next((found for found in self.conditions if found.type == kind), None)

    def holds(self, kind: str) -> bool:
        """Return whether a condition is true."""
        found = self.condition(kind)
        return found is not None and found.status == "True"

    @property
    def identity(self) -> str | None:
        """Return the identity that the first attempt reported and later ones must find again."""
        raise NotImplementedError

    @property
    def kept_time(self) -> str | None:
        """Return when an attempt last made progress that outlasts it."""
        raise NotImplementedError

    @property
    def kept(self) -> str:
        """Return in words what is stored so far, empty if nothing is."""
        raise NotImplementedError

    def identified(self, identity: str | None) -> dict[str, str | None]:
        """Return the field of the identity: the known value, else the reported one."""
        raise NotImplementedError


class TrainingJobStatus(LifecycleStatus):
    """What became of the job; a cache of what the output store holds."""

    run_id: Digest | None = None
    """Identity of the run: digest of the recipe with the digests of dataset and code, the version of the
    arithmetic and the environment class."""
    progress: Progress | None = None
    """Progress of the training."""
    metrics: Metrics = ()
    """Newest values of the metrics."""
    checkpoint: CheckpointStatus | None = None
    """The newest checkpoint."""
    model: ModelStatus | None = None
    """The trained model."""
    receipt: ObjectStatus | None = None
    """Receipt with inputs, outputs and their digests."""
    verification: VerificationStatus | None = None
    """The newest verification; its result is the condition Reproduced."""

    @property
    def identity(self) -> str | None:
        """Return the identity of the run."""
        return self.run_id

    @property
    def kept_time(self) -> str | None:
        """Return when the newest checkpoint was written."""
        return self.checkpoint.time if self.checkpoint else None

    @property
    def kept(self) -> str:
        """Return what the newest checkpoint holds."""
        return f"the newest reported checkpoint has {self.checkpoint.step} steps" if self.checkpoint else ""

    def identified(self, identity: str | None) -> dict[str, str | None]:
        """Return the identity of the run."""
        return {"run_id": self.run_id or identity}


def shown(value: Any, form: str) -> Any:
    """Return the fields of a block with its text for a printer column of kubectl."""
    if not isinstance(value, dict):
        return value
    try:
        return {**value, "shown": form.format(**value)}
    except (KeyError, TypeError):  # a field is missing, which its own check reports
        return value


def format_measurement(value: float) -> str:
    """Return a finite measured value as the string of a status, with six significant digits."""
    assert value - value == 0, "a status holds finite values only"
    return f"{value:.6g}"


def percent(step: int, total: int) -> int:
    """Return the progress in whole percent; 100 only when everything is done."""
    return 100 if step >= total else 100 * step // total
