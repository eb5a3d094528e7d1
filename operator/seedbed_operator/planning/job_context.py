"""An observation with its pods sorted by attempt, role and owner, for the policies of planning."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from seedbed_api.conditions import Condition
from seedbed_api.job_kinds import JobSpec
from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.backends.backend_interface import Backend, Backends
from seedbed_operator.backends.effective_profile import effective_profile
from seedbed_operator.job_observation import Evidence, JobObservation, JobView, PodView, ProfileView
from seedbed_operator.planning.pod_state import (
    is_lost,
    is_of_older_job,
    is_orphan,
    is_orphaned_driver_of_older_job,
    is_our_driver,
    is_worker_of,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobContext:
    """Input of all policies."""

    observation: JobObservation
    backends: Backends
    drivers: tuple[PodView, ...]
    """Driver pods of the job, the newest attempt last."""
    workers: tuple[PodView, ...]
    """Workers whose driver exists."""
    orphans: tuple[PodView, ...]
    """Workers whose driver no longer exists."""
    foreign_pods: tuple[PodView, ...]
    """Pods with the job's name in their labels that belong to another object."""
    attempt: int
    """Number of the newest attempt, 0 before the first."""

    @property
    def now(self) -> datetime:
        """Return the time of the observation."""
        return self.observation.now

    @property
    def job(self) -> JobView:
        """Return the job."""
        return self.observation.job

    @property
    def spec(self) -> JobSpec:
        """Return the spec; it must be valid."""
        assert self.job.spec is not None, "an invalid spec is handled before"
        return self.job.spec

    @property
    def status(self) -> LifecycleStatus:
        """Return the last written status."""
        return self.job.status

    @property
    def profile(self) -> ProfileView | None:
        """Return the profile if it exists and is valid."""
        profile = self.observation.profile
        return profile if profile is not None and profile.spec is not None else None

    @property
    def evidence(self) -> Evidence:
        """Return the collected evidence."""
        return self.observation.evidence

    @property
    def accounted_attempts(self) -> int:
        """Return the highest attempt whose outcome is in the status."""
        return self.status.accounted_attempts or 0

    @property
    def has_open_attempt(self) -> bool:
        """Return whether an attempt runs, or has ended and is not accounted yet."""
        return self.attempt > self.accounted_attempts

    @property
    def driver(self) -> PodView | None:
        """Return the driver of the newest attempt."""
        return next((pod for pod in self.drivers if pod.attempt == self.attempt), None)

    @property
    def attempt_workers(self) -> tuple[PodView, ...]:
        """Return the workers of the newest attempt."""
        return tuple(pod for pod in self.workers if pod.attempt == self.attempt)

    @property
    def backend(self) -> Backend | None:
        """Return the backend of this job, if available; chosen once."""
        chosen = self.status.backend
        if chosen is None and self.profile is not None:
            assert self.profile.spec is not None
            chosen = self.profile.spec.backend
        return self.backends.get(chosen or "Pods")

    @property
    def live(self) -> LiveProgress | None:
        """Return the live progress of the driver; None without a response.

        Progress of another attempt or run is ignored: the address may have been reused.
        """
        text = self.evidence.progress.get(self.driver.uid) if self.driver else None
        if text is None or text.attempt != self.attempt:
            return None
        return text if text.run_id in (None, self.status.identity or text.run_id) else None

    @property
    def workers_per_pod(self) -> int:
        """Return the ranks per pod of this attempt, or of the next; 1 while unknown."""
        if self.has_open_attempt and self.driver is not None and self.driver.template is not None:
            return self.driver.template.workers_per_pod
        return effective_profile(self.job, self.profile).workers_per_pod if self.profile else 1

    def condition(self, kind: str) -> Condition | None:
        """Return a condition of the status."""
        return self.status.condition(kind)

    def is_true(self, kind: str) -> bool:
        """Return whether a condition is True."""
        return self.status.holds(kind)

    def workers_of(self, driver: PodView) -> tuple[PodView, ...]:
        """Return the workers of a driver."""
        return tuple(pod for pod in self.workers if pod.owner_uid == driver.uid)

    def remaining_pods(self) -> tuple[PodView, ...]:
        """Return the job's pods that exist and are not lost; a job ends when none is left."""
        pods = (*self.drivers, *self.workers, *self.orphans)
        return tuple(pod for pod in pods if not is_lost(pod, self.now))


def build_context(observation: JobObservation, backends: Backends) -> JobContext:
    """Sort the pods of an observation."""
    job = observation.job
    drivers = tuple(pod for pod in observation.pods if is_our_driver(pod, job))
    workers = tuple(pod for pod in observation.pods if any(is_worker_of(pod, d, job) for d in drivers))
    others = tuple(pod for pod in observation.pods if pod not in drivers and pod not in workers)
    orphans = tuple(pod for pod in others if is_orphan(pod, job))
    return JobContext(
        observation=observation,
        backends=backends,
        drivers=tuple(sorted(drivers, key=lambda pod: pod.attempt)),
        workers=workers,
        orphans=orphans,
        foreign_pods=tuple(pod for pod in others if pod not in orphans),
        attempt=max([job.status.attempts or 0, *(pod.attempt for pod in drivers)]),
    )


def pods_of_older_jobs(context: JobContext) -> tuple[PodView, ...]:
    """Return pods of a deleted job of the same name that are not lost."""
    kept = {pod.uid for pod in orphaned_pods_of_older_jobs(context)}
    pods = (pod for pod in context.foreign_pods if is_of_older_job(pod, context.job))
    return tuple(pod for pod in pods if pod.uid not in kept and not is_lost(pod, context.now))


def orphaned_pods_of_older_jobs(context: JobContext) -> tuple[PodView, ...]:
    """Return orphaned drivers of a deleted job of the same name, and their workers."""
    drivers = {
        pod.uid: pod for pod in context.foreign_pods if is_orphaned_driver_of_older_job(pod, context.job)
    }
    workers = tuple(pod for pod in context.foreign_pods if pod.owner_uid in drivers)
    return (*drivers.values(), *workers)
