"""What is known of one job at one moment, as frozen values; planning sees nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from seedbed_api.job_kinds import JobKind, JobSpec
from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_api.pod_contract.labels import Role
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_api.trainingprofile import TrainingProfileSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """A TrainingJob or SweepJob as it was last seen."""

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
    """None where the models refuse what the API server let pass; `invalid` tells why."""
    spec_error: str | None
    status: LifecycleStatus
    finalizers: tuple[str, ...] = ()
    managed_by: str | None = None
    """spec.managedBy as it was written, also where the models refuse the spec."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileView:
    """The TrainingProfile that a job names."""

    name: str
    generation: int
    spec: TrainingProfileSpec | None
    """None where the models refuse it; `invalid` tells why."""
    spec_error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerWaiting:
    """Why a container has not started, in the kubelet's words."""

    reason: str
    message: str
    container: str = ""
    """Name of a container that is not ours."""
    image: str = ""
    """Of that container."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerTerminated:
    """How a container ended."""

    exit_code: int
    reason: str
    """Completed, Error, OOMKilled, ContainerStatusUnknown …"""
    message: str
    """Termination message: an outcome, or the end of the log."""
    started: datetime | None
    finished: datetime | None


InjectedContainerKind = Literal["init", "sidecar", "beside"]
"""It ends before ours begins; it begins before ours and runs beside it; it runs beside ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InjectedContainer:
    """A container that somebody else put into a pod of ours."""

    name: str
    kind: InjectedContainerKind
    waiting: ContainerWaiting | None = None
    terminated: ContainerTerminated | None = None
    """How it ended, or ended last where it is started again."""
    running: bool = False
    started: bool = False
    """Of a sidecar: it runs and has passed its startup probe."""
    restarts: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedTemplate:
    """What an attempt was made from, as its driver pod notes it."""

    execution: str
    """Digest of what may change only while the job is suspended."""
    profile: str
    """Digest of what the profile says of pods."""
    workers_per_pod: int
    ranks: tuple[int, int] | None = None
    """Fewest and most ranks that the driver was told; None where that cannot be read."""
    settings: tuple[tuple[str, Any], ...] = ()
    """What may change at any time and what the driver has read at its start, by path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodView:
    """A pod that carries the labels of a job; whether it belongs to it, `owner_uid` tells.

    In an observation `created`, `scheduled`, `deletion_due`, `over_since` and `ready_since` are by the
    operator's clock: when it saw what the pod tells. In the cache they are what others have written, and
    `started` always is.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    job_uid: str
    role: Role
    attempt: int
    index: int
    """K of a worker; 0 for the driver."""
    owner_uid: str | None
    """The job for a driver, the driver pod for a worker."""
    created: datetime
    deleting: bool
    deletion_due: datetime | None
    """When it should be gone, its grace included; one long overdue is lost."""
    phase: Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]
    node: str | None
    ip: str | None
    ready: bool
    scheduled: datetime | None
    """When a node was found."""
    unschedulable: str | None
    """The scheduler's message while no node was found."""
    gated: bool
    """Held by a scheduling gate (Kueue): queued."""
    started: datetime | None
    """When the container began to run, by the clock of its node."""
    disruption: str | None
    """Reason of a condition that tells of a preemption, an eviction, a lost node, or a queue that evicts."""
    reason: str
    """The pod's own reason (Evicted, NodeLost, DeadlineExceeded, UnexpectedAdmissionError …)."""
    message: str
    waiting: ContainerWaiting | None
    """Of our container, or of one that keeps it from starting."""
    terminated: ContainerTerminated | None
    """Of our container."""
    template: RecordedTemplate | None = None
    """Of a driver; None of workers, and of a driver that an older version made."""
    gang_size: int | None = None
    """How many pods a queue admits together, this one among them; None of a pod that stands alone."""
    deletion_grace: int = 30
    """Seconds that a pod has to end once it is being deleted."""
    over_since: datetime | None = None
    """When it was seen to have ended."""
    ready_since: datetime | None = None
    """When it was seen to be ready."""
    injected_containers: tuple[InjectedContainer, ...] = ()
    """The containers that are not ours, in the order in which they begin."""

    @property
    def ended(self) -> bool:
        """Say whether its containers will not run again."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True, slots=True)
class PodEvent:
    """An Event about a pod, Warning or Normal, as far as it explains why a pod does not start."""

    reason: str
    message: str
    time: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedWrite:
    """A write that the API server refused (quota, admission, a name that is taken), kept until a pass whose
    writes all succeed. Not refusals: 409 for a Secret (it is there), 404 or another uid at a delete."""

    kind: str
    name: str
    code: int
    reason: str
    """Reason of the API server's Status: Forbidden, AlreadyExists, Invalid …"""
    message: str
    time: datetime
    count: int = 1
    """How often in a row this write was refused: the pause before the next try grows with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What was asked for because a plan needed it; a key without a value means: asked, none found."""

    progress: Mapping[str, LiveProgress | None] = field(default_factory=dict)
    """Newest answer of each driver, by pod uid (one a few seconds old may be given again); None when it did
    not answer (which may be given again for a minute)."""
    progress_asked: Mapping[str, datetime] = field(default_factory=dict)
    """When each driver was asked last, by pod uid."""
    progress_changed: Mapping[str, datetime] = field(default_factory=dict)
    """When the steps or the activity of a driver was last seen to change, by pod uid; without an answer since
    its container started: when it was first asked. Kept while the pod is there."""
    log_tails: Mapping[str, str] = field(default_factory=dict)
    """End of a pod's log, by pod uid."""
    pod_events: Mapping[str, tuple[PodEvent, ...]] = field(default_factory=dict)
    """Events about a pod, oldest first, by pod uid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobObservation:
    """Everything that a plan depends on; `now` is data."""

    now: datetime
    job: JobView
    profile: ProfileView | None
    pods: tuple[PodView, ...] = ()
    """Every pod whose labels name the job by name, whatever its owner, sorted by name."""
    rejected_writes: tuple[RejectedWrite, ...] = ()
    status_written: datetime | None = None
    """When this process last wrote the status; mere progress is written at most every ten seconds."""
    evidence: Evidence = Evidence()
