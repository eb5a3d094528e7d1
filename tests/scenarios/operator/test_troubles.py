"""The operator itself fails at a job: its status says so from the third time on, and no longer once it is over."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest

from seedbed_operator.kube_client.client_interface import NoApiResponse
from seedbed_operator.kube_client.resource_kinds import EVENTS, JOBS, PODS, PROFILES, JobKey
from seedbed_operator.reconciler.reconcile import error_location, internal_error_message
from support.operator.builders import IMAGE, NOON, a_recipe
from support.operator.fake_api_server import ApiServer
from support.operator.operator_instance import Defect, Incarnation

KEY = JobKey("team", "seedlings")


class Stage:
    """An API server with one job, and an operator that has listed it."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.server.apply(PROFILES, {"metadata": {"name": "default"}, "spec": {"image": IMAGE}})
        self.apply()
        self.operator = asyncio.run(self.begin())

    async def begin(self) -> Incarnation:
        operator = Incarnation(self.server)
        await operator.relist()
        return operator

    def apply(self) -> None:
        self.server.apply(JOBS, {"metadata": {"name": KEY[1], "namespace": KEY[0]}, "spec": a_recipe()})

    def passes(self, count: int = 1) -> None:
        for _ in range(count):
            asyncio.run(self.operator.step(KEY))

    def fails(self, times: int) -> None:
        """Let so many passes fail, and no more."""
        self.operator.planner.defects = times
        self.passes(times)

    def uid(self) -> str:
        job = self.server.find(JOBS, *KEY[:2])
        assert job is not None
        return str(job["metadata"]["uid"])

    def running(self) -> str:
        job = self.server.find(JOBS, *KEY[:2])
        assert job is not None
        found = {entry["type"]: entry for entry in job.get("status", {}).get("conditions", ())}
        return f"{found['Running']['status']} {found['Running']['reason']}" if "Running" in found else "-"

    def message(self) -> str:
        job = self.server.find(JOBS, *KEY[:2])
        assert job is not None
        found = next(entry for entry in job["status"]["conditions"] if entry["type"] == "Running")
        return str(found["message"])


def test_the_status_tells_of_the_third_failure_in_one_line_and_the_next_good_pass_takes_it_back() -> None:
    stage = Stage()
    stage.fails(2)
    assert stage.running() == "-", "one or two may be chance"
    stage.fails(1)
    assert stage.running() == "False InternalError"
    assert re.fullmatch(
        r"the operator failed to reconcile this job: Defect in seedbed_operator\.reconciler\.reconcile:\d+; "
        r"report this as a bug; next try at 2030-01-02T12:00:31Z",
        stage.message(),
    )
    events = [event["reason"] for event in stage.server.all(EVENTS)]
    assert events == ["InternalError"]
    stage.passes()
    assert stage.running() == "False Pending"
    assert len(stage.server.all(PODS)) == 2


def test_failures_with_a_good_pass_between_them_are_not_told() -> None:
    stage = Stage()
    for _ in range(3):
        stage.fails(2)
        stage.passes()
    assert stage.running() == "False Pending"


def test_an_api_server_that_is_away_is_no_failure_of_the_operator() -> None:
    stage = Stage()
    stage.server.fault = lambda _: "before"
    stage.passes(5)
    assert all(isinstance(error, NoApiResponse) for error in stage.operator.failures)
    stage.server.fault = lambda _: None
    asyncio.run(stage.operator.reconciler.report_failure(KEY, NoApiResponse("away"), NOON))
    assert stage.running() == "-"


def test_each_further_failure_writes_once_and_tells_when_it_is_tried_again() -> None:
    stage = Stage()
    stage.fails(3)
    stage.server.now += timedelta(seconds=60)
    stage.fails(1)
    assert stage.message().endswith("12:01:31Z")
    assert [call.verb for call in stage.server.calls if call.kind == JOBS.name] == ["patch", "patch"]


def test_a_new_job_of_the_same_name_does_not_inherit_the_failures_of_the_old_one() -> None:
    stage = Stage()
    stage.fails(2)
    stage.server.remove(JOBS, *KEY[:2])
    stage.apply()
    asyncio.run(stage.operator.relist())
    stage.fails(2)
    assert stage.running() == "-"


def test_a_job_that_took_the_name_during_the_pass_is_told_nothing() -> None:
    stage = Stage()
    stage.fails(2)
    stage.operator.planner.defects = 1
    stage.server.remove(JOBS, *KEY[:2])
    stage.passes()
    stage.apply()
    asyncio.run(stage.operator.relist())
    asyncio.run(stage.operator.reconciler.report_failure(KEY, Defect(), NOON))
    assert stage.running() == "-"


def test_a_job_that_has_changed_unseen_is_not_written() -> None:
    stage = Stage()
    stage.fails(2)
    stage.server.edit(JOBS, *KEY[:2], lambda raw: raw["spec"].update(suspend=True))
    stage.fails(1)
    assert stage.running() == "-"
    stage.fails(1)
    assert stage.running() == "False InternalError", "the job was read again"


def test_an_attempt_that_is_over_its_time_ends_although_the_clock_goes_on_between_passes() -> None:
    """A silent driver is asked once more when its time is over, and then its log: not again and again."""
    stage = Stage()
    stage.passes()
    for pod in stage.server.all(PODS):
        stage.server.start(pod)
    asyncio.run(stage.operator.relist())

    stage.passes()
    assert stage.running() == "False RayStarting"
    stage.server.now += timedelta(seconds=900)
    stage.passes(4)
    assert stage.running() == "False PreRunningDeadlineExceeded"


def test_what_is_told_names_no_content() -> None:
    try:
        raise ValueError("a secret\nin two lines")
    except ValueError as error:
        told, where = internal_error_message(error, NOON), error_location(error)
    assert "secret" not in told
    assert where == "an unknown place", "no line of the operator was passed"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("before", "no response (lost on the way there)"),
        ("500", "it responds 500 Error: by chance"),
        ("503", "it responds 503 Error: by chance"),
        ("429", "it responds 429 Error: by chance"),
    ],
)
@pytest.mark.parametrize("kind", ["Secret", "Pod"])
def test_a_write_that_comes_to_nothing_again_and_again_is_told_with_what_is_tried(
    kind: str, fault: str, said: str
) -> None:
    stage = Stage()
    stage.server.fault = lambda call: fault if call.kind == kind else None
    stage.passes(2)
    assert stage.running() == "-", "one or two may be chance"
    stage.passes(1)
    name = "seedlings-1-driver" if kind == "Pod" else f"seedlings-{stage.uid()[:8]}-ray"
    assert stage.running() == "False AdmissionDenied"
    assert (
        f"the creation of {kind} {name} after repeated tries: {said}; usually an admission webhook hangs"
        in stage.message()
    )
    writes = len(stage.server.calls)
    stage.passes(3)
    assert len(stage.server.calls) == writes, "it is said once"
    assert [event["reason"] for event in stage.server.all(EVENTS)] == ["AdmissionDenied"]
    stage.server.fault = lambda _: None
    stage.passes(2)
    assert stage.running() == "False Pending"
    assert len(stage.server.all(PODS)) == 2


def test_a_status_that_cannot_be_written_is_told_by_an_event() -> None:
    stage = Stage()
    stage.server.fault = lambda call: "403" if call.verb == "patch" else None
    stage.passes(4)
    assert stage.running() == "-"
    (event,) = stage.server.all(EVENTS)
    assert event["type"] == "Warning"
    assert (
        "the status of TrainingJob seedlings after repeated tries: it responds 403 Forbidden" in event["note"]
    )


def test_pods_that_cannot_be_deleted_are_told_and_a_job_that_trains_still_runs() -> None:
    stage = Stage()
    stage.passes()
    for pod in stage.server.all(PODS):
        stage.server.start(pod)
    stage.server.edit(JOBS, *KEY[:2], lambda raw: raw["spec"].update(suspend=True))
    asyncio.run(stage.operator.relist())
    stage.server.fault = lambda call: "before" if call.verb == "delete" else None
    stage.passes(3)
    assert "did not complete the deletion of Pod seedlings-1-driver" in stage.message()
    stage.server.fault = lambda _: None
    stage.passes()
    assert stage.running() == "False Stopping"


def test_a_write_that_fails_now_and_then_is_not_told() -> None:
    stage = Stage()
    for _ in range(3):
        stage.server.fault = lambda call: "before" if call.kind == "Secret" else None
        stage.passes(2)
        stage.server.fault = lambda _: None
        stage.passes()
        for pod in stage.server.all(PODS):
            stage.server.vanish(pod)
        asyncio.run(stage.operator.relist())
    assert stage.running() != "False AdmissionDenied"


def test_an_answer_that_was_lost_on_its_way_back_is_found_and_nothing_is_told() -> None:
    stage = Stage()
    stage.server.fault = lambda call: "after" if call.kind in ("Secret", "Pod", "Service") else None
    stage.passes(9)
    assert len(stage.server.all(PODS)) == 2
