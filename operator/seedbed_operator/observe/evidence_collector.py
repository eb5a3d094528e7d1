"""Collect the evidence that a plan requests: the end of a log, Events of a pod, progress of a driver."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from seedbed_api.conditions import LONGEST_MESSAGE
from seedbed_api.trainingjob_status import LONGEST_LOG_TAIL
from seedbed_operator.job_observation import Evidence, PodEvent
from seedbed_operator.kube_client.client_interface import ApiError, KubeClient, RawObject
from seedbed_operator.observe.driver_client import DriverClient
from seedbed_operator.observe.transient_state import TransientState
from seedbed_operator.plan import EvidenceRequest

LOG_LINES: Final = 60
MAX_LOG_BYTES: Final = 64 * 1024
MAX_POD_EVENTS: Final = 20

log = logging.getLogger(__name__)


class EvidenceCollector:
    """Asks the API server and the drivers; what cannot be read counts as none."""

    def __init__(self, cluster: KubeClient, drivers: DriverClient) -> None:
        self._cluster = cluster
        self._drivers = drivers

    async def collect(
        self,
        namespace: str,
        evidence_requests: Sequence[EvidenceRequest],
        state: TransientState,
        now: datetime,
    ) -> Evidence:
        """Return the requested evidence together with what is known from before."""
        await asyncio.gather(
            *(self._ask(need, state, now) for need in _of_kind("Progress", evidence_requests))
        )
        tails = {
            need.pod_uid: await self._log_tail(namespace, need)
            for need in _of_kind("LogTail", evidence_requests)
        }
        for need in _of_kind("PodEvents", evidence_requests):
            state.recent_pod_events[need.pod_uid] = now, await self._notices(namespace, need)
        return replace(state.evidence(now), log_tails=tails)

    async def _ask(self, need: EvidenceRequest, state: TransientState, now: datetime) -> None:
        answer = await self._drivers.get_progress(need.address, state.uid) if need.address else None
        state.record_response(need.pod_uid, answer, now)

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
        found = sorted((_pod_event(event) for event in events), key=lambda notice: notice.time)
        return tuple(found[-MAX_POD_EVENTS:])


def _of_kind(kind: str, evidence_requests: Iterable[EvidenceRequest]) -> list[EvidenceRequest]:
    return [need for need in evidence_requests if need.kind == kind]


def _pod_event(event: RawObject) -> PodEvent:
    metadata = event["metadata"]
    times = (event.get("lastTimestamp"), event.get("eventTime"), metadata.get("creationTimestamp"))
    return PodEvent(
        reason=str(event.get("reason") or ""),
        message=str(event.get("message") or "")[:LONGEST_MESSAGE],
        time=datetime.fromisoformat(next(time for time in times if time)),
    )
