"""Leader election by a Lease: the one of `kubernetes.aio`, with time limits for an API server that hangs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.baselock import BaseLock

from seedbed_operator.kube_client.client_interface import ApiError, ApiStatusError, NoApiResponse
from seedbed_operator.kube_client.http_client import HttpKubeClient
from seedbed_operator.kube_client.resource_kinds import LEASES

LEASE_SECONDS: Final = 30
RENEW_SECONDS: Final = 20
RETRY_SECONDS: Final = 4
CALL_SECONDS: Final = 5

log = logging.getLogger(__name__)


class LeaseLock(BaseLock):
    """Lock on a Lease object. Every call ends within CALL_SECONDS."""

    def __init__(self, cluster: HttpKubeClient, namespace: str, name: str, identity: str) -> None:
        super().__init__(name, namespace, identity)
        self._cluster = cluster
        self._seen: dict[str, Any] = {}

    async def get(self, name: str, namespace: str) -> tuple[bool, Any]:
        """Return the record of the lease, or the error as the election expects it."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                self._seen = dict(await self._cluster.get(LEASES, namespace, name))
        except ApiStatusError as refused:
            return False, _exception(refused.code, refused.reason)
        except (NoApiResponse, TimeoutError) as error:
            return False, _exception(0, str(error) or "no response in time")
        return True, _record(self._seen.get("spec") or {})

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        """Create the lease with ourselves as the holder; return whether that worked."""
        body = {"metadata": {"name": name}, "spec": self._spec(election_record)}
        return await self._done(self._cluster.create(LEASES, namespace, body))

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        """Take or renew the lease as it was last seen; return whether that worked."""
        body = {**self._seen, "spec": self._spec(updated_record)}
        return await self._done(self._cluster.replace(LEASES, namespace, name, body))

    async def release(self) -> None:
        """Release the lease if we hold it, so that another operator need not wait for it to expire."""
        found, record = await self.get(self.name, self.namespace)
        if not found or record.holder_identity != self.identity:
            return
        spec = {**self._seen["spec"], "holderIdentity": ""}
        replacing = self._cluster.replace(LEASES, self.namespace, self.name, {**self._seen, "spec": spec})
        if await self._done(replacing):
            log.info("released the lease %s/%s", self.namespace, self.name)

    def _spec(self, record: LeaderElectionRecord) -> dict[str, Any]:
        seen, now = self._seen.get("spec") or {}, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        renewed = seen.get("holderIdentity") == self.identity and "acquireTime" in seen
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(float(record.lease_duration or LEASE_SECONDS)),
            "acquireTime": seen["acquireTime"] if renewed else now,
            "renewTime": now,
            "leaseTransitions": int(seen.get("leaseTransitions") or 0) + (not renewed),
        }

    async def _done(self, call: Awaitable[object]) -> bool:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await call
        except (ApiError, TimeoutError) as error:
            log.warning("cannot write the lease: %s", str(error) or "no response in time")
            return False
        return True


def _exception(code: int, reason: str) -> ApiException:
    error = ApiException(status=code, reason=reason)
    error.body = json.dumps({"code": code})
    return error


def _record(spec: Mapping[str, Any]) -> LeaderElectionRecord:
    return LeaderElectionRecord(
        spec.get("holderIdentity") or None,
        str(spec["leaseDurationSeconds"]) if "leaseDurationSeconds" in spec else None,
        spec.get("acquireTime"),
        spec.get("renewTime"),
    )


async def run_election(lock: LeaseLock, on_start: Callable[[], None]) -> None:
    """Wait for the lease, call `on_start`, and return when the lease is lost."""

    async def started() -> None:
        on_start()

    async def stopped() -> None:
        log.error("lost the lease %s/%s", lock.namespace, lock.name)

    election = LeaderElection(
        Config(
            lock,
            lease_duration=LEASE_SECONDS,
            renew_deadline=RENEW_SECONDS,
            retry_period=RETRY_SECONDS,
            onstarted_leading=started,
            onstopped_leading=stopped,
        )
    )
    await election.run()
