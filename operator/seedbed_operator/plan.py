"""What shall be done about one job: frozen values, carried out by the loop, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from seedbed_api.conditions import Condition, ConditionType, RunningReason, one_line, with_condition
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import LifecycleStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class Create:
    """Create a child by POST; an answer 409 is a refusal, never an adoption (a Secret is there already)."""

    kind: Literal["Pod", "Service", "Secret"]
    body: Mapping[str, Any]
    owner: str | None = None
    """Name of the pod that owns it and is created before it in the same plan: its uid is filled in."""
    controlled: bool = True
    """Whether that owner is its controller as well."""

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
    """None: the pod's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteJob:
    """Delete the job itself, whose time to live after its end is over, if it still has this uid."""

    uid: str


Action = Create | Delete | DeleteJob


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceRequest:
    """Something to ask for before the plan can be final; asked for once per pass."""

    kind: Literal["LogTail", "PodEvents", "Progress"]
    pod: str
    pod_uid: str
    address: str | None = None
    """IP of the pod, for Progress."""
    container: str | None = None
    """Whose log, in a pod that has several containers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """A Kubernetes Event about the job, sent after its status was written."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    action: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Writes in their order, the status that is true once they are done, and when to look again."""

    actions: tuple[Action, ...] = ()
    status: LifecycleStatus | None = None
    """The whole status to be; None: nothing to say (an object that is being deleted, or another's)."""
    events: tuple[JobEvent, ...] = ()
    evidence_requests: tuple[EvidenceRequest, ...] = ()
    requeue_at: datetime | None = None
    """When time alone changes the plan: a deadline, the end of a back-off, the next look at progress. A time
    that is past means: again, as soon as this plan's writes are in the store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanBuilder:
    """Status, actions and needs so far."""

    now: datetime
    generation: int
    status: LifecycleStatus
    actions: tuple[Action, ...] = ()
    evidence_requests: tuple[EvidenceRequest, ...] = ()
    requeue_at: datetime | None = None

    def add_actions(self, *actions: Action) -> PlanBuilder:
        """Add actions."""
        return replace(self, actions=(*self.actions, *actions))

    def add_requests(self, *evidence_requests: EvidenceRequest) -> PlanBuilder:
        """Add needs."""
        return replace(self, evidence_requests=(*self.evidence_requests, *evidence_requests))

    def requeue(self, *moments: datetime | None) -> PlanBuilder:
        """Look again at the earliest of the moments, if none is earlier."""
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
        """Tell whether the status has a condition in a state."""
        return any(found.type == kind and found.status == status for found in self.status.conditions)

    def set_waiting(self, reason: str, message: str) -> PlanBuilder:
        """Say why the job does not run although the operator is at work on it."""
        return self._set_reconciling(reason, message).set_condition(
            ConditionType.RUNNING, "False", reason, message
        )

    def set_stalled(self, reason: str, message: str) -> PlanBuilder:
        """Say why the job does not run and what a person must change first."""
        builder = self.set_condition(ConditionType.RUNNING, "False", reason, message)
        return builder.set_condition(ConditionType.RECONCILING, "False", reason, message).set_condition(
            ConditionType.STALLED, "True", reason, message
        )

    def set_running(self, reason: str, message: str) -> PlanBuilder:
        """Say that the job trains."""
        builder = self.set_settled(RunningReason.TRAINING)
        return builder.set_condition(ConditionType.RUNNING, "True", reason, message)

    def set_settled(self, reason: str) -> PlanBuilder:
        """Say that the object is what it should be for now."""
        return self._clear_stalled(reason).set_condition(ConditionType.RECONCILING, "False", reason)

    def _set_reconciling(self, reason: str, message: str) -> PlanBuilder:
        return self._clear_stalled(reason).set_condition(ConditionType.RECONCILING, "True", reason, message)

    def _clear_stalled(self, reason: str) -> PlanBuilder:
        if not self.has_condition(ConditionType.STALLED):
            return self
        return self.set_condition(ConditionType.STALLED, "False", reason)
