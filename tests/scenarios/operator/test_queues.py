"""Jobs behind a queue: two that are admitted pod by pod come to their end; as groups they never block each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from scenarios.operator.queues import COUNT, ENDED, GATE, GROUP, QUEUE, Queue
from seedbed_api.trainingjob_status import WorkerCounts
from seedbed_operator.kube_client.client_interface import RawObject
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES
from support.operator.builders import IMAGE, a_recipe, an_outcome, live
from support.operator.fake_api_server import ApiServer
from support.operator.operator_instance import Drivers, Incarnation

TEAM = "team"
ADDRESS = "10.0.0.7"
MOST_ROUNDS = 300


class Stage:
    """Jobs that want a driver and two workers each, a queue, and nodes that run whatever is admitted."""

    def __init__(
        self, *names: str, room: int, groups: bool = True, most: int = 2, labelled: bool = True
    ) -> None:
        self.server = ApiServer()
        self.queue = Queue(self.server, room=room, groups=groups)
        allowed = {"image": IMAGE, "allowedLabels": ["kueue.x-k8s.io/"]}
        self.server.apply(PROFILES, {"metadata": {"name": "default"}, "spec": allowed})
        workers = {"min": 2, "max": most}
        for name in names:
            metadata = {"name": name, "namespace": TEAM, "labels": {QUEUE: "team-a"} if labelled else {}}
            spec = {**a_recipe(), "cluster": {"workers": workers}}
            self.server.apply(JOBS, {"metadata": metadata, "spec": spec})
        self.drivers = Drivers()
        self.half_admitted = 0
        self.operator = asyncio.run(self._begin())

    async def _begin(self) -> Incarnation:
        operator = Incarnation(self.server, drivers=self.drivers)
        await operator.relist()
        return operator

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """Return the pods whose labels of ours have these values."""
        wanted = {f"seedbed.dev/{name}": value for name, value in labels.items()}
        return [raw for raw in self.server.all(PODS) if wanted.items() <= raw["metadata"]["labels"].items()]

    def round(self) -> None:
        """Let operator, queue, nodes and kubelets do what they have to do now."""
        asyncio.run(self.operator.relist())
        asyncio.run(self.operator.steps())
        self.queue.reconcile()
        self.queue.ungate_replacements()
        self._note()
        for pod in self.server.all(PODS):
            if "deletionTimestamp" in pod["metadata"] and pod["status"]["phase"] == "Running":
                self.server.end(pod, 143, "stopped")
                if not pod["metadata"].get("finalizers"):
                    self.server.vanish(pod)
            elif pod["status"]["phase"] == "Pending" and not pod["spec"].get("schedulingGates"):
                self.server.start(pod)
        self.server.collect_garbage()

    def _note(self) -> None:
        """Note whether a job has some of its pods admitted and not all."""
        for job in self.server.all(JOBS):
            gates = {
                bool(pod["spec"].get("schedulingGates")) for pod in self.pods(job=job["metadata"]["name"])
            }
            self.half_admitted += len(gates) > 1

    def until(self, reached: Callable[[], bool], *, finishing: bool = False) -> None:
        """Go on until something is reached; time passes where nothing else happens."""
        for _ in range(MOST_ROUNDS):
            before = len(self.server.log)
            self.round()
            if reached():
                return
            if finishing:
                self._finish_whole_gangs()
            if len(self.server.log) == before:
                due = min(self.operator.due.values(), default=self.server.now)
                self.server.now = max(self.server.now + timedelta(seconds=1), due)
        raise AssertionError([self.status(job["metadata"]["name"]) for job in self.server.all(JOBS)])

    def _finish_whole_gangs(self) -> None:
        """Let a driver end well whose workers all run."""
        for driver in self.pods(role="driver"):
            labels = driver["metadata"]["labels"]
            gang = self.pods(job=labels["seedbed.dev/job"], attempt=labels["seedbed.dev/attempt"])
            if len(gang) == 3 and all(pod["status"]["phase"] == "Running" for pod in gang):
                self.server.end(driver, 0, an_outcome())

    def status(self, name: str) -> dict[str, Any]:
        raw = self.server.find(JOBS, TEAM, name)
        assert raw is not None
        return dict(raw.get("status") or {})

    def says(self, name: str, kind: str = "Running") -> str:
        found = {each["type"]: each for each in self.status(name).get("conditions", ())}
        return f"{found[kind]['status']} {found[kind]['reason']}" if kind in found else "-"

    def message(self, name: str) -> str:
        found = {each["type"]: each for each in self.status(name)["conditions"]}
        return str(found["Running"]["message"])

    def complete(self) -> bool:
        return all(
            self.says(job["metadata"]["name"], "Complete") == "True Trained" for job in self.server.all(JOBS)
        )

    def trains(self, name: str, *, ready: int = 2) -> None:
        """Bring a job to its first step."""
        self.until(lambda: all(pod["status"]["phase"] == "Running" for pod in self.pods(job=name)))
        raw = self.server.find(JOBS, TEAM, name)
        assert raw is not None
        counts = WorkerCounts(ready=ready, desired=ready)
        word = live(7, job_uid=raw["metadata"]["uid"], workers=counts)
        self.drivers.answers[ADDRESS] = word
        self.server.now += timedelta(seconds=90)
        self.until(lambda: self.says(name) == "True Training")


@pytest.mark.parametrize("room", [3, 4, 5])
def test_two_jobs_that_are_admitted_pod_by_pod_do_not_wait_for_each_other_for_ever(room: int) -> None:
    stage = Stage("one", "two", room=room, groups=False)
    stage.until(lambda: stage.half_admitted > 0)
    stage.until(stage.complete, finishing=True)
    assert all(stage.status(name).get("failures", 0) == 0 for name in ("one", "two"))


@pytest.mark.parametrize("room", [3, 4, 5])
def test_as_groups_they_are_admitted_one_after_the_other_and_nothing_is_given_back(room: int) -> None:
    stage = Stage("one", "two", room=room)
    stage.until(stage.complete, finishing=True)
    assert stage.half_admitted == 0
    assert [stage.status(name)["attempts"] for name in ("one", "two")] == [1, 1]


def test_every_pod_of_a_queued_job_goes_through_the_queue_and_a_group_has_one_name_and_count() -> None:
    stage = Stage("one", room=0)
    stage.round()
    pods = stage.pods(job="one")
    assert len(pods) == 3
    assert all(pod["spec"]["schedulingGates"] == [GATE] for pod in pods)
    assert len({pod["metadata"]["labels"][GROUP] for pod in pods}) == 1
    assert {pod["metadata"]["annotations"][COUNT] for pod in pods} == {"3"}
    stage.until(lambda: stage.says("one") == "False Queued")
    assert f"kubectl describe workload {pods[0]['metadata']['labels'][GROUP]}" in stage.message("one")


def test_pods_of_a_job_without_a_queue_have_no_group_and_their_driver_for_controller() -> None:
    stage = Stage("one", room=0, labelled=False)
    stage.round()
    pods = stage.pods(job="one")
    assert not any(
        GROUP in pod["metadata"]["labels"] or COUNT in pod["metadata"]["annotations"] for pod in pods
    )
    assert all(pod["metadata"]["ownerReferences"][0]["controller"] for pod in pods)


def test_workers_above_the_minimum_wait_in_the_queue_by_themselves_and_hold_nobody_up() -> None:
    stage = Stage("one", room=3, most=4)
    stage.trains("one")
    stage.until(lambda: len(stage.pods(job="one")) == 5)
    more = [pod for pod in stage.pods(job="one") if pod["spec"].get("schedulingGates")]
    assert len(more) == 2
    assert not any(GROUP in pod["metadata"]["labels"] for pod in more)
    stage.server.now += timedelta(seconds=500)
    stage.drivers.answers[ADDRESS] = stage.drivers.answers[ADDRESS].model_copy(update={"progress": None})
    stage.round()
    assert stage.says("one") == "True Training"
    stage.queue.room = 5
    stage.until(lambda: all(pod["status"]["phase"] == "Running" for pod in stage.pods(job="one")))
    assert stage.queue.excess == []


@pytest.mark.parametrize("graceful", [True, False], ids=["told to end", "ended"])
def test_a_worker_of_the_minimum_is_replaced_within_its_group_once_it_has_ended(graceful: bool) -> None:
    stage = Stage("one", room=3)
    stage.trains("one")
    lost = stage.pods(job="one", role="worker")[0]
    if graceful:
        stage.server.remove(PODS, TEAM, lost["metadata"]["name"])
    else:
        stage.server.end(lost, 137, disruption="EvictionByEvictionAPI")
    asyncio.run(stage.operator.relist())
    asyncio.run(stage.operator.steps())
    running = {pod["metadata"]["name"] for pod in stage.pods(job="one") if _counts(pod)}
    assert len(running) <= 3, "a fourth pod of the group would be deleted by the queue"
    stage.until(
        lambda: len([pod for pod in stage.pods(job="one") if pod["status"]["phase"] == "Running"]) == 3
    )
    assert stage.queue.excess == []
    assert stage.status("one")["attempts"] == 1
    assert len({pod["metadata"]["labels"].get(GROUP) for pod in stage.pods(job="one")}) == 1


def _counts(pod: RawObject) -> bool:
    return GROUP in pod["metadata"]["labels"] and pod["status"]["phase"] not in ENDED


def test_a_job_that_is_suspended_while_it_is_queued_leaves_nothing_behind() -> None:
    stage = Stage("one", room=0)
    stage.round()
    stage.server.edit(JOBS, TEAM, "one", lambda raw: raw["spec"].update(suspend=True))
    stage.until(lambda: stage.says("one", "Suspended") == "True Suspended")
    assert stage.server.all(PODS) == []
    stage.server.edit(JOBS, TEAM, "one", lambda raw: raw["spec"].update(suspend=False))
    stage.queue.room = 3
    stage.until(stage.complete, finishing=True)


def test_the_queue_lets_go_a_failed_attempt_and_the_next_one_queues_as_another_group() -> None:
    stage = Stage("one", room=3)
    stage.trains("one")
    groups = {pod["metadata"]["labels"][GROUP] for pod in stage.pods(job="one")}
    stage.server.end(stage.pods(role="driver")[0], 75, an_outcome("Failed", "StorageUnavailable"))
    stage.drivers.answers.clear()
    stage.until(stage.complete, finishing=True)
    assert stage.status("one")["attempts"] == 2
    assert stage.queue.held() == 0
    assert len(groups) == 1


def test_what_a_queue_takes_back_is_a_preemption_and_no_failure() -> None:
    stage = Stage("one", room=3)
    stage.trains("one")
    stage.queue.evict(stage.pods(job="one")[0]["metadata"]["labels"][GROUP])
    stage.drivers.answers.clear()
    stage.until(lambda: stage.status("one").get("preemptions") == 1)
    assert stage.status("one").get("failures", 0) == 0
    assert "WorkloadEvicted" in str(stage.status("one")["lastFailure"]["message"])
    stage.until(stage.complete, finishing=True)
