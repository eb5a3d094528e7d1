"""Plan of a reconcile: ordered actions, new status, Events, evidence requests; and the builder of plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from seedbed_api.attestations.receipt_attestation import Attestation
from seedbed_api.conditions import (
    Condition,
    ConditionType,
    RunningReason,
    SignedReason,
    one_line,
    with_condition,
)
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import LifecycleStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class Create:
    """Create a child by POST; 409 counts as rejected, never as adopted (except for a Secret)."""

    kind: Literal["Pod", "Service", "Secret", "NetworkPolicy"]
    body: Mapping[str, Any]
    owner: str | None = None
    """Name of the owner pod, created earlier in the same plan; the executor fills in its uid."""
    controlled: bool = True
    """Whether that owner is its controller."""
    shared: bool = False
    """Whether it belongs to all jobs of the namespace: while one that has created it is there, none tries."""

    @property
    def name(self) -> str:
        """Return the child's name."""
        return str(self.body["metadata"]["name"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Delete:
    """Delete a child, if it still has this uid."""

    kind: Literal["Pod"]
    name: str
    uid: str
    grace_seconds: int | None = None
    """None: the grace period of the pod."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteJob:
    """Delete the job after ttlSecondsAfterFinished, if it still has this uid."""

    uid: str


Action = Create | Delete | DeleteJob


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceRequest:
    """Data to collect before the plan can be final; collected once per reconcile."""

    kind: Literal["LogTail", "PodEvents", "Progress", "NamespaceLabels"]
    pod: str = ""
    """Name of the pod; empty for what is not about a pod."""
    pod_uid: str = ""
    address: str | None = None
    """IP of the pod, for progress."""
    container: str | None = None
    """Container of the log, where the pod has several."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningRequest:
    """What the operator states about the receipt of a job that is complete, or why it states nothing."""

    attestation: Attestation | None
    reason: SignedReason
    message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """A Kubernetes Event about the job, sent after the status is written."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    action: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Writes in order, the status after them, and the time of the next reconcile."""

    actions: tuple[Action, ...] = ()
    status: LifecycleStatus | None = None
    """The complete new status; None: leave it (the object is being deleted, or another controller's)."""
    events: tuple[JobEvent, ...] = ()
    evidence_requests: tuple[EvidenceRequest, ...] = ()
    signing: SigningRequest | None = None
    """A statement to sign with the status, so that both are written at once."""
    requeue_at: datetime | None = None
    """Next reconcile without an event: a deadline, the end of a back-off, the next poll. A past time means:
    at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanBuilder:
    """A plan under construction; every method returns a new builder."""

    now: datetime
    generation: int
    status: LifecycleStatus
    actions: tuple[Action, ...] = ()
    evidence_requests: tuple[EvidenceRequest, ...] = ()
    signing: SigningRequest | None = None
    requeue_at: datetime | None = None

    def add_actions(self, *actions: Action) -> PlanBuilder:
        """Add actions."""
        return replace(self, actions=(*self.actions, *actions))

    def add_requests(self, *evidence_requests: EvidenceRequest) -> PlanBuilder:
        """Add evidence requests."""
        return replace(self, evidence_requests=(*self.evidence_requests, *evidence_requests))

    def request_signature(self, request: SigningRequest) -> PlanBuilder:
        """Sign a statement when the status is written."""
        return replace(self, signing=request)

    def requeue(self, *moments: datetime | None) -> PlanBuilder:
        """Reconcile again at the earliest of these times."""
        due = [moment for moment in (self.requeue_at, *moments) if moment is not None]
        return replace(self, requeue_at=min(due, default=None))

    def set_status(self, **fields: Any) -> PlanBuilder:
        """Set fields of the status."""
        return replace(self, status=self.status.model_copy(update=fields))

    def set_condition(
        self, kind: str, status: Literal["True", "False", "Unknown"], reason: str, message: str = ""
    ) -> PlanBuilder:
        """Set a condition."""
        condition = Condition(
            type=str(kind),
            status=status,
            reason=str(reason),
            message=one_line(message),
            last_transition_time=format_time(self.now),
            observed_generation=self.generation,
        )
        return self.set_status(conditions=with_condition(self.status.conditions, condition))

    def has_condition(self, kind: str, *, status: str = "True") -> bool:
        """Return whether a condition has a status."""
        return any(found.type == kind and found.status == status for found in self.status.conditions)

    def set_waiting(self, reason: str, message: str) -> PlanBuilder:
        """Set Running to False with a reason; the operator continues by itself."""
        return self._set_reconciling(reason, message).set_condition(
            ConditionType.RUNNING, "False", reason, message
        )

    def set_stalled(self, reason: str, message: str) -> PlanBuilder:
        """Set Running to False and Stalled to True: a person must change something."""
        builder = self.set_condition(ConditionType.RUNNING, "False", reason, message)
        return builder.set_condition(ConditionType.RECONCILING, "False", reason, message).set_condition(
            ConditionType.STALLED, "True", reason, message
        )

    def set_running(self, reason: str, message: str) -> PlanBuilder:
        """Set Running to True."""
        builder = self.set_settled(RunningReason.TRAINING)
        return builder.set_condition(ConditionType.RUNNING, "True", reason, message)

    def set_settled(self, reason: str) -> PlanBuilder:
        """Set Reconciling to False: the object is as it should be."""
        return self._clear_stalled(reason).set_condition(ConditionType.RECONCILING, "False", reason)

    def _set_reconciling(self, reason: str, message: str) -> PlanBuilder:
        return self._clear_stalled(reason).set_condition(ConditionType.RECONCILING, "True", reason, message)

    def _clear_stalled(self, reason: str) -> PlanBuilder:
        if not self.has_condition(ConditionType.STALLED):
            return self
        return self.set_condition(ConditionType.STALLED, "False", reason)
