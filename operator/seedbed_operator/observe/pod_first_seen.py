"""When this operator saw what happened to a pod: planning measures time by its own clock alone.

The stamps of a pod are written by the API server, a scheduler and a kubelet, each by a clock of its own; only
that something happened is taken from them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from seedbed_operator.job_observation import PodView

LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a pod ended that had ended before this process looked for the first time."""


@dataclass(kw_only=True, slots=True)
class Sighting:
    """When things were first seen of one pod."""

    created: datetime
    scheduled: datetime | None = None
    deleting: datetime | None = None
    over: datetime | None = None
    ready: datetime | None = None

    def learn(self, pod: PodView, now: datetime, *, over: datetime) -> None:
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


class Sightings:
    """The pods of one job."""

    def __init__(self) -> None:
        self._of: dict[str, Sighting] = {}
        self._began = False

    def seen(self, pods: tuple[PodView, ...], now: datetime) -> tuple[PodView, ...]:
        """Return the pods as this operator has seen them come about; those that are gone are forgotten."""
        over = now if self._began else LONG_AGO
        known = {pod.uid: self._of.get(pod.uid) or Sighting(created=now) for pod in pods}
        for pod in pods:
            known[pod.uid].learn(pod, now, over=over)
        self._of, self._began = known, True
        return tuple(known[pod.uid].seen(pod) for pod in pods)
