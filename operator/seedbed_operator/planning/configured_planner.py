"""The planner with the backends of one operator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.backends.backend_interface import Backends
from seedbed_operator.job_observation import JobObservation, JobView, RejectedWrite
from seedbed_operator.plan import JobEvent, Plan
from seedbed_operator.planning import kubernetes_events, planner


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfiguredPlanner:
    """Plans with backends that know the operator's settings."""

    backends: Backends

    def plan(self, observation: JobObservation) -> Plan:
        """Return the plan for an observation."""
        return planner.plan(observation, self.backends)

    def status_after_rejection(
        self, observation: JobObservation, plan: Plan, refusals: tuple[RejectedWrite, ...]
    ) -> LifecycleStatus | None:
        """Return the status when a write of the plan was rejected."""
        return planner.status_after_rejection(observation, plan, refusals, self.backends)

    def status_after_internal_error(
        self, job: JobView, now: datetime, message: str
    ) -> LifecycleStatus | None:
        """Return the status after internal errors of the operator; None where it stays."""
        return planner.status_after_internal_error(job, now, message)

    def status_after_failed_write(self, job: JobView, now: datetime, message: str) -> LifecycleStatus | None:
        """Return the status after repeated failures of a write; None where it stays."""
        return planner.status_after_failed_write(job, now, message)

    def events_between(self, before: LifecycleStatus, result: LifecycleStatus) -> tuple[JobEvent, ...]:
        """Return the Events for a change of status."""
        return kubernetes_events.events_between(before, result)
