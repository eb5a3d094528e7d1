"""Exported numbers of one job, computed again only when the job has changed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from seedbed_api.conditions import ConditionType
from seedbed_api.job_kinds import JobKind
from seedbed_api.sweepjob_status import SweepJobStatus
from seedbed_api.timestamps import parse_time
from seedbed_api.trainingjob_status import LifecycleStatus, TrainingJobStatus
from seedbed_operator.informer_cache.cache import CachedObject
from seedbed_operator.informer_cache.object_views import JobRecord, job_view
from seedbed_operator.job_observation import JobView
from seedbed_operator.kube_client.resource_kinds import KIND_OF_JOB, JobKey
from seedbed_operator.metrics.status_transitions import known_reason

log = logging.getLogger(__name__)

_STATES: Final = (
    ConditionType.COMPLETE,
    ConditionType.FAILED,
    ConditionType.SUSPENDED,
    ConditionType.RUNNING,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSample:
    """Exported values of one job; None for values it does not have."""

    namespace: str
    name: str
    kind: JobKind
    profile: str
    condition: str
    """The first of Complete, Failed, Suspended and Running that is true; else Waiting."""
    reason: str
    stalled: bool
    finished: bool
    workers: int
    """Most ranks it wants; 0 while it is finished or suspended."""
    workers_per_pod: int | None
    """Override of the job, if any."""
    progress: float | None
    """Completed share, 0 to 1: steps of a training, trials of a sweep."""
    steps: int | None
    planned_steps: int | None
    ready: int | None
    desired: int | None
    replaced: int | None
    attempts: int | None
    preemptions: int | None
    attempt_start: float | None
    checkpoint: float | None
    estimated_end: float | None
    end: float | None
    progress_deadline: float | None
    failure: tuple[str, float] | None
    """Reason and time of the last failed attempt."""

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels of a series about this job."""
        return {"namespace": self.namespace, "name": self.name, "kind": self.kind}


def job_sample(job: JobView) -> JobSample:
    """Return the exported values of a job; a SweepJob has no steps."""
    status, spec = job.status, job.spec
    progress = status.progress if isinstance(status, TrainingJobStatus) else None
    condition, reason = job_state(status)
    idle = spec is None or spec.suspend or condition in ("Complete", "Failed")
    workers, began = status.workers, _began_to_train(status)
    return JobSample(
        namespace=job.namespace,
        name=job.name,
        kind=job.kind,
        profile=spec.cluster.profile if spec else "",
        condition=condition,
        reason=reason,
        stalled=status.holds(ConditionType.STALLED),
        finished=condition in ("Complete", "Failed"),
        workers=0 if idle or spec is None else spec.most_ranks,
        workers_per_pod=spec.cluster.overrides.workers_per_pod if spec and spec.cluster.overrides else None,
        progress=completed_share(status),
        steps=progress.step if progress else None,
        planned_steps=progress.total_steps if progress else None,
        ready=workers.ready if workers else None,
        desired=workers.desired if workers else None,
        replaced=workers.replaced or 0 if workers else None,
        attempts=status.attempts,
        preemptions=status.preemptions or 0,
        attempt_start=_seconds(status.attempt_start_time),
        checkpoint=_latest(_seconds(status.kept_time), began),
        estimated_end=_seconds(progress.estimated_completion_time) if progress and began else None,
        end=_seconds(status.completion_time),
        progress_deadline=spec.progress_deadline_seconds if spec else None,
        failure=_failure(status),
    )


def completed_share(status: LifecycleStatus) -> float | None:
    """Return the completed share of a job, 0 to 1; None while unknown."""
    if isinstance(status, TrainingJobStatus) and status.progress:
        return _share(status.progress.step, status.progress.total_steps)
    if isinstance(status, SweepJobStatus) and status.trials and status.trials.finished:
        parts = status.trials.finished.split("/")
        return _share(*map(int, parts)) if len(parts) == 2 and all(map(str.isdecimal, parts)) else None
    return None


def _share(part: int, whole: int) -> float | None:
    return min(part / whole, 1.0) if whole else None


def job_state(status: LifecycleStatus) -> tuple[str, str]:
    """Return the state of a job and its reason."""
    running = status.condition(ConditionType.RUNNING)
    held = (status.condition(kind) for kind in _STATES)
    true = next((each for each in held if each is not None and each.status == "True"), None)
    if true is not None:
        return true.type, true.reason
    return "Waiting", running.reason if running else "Pending"


def _began_to_train(status: LifecycleStatus) -> float | None:
    """Return when the current attempt made its first step; None before."""
    running = status.condition(ConditionType.RUNNING)
    return _seconds(running.last_transition_time) if running and running.status == "True" else None


def _failure(status: LifecycleStatus) -> tuple[str, float] | None:
    failure = status.last_failure
    moment = _seconds(failure.time) if failure is not None else None
    return None if failure is None or moment is None else (known_reason(failure.reason), moment)


def _seconds(time: str | None) -> float | None:
    moment = parse_time(time)
    return None if moment is None else moment.timestamp()


def _latest(*moments: float | None) -> float | None:
    return max((moment for moment in moments if moment is not None), default=None)


class JobSamples:
    """Samples of each job by uid and resource version.

    Safe for any thread: two threads compute the same sample, and versions tell old from new.
    """

    def __init__(self, unreadable: Counter[str] | None = None) -> None:
        """`unreadable` counts jobs without a sample, each once for each of its versions."""
        self._unreadable = Counter[str]() if unreadable is None else unreadable
        self._known: dict[JobKey, tuple[str, int, JobSample | None]] = {}

    def update(self, job: JobView) -> None:
        """Store the sample of a job that was just written; parsing it again takes ten times as long."""
        key = JobKey(job.namespace, job.name, job.kind)
        self._known[key] = (job.uid, int(job.resource_version), job_sample(job))

    def of(self, key: JobKey, entry: CachedObject[JobRecord]) -> JobSample | None:
        """Return the sample of a job; None where it cannot be read, which must not hide the others."""
        known = self._known.get(key)
        if known is None or known[:2] != (entry.uid, entry.version):
            known = self._known[key] = (entry.uid, entry.version, self._sample(key, entry.value))
        return known[2]

    def _sample(self, key: JobKey, record: JobRecord) -> JobSample | None:
        try:
            return job_sample(job_view(record))
        except Exception as error:
            self._unreadable[KIND_OF_JOB[key.kind].plural] += 1
            log.error("no metrics of %s %s/%s: %s", key.kind, *key[:2], type(error).__name__, exc_info=error)
            return None

    def retain(self, present: Iterable[JobKey]) -> None:
        """Drop all other jobs."""
        self._known = {key: self._known[key] for key in present if key in self._known}
