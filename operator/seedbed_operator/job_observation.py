"""Input of the planner: a job, its profile, pods, rejected writes and evidence at one moment, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from seedbed_api.job_kinds import JobKind, JobSpec
from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_api.pod_contract.labels import Role
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_api.trainingprofile import TrainingProfileSpec, TrainingProfileStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """A TrainingJob or SweepJob as cached."""

    kind: JobKind = "TrainingJob"
    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    created: datetime
    deleting: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: JobSpec | None
    """None where validation fails although the API server accepted it; see `spec_error`."""
    spec_error: str | None
    status: LifecycleStatus
    finalizers: tuple[str, ...] = ()
    managed_by: str | None = None
    """spec.managedBy as written, also where the spec is invalid."""
    metadata_problem: str | None = None
    """Why its labels or annotations cannot be copied to pods: there are too many bytes of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileView:
    """The TrainingProfile that a job names."""

    name: str
    generation: int
    spec: TrainingProfileSpec | None
    """None where it is invalid; see `spec_error`."""
    spec_error: str | None = None
    resource_version: str = ""
    status: TrainingProfileStatus = field(default_factory=TrainingProfileStatus)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerWaiting:
    """Waiting state of a container, from the kubelet."""

    reason: str
    message: str
    container: str = ""
    """Name of an injected container; empty for ours."""
    image: str = ""
    """Image of that container."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerTerminated:
    """Terminated state of a container."""

    exit_code: int
    reason: str
    """Completed, Error, OOMKilled, ContainerStatusUnknown …"""
    message: str
    """Termination message: an outcome, or the end of the log."""
    started: datetime | None
    finished: datetime | None


InjectedContainerKind = Literal["init", "sidecar", "beside"]
"""Init container; sidecar that starts before ours; plain container beside ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InjectedContainer:
    """A container that a webhook added to one of our pods."""

    name: str
    kind: InjectedContainerKind
    waiting: ContainerWaiting | None = None
    terminated: ContainerTerminated | None = None
    """Its last termination."""
    running: bool = False
    started: bool = False
    """Of a sidecar: it has passed its startup probe."""
    restarts: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedTemplate:
    """Settings that an attempt started with, read from its driver pod."""

    execution: str
    """Digest of the fields that may change only while the job is suspended."""
    profile: str
    """Digest of the profile's pod settings."""
    workers_per_pod: int
    ranks: tuple[int, int] | None = None
    """Minimum and maximum of ranks given to the driver; None where unreadable."""
    settings: tuple[tuple[str, Any], ...] = ()
    """Settings that the driver reads only at its start, by path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodView:
    """A pod with the labels of a job; `owner_uid` decides whether it belongs to the job.

    In an observation `created`, `scheduled`, `deletion_due`, `over_since` and `ready_since` use the
    operator's clock: when it first saw the change. In the cache they are what the API server holds;
    `started` always uses the node's clock.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    job_uid: str
    role: Role
    attempt: int
    index: int
    """Index of a worker; 0 for the driver."""
    owner_uid: str | None
    """Uid of the job for a driver, of the driver pod for a worker."""
    created: datetime
    deleting: bool
    deletion_due: datetime | None
    """End of its grace period; a pod that is long overdue is lost."""
    phase: Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]
    node: str | None
    ip: str | None
    ready: bool
    scheduled: datetime | None
    """When a node was assigned."""
    unschedulable: str | None
    """The scheduler's message while it finds no node."""
    gated: bool
    """Held by a scheduling gate: queued by Kueue."""
    started: datetime | None
    """Start of the container, by the clock of its node."""
    disruption: str | None
    """Reason of the condition DisruptionTarget (preemption, eviction, lost node) or of Kueue's eviction."""
    reason: str
    """The pod's own reason (Evicted, NodeLost, DeadlineExceeded, UnexpectedAdmissionError …)."""
    message: str
    waiting: ContainerWaiting | None
    """Of our container, or of one that it waits for."""
    terminated: ContainerTerminated | None
    """Of our container."""
    image_id: str = ""
    """Image of our container as the kubelet found it; empty until it has started."""
    template: RecordedTemplate | None = None
    """Of a driver; None for workers and for drivers of older versions."""
    gang_size: int | None = None
    """Number of pods that a queue admits together; None for a pod outside a group."""
    deletion_grace: int = 30
    """Grace period of its deletion, in seconds."""
    over_since: datetime | None = None
    """When the operator saw that it had ended."""
    ready_since: datetime | None = None
    """When the operator saw that it was ready."""
    injected_containers: tuple[InjectedContainer, ...] = ()
    """Containers that are not ours, in start order."""

    @property
    def ended(self) -> bool:
        """Return whether all containers have ended for good."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True, slots=True)
class PodEvent:
    """An Event about a pod, Warning or Normal."""

    reason: str
    message: str
    time: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedWrite:
    """A write that the API server rejected (quota, admission, name conflict), until a reconcile succeeds.

    Not rejected: 409 for a Secret (it exists), 404 or another uid at a delete.
    """

    kind: str
    name: str
    code: int
    reason: str
    """Reason of the API server's Status: Forbidden, AlreadyExists, Invalid …"""
    message: str
    time: datetime
    count: int = 1
    """Rejections in a row; the delay before the next try grows with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamespaceView:
    """The namespace of a job, as read just now."""

    labels: Mapping[str, str] | None
    """None where it cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Data that a plan requested; a key with an empty value means that none was found."""

    progress: Mapping[str, LiveProgress | None] = field(default_factory=dict)
    """Newest response of each driver by pod uid, at most a few seconds old; None where it did not respond."""
    progress_asked: Mapping[str, datetime] = field(default_factory=dict)
    """Time of the last request to each driver, by pod uid."""
    progress_changed: Mapping[str, datetime] = field(default_factory=dict)
    """Time of the last change of a driver's step or activity, by pod uid; without a response: of the first
    request."""
    log_tails: Mapping[str, str] = field(default_factory=dict)
    """End of a pod's log, by pod uid."""
    pod_events: Mapping[str, tuple[PodEvent, ...]] = field(default_factory=dict)
    """Events about a pod, oldest first, by pod uid."""
    namespace: NamespaceView | None = None
    """The namespace of the job; None where no plan asked for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobObservation:
    """All input of a plan, including the time."""

    now: datetime
    job: JobView
    profile: ProfileView | None
    pods: tuple[PodView, ...] = ()
    """All pods whose labels name the job, whatever their owner, sorted by name."""
    rejected_writes: tuple[RejectedWrite, ...] = ()
    status_written: datetime | None = None
    """When this process last wrote the status; progress alone is written every ten seconds."""
    evidence: Evidence = Evidence()
