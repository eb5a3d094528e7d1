"""What is asked of the API server is asked once: events of pods for some seconds, specs while they stay the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from seedbed_operator.informer_cache.object_views import job_record, job_view
from seedbed_operator.kube_client.client_interface import KubeClient, RawObject
from seedbed_operator.kube_client.resource_kinds import JobKey
from seedbed_operator.observe.driver_client import DriverClient
from seedbed_operator.observe.driver_polls import DriverPolls
from seedbed_operator.observe.evidence_collector import EvidenceCollector
from seedbed_operator.observe.transient_state import POD_EVENTS_VALID, TransientState
from seedbed_operator.plan import EvidenceRequest
from support.operator.builders import UID, a_recipe

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)
NEED = EvidenceRequest(kind="PodEvents", pod="digits-1-driver", pod_uid="driver")


@dataclass
class Events:
    """An API server that has events and counts who asks."""

    asked: list[str] = field(default_factory=list)

    async def pod_events(self, namespace: str, uid: str) -> Sequence[RawObject]:
        self.asked.append(uid)
        times = {"eventTime": "2030-01-02T11:59:00.000001Z"}
        return [{"metadata": {}, "reason": "FailedMount", "message": f"number {len(self.asked)}", **times}]


def gathered(events: Events, state: TransientState, now: datetime) -> tuple[str, ...]:
    polls = DriverPolls(cast("DriverClient", None), lambda keys: None, lambda: now)
    evidence_collector = EvidenceCollector(cast("KubeClient", events), polls)
    evidence = asyncio.run(evidence_collector.collect(JobKey("a", "digits"), [NEED], state, now))
    return tuple(notice.message for notice in evidence.pod_events["driver"])


def test_events_of_a_pod_are_at_hand_until_they_are_old() -> None:
    events, state = Events(), TransientState(uid=UID)
    assert gathered(events, state, NOON) == ("number 1",)
    soon, later = NOON + POD_EVENTS_VALID - timedelta(seconds=1), NOON + POD_EVENTS_VALID
    assert [notice.message for notice in state.evidence(soon).pod_events["driver"]] == ["number 1"]
    assert state.evidence(later).pod_events == {}
    assert gathered(events, state, later) == ("number 2",)
    assert events.asked == ["driver", "driver"]


def test_events_of_pods_that_are_gone_are_forgotten() -> None:
    events, state = Events(), TransientState(uid=UID)
    gathered(events, state, NOON)
    state.forget_pods({"another"})
    assert state.recent_pod_events == {}


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
