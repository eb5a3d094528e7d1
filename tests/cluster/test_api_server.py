"""The API server in memory keeps to what the real one does: the same stories, told to both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.operator_process import install
from seedbed_api.pod_contract.labels import POD_SELECTOR
from seedbed_operator.kube_client.client_config import load_configuration
from seedbed_operator.kube_client.client_interface import ApiStatusError, KubeClient, RawObject
from seedbed_operator.kube_client.http_client import HttpKubeClient, RequestLimits
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, SECRETS, ResourceKind
from support.operator.builders import IMAGE, a_recipe
from support.operator.fake_api_server import ApiServer as InMemory
from testbed.control_plane import ControlPlane

pytestmark = pytest.mark.cluster
GONE = "00000000-0000-4000-8000-000000000000"


@dataclass
class Ground:
    """A cluster and a namespace in it."""

    cluster: KubeClient
    namespace: str
    bind: Callable[[str], None]
    """Give a pod a node, as the scheduler does."""

    async def job(self, name: str = "seedlings") -> RawObject:
        body = {"apiVersion": JOBS.api_version, "kind": JOBS.name, "metadata": {"name": name}}
        return await self.cluster.create(JOBS, self.namespace, {**body, "spec": a_recipe()})

    async def pod(self, name: str = "seedlings-1-driver", owner: str | None = None) -> RawObject:
        labels = {"app.kubernetes.io/managed-by": "seedbed", "seedbed.dev/job": "seedlings"}
        metadata: dict[str, Any] = {"name": name, "namespace": self.namespace, "labels": labels}
        if owner is not None:
            reference = {"apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": owner, "controller": True}
            metadata["ownerReferences"] = [reference]
        spec = {"containers": [{"name": "driver", "image": IMAGE}], "schedulerName": "nobody"}
        return await self.cluster.create(PODS, self.namespace, {"metadata": metadata, "spec": spec})

    async def delete(self, kind: ResourceKind, raw: RawObject, uid: str | None = None) -> RawObject:
        metadata = raw["metadata"]
        return await self.cluster.delete(kind, self.namespace, metadata["name"], uid=uid or metadata["uid"])

    async def patch(self, raw: RawObject, version: str, **status: Any) -> RawObject:
        name = raw["metadata"]["name"]
        return await self.cluster.patch_status(
            JOBS, self.namespace, name, resource_version=version, patch=status
        )


@pytest.fixture(params=["memory", "real"])
def tell(request: pytest.FixtureRequest) -> Iterator[Callable[[Callable[[Ground], Awaitable[None]]], None]]:
    """Tell a story on one of the two."""
    if request.param == "memory":
        server = InMemory()

        def bind(name: str) -> None:
            server.edit(PODS, "team", name, lambda raw: raw["spec"].update(nodeName="node-a"))

        yield lambda story: asyncio.run(story(Ground(cluster=server, namespace="team", bind=bind)))  # type: ignore[arg-type]
        return
    control: ControlPlane = request.getfixturevalue("control_plane")
    namespace: str = request.getfixturevalue("namespace")
    install(control.kube)

    def bind_really(name: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/binding"
        binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": "node-a"}}
        control.kube.create(path, binding)

    async def really(story: Callable[[Ground], Awaitable[None]]) -> None:
        cluster = HttpKubeClient(await load_configuration(str(control.kubeconfig)), RequestLimits())
        try:
            await story(Ground(cluster=cluster, namespace=namespace, bind=bind_really))
        finally:
            await cluster.close()

    yield lambda story: asyncio.run(really(story))


Tell = Callable[[Callable[[Ground], Awaitable[None]]], None]


async def refused(call: Awaitable[object]) -> tuple[int, str]:
    with pytest.raises(ApiStatusError) as answer:
        await call
    return answer.value.code, answer.value.reason


def test_a_name_is_taken_until_its_object_is_gone(tell: Tell) -> None:
    async def story(ground: Ground) -> None:
        pod = await ground.pod()
        assert await refused(ground.pod()) == (409, "AlreadyExists")
        ground.bind("seedlings-1-driver")
        terminating = await ground.delete(PODS, pod)
        assert terminating["kind"] == "Pod"
        assert "deletionTimestamp" in terminating["metadata"]
        assert await refused(ground.pod()) == (409, "AlreadyExists")
        again = await ground.delete(PODS, pod)
        assert again["metadata"]["uid"] == pod["metadata"]["uid"]

    tell(story)


def test_a_pod_without_a_node_is_gone_at_once(tell: Tell) -> None:
    async def story(ground: Ground) -> None:
        pod = await ground.pod("worker")
        assert (await ground.delete(PODS, pod))["kind"] == "Pod"
        assert await refused(ground.cluster.get(PODS, ground.namespace, "worker")) == (404, "NotFound")
        assert await refused(ground.delete(PODS, pod)) == (404, "NotFound")

    tell(story)


def test_a_deletion_with_another_uid_is_a_conflict(tell: Tell) -> None:
    async def story(ground: Ground) -> None:
        job = await ground.job()
        assert await refused(ground.delete(JOBS, job, uid=GONE)) == (409, "Conflict")
        assert (await ground.delete(JOBS, job))["kind"] == "Status"
        new = await ground.job()
        assert new["metadata"]["uid"] != job["metadata"]["uid"]
        assert int(new["metadata"]["resourceVersion"]) > int(job["metadata"]["resourceVersion"])

    tell(story)


def test_a_status_is_merged_into_the_version_that_was_seen_and_no_other(tell: Tell) -> None:
    async def story(ground: Ground) -> None:
        job = await ground.job()
        seen = job["metadata"]["resourceVersion"]
        written = await ground.patch(job, seen, attempts=1, retryTime="2030-01-02T12:00:00Z")
        version = written["metadata"]["resourceVersion"]
        assert int(version) > int(seen)
        assert written["metadata"]["generation"] == job["metadata"]["generation"]
        assert await refused(ground.patch(job, seen, attempts=2)) == (409, "Conflict")
        assert (await ground.patch(job, version, attempts=1))["metadata"]["resourceVersion"] == version
        last = await ground.patch(job, version, retryTime=None)
        assert {name: last["status"].get(name) for name in ("attempts", "retryTime", "metrics")} == {
            "attempts": 1,
            "retryTime": None,
            "metrics": [],
        }
        assert (await refused(ground.patch(last, last["metadata"]["resourceVersion"], attempts=-1)))[0] == 422
        await ground.delete(JOBS, job)
        assert await refused(ground.patch(job, version, attempts=2)) == (404, "NotFound")

    tell(story)


def test_a_list_holds_what_its_labels_select_at_one_version(tell: Tell) -> None:
    async def story(ground: Ground) -> None:
        for number in range(5):
            await ground.pod(f"worker-{number}")
        pages = [page async for page in ground.cluster.pages(PODS, ground.namespace, labels=POD_SELECTOR)]
        items = [raw for page in pages for raw in page.items]  # which can be read once
        names = [raw["metadata"]["name"] for raw in items]
        assert names == [f"worker-{number}" for number in range(5)]
        assert len({page.resource_version for page in pages}) == 1
        newest = max(int(raw["metadata"]["resourceVersion"]) for raw in items)
        assert int(pages[0].resource_version) >= newest
        none = [
            page
            async for page in ground.cluster.pages(PODS, ground.namespace, labels="seedbed.dev/job=other")
        ]
        assert [list(page.items) for page in none] == [[]]

    tell(story)


def test_a_secret_is_written_as_strings_and_kept_as_data(tell: Tell) -> None:
    async def story(ground: Ground) -> None:
        body = {"metadata": {"name": "token"}, "stringData": {"token": "x"}, "immutable": True}
        created = await ground.cluster.create(SECRETS, ground.namespace, body)
        assert list(created["data"]) == ["token"]
        assert await refused(ground.cluster.create(SECRETS, ground.namespace, body)) == (409, "AlreadyExists")

    tell(story)
