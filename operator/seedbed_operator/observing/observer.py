"""Everything that one plan depends on, taken from the stores at one moment."""

from __future__ import annotations

from datetime import datetime

from seedbed_operator.observations import Evidence, JobView, Observation, ProfileView
from seedbed_operator.observing.memories import Memory
from seedbed_operator.observing.views import job_view
from seedbed_operator.stores.stores import Stores
from seedbed_operator.stores.tables import JobKey


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
