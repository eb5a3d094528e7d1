"""Collect the evidence of a plan: logs, Events of pods, progress of drivers, labels of namespaces."""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from cachetools import FIFOCache

from seedbed_api.conditions import LONGEST_MESSAGE
from seedbed_api.timestamps import parse_time
from seedbed_api.trainingjob_status import LONGEST_LOG_TAIL
from seedbed_operator.informer_cache.bounded_fields import LONGEST_NAME, text
from seedbed_operator.job_observation import Evidence, NamespaceView, PodEvent
from seedbed_operator.kube_client.client_interface import ApiError, KubeClient, RawObject
from seedbed_operator.kube_client.resource_kinds import NAMESPACES, JobKey
from seedbed_operator.observe.driver_polls import DriverPolls
from seedbed_operator.observe.transient_state import TransientState
from seedbed_operator.plan import EvidenceRequest

LOG_LINES: Final = 60
MAX_LOG_BYTES: Final = 64 * 1024
MAX_POD_EVENTS: Final = 20
MAX_NAMESPACES: Final = 1024
LABELS_VALID: Final = timedelta(seconds=1)
"""Labels of a namespace are reused for this long: many jobs of one namespace wait at the same time."""

log = logging.getLogger(__name__)


class EvidenceCollector:
    """Asks the API server and the drivers; what cannot be read counts as none."""

    def __init__(self, cluster: KubeClient, polls: DriverPolls) -> None:
        self._cluster = cluster
        self._polls = polls
        self._namespaces: MutableMapping[str, tuple[datetime, NamespaceView]] = FIFOCache(MAX_NAMESPACES)

    async def collect(
        self,
        job: JobKey,
        evidence_requests: Sequence[EvidenceRequest],
        state: TransientState,
        now: datetime,
    ) -> Evidence:
        """Return the requested evidence together with what is known from before; progress may come later."""
        namespace = job.namespace
        await self._polls.ask(job, _of_kind("Progress", evidence_requests), state, now)
        tails = {
            need.pod_uid: await self._log_tail(namespace, need)
            for need in _of_kind("LogTail", evidence_requests)
        }
        for need in _of_kind("PodEvents", evidence_requests):
            state.recent_pod_events[need.pod_uid] = now, await self._notices(namespace, need)
        asked = _of_kind("NamespaceLabels", evidence_requests)
        seen = await self._namespace(namespace, now) if asked else None
        return replace(state.evidence(now), log_tails=tails, namespace=seen)

    async def _namespace(self, name: str, now: datetime) -> NamespaceView:
        """Return a namespace with its labels; without them where it cannot be read."""
        known = self._namespaces.get(name)
        if known is not None and now - known[0] < LABELS_VALID:
            return known[1]
        try:
            raw = await self._cluster.get(NAMESPACES, None, name)
        except ApiError as error:
            log.warning("cannot read the labels of namespace %s: %s", name, error)
            return NamespaceView(labels=None)
        view = NamespaceView(labels=dict(raw["metadata"].get("labels") or {}))
        self._namespaces[name] = now, view
        return view

    async def _log_tail(self, namespace: str, need: EvidenceRequest) -> str:
        """Return the end of a log; empty where it cannot be read, for example on a dead node."""
        try:
            named = {"container": need.container} if need.container is not None else {}
            text = await self._cluster.pod_log(
                namespace, need.pod, lines=LOG_LINES, most_bytes=MAX_LOG_BYTES, **named
            )
        except ApiError as error:
            log.info("cannot read the log of pod %s/%s: %s", namespace, need.pod, error)
            return ""
        return text[-LONGEST_LOG_TAIL:]

    async def _notices(self, namespace: str, need: EvidenceRequest) -> tuple[PodEvent, ...]:
        try:
            events = await self._cluster.pod_events(namespace, need.pod_uid)
        except ApiError as error:
            log.info("cannot list the events of pod %s/%s: %s", namespace, need.pod, error)
            return ()
        found = sorted(filter(None, map(_pod_event, events)), key=lambda notice: notice.time)
        return tuple(found[-MAX_POD_EVENTS:])


def _of_kind(kind: str, evidence_requests: Iterable[EvidenceRequest]) -> list[EvidenceRequest]:
    return [need for need in evidence_requests if need.kind == kind]


def _pod_event(event: RawObject) -> PodEvent | None:
    """Return an Event about a pod; None without a readable time: anybody in the namespace may write one."""
    times = (event.get("lastTimestamp"), event.get("eventTime"), event["metadata"].get("creationTimestamp"))
    moment = next((moment for time in times if (moment := parse_time(time))), None)
    if moment is None:
        return None
    return PodEvent(
        reason=text(event.get("reason"), LONGEST_NAME),
        message=text(event.get("message"), LONGEST_MESSAGE),
        time=moment,
    )
