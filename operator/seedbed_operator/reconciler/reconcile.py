"""One pass over one job: observe, plan, apply, report. It may be cut off anywhere and begun again."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from seedbed_api.timestamps import rounded_up, written
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.informer_cache.cache import Stores
from seedbed_operator.informer_cache.object_projections import job_view
from seedbed_operator.job_observation import Evidence, JobView, Observation, ProfileView, Refusal
from seedbed_operator.kube_client.client_interface import ClusterError, Refused
from seedbed_operator.kube_client.resource_kinds import JobKey
from seedbed_operator.observe.evidence_collector import Gatherer, remembered
from seedbed_operator.observe.job_memory import Memories, Memory
from seedbed_operator.plan import Announcement, Create, Plan
from seedbed_operator.plan_executor import Applied, Applier, Stale
from seedbed_operator.planning.internal_errors import NOT_CARRIED_OUT
from seedbed_operator.status_writer import Conflict, Reporter

MOST_REFUSALS: Final = 8
PUT_OFF: Final = timedelta(seconds=2)
"""So long what a pass has created may wait to be told, while other jobs wait for their first pods."""
TELLS_FROM: Final = 3
"""Failures in a row after which the status tells of them: one may be chance."""

log = logging.getLogger(__name__)


class Planner(Protocol):
    """What decides."""

    def plan(self, observation: Observation) -> Plan:
        """Return what shall be done."""

    def plan_status_after(
        self, observation: Observation, plan: Plan, refusals: tuple[Refusal, ...]
    ) -> LifecycleStatus | None:
        """Return the status that is true when a write of the plan was refused."""

    def status_in_trouble(self, job: JobView, now: datetime, message: str) -> LifecycleStatus | None:
        """Return the status of a job at which the operator fails; None where there is nothing to say."""

    def status_unwritten(self, job: JobView, now: datetime, message: str) -> LifecycleStatus | None:
        """Return the status of a job for which a write comes to nothing again and again; None as above."""

    def announcements(self, before: LifecycleStatus, after: LifecycleStatus) -> tuple[Announcement, ...]:
        """Return what is worth an Event between two statuses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class After:
    """What follows from a pass."""

    gone: bool = False
    """The job is no more."""
    again: bool = False
    """What the plan was made from has changed: plan again soon."""
    wake_at: datetime | None = None
    """When time alone makes another pass worth while."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What a pass needs."""

    stores: Stores
    memories: Memories
    planner: Planner
    gatherer: Gatherer
    applier: Applier
    reporter: Reporter
    clock: Callable[[], datetime]
    pressed: Callable[[], bool] = lambda: False
    """Whether other jobs wait for their first pods: what can be told later is told later."""

    async def run(self, key: JobKey) -> After:
        """Bring one job one step on; raise ClusterError where the API server fails."""
        record = self.stores.job(key)
        if record is None:
            self.memories.forget(key)
            return After(gone=True)
        memory = self.memories.of(key, record.uid)
        memory.wrote = False
        try:
            after = await self._bring_on(key, memory)
        except ClusterError as error:
            memory.unwritten += error.write is not None
            raise
        except Exception:
            memory.failures += 1
            raise
        memory.failures = memory.unwritten = 0
        return after

    async def tell(self, key: JobKey, error: Exception, again_at: datetime) -> None:
        """Say in the status that passes over a job fail again and again; one write per pass.

        An Event says so too, also where the status is what cannot be written.
        """
        record, memory = self.stores.job(key), self.memories.known(key)
        if record is None or memory is None or memory.uid != record.uid or memory.wrote:
            return
        job, now = job_view(record), self.clock()
        status = self._status_of_a_failure(job, memory, error, now, again_at)
        if status is None:
            return
        told = self.planner.announcements(job.status, status)
        try:
            await self.reporter.write(job, self._stored_status(key), status)
        except Conflict as behind:
            log.debug("the next failure tells: %s", behind)
            return
        except ClusterError as another:
            log.warning("the status does not tell of it: %s", another)
        await self.reporter.announce(job, told, now)

    def _status_of_a_failure(
        self, job: JobView, memory: Memory, error: Exception, now: datetime, again_at: datetime
    ) -> LifecycleStatus | None:
        if not isinstance(error, ClusterError):
            often = memory.failures >= TELLS_FROM
            return self.planner.status_in_trouble(job, now, trouble(error, again_at)) if often else None
        if error.write is None or memory.unwritten < TELLS_FROM:
            return None
        return self.planner.status_unwritten(job, now, silence(error))

    async def _bring_on(self, key: JobKey, memory: Memory) -> After:
        observed = await self._observe_and_plan(key, memory)
        if observed is None:
            return After(again=True)
        return await self._carry_out(key, memory, *observed)

    async def _observe_and_plan(self, key: JobKey, memory: Memory) -> tuple[Observation, Plan] | None:
        """Plan, and once more with the evidence that the first plan asked for."""
        now = self.clock()
        observation = observe(self.stores, key, memory=memory, now=now, evidence=remembered(memory, now))
        assert observation is not None, "nothing was awaited since the job was there"
        plan = self.planner.plan(observation)
        if not plan.needs:
            return observation, plan
        evidence = await self.gatherer.gather(key.namespace, plan.needs, memory, now)
        again = observe(self.stores, key, memory=memory, now=now, evidence=evidence)
        if again is None or again.job.uid != memory.uid:
            return None
        return again, self.planner.plan(again)

    async def _carry_out(self, key: JobKey, memory: Memory, observation: Observation, plan: Plan) -> After:
        stored = self._stored_status(key)
        memory.forget_pods({pod.uid for pod in observation.pods})
        try:
            applied = await self.applier.apply(key, plan.actions, observation.now)
            status = self._status(memory, observation, plan, applied)
            if self._can_wait(plan, applied) and self.pressed():
                return After(wake_at=observation.now + PUT_OFF)
            if status is not None and await self.reporter.write(observation.job, stored, status):
                memory.status_written, memory.wrote = observation.now, True
        except (Stale, Conflict) as behind:
            log.debug("planning again: %s", behind)
            return After(again=True)
        told = self._announcements(observation, plan, applied, status)
        await self.reporter.announce(observation.job, told, observation.now)
        return After(again=applied.refusal is not None, wake_at=plan.wake_at)

    @staticmethod
    def _can_wait(plan: Plan, applied: Applied) -> bool:
        """Tell whether the cluster holds all that the status would say: it was only added to, as planned."""
        created = all(isinstance(action, Create) for action in plan.actions)
        return bool(plan.actions) and created and applied.refusal is None

    def _announcements(
        self, observation: Observation, plan: Plan, applied: Applied, status: LifecycleStatus | None
    ) -> tuple[Announcement, ...]:
        """Return the Events of the plan; where it was cut short, those of the status that is true instead."""
        if applied.refusal is None or status is None:
            return plan.announcements
        return self.planner.announcements(observation.job.status, status)

    def _stored_status(self, key: JobKey) -> Mapping[str, Any]:
        record = self.stores.job(key)
        assert record is not None, "nothing was awaited since the job was observed"
        status = json.loads(record.content)["status"]
        return status if isinstance(status, Mapping) else {}

    def _status(
        self, memory: Memory, observation: Observation, plan: Plan, applied: Applied
    ) -> LifecycleStatus | None:
        if applied.refusal is not None:
            memory.refusals = added(memory.refusals, applied.refusal)
            log.warning(
                "refused: %s %s: %s", applied.refusal.kind, applied.refusal.name, applied.refusal.message
            )
            return self.planner.plan_status_after(observation, plan, memory.refusals)
        if plan.actions:
            memory.refusals = ()
        return plan.status


def added(refusals: tuple[Refusal, ...], new: Refusal) -> tuple[Refusal, ...]:
    """Return the refusals with a new one, which counts those of the same write before it."""
    same = next((old for old in refusals if (old.kind, old.name) == (new.kind, new.name)), None)
    kept = [old for old in refusals if old is not same]
    return (*kept, replace(new, count=same.count + 1 if same else 1))[-MOST_REFUSALS:]


_OURS = ("seedbed_operator", "seedbed_api")


def trouble(error: Exception, again_at: datetime) -> str:
    """Return what to tell of an error that a pass has raised."""
    told = f"the operator failed at this job: {type(error).__name__} in {place(error)}; please report it"
    return f"{told}; it tries again at {written(rounded_up(again_at))}"


def silence(error: ClusterError) -> str:
    """Return what to tell of a write that comes to nothing again and again, in words that stay the same."""
    hint = "an admission webhook that hangs is the usual cause: `kubectl get validatingwebhookconfigurations,"
    told = f"{NOT_CARRIED_OUT} {error.write}, tried again and again: {_answer(error)}"
    return f"{told}; {hint}mutatingwebhookconfigurations`; the next try is at most a minute away"


def _answer(error: ClusterError) -> str:
    if isinstance(error, Refused):
        return f"it answers {error.code} {error.reason}: {error.message.rstrip('.')}"
    return f"no answer came ({str(error).rpartition(': ')[2] or type(error).__name__})"


def place(error: Exception) -> str:
    """Return module and line in which our code raised an error, or called what raised it."""
    frames = (
        (frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__)
    )
    ours = [f"{module}:{line}" for module, line in frames if module.partition(".")[0] in _OURS]
    return ours[-1] if ours else "an unknown place"


def observe(
    stores: Stores, key: JobKey, *, memory: Memory, now: datetime, evidence: Evidence
) -> Observation | None:
    """Return the observation of a job; None where it is gone."""
    record = stores.job(key)
    if record is None:
        return None
    job = job_view(record)
    return Observation(
        now=now,
        job=job,
        profile=_profile(stores, job),
        pods=memory.sightings.seen(stores.pods(key), now),
        refusals=memory.refusals,
        status_written=memory.status_written,
        evidence=evidence,
    )


def _profile(stores: Stores, job: JobView) -> ProfileView | None:
    return stores.profile(job.spec.cluster.profile) if job.spec else None
