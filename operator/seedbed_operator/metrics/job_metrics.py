"""Metrics of jobs: number by state, GPUs requested and held, and series of each job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from prometheus_client.core import Metric

from seedbed_api import metric_names as names
from seedbed_api.conditions import ConditionType
from seedbed_api.metric_names import Family
from seedbed_api.prometheus_exposition import Sample, metric_family
from seedbed_operator.informer_cache.cache import CacheSnapshot, InformerCache
from seedbed_operator.job_observation import JobView, PodView
from seedbed_operator.kube_client.resource_kinds import JobKey
from seedbed_operator.metrics.job_samples import JobSample, JobSamples
from seedbed_operator.metrics.metrics_page import Measure
from seedbed_operator.observe.transient_state import TransientStates

RETENTION_SECONDS: Final = 3600.0
"""Series of a finished job are exported for this long."""
_JOB_SERIES: Final[tuple[tuple[Family, Callable[[JobSample], float | None]], ...]] = (
    (names.JOB_STALLED, lambda job: float(job.stalled)),
    (names.JOB_PROGRESS, lambda job: job.progress),
    (names.JOB_STEPS, lambda job: job.steps),
    (names.JOB_PLANNED_STEPS, lambda job: job.planned_steps),
    (names.JOB_WORKERS_READY, lambda job: job.ready),
    (names.JOB_WORKERS_DESIRED, lambda job: job.desired),
    (names.JOB_WORKERS_REPLACED, lambda job: job.replaced),
    (names.JOB_ATTEMPTS, lambda job: job.attempts),
    (names.JOB_PREEMPTIONS, lambda job: job.preemptions),
    (names.JOB_ATTEMPT_START, lambda job: job.attempt_start),
    (names.JOB_CHECKPOINT, lambda job: job.checkpoint),
    (names.JOB_ESTIMATED_END, lambda job: job.estimated_end),
    (names.JOB_END, lambda job: job.end),
    (names.JOB_PROGRESS_DEADLINE, lambda job: job.progress_deadline),
)
JobGroup = tuple[str, str, str]
"""Namespace, kind and profile."""


class JobMetrics:
    """Exports all cached jobs and the progress of their drivers."""

    def __init__(self, cache: InformerCache, states: TransientStates, clock: Callable[[], float]) -> None:
        self._cache, self._states, self._clock = cache, states, clock
        self._summaries = JobSamples(cache.unreadable)

    def update(self, job: JobView) -> None:
        """Store a job that was just written."""
        self._summaries.update(job)

    def collect(self) -> Measure:
        """Return a function that exports the jobs of this moment."""
        seen, advances, skews = self._cache.snapshot(), self._states.advances(), self._states.skews()
        self._summaries.retain(key for key, _ in seen.jobs)
        return lambda: self._measured(seen, advances, skews)

    def _measured(
        self, seen: CacheSnapshot, advances: Mapping[JobKey, datetime], skews: Mapping[JobKey, timedelta]
    ) -> Iterator[Metric]:
        samples = ((key, self._summaries.of(key, entry)) for key, entry in seen.jobs)
        jobs = {key: sample for key, sample in samples if sample is not None}
        yield _states(jobs.values())
        yield from _gpus(jobs, seen)
        lately = self._clock() - RETENTION_SECONDS
        shown = [job for job in jobs.values() if not job.finished or (job.end or 0) > lately]
        yield metric_family(names.JOB_INFO, map(_info, shown))
        for family, value in _JOB_SERIES:
            yield metric_family(family, _values(shown, value))
        yield metric_family(names.JOB_FAILURE, _failures(shown))
        yield metric_family(names.JOB_ADVANCE, _advances(jobs, advances))
        yield metric_family(names.JOB_CLOCK_SKEW, _skews(jobs, skews))


def _gpus(jobs: Mapping[JobKey, JobSample], seen: CacheSnapshot) -> Iterator[Metric]:
    requested: Counter[JobGroup] = Counter()
    held: Counter[JobGroup] = Counter()
    placed = Counter(job for job, pod in seen.pods if _is_placed(pod))
    for key, job in jobs.items():
        profile = seen.profiles.get(job.profile)
        if profile is None or profile.spec is None or not profile.spec.worker.gpu.count:
            continue
        each = profile.spec.worker.gpu.count
        group = (job.namespace, job.kind, job.profile)
        requested[group] += each * job.workers
        per_pod = job.workers_per_pod or profile.spec.worker.workers_per_pod
        held[group] += each * per_pod * placed[key]
    yield metric_family(names.GPUS_REQUESTED, _grouped(requested))
    yield metric_family(names.GPUS_HELD, _grouped(held))


def _is_placed(pod: PodView) -> bool:
    return pod.role == "worker" and pod.node is not None and not pod.ended


def _states(jobs: Iterable[JobSample]) -> Metric:
    counts = Counter((job.namespace, job.kind, job.condition, job.reason) for job in jobs)
    labels = names.JOBS.labels
    return metric_family(names.JOBS, ((dict(zip(labels, key, strict=True)), n) for key, n in counts.items()))


def _grouped(counts: Counter[JobGroup]) -> Iterator[Sample]:
    for (namespace, kind, profile), count in counts.items():
        yield {"namespace": namespace, "kind": kind, "profile": profile}, count


def _info(job: JobSample) -> Sample:
    more = {"profile": job.profile, "condition": job.condition, "reason": job.reason}
    return job.labels | more, 1.0


def _failures(jobs: Iterable[JobSample]) -> Iterator[Sample]:
    for job in jobs:
        if job.failure is not None:
            reason, moment = job.failure
            yield job.labels | {"reason": reason}, moment


def _advances(jobs: Mapping[JobKey, JobSample], advances: Mapping[JobKey, datetime]) -> Iterator[Sample]:
    for key, moment in advances.items():
        job = jobs.get(key)
        if job is not None and job.condition == ConditionType.RUNNING:
            yield job.labels, moment.timestamp()


def _skews(jobs: Mapping[JobKey, JobSample], skews: Mapping[JobKey, timedelta]) -> Iterator[Sample]:
    for key, skew in skews.items():
        job = jobs.get(key)
        if job is not None and not job.finished:
            yield job.labels, skew.total_seconds()


def _values(jobs: Iterable[JobSample], value: Callable[[JobSample], float | None]) -> Iterator[Sample]:
    for job in jobs:
        number = value(job)
        if number is not None:
            yield job.labels, number
