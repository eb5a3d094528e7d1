"""What one process remembers of a job between passes; a restart may lose all of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from seedbed_api.exponential_backoff import ExponentialBackoff
from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_operator.job_observation import PodEvent, PodView, RejectedWrite
from seedbed_operator.kube_client.resource_kinds import JobKey

BEFORE_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a pod ended that had ended before this process looked for the first time."""


@dataclass(kw_only=True, slots=True)
class FirstSeen:
    """When things were first seen of one pod."""

    created: datetime
    scheduled: datetime | None = None
    deleting: datetime | None = None
    over: datetime | None = None
    ready: datetime | None = None

    def observe(self, pod: PodView, now: datetime, *, over: datetime) -> None:
        """Note what is seen now and was not before; `over` is when a pod ended that is seen to have ended."""
        if pod.scheduled is not None:
            self.scheduled = self.scheduled or now
        self.ready = (self.ready or now) if pod.ready else None
        if pod.deleting:
            self.deleting = self.deleting or now
        if pod.ended or pod.terminated is not None:
            self.over = self.over or over

    def seen(self, pod: PodView) -> PodView:
        """Return the pod with the moments of this operator in place of those of others."""
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
    """The pods of one job."""

    def __init__(self) -> None:
        self._of: dict[str, FirstSeen] = {}
        self._began = False

    def seen(self, pods: tuple[PodView, ...], now: datetime) -> tuple[PodView, ...]:
        """Return the pods as this operator has seen them come about; those that are gone are forgotten."""
        over = now if self._began else BEFORE_START
        known = {pod.uid: self._of.get(pod.uid) or FirstSeen(created=now) for pod in pods}
        for pod in pods:
            known[pod.uid].observe(pod, now, over=over)
        self._of, self._began = known, True
        return tuple(known[pod.uid].seen(pod) for pod in pods)


RESPONSE_VALID: Final = timedelta(seconds=3)
"""An answer of a driver is given again for so long."""
SILENCE_BACKOFF: Final = ExponentialBackoff(first=5, longest=60)
"""A driver that did not answer is left alone for so long, doubling: many of them must not hold up the passes.
It is heard of later by no more than the time for which it was silent."""
LOG_SKEW_FROM: Final = timedelta(seconds=30)
"""Clocks of machines that are synchronised differ by less, the way of an answer included."""
POD_EVENTS_VALID: Final = timedelta(seconds=9)
"""So are the events of a pod: the API server has no index of them and reads all of a namespace each time."""

log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class DriverResponse:
    """The last answer of one driver."""

    asked: datetime
    answer: LiveProgress | None
    changed: datetime
    """When step or activity last changed, or when the driver was first asked."""
    mark: object
    """What must differ in an answer for it to count as a change."""
    skew: timedelta | None = None
    """How far the driver's clock was ahead of ours when it last answered."""
    unanswered: int = 0
    """How often in a row it did not answer."""

    @property
    def valid_for(self) -> timedelta:
        """Return for how long this is as good as asking again."""
        return (
            timedelta(seconds=SILENCE_BACKOFF.delay(self.unanswered)) if self.unanswered else RESPONSE_VALID
        )


@dataclass(kw_only=True, slots=True)
class TransientState:
    """One job."""

    uid: str
    rejected_writes: tuple[RejectedWrite, ...] = ()
    status_written: datetime | None = None
    wrote_status: bool = False
    """Whether the newest pass has written the status."""
    failures: int = 0
    """How many passes in a row the operator itself has failed at."""
    failed_writes: int = 0
    """How many passes in a row the API server did not carry out a write."""
    driver_responses: dict[str, DriverResponse] = field(default_factory=dict)
    """By uid of the driver pod."""
    recent_pod_events: dict[str, tuple[datetime, tuple[PodEvent, ...]]] = field(default_factory=dict)
    """When the events of a pod were asked for, and those found, by uid of the pod."""
    first_seen: PodFirstSeen = field(default_factory=PodFirstSeen)

    def record_response(self, pod_uid: str, answer: LiveProgress | None, now: datetime) -> None:
        """Remember an answer, and whether it shows that the driver gets on."""
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
        """Tell whether a driver was asked so lately that it need not be asked again."""
        known = self.driver_responses.get(pod_uid)
        return known is not None and now - known.asked < known.valid_for

    @property
    def advanced(self) -> datetime | None:
        """Return when a driver last got on, as far as was heard."""
        return max((heard.changed for heard in self.driver_responses.values()), default=None)

    @property
    def skew(self) -> timedelta | None:
        """Return how far the clock of the driver that answered last is ahead of ours."""
        heard = max(self.driver_responses.values(), key=lambda heard: heard.asked, default=None)
        return heard.skew if heard else None

    def pod_events(self, now: datetime) -> dict[str, tuple[PodEvent, ...]]:
        """Return the events of pods that were asked for so lately that they need not be asked for again."""
        return {
            uid: found
            for uid, (asked, found) in self.recent_pod_events.items()
            if now - asked < POD_EVENTS_VALID
        }

    def forget_pods(self, present: set[str]) -> None:
        """Forget what pods that are gone have answered, and what was said about them."""
        self.driver_responses = {uid: heard for uid, heard in self.driver_responses.items() if uid in present}
        self.recent_pod_events = {
            uid: noticed for uid, noticed in self.recent_pod_events.items() if uid in present
        }


def _skew(pod_uid: str, answer: LiveProgress, now: datetime, before: timedelta | None) -> timedelta:
    """Return how far a driver's clock is ahead of ours; the first time that it is far off, say so."""
    skew = datetime.fromisoformat(answer.time) - now
    if before is None and abs(skew) >= LOG_SKEW_FROM:
        log.warning(
            "the clock of driver pod %s differs by %.0f s from ours: so do the times that it tells",
            pod_uid,
            skew.total_seconds(),
        )
    return skew


def _mark(answer: LiveProgress | None) -> object:
    return None if answer is None else answer.mark


class TransientStates:
    """All jobs."""

    def __init__(self) -> None:
        self._states: dict[JobKey, TransientState] = {}

    def of(self, key: JobKey, uid: str) -> TransientState:
        """Return what is remembered of a job; nothing of an earlier one of the same name."""
        state = self._states.get(key)
        if state is None or state.uid != uid:
            state = self._states[key] = TransientState(uid=uid)
        return state

    def known(self, key: JobKey) -> TransientState | None:
        """Return what is remembered of whatever job had its last pass under this name."""
        return self._states.get(key)

    def advances(self) -> dict[JobKey, datetime]:
        """Return when the driver of each job last got on."""
        known = ((key, state.advanced) for key, state in self._states.items())
        return {key: moment for key, moment in known if moment is not None}

    def skews(self) -> dict[JobKey, timedelta]:
        """Return how far the clock of each job's newest driver is ahead of ours."""
        known = ((key, state.skew) for key, state in self._states.items())
        return {key: skew for key, skew in known if skew is not None}

    def forget(self, key: JobKey) -> None:
        """Forget a job that is gone."""
        self._states.pop(key, None)
