"""State of a job in memory: driver responses, first-seen times of pods, failures; a restart loses it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from seedbed_api.exponential_backoff import ExponentialBackoff
from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_api.timestamps import parse_time
from seedbed_operator.job_observation import Evidence, PodEvent, PodView, RejectedWrite
from seedbed_operator.kube_client.resource_kinds import JobKey

BEFORE_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""End of a pod that had ended before this process first observed the job."""


@dataclass(kw_only=True, slots=True)
class FirstSeen:
    """Times at which changes of one pod were first seen."""

    created: datetime
    scheduled: datetime | None = None
    deleting: datetime | None = None
    over: datetime | None = None
    ready: datetime | None = None

    def observe(self, pod: PodView, now: datetime, *, over: datetime) -> None:
        """Record what is seen for the first time; `over` is the end time for a pod that has ended."""
        if pod.scheduled is not None:
            self.scheduled = self.scheduled or now
        self.ready = (self.ready or now) if pod.ready else None
        if pod.deleting:
            self.deleting = self.deleting or now
        if pod.ended or pod.terminated is not None:
            self.over = self.over or over

    def seen(self, pod: PodView) -> PodView:
        """Return the pod with this operator's times."""
        grace = timedelta(seconds=pod.deletion_grace)
        return replace(
            pod,
            created=self.created,
            scheduled=self.scheduled if pod.scheduled is not None else None,
            deletion_due=self.deleting + grace if self.deleting is not None and pod.deleting else None,
            over_since=self.over,
            ready_since=self.ready,
        )


class PodFirstSeen:
    """First-seen times of the pods of one job. Planning measures time by the operator's clock alone."""

    def __init__(self) -> None:
        self._of: dict[str, FirstSeen] = {}
        self._began = False

    def seen(self, pods: tuple[PodView, ...], now: datetime) -> tuple[PodView, ...]:
        """Return the pods with this operator's times; forget pods that no longer exist."""
        over = now if self._began else BEFORE_START
        known = {pod.uid: self._of.get(pod.uid) or FirstSeen(created=now) for pod in pods}
        for pod in pods:
            known[pod.uid].observe(pod, now, over=over)
        self._of, self._began = known, True
        return tuple(known[pod.uid].seen(pod) for pod in pods)


RESPONSE_VALID: Final = timedelta(seconds=3)
"""A driver's response is reused for this long."""
SILENCE_BACKOFF: Final = ExponentialBackoff(first=5, longest=60)
"""A driver without a response is asked again after this delay, doubling: many must not block workers."""
LOG_SKEW_FROM: Final = timedelta(seconds=30)
"""Synchronised clocks differ by less, latency included."""
POD_EVENTS_VALID: Final = timedelta(seconds=9)
"""Events of a pod are reused for this long: the API server reads all Events of a namespace each time."""

log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class DriverResponse:
    """The last response of one driver."""

    asked: datetime
    answer: LiveProgress | None
    changed: datetime
    """Last change of step or activity, or the first request."""
    mark: object
    """Changes when the driver makes progress."""
    skew: timedelta | None = None
    """How far the driver's clock was ahead of ours at its last response."""
    unanswered: int = 0
    """Requests in a row without a response."""

    @property
    def valid_for(self) -> timedelta:
        """Return how long the driver need not be asked again."""
        return (
            timedelta(seconds=SILENCE_BACKOFF.delay(self.unanswered)) if self.unanswered else RESPONSE_VALID
        )


@dataclass(kw_only=True, slots=True)
class TransientState:
    """State of one job."""

    uid: str
    rejected_writes: tuple[RejectedWrite, ...] = ()
    status_written: datetime | None = None
    wrote_status: bool = False
    """Whether the newest reconcile has written the status."""
    failures: int = 0
    """Reconciles in a row that failed by an internal error."""
    failed_writes: int = 0
    """Reconciles in a row in which a write failed."""
    driver_responses: dict[str, DriverResponse] = field(default_factory=dict)
    """Driver responses by uid of the driver pod."""
    pending: set[str] = field(default_factory=set)
    """Uids of driver pods that are being asked, or will be."""
    recent_pod_events: dict[str, tuple[datetime, tuple[PodEvent, ...]]] = field(default_factory=dict)
    """Time of the request and the Events found, by uid of the pod."""
    first_seen: PodFirstSeen = field(default_factory=PodFirstSeen)

    def record_response(self, pod_uid: str, answer: LiveProgress | None, now: datetime) -> None:
        """Record a driver's response, None for none, and whether it shows progress."""
        mark = _mark(answer)
        known = self.driver_responses.setdefault(
            pod_uid, DriverResponse(asked=now, answer=answer, changed=now, mark=mark)
        )
        known.asked, known.answer = now, answer
        known.unanswered = known.unanswered + 1 if answer is None else 0
        if answer is not None:
            known.skew = _skew(pod_uid, answer, now, known.skew)
        if mark is not None and mark != known.mark:
            known.changed, known.mark = now, mark

    def fresh(self, pod_uid: str, now: datetime) -> bool:
        """Return whether a driver need not be asked again yet."""
        known = self.driver_responses.get(pod_uid)
        return known is not None and now - known.asked < known.valid_for

    @property
    def advanced(self) -> datetime | None:
        """Return the last known progress of a driver."""
        return max((response.changed for response in self.driver_responses.values()), default=None)

    @property
    def skew(self) -> timedelta | None:
        """Return the clock difference of the driver that responded last; positive: it is ahead."""
        response = max(self.driver_responses.values(), key=lambda response: response.asked, default=None)
        return response.skew if response else None

    def evidence(self, now: datetime) -> Evidence:
        """Return the evidence that is known without a request; while a driver is asked, its last answer."""
        responses = self.driver_responses
        known = {uid for uid in responses if self.fresh(uid, now)} | self.pending
        return Evidence(
            progress={uid: responses[uid].answer if uid in responses else None for uid in known},
            progress_asked={uid: found.asked for uid, found in responses.items()},
            progress_changed={uid: found.changed for uid, found in responses.items()},
            pod_events=self.pod_events(now),
        )

    def pod_events(self, now: datetime) -> dict[str, tuple[PodEvent, ...]]:
        """Return the Events of pods that need not be read again yet."""
        return {
            uid: found
            for uid, (asked, found) in self.recent_pod_events.items()
            if now - asked < POD_EVENTS_VALID
        }

    def forget_pods(self, present: set[str]) -> None:
        """Forget responses and Events of pods that no longer exist."""
        self.driver_responses = {
            uid: response for uid, response in self.driver_responses.items() if uid in present
        }
        self.recent_pod_events = {
            uid: noticed for uid, noticed in self.recent_pod_events.items() if uid in present
        }


def _skew(pod_uid: str, answer: LiveProgress, now: datetime, before: timedelta | None) -> timedelta:
    """Return how far a driver's clock is ahead; log it the first time where it is far."""
    told = parse_time(answer.time)
    assert told is not None, "the model reads no other times"
    skew = told - now
    if before is None and abs(skew) >= LOG_SKEW_FROM:
        log.warning(
            "the clock of driver pod %s differs by %.0f s from the operator's: its times are wrong",
            pod_uid,
            skew.total_seconds(),
        )
    return skew


def _mark(answer: LiveProgress | None) -> object:
    return None if answer is None else answer.mark


class TransientStates:
    """States of all jobs."""

    def __init__(self) -> None:
        self._states: dict[JobKey, TransientState] = {}

    def of(self, key: JobKey, uid: str) -> TransientState:
        """Return the state of a job; a new one for another uid."""
        state = self._states.get(key)
        if state is None or state.uid != uid:
            state = self._states[key] = TransientState(uid=uid)
        return state

    def get(self, key: JobKey) -> TransientState | None:
        """Return the state stored under a key, whatever the uid; None without one."""
        return self._states.get(key)

    def advances(self) -> dict[JobKey, datetime]:
        """Return the time of the last progress of each job."""
        known = ((key, state.advanced) for key, state in self._states.items())
        return {key: moment for key, moment in known if moment is not None}

    def skews(self) -> dict[JobKey, timedelta]:
        """Return the clock difference of each job's newest driver."""
        known = ((key, state.skew) for key, state in self._states.items())
        return {key: skew for key, skew in known if skew is not None}

    def forget(self, key: JobKey) -> None:
        """Forget a job that no longer exists."""
        self._states.pop(key, None)
