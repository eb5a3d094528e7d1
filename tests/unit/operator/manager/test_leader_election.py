"""The lease: taken, renewed, given up, followed; a network that fails or hangs is a lease not held, no crash."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from seedbed_operator.kube_client.client_interface import ApiStatusError, NoApiResponse, RawObject
from seedbed_operator.kube_client.resource_kinds import ResourceKind
from seedbed_operator.manager import leader_election
from seedbed_operator.manager.leader_election import LeaseLock, run_election

pytestmark = pytest.mark.slow


class Leases:
    """Where one lease is kept."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.unhealthy_reason: Exception | None = None
        self.hangs = False

    async def get(self, kind: ResourceKind, namespace: str, name: str) -> RawObject:
        await self._answer()
        if self.lease is None:
            raise ApiStatusError(404, "NotFound", name)
        return self.lease

    async def create(self, kind: ResourceKind, namespace: str, body: RawObject) -> RawObject:
        await self._answer()
        if self.lease is not None:
            raise ApiStatusError(409, "AlreadyExists", "leases")
        self.lease = {**body, "metadata": {"name": body["metadata"]["name"], "resourceVersion": "1"}}
        return self.lease

    async def replace(self, kind: ResourceKind, namespace: str, name: str, body: RawObject) -> RawObject:
        await self._answer()
        assert self.lease is not None
        version = self.lease["metadata"]["resourceVersion"]
        if body["metadata"]["resourceVersion"] != version:
            raise ApiStatusError(409, "Conflict", "leases")
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(int(version) + 1)}}
        return self.lease

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.sleep(3600)
        if self.unhealthy_reason:
            raise self.unhealthy_reason

    @property
    def holder(self) -> str | None:
        return self.lease["spec"]["holderIdentity"] if self.lease else None


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (
        ("LEASE_SECONDS", 4),
        ("RENEW_SECONDS", 2),
        ("RETRY_SECONDS", 1),
        ("CALL_SECONDS", 0.2),
    ):
        monkeypatch.setattr(leader_election, name, seconds)


def a_lock(leases: Leases, identity: str) -> LeaseLock:
    return LeaseLock(leases, "system", "seedbed-operator", identity)  # type: ignore[arg-type]


async def leads(lock: LeaseLock) -> asyncio.Task[None]:
    begun = asyncio.Event()
    task = asyncio.create_task(run_election(lock, begun.set))
    await asyncio.wait_for(begun.wait(), 120)
    return task


def test_a_lease_is_created_and_renewed_and_followed_at_once_when_given_up() -> None:
    async def story() -> None:
        leases = Leases()
        first = a_lock(leases, "first")
        task = await leads(first)
        assert leases.lease is not None
        acquired = leases.lease["spec"]["acquireTime"]
        await asyncio.sleep(1.3)
        assert leases.lease["metadata"]["resourceVersion"] != "1"
        assert leases.lease["spec"]["acquireTime"] == acquired
        task.cancel()
        await first.release()
        assert leases.holder == ""
        following = await leads(a_lock(leases, "second"))
        assert leases.holder == "second"
        assert leases.lease["spec"]["leaseTransitions"] == 2
        await first.release()
        assert leases.holder == "second", "only its holder gives a lease up"
        following.cancel()

    asyncio.run(story())


@pytest.mark.parametrize("trouble", ["unanswered", "hanging", "refused"])
def test_a_leader_that_cannot_renew_stops_leading(trouble: str) -> None:
    async def story() -> None:
        leases = Leases()
        task = await leads(a_lock(leases, "first"))
        leases.hangs = trouble == "hanging"
        leases.unhealthy_reason = {
            "unanswered": NoApiResponse("away"),
            "refused": ApiStatusError(500, "Error", "no"),
        }.get(trouble)
        await asyncio.wait_for(task, 120)

    asyncio.run(story())


def test_a_lease_that_is_not_renewed_is_taken_over() -> None:
    async def story() -> None:
        leases = Leases()
        (await leads(a_lock(leases, "first"))).cancel()
        task = await leads(a_lock(leases, "second"))
        assert leases.holder == "second"
        task.cancel()

    asyncio.run(story())
