"""Gather what a plan asked for: the end of a log, the events of a pod, the progress of a driver."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from seedbed_api.conditions import LONGEST_MESSAGE
from seedbed_api.trainingjob_status import LONGEST_LOG_TAIL
from seedbed_operator.job_observation import Evidence, Notice
from seedbed_operator.kube_client.client_interface import Cluster, ClusterError, Raw
from seedbed_operator.observe.driver_client import Drivers
from seedbed_operator.observe.job_memory import Memory
from seedbed_operator.plan import Need

LOG_LINES: Final = 60
MOST_LOG_BYTES: Final = 64 * 1024
MOST_NOTICES: Final = 20

log = logging.getLogger(__name__)


class Gatherer:
    """Asks the API server and the drivers; what cannot be had soon is told as "none found"."""

    def __init__(self, cluster: Cluster, drivers: Drivers) -> None:
        self._cluster = cluster
        self._drivers = drivers

    async def gather(self, namespace: str, needs: Sequence[Need], memory: Memory, now: datetime) -> Evidence:
        """Return the evidence for all needs, and what is remembered of the drivers' progress."""
        await asyncio.gather(*(self._ask(need, memory, now) for need in _of("Progress", needs)))
        tails = {need.pod_uid: await self._log_tail(namespace, need) for need in _of("LogTail", needs)}
        for need in _of("Notices", needs):
            memory.noticed[need.pod_uid] = now, await self._notices(namespace, need)
        return replace(remembered(memory, now), log_tails=tails)

    async def _ask(self, need: Need, memory: Memory, now: datetime) -> None:
        answer = await self._drivers.ask(need.address, memory.uid) if need.address else None
        memory.hear(need.pod_uid, answer, now)

    async def _log_tail(self, namespace: str, need: Need) -> str:
        """Return the end of a log; a dead node's log is nobody's fault and must not hold the job up."""
        try:
            named = {"container": need.container} if need.container is not None else {}
            text = await self._cluster.pod_log(
                namespace, need.pod, lines=LOG_LINES, most_bytes=MOST_LOG_BYTES, **named
            )
        except ClusterError as error:
            log.info("no log of pod %s/%s: %s", namespace, need.pod, error)
            return ""
        return text[-LONGEST_LOG_TAIL:]

    async def _notices(self, namespace: str, need: Need) -> tuple[Notice, ...]:
        try:
            events = await self._cluster.pod_events(namespace, need.pod_uid)
        except ClusterError as error:
            log.info("no events of pod %s/%s: %s", namespace, need.pod, error)
            return ()
        found = sorted((_notice(event) for event in events), key=lambda notice: notice.time)
        return tuple(found[-MOST_NOTICES:])


def remembered(memory: Memory, now: datetime) -> Evidence:
    """Return the evidence that is at hand before anything is asked."""
    return Evidence(
        progress={uid: heard.answer for uid, heard in memory.heard.items() if memory.fresh(uid, now)},
        progress_asked={uid: heard.asked for uid, heard in memory.heard.items()},
        progress_changed={uid: heard.changed for uid, heard in memory.heard.items()},
        notices=memory.notices(now),
    )


def _of(kind: str, needs: Iterable[Need]) -> list[Need]:
    return [need for need in needs if need.kind == kind]


def _notice(event: Raw) -> Notice:
    metadata = event["metadata"]
    times = (event.get("lastTimestamp"), event.get("eventTime"), metadata.get("creationTimestamp"))
    return Notice(
        reason=str(event.get("reason") or ""),
        message=str(event.get("message") or "")[:LONGEST_MESSAGE],
        time=datetime.fromisoformat(next(time for time in times if time)),
    )
