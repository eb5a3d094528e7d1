"""What is asked of the API server is asked once: events of pods for some seconds, specs while they stay the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from seedbed_operator.informer_cache.object_projections import job_record, job_view
from seedbed_operator.kube_client.client_interface import Cluster, Raw
from seedbed_operator.observe.driver_client import Drivers
from seedbed_operator.observe.evidence_collector import Gatherer, remembered
from seedbed_operator.observe.job_memory import NOTICES_FRESH, Memory
from seedbed_operator.plan import Need
from support.operator.builders import UID, a_recipe

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)
NEED = Need(kind="Notices", pod="digits-1-driver", pod_uid="driver")


@dataclass
class Events:
    """An API server that has events and counts who asks."""

    asked: list[str] = field(default_factory=list)

    async def pod_events(self, namespace: str, uid: str) -> Sequence[Raw]:
        self.asked.append(uid)
        times = {"eventTime": "2030-01-02T11:59:00.000001Z"}
        return [{"metadata": {}, "reason": "FailedMount", "message": f"number {len(self.asked)}", **times}]


def gathered(events: Events, memory: Memory, now: datetime) -> tuple[str, ...]:
    gatherer = Gatherer(cast("Cluster", events), cast("Drivers", None))
    evidence = asyncio.run(gatherer.gather("a", [NEED], memory, now))
    return tuple(notice.message for notice in evidence.notices["driver"])


def test_events_of_a_pod_are_at_hand_until_they_are_old() -> None:
    events, memory = Events(), Memory(uid=UID)
    assert gathered(events, memory, NOON) == ("number 1",)
    soon, later = NOON + NOTICES_FRESH - timedelta(seconds=1), NOON + NOTICES_FRESH
    assert [notice.message for notice in remembered(memory, soon).notices["driver"]] == ["number 1"]
    assert remembered(memory, later).notices == {}
    assert gathered(events, memory, later) == ("number 2",)
    assert events.asked == ["driver", "driver"]


def test_events_of_pods_that_are_gone_are_forgotten() -> None:
    events, memory = Events(), Memory(uid=UID)
    gathered(events, memory, NOON)
    memory.forget_pods({"another"})
    assert memory.noticed == {}


def a_job(**metadata: Any) -> dict[str, Any]:
    named = {"namespace": "a", "name": "digits", "uid": UID, "resourceVersion": "1", "generation": 1}
    created = {"creationTimestamp": "2030-01-02T11:00:00Z"}
    return {"metadata": {**named, **created, **metadata}, "spec": a_recipe()}


def test_a_view_is_of_the_record_that_it_was_made_from() -> None:
    first = job_record(a_job())
    assert job_view(first) is job_view(replace(first))
    newer = json.loads(json.dumps(a_job(resourceVersion="2")))
    newer["status"], newer["spec"]["suspend"] = {"attempts": 3}, True
    seen = job_view(job_record(newer))
    assert (seen.resource_version, seen.status.attempts, seen.spec and seen.spec.suspend) == ("2", 3, True)
    assert job_view(first).status.attempts is None


def test_a_spec_is_read_once_for_all_statuses() -> None:
    before = job_view(job_record(a_job()))
    after = job_view(job_record({**a_job(resourceVersion="2"), "status": {"attempts": 1}}))
    assert after.spec is before.spec
    assert after.status != before.status
