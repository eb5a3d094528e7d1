"""Everything that one plan depends on, taken from the stores at one moment."""

from __future__ import annotations

from datetime import datetime

from seedbed_operator.informer_cache.cache import Stores
from seedbed_operator.informer_cache.object_table import JobKey
from seedbed_operator.job_observation import Evidence, JobView, Observation, ProfileView
from seedbed_operator.observe.job_memory import Memory
from seedbed_operator.observe.job_view import job_view


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
