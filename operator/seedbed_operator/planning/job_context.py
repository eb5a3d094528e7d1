"""An observation with its pods sorted out once: whose they are, of which attempt, in which state."""

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
    """What planning looks at."""

    observation: JobObservation
    backends: Backends
    drivers: tuple[PodView, ...]
    """Our drivers, the newest attempt last."""
    workers: tuple[PodView, ...]
    """Workers whose driver is there."""
    orphans: tuple[PodView, ...]
    """Workers of drivers that are gone."""
    foreign_pods: tuple[PodView, ...]
    """Pods that bear the job's name and are not its own."""
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
        """Return the spec, once it is known to be valid."""
        assert self.job.spec is not None, "a refused spec is dealt with first"
        return self.job.spec

    @property
    def status(self) -> LifecycleStatus:
        """Return the status as it was last written."""
        return self.job.status

    @property
    def profile(self) -> ProfileView | None:
        """Return the profile if it is there and valid."""
        profile = self.observation.profile
        return profile if profile is not None and profile.spec is not None else None

    @property
    def evidence(self) -> Evidence:
        """Return what was asked for."""
        return self.observation.evidence

    @property
    def accounted_attempts(self) -> int:
        """Return the highest attempt whose end is in the status."""
        return self.status.accounted_attempts or 0

    @property
    def has_open_attempt(self) -> bool:
        """Tell whether an attempt is under way, or has ended without being accounted."""
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
        """Return what runs Ray for this job, if it is there; chosen once."""
        chosen = self.status.backend
        if chosen is None and self.profile is not None:
            assert self.profile.spec is not None
            chosen = self.profile.spec.backend
        return self.backends.get(chosen or "Pods")

    @property
    def live(self) -> LiveProgress | None:
        """Return what the driver told of itself, if it was asked and answered.

        An answer of another attempt, or about another run, is none: the address may be another's by now.
        """
        told = self.evidence.progress.get(self.driver.uid) if self.driver else None
        if told is None or told.attempt != self.attempt:
            return None
        return told if told.run_id in (None, self.status.identity or told.run_id) else None

    @property
    def workers_per_pod(self) -> int:
        """Return how many ranks share a pod of this attempt, or of the next; 1 while it is unknown."""
        if self.has_open_attempt and self.driver is not None and self.driver.template is not None:
            return self.driver.template.workers_per_pod
        return effective_profile(self.job, self.profile).workers_per_pod if self.profile else 1

    def condition(self, kind: str) -> Condition | None:
        """Return a condition of the status."""
        return self.status.condition(kind)

    def is_true(self, kind: str) -> bool:
        """Tell whether a condition holds."""
        return self.status.holds(kind)

    def workers_of(self, driver: PodView) -> tuple[PodView, ...]:
        """Return the workers of a driver."""
        return tuple(pod for pod in self.workers if pod.owner_uid == driver.uid)

    def remaining_pods(self) -> tuple[PodView, ...]:
        """Return our pods that are there and not lost: what an end has to wait for."""
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
    """Return the pods that a deleted job of the same name has left, as far as they are not lost."""
    kept = {pod.uid for pod in orphaned_pods_of_older_jobs(context)}
    pods = (pod for pod in context.foreign_pods if is_of_older_job(pod, context.job))
    return tuple(pod for pod in pods if pod.uid not in kept and not is_lost(pod, context.now))


def orphaned_pods_of_older_jobs(context: JobContext) -> tuple[PodView, ...]:
    """Return the drivers that a job of the same name has left to whoever deleted it, and their workers."""
    drivers = {
        pod.uid: pod for pod in context.foreign_pods if is_orphaned_driver_of_older_job(pod, context.job)
    }
    workers = tuple(pod for pod in context.foreign_pods if pod.owner_uid in drivers)
    return (*drivers.values(), *workers)
