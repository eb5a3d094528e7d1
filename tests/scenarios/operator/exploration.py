"""A story that chance writes: steps of people, nodes, the network and crashes, with checks at every write.

After the steps it grows calm, and the job must come to its end whatever has happened.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from seedbed_operator.informer_cache.object_views import controller_uid, pod_view
from seedbed_operator.kube_client.client_interface import KubeClient, ListPage, RawObject
from seedbed_operator.kube_client.resource_kinds import (
    JOBS,
    PODS,
    PROFILES,
    SECRETS,
    SERVICES,
    JobKey,
    ResourceKind,
)
from support.operator.builders import IMAGE, a_recipe, an_outcome
from support.operator.fake_api_server import ApiServer, Crash, WatchEvent
from support.operator.operator_instance import Drivers, Incarnation

TEAM = "team"
KEY = JobKey(TEAM, "seedlings")
FOREIGN = "example.org/foreign"
MOST_ROUNDS = 400
Step = tuple[str, int]


@dataclass
class Guard:
    """The port with the promises checked at every write that takes effect."""

    server: ApiServer
    observed_uid: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)

    async def pages(
        self, kind: ResourceKind, namespace: str | None, *, labels: str = ""
    ) -> AsyncIterator[ListPage]:
        async for page in self.server.pages(kind, namespace, labels=labels):
            yield page

    async def create(self, kind: ResourceKind, namespace: str, body: RawObject) -> RawObject:
        if kind is PODS and body["metadata"]["labels"]["seedbed.dev/role"] == "driver":
            self._begins_a_new_attempt(body)
        if kind is PODS and body["metadata"]["labels"]["seedbed.dev/role"] == "worker":
            self._fits_its_driver(body)
        try:
            return await self.server.create(kind, namespace, body)
        finally:
            self._one_driver_at_a_time()

    async def delete(
        self, kind: ResourceKind, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> RawObject:
        there = self.server.find(kind, namespace, name)
        if there is not None and there["metadata"]["uid"] == uid:
            assert not _is_foreign(there), f"{kind.name} {name} is another's, and was deleted"
        return await self.server.delete(kind, namespace, name, uid=uid, grace_seconds=grace_seconds)

    async def patch_status(
        self, kind: ResourceKind, namespace: str, name: str, *, resource_version: str, patch: RawObject
    ) -> RawObject:
        there = self.server.find(kind, namespace, name)
        answer = await self.server.patch_status(
            kind, namespace, name, resource_version=resource_version, patch=patch
        )
        assert there is not None
        assert there["metadata"]["uid"] == self.observed_uid, "a status on the wrong object"
        return answer

    def _begins_a_new_attempt(self, body: RawObject) -> None:
        """An attempt that the status knows of has had its driver."""
        job, number = self.server.find(JOBS, *KEY[:2]), int(body["metadata"]["labels"]["seedbed.dev/attempt"])
        if job is not None and job["metadata"]["uid"] == controller_uid(body):
            known = (job.get("status") or {}).get("attempts", 0)
            assert known < number, f"attempt {number} was begun twice"

    def _fits_its_driver(self, body: RawObject) -> None:
        """A worker writes where its driver does."""
        for raw in self.server.all(PODS):
            if raw["metadata"]["uid"] == controller_uid(body):
                assert _output_of(raw) == _output_of(body), "a worker that writes elsewhere than its driver"

    def _one_driver_at_a_time(self) -> None:
        views = [view for raw in self.server.all(PODS) if not _is_foreign(raw) and (view := pod_view(raw))]
        live = [view for view in views if view.role == "driver" and not view.ended and not view.deleting]
        uids = [view.job_uid for view in live]
        assert len(set(uids)) == len(uids), f"two drivers at once: {[view.name for view in live]}"


def _output_of(pod: RawObject) -> Any:
    env = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
    return json.loads(env["SEEDBED_JOB"])["spec"]["output"]


def _is_foreign(raw: RawObject) -> bool:
    return FOREIGN in (raw["metadata"].get("annotations") or {})


Mutation = Callable[[Guard], Guard]


@dataclass
class Story:
    """A cluster with one job, the operator that lives now, and what the watch has yet to tell it."""

    mutation: Mutation = lambda guard: guard
    server: ApiServer = field(default_factory=ApiServer)
    foreigners: dict[str, RawObject] = field(default_factory=dict)
    told: int = 0
    """How many events of the log were delivered or lost."""
    faults: list[str] = field(default_factory=list)
    crashes: int = 0

    async def begin(self) -> None:
        self.server.fault = self._fault
        self.server.apply(PROFILES, {"metadata": {"name": "default"}, "spec": {"image": IMAGE}})
        self._apply_job()
        await self._live()

    async def take(self, steps: Sequence[Step]) -> None:
        for name, number in steps:
            try:
                await getattr(self, f"step_{name}")(number)
            except Crash:
                self.crashes += 1
                await self._live()

    async def _live(self) -> None:
        """Begin a life of the operator: nothing is known but what a list tells."""
        self.guard = self.mutation(Guard(self.server))
        self.told = len(self.server.log)
        self.operator = Incarnation(self.server, cast("KubeClient", self.guard), Drivers())
        await self.operator.relist()

    def _fault(self, call: Any) -> str | None:
        return self.faults.pop(0) if self.faults else None

    def _apply_job(self) -> None:
        spec = {**a_recipe(), "cluster": {"workers": {"min": 1, "max": 2}}, "backoffLimit": 50}
        self.server.apply(JOBS, {"metadata": {"name": KEY[1], "namespace": TEAM}, "spec": spec})

    def job(self) -> RawObject | None:
        return self.server.find(JOBS, *KEY[:2])

    def pods(self) -> list[dict[str, Any]]:
        return [raw for raw in self.server.all(PODS, TEAM) if not _is_foreign(raw)]

    def _pod(self, number: int) -> dict[str, Any] | None:
        pods = self.pods()
        return pods[number % len(pods)] if pods else None

    # -- the operator ------------------------------------------------------------------------------------------

    async def step_pass(self, number: int) -> None:
        """One pass, whether or not anything woke the job."""
        record = self.operator.cache.job(KEY)
        self.guard.observed_uid = record.uid if record else None
        await self.operator.step(KEY)

    async def step_relist(self, number: int) -> None:
        await self.operator.relist()

    async def step_crash(self, number: int) -> None:
        raise Crash

    async def step_fault(self, number: int) -> None:
        """Something befalls the first, second or third write from now on."""
        kinds = ("before", "after", "crash-before", "crash-after", "409", "403", "500")
        self.faults = [*(["none"] * (number // len(kinds) % 3)), kinds[number % len(kinds)]]

    async def step_defect(self, number: int) -> None:
        """The operator itself fails at some passes."""
        self.operator.planner.defects = number % 6

    async def step_press(self, number: int) -> None:
        """Other jobs wait for their first pods, or no more."""
        self.operator.has_new_jobs = bool(number % 2)

    # -- the watch ---------------------------------------------------------------------------------------------

    async def step_deliver(self, number: int) -> None:
        for event in self.server.log[self.told : self.told + number % 5 + 1]:
            self.operator.receive_event(event)
            self.told += 1

    async def step_lose(self, number: int) -> None:
        self.told = min(len(self.server.log), self.told + number % 3 + 1)

    async def step_repeat(self, number: int) -> None:
        """An event comes a second time, or long after its time."""
        if self.told:
            self.operator.receive_event(self._old_event(number))

    async def step_overtake(self, number: int) -> None:
        """A later event comes before an earlier one."""
        if self.told < len(self.server.log):
            self.operator.receive_event(self.server.log[-1])

    def _old_event(self, number: int) -> WatchEvent:
        return self.server.log[number % self.told]

    # -- nodes and controllers ---------------------------------------------------------------------------------

    async def step_start(self, number: int) -> None:
        pod = self._pod(number)
        if pod and pod["status"]["phase"] == "Pending":
            self.server.start(pod)

    async def step_end(self, number: int) -> None:
        pod = self._pod(number)
        code = (0, 1, 2, 75, 137, 143)[number // 7 % 6]
        if pod and pod["status"]["phase"] == "Running":
            message = an_outcome() if code == 0 and "driver" in pod["metadata"]["name"] else "lost"
            self.server.end(pod, 75 if code == 2 else code, message)

    async def step_preempt(self, number: int) -> None:
        pod = self._pod(number)
        if pod and pod["status"]["phase"] == "Running":
            self.server.end(pod, 137, disruption="PreemptionByScheduler")

    async def step_vanish(self, number: int) -> None:
        for pod in self.pods():
            if "deletionTimestamp" in pod["metadata"]:
                self.server.vanish(pod)

    async def step_garbage(self, number: int) -> None:
        self.server.collect_garbage()

    async def step_time(self, number: int) -> None:
        self.server.now += timedelta(seconds=number % 40)

    # -- people ------------------------------------------------------------------------------------------------

    async def step_delete_pod(self, number: int) -> None:
        pod = self._pod(number)
        if pod:
            self.server.remove(PODS, TEAM, pod["metadata"]["name"])

    async def step_delete_job(self, number: int) -> None:
        if self.job():
            self.server.remove(JOBS, *KEY[:2])

    async def step_recreate_job(self, number: int) -> None:
        if self.job() is None:
            self._apply_job()

    async def step_suspend(self, number: int) -> None:
        if self.job():
            self.server.edit(JOBS, *KEY[:2], lambda raw: raw["spec"].update(suspend=bool(number % 2)))

    async def step_edit(self, number: int) -> None:
        """The job is suspended, changed and resumed before the operator looks."""
        if self.job():
            output = {"uri": f"s3://runs-{number % 3}"}
            self.server.edit(JOBS, *KEY[:2], lambda raw: raw["spec"].update(output=output))

    async def step_intrude(self, number: int) -> None:
        """Another's object takes a name that the operator would use, or bears its labels."""
        kind = (PODS, SERVICES)[number % 2]
        name = f"seedlings-{number // 2 % 3 + 1}-{'driver' if kind is PODS else 'head'}"
        if self.server.find(kind, TEAM, name) is None:
            self.foreigners[name] = self.server.apply(kind, _foreign(name, number))

    async def step_replace(self, number: int) -> None:
        """A pod of the operator's is gone, and another's has its name before the operator hears of it."""
        pod = self._pod(number)
        if pod:
            name = pod["metadata"]["name"]
            self.server.vanish(pod)
            self.foreigners[name] = self.server.apply(PODS, _foreign(name, number))

    # -- the end -----------------------------------------------------------------------------------------------

    async def grow_calm(self) -> None:
        """Let everybody do their part, and the job come to its end."""
        self.faults, self.server.down, self.server.quota = [], False, {}
        self.operator.planner.defects, self.operator.has_new_jobs = 0, False
        self.check_foreigners()
        for raw in [raw for raw in self.server.objects.values() if _is_foreign(raw)]:
            kind = PODS if raw["kind"] == "Pod" else SERVICES
            self.server._drop(kind, TEAM, raw["metadata"]["name"])
        if self.job() is None:
            self._apply_job()
        self.server.edit(JOBS, *KEY[:2], lambda raw: raw["spec"].update(suspend=False))
        self.told = len(self.server.log)
        await self.operator.relist()
        for _ in range(MOST_ROUNDS):
            if self._is_over():
                return
            await self._round()
        raise AssertionError(
            f"the job comes to no end: {self.job()}, {[p['metadata']['name'] for p in self.pods()]}"
        )

    async def _round(self) -> None:
        await self.step_deliver(4)
        self.operator.wake_due()
        if KEY in self.operator.woken:
            await self.step_pass(0)
        elif self.told == len(self.server.log) and not self._is_over():
            await self._world_turns()

    async def _world_turns(self) -> None:
        before = len(self.server.log)
        await self.step_vanish(0)
        self.server.collect_garbage()
        for pod in self.pods():
            if pod["status"]["phase"] == "Pending":
                self.server.start(pod)
            elif pod["status"]["phase"] == "Running" and "driver" in pod["metadata"]["name"]:
                self.server.end(pod, 0, an_outcome())
        if len(self.server.log) == before:
            assert self.operator.due, "nothing will ever happen again"
            self.server.now = max(self.server.now, min(self.operator.due.values()))

    def _is_over(self) -> bool:
        job = self.job()
        assert job is not None
        conditions = {c["type"]: c["status"] for c in (job.get("status") or {}).get("conditions", ())}
        ended = "True" in (conditions.get("Complete"), conditions.get("Failed"))
        return ended and self.told == len(self.server.log) and not self.operator.woken

    def check_foreigners(self) -> None:
        """Nothing of another's was touched."""
        for raw in self.foreigners.values():
            kind = PODS if raw["kind"] == "Pod" else SERVICES
            there = self.server.find(kind, TEAM, raw["metadata"]["name"])
            assert there == raw, f"{raw['metadata']['name']} of another's was touched"

    def check_end(self) -> None:
        """Nothing is doubled, nothing is left over, and the cache is what the cluster is."""
        assert not self.pods()
        job = self.job()
        assert job is not None
        secrets = [raw for raw in self.server.all(SECRETS) if controller_uid(raw) == job["metadata"]["uid"]]
        assert len(secrets) <= 1
        assert "InternalError" not in {found["reason"] for found in job["status"]["conditions"]}
        assert self.operator.cache.counts() == {
            "trainingjobs": 1,
            "sweepjobs": 0,
            "pods": 0,
            "trainingprofiles": 1,
        }


def _foreign(name: str, number: int) -> RawObject:
    labels = {"seedbed.dev/job": KEY[1], "seedbed.dev/role": "driver", "seedbed.dev/attempt": "1"}
    return {
        "metadata": {
            "name": name,
            "namespace": TEAM,
            "annotations": {FOREIGN: "yes"},
            "labels": labels if number % 3 else {},
        },
        "spec": {"containers": [{"name": "driver"}]},
    }
