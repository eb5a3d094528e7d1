"""One status write where something differs, none where nothing does; each announcement once in a while."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed_api.trainingjob_status import Progress, TrainingJobStatus
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.informer_cache.object_views import job_record, job_view, readable_status
from seedbed_operator.job_observation import JobView
from seedbed_operator.kube_client.client_interface import NOT_SERVED, ApiStatusError
from seedbed_operator.kube_client.resource_kinds import EVENTS, JOBS, JobKey
from seedbed_operator.plan import JobEvent
from seedbed_operator.status_writer import (
    StatusConflict,
    StatusWriter,
    event_object,
    merge_patch,
    status_patch,
)
from support.operator.builders import a_recipe, progress
from support.operator.fake_api_server import NOON, ApiServer, merged

JSON = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4)


@settings(max_examples=40, deadline=None)
@given(old=OBJECTS, new=OBJECTS)
def test_a_patch_leads_from_any_object_to_any_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = merge_patch(old, new)
    assert merged(old, patch) == new
    assert merge_patch(new, new) == {}


@pytest.mark.parametrize(
    ("stored", "status", "patch"),
    [
        pytest.param({"attempts": 1}, TrainingJobStatus(attempts=1), {}, id="nothing differs"),
        pytest.param({"metrics": [], "timings": []}, TrainingJobStatus(), {}, id="defaults of the CRD"),
        pytest.param({"attempts": 1}, TrainingJobStatus(attempts=2), {"attempts": 2}, id="one field"),
        pytest.param({"retryTime": "x"}, TrainingJobStatus(), {"retryTime": None}, id="a field that goes"),
        pytest.param(
            {"progress": progress(3).plain()},
            TrainingJobStatus(progress=Progress(epoch=0, step=4, total_steps=100, percent=4)),
            {"progress": {"step": 4, "percent": 4, "shown": "4%"}},
            id="inside a block",
        ),
        pytest.param({"metrics": [1]}, TrainingJobStatus(), {"metrics": None}, id="a list that empties"),
    ],
)
def test_the_patch_of_a_status(
    stored: Mapping[str, Any], status: TrainingJobStatus, patch: Mapping[str, Any]
) -> None:
    assert status_patch(stored, status) == patch


class Desk:
    """A status_writer, its API server with one job, and its cache."""

    def __init__(self) -> None:
        self.server, self.cache = ApiServer(), InformerCache()
        self.raw = self.server.apply(
            JOBS, {"metadata": {"name": "seedlings", "namespace": "team"}, "spec": a_recipe()}
        )
        self.cache.put(JOBS, self.raw)
        self.job = job_view(job_record(self.raw))
        self.driver_responses: list[tuple[JobView, JobView]] = []
        self.status_writer = StatusWriter(
            self.server, self.cache, "operator-0", lambda *told: self.driver_responses.append(told)
        )

    def write(self, status: TrainingJobStatus) -> bool:
        return asyncio.run(self.status_writer.write(self.job, {}, status))

    def send_events(self, message: str, seconds: float = 0) -> int:
        said = JobEvent(type="Warning", reason="QuotaExceeded", message=message, action="Create")
        asyncio.run(self.status_writer.send_events(self.job, [said], NOON + timedelta(seconds=seconds)))
        return len(self.server.all(EVENTS))


def test_what_was_written_is_in_the_stores() -> None:
    desk = Desk()
    assert not desk.write(TrainingJobStatus())
    assert desk.server.calls == []
    assert desk.write(TrainingJobStatus(attempts=1))
    record = desk.cache.job(JobKey("team", "seedlings"))
    assert record is not None
    assert job_view(record).status.attempts == 1
    assert desk.driver_responses == [(desk.job, job_view(record))], "who hears of it need not read it again"


def test_a_job_that_has_changed_since_is_looked_at_and_not_written() -> None:
    desk = Desk()
    desk.server.edit(JOBS, "team", "seedlings", lambda raw: raw["spec"].update(suspend=True))
    with pytest.raises(StatusConflict):
        desk.write(TrainingJobStatus(attempts=1))
    record = desk.cache.job(JobKey("team", "seedlings"))
    assert record is not None
    spec = job_view(record).spec
    assert spec is not None
    assert spec.suspend
    assert [call.verb for call in desk.server.calls] == []


def test_another_job_of_the_same_name_gets_no_status_of_the_one_before() -> None:
    desk = Desk()
    desk.server.remove(JOBS, "team", "seedlings")
    with pytest.raises(StatusConflict):
        desk.write(TrainingJobStatus(attempts=1))
    assert desk.cache.job(JobKey("team", "seedlings")) is None
    new = desk.server.apply(
        JOBS, {"metadata": {"name": "seedlings", "namespace": "team"}, "spec": a_recipe()}
    )
    with pytest.raises(StatusConflict):
        desk.write(TrainingJobStatus(attempts=1))
    assert desk.server.find(JOBS, "team", "seedlings") == new


def test_a_kind_that_is_not_served_yet_is_no_job_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that has just started answers 404 for kinds of CRDs."""
    desk = Desk()

    async def unserved(*_: object, **__: object) -> Mapping[str, Any]:
        raise ApiStatusError(404, NOT_SERVED, "404 page not found")

    monkeypatch.setattr(desk.server, "patch_status", unserved)
    monkeypatch.setattr(desk.server, "get", unserved)
    with pytest.raises(ApiStatusError):
        desk.write(TrainingJobStatus(attempts=1))
    assert desk.cache.job(JobKey("team", "seedlings")) is not None


def test_the_same_words_are_announced_once_in_ten_minutes() -> None:
    desk = Desk()
    counts = [desk.send_events("pods are full", seconds) for seconds in (0, 10, 300, 700)]
    assert counts == [1, 1, 1, 2]
    assert desk.send_events("services are full", 701) == 3


def test_an_event_that_cannot_be_sent_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.server.forbidden.add(("create", "events"))
    assert desk.send_events("pods are full") == 0
    assert "cannot create Event QuotaExceeded" in caplog.text


def test_an_event_is_what_the_api_server_takes() -> None:
    said = JobEvent(type="Normal", reason="Started", message="ä" * 1000, action="Start")
    body = event_object(Desk().job, said, NOON, "x" * 300)
    assert body["eventTime"] == "2030-01-02T12:00:00.000000Z"
    assert len(body["note"].encode()) <= 1024
    assert len(body["reportingInstance"]) == 128


def test_a_status_of_another_hand_is_read_as_far_as_it_can_be() -> None:
    status = readable_status({"attempts": 3, "workers": "many", "unheardOf": 1, "failures": -1})
    assert status == TrainingJobStatus(attempts=3)
    assert readable_status("nonsense") == TrainingJobStatus()


def test_what_a_newer_version_has_added_does_not_cost_what_is_pinned() -> None:
    image = "registry.example/seedbed@sha256:" + "a" * 64
    status = readable_status({"environment": {"image": image, "unheardOf": 1}})
    assert status.environment is not None
    assert status.environment.image == image
