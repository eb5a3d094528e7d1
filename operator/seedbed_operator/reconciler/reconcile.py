"""Reconcile one job: observe, plan, execute, write the status. It may be cut off anywhere and repeated."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from seedbed_api.conditions import RunningReason
from seedbed_api.timestamps import format_time, rounded_up
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator import planning
from seedbed_operator.backends.backend_interface import Backends
from seedbed_operator.backends.pods_backend import BACKENDS
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.informer_cache.object_views import job_view
from seedbed_operator.job_observation import Evidence, JobObservation, JobView, ProfileView, RejectedWrite
from seedbed_operator.kube_client.client_interface import ApiError, ApiStatusError
from seedbed_operator.kube_client.resource_kinds import JobKey
from seedbed_operator.observe.evidence_collector import EvidenceCollector
from seedbed_operator.observe.transient_state import TransientState, TransientStates
from seedbed_operator.plan import Create, JobEvent, Plan
from seedbed_operator.plan_executor import ExecutionResult, PlanExecutor, StaleCache
from seedbed_operator.planning.internal_errors import FAILED_WRITE_PREFIX
from seedbed_operator.receipt_signer import ReceiptSigner
from seedbed_operator.status_writer import StatusConflict, StatusWriter

MAX_REJECTED_WRITES: Final = 8
STATUS_DELAY: Final = timedelta(seconds=2)
"""Delay of a status write after creations, while other jobs wait for their first pods."""
REPORT_FROM: Final = 3
"""Failures in a row after which the status reports them."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconcileResult:
    """Result of a reconcile."""

    not_found: bool = False
    """The job does not exist any more."""
    requeue: bool = False
    """The input of the plan has changed: reconcile again soon."""
    requeue_at: datetime | None = None
    """Time of the next reconcile, if nothing happens before."""


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Reconciles jobs with these parts."""

    cache: InformerCache
    states: TransientStates
    evidence_collector: EvidenceCollector
    executor: PlanExecutor
    status_writer: StatusWriter
    clock: Callable[[], datetime]
    signer: ReceiptSigner
    has_new_jobs: Callable[[], bool] = lambda: False
    """Whether other jobs wait for their first pods; status writes are deferred then."""
    backends: Backends = field(default_factory=lambda: BACKENDS)
    plan: Callable[[JobObservation, Backends], Plan] = planning.plan

    async def reconcile(self, key: JobKey) -> ReconcileResult:
        """Reconcile one job; raise ApiError where the API server fails."""
        record = self.cache.job(key)
        if record is None:
            self.states.forget(key)
            return ReconcileResult(not_found=True)
        state = self.states.of(key, record.uid)
        state.wrote_status = False
        try:
            if self.cache.lacks_metadata(key):
                await self.status_writer.read_again(key, record.uid)
                if self.cache.job(key) is None:
                    return ReconcileResult(requeue=True)
            result = await self._observe_plan_execute(key, state)
        except ApiError as error:
            state.failed_writes += error.write is not None
            raise
        except Exception:
            state.failures += 1
            raise
        state.failures = state.failed_writes = 0
        return result

    async def report_failure(self, key: JobKey, error: Exception, again_at: datetime) -> None:
        """Write repeated failures of reconciles to the status; at most one write per reconcile.

        An Event reports them as well, also where the status cannot be written.
        """
        record, state = self.cache.job(key), self.states.get(key)
        if record is None or state is None or state.uid != record.uid or state.wrote_status:
            return
        job, now = job_view(record), self.clock()
        status = self._status_after_failure(job, state, error, now, again_at)
        if status is None:
            return
        message = planning.events_between(job.status, status)
        try:
            await self.status_writer.write(job, self._stored_status(key), status)
        except StatusConflict as behind:
            log.debug("status not written, the next failure will report it: %s", behind)
            return
        except ApiError as another:
            log.warning("the failure could not be written to the status: %s", another)
            message = message or unwritten_status_events(error)
        await self.status_writer.send_events(job, message, now)

    def _status_after_failure(
        self, job: JobView, state: TransientState, error: Exception, now: datetime, again_at: datetime
    ) -> LifecycleStatus | None:
        if not isinstance(error, ApiError):
            often = state.failures >= REPORT_FROM
            return (
                planning.status_after_internal_error(job, now, internal_error_message(error, again_at))
                if often
                else None
            )
        if error.write is None or state.failed_writes < REPORT_FROM:
            return None
        return planning.status_after_failed_write(job, now, failed_write_message(error))

    async def _observe_plan_execute(self, key: JobKey, state: TransientState) -> ReconcileResult:
        observed = await self._observe_and_plan(key, state)
        if observed is None:
            return ReconcileResult(requeue=True)
        return await self._execute(key, state, *observed)

    async def _observe_and_plan(
        self, key: JobKey, state: TransientState
    ) -> tuple[JobObservation, Plan] | None:
        """Plan, and once more with the evidence that the first plan requests."""
        now = self.clock()
        observation = observe(self.cache, key, state=state, now=now, evidence=state.evidence(now))
        assert observation is not None, "nothing was awaited since the job was there"
        plan = self.plan(observation, self.backends)
        if not plan.evidence_requests:
            return observation, plan
        evidence = await self.evidence_collector.collect(key, plan.evidence_requests, state, now)
        again = observe(self.cache, key, state=state, now=now, evidence=evidence)
        if again is None or again.job.uid != state.uid:
            return None
        return again, self.plan(again, self.backends)

    async def _execute(
        self, key: JobKey, state: TransientState, observation: JobObservation, plan: Plan
    ) -> ReconcileResult:
        stored = self._stored_status(key)
        state.forget_pods({pod.uid for pod in observation.pods})
        try:
            execution = await self.executor.execute(key, plan.actions, observation.now)
            status = self._status(state, observation, plan, execution)
            if self._status_can_wait(plan, execution) and self.has_new_jobs():
                return ReconcileResult(requeue_at=observation.now + STATUS_DELAY)
            if status is not None and await self.status_writer.write(observation.job, stored, status):
                state.status_written, state.wrote_status = observation.now, True
        except (StaleCache, StatusConflict) as behind:
            log.debug("requeue, the cache was stale: %s", behind)
            return ReconcileResult(requeue=True)
        message = self._events(observation, plan, execution, status)
        await self.status_writer.send_events(observation.job, message, observation.now)
        return ReconcileResult(requeue=execution.rejected_write is not None, requeue_at=plan.requeue_at)

    @staticmethod
    def _status_can_wait(plan: Plan, execution: ExecutionResult) -> bool:
        """Return whether the status may be written later: the plan only created objects, all successfully."""
        created = all(isinstance(action, Create) for action in plan.actions)
        return bool(plan.actions) and created and execution.rejected_write is None

    def _events(
        self,
        observation: JobObservation,
        plan: Plan,
        execution: ExecutionResult,
        status: LifecycleStatus | None,
    ) -> tuple[JobEvent, ...]:
        """Return the Events of the plan; after a rejected write those of the actual status."""
        if execution.rejected_write is None or status is None:
            return plan.events
        return planning.events_between(observation.job.status, status)

    def _stored_status(self, key: JobKey) -> Mapping[str, Any]:
        record = self.cache.job(key)
        assert record is not None, "nothing was awaited since the job was observed"
        status = record.document()["status"]
        return status if isinstance(status, Mapping) else {}

    def _status(
        self, state: TransientState, observation: JobObservation, plan: Plan, execution: ExecutionResult
    ) -> LifecycleStatus | None:
        if execution.rejected_write is not None:
            state.rejected_writes = with_rejected_write(state.rejected_writes, execution.rejected_write)
            log.warning(
                "the API server rejected %s %s: %s",
                execution.rejected_write.kind,
                execution.rejected_write.name,
                execution.rejected_write.message,
            )
            return planning.status_after_rejection(observation, plan, state.rejected_writes, self.backends)
        if plan.actions:
            state.rejected_writes = ()
        if plan.signing is not None and plan.status is not None:
            return self.signer.sign(observation, plan.signing, plan.status)
        return plan.status


def with_rejected_write(refusals: tuple[RejectedWrite, ...], new: RejectedWrite) -> tuple[RejectedWrite, ...]:
    """Return the refusals with a new one, which counts those of the same write before it."""
    same = next((old for old in refusals if (old.kind, old.name) == (new.kind, new.name)), None)
    kept = [old for old in refusals if old is not same]
    return (*kept, replace(new, count=same.count + 1 if same else 1))[-MAX_REJECTED_WRITES:]


_OWN_PACKAGES = ("seedbed_operator", "seedbed_api")


def internal_error_message(error: Exception, again_at: datetime) -> str:
    """Return the condition message for an exception of a reconcile; it shows no values."""
    message = f"the operator failed to reconcile this job: {type(error).__name__} in {error_location(error)}"
    message += "; report this as a bug"
    return f"{message}; next try at {format_time(rounded_up(again_at))}"


def failed_write_message(error: ApiError) -> str:
    """Return the condition message for repeated failures of a write; it stays the same for the same cause."""
    hint = "usually an admission webhook hangs, see `kubectl get validatingwebhookconfigurations,"
    message = f"{FAILED_WRITE_PREFIX} {error.write} after repeated tries: {_answer(error)}"
    return f"{message}; {hint}mutatingwebhookconfigurations`; next try within a minute"


def unwritten_status_events(error: Exception) -> tuple[JobEvent, ...]:
    """Return the Event of a failed write of which no status can tell, not even that of a job that trains."""
    if not isinstance(error, ApiError) or error.write is None:
        return ()
    reason, message = RunningReason.ADMISSION_DENIED, failed_write_message(error)
    return (JobEvent(type="Warning", reason=reason, message=message, action="Wait"),)


def _answer(error: ApiError) -> str:
    if isinstance(error, ApiStatusError):
        return f"it responds {error.code} {error.reason}: {error.message.rstrip('.')}"
    return f"no response ({str(error).rpartition(': ')[2] or type(error).__name__})"


def error_location(error: Exception) -> str:
    """Return module and line of our code in the traceback of an error."""
    frames = (
        (frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__)
    )
    ours = [f"{module}:{line}" for module, line in frames if module.partition(".")[0] in _OWN_PACKAGES]
    return ours[-1] if ours else "an unknown place"


def observe(
    cache: InformerCache, key: JobKey, *, state: TransientState, now: datetime, evidence: Evidence
) -> JobObservation | None:
    """Return the observation of a job; None where it does not exist any more."""
    record = cache.job(key)
    if record is None:
        return None
    job = job_view(record)
    return JobObservation(
        now=now,
        job=job,
        profile=_profile(cache, job),
        pods=state.first_seen.seen(cache.pods(key), now),
        rejected_writes=state.rejected_writes,
        status_written=state.status_written,
        evidence=evidence,
    )


def _profile(cache: InformerCache, job: JobView) -> ProfileView | None:
    return cache.profile(job.spec.cluster.profile) if job.spec else None
