"""Execute the actions of a plan in order until one is rejected; every write is stored in the cache.

Nothing is adopted: an existing object is ours only if it has the controller we would set.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cachetools import FIFOCache

from seedbed_api.pod_contract import env_vars
from seedbed_api.pod_contract.labels import ATTEMPT_LABEL
from seedbed_operator.backends.child_metadata import driver_owner_reference
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.informer_cache.object_views import controller_uid
from seedbed_operator.job_observation import RejectedWrite
from seedbed_operator.kube_client.client_interface import (
    NOT_SERVED,
    ApiError,
    ApiStatusError,
    KubeClient,
    RawObject,
)
from seedbed_operator.kube_client.resource_kinds import (
    CREATABLE,
    KIND_OF_JOB,
    NETWORK_POLICIES,
    PODS,
    SECRETS,
    JobKey,
    Key,
    ResourceKind,
)
from seedbed_operator.plan import Action, Create, Delete, DeleteJob

TOKEN_BYTES = 32
MOST_SHARED: Final = 10_000

log = logging.getLogger(__name__)


class StaleCache(Exception):  # noqa: N818 - control flow, not a failure
    """The cache was stale and is updated: plan again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionResult:
    """Result of executing a plan."""

    writes: int
    """Number of successful writes."""
    rejected_write: RejectedWrite | None
    """The write that the API server rejected; later ones were not tried."""


class PlanExecutor:
    """Writes to the API server and stores the results in the cache."""

    def __init__(self, cluster: KubeClient, cache: InformerCache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._shared: MutableMapping[Key, tuple[JobKey, str]] = FIFOCache(MOST_SHARED)
        """Objects that all jobs of a namespace share, each with key and uid of a job that has created it."""

    async def execute(self, job: JobKey, actions: Sequence[Action], now: datetime) -> ExecutionResult:
        """Execute the actions of a plan; raise StaleCache where the cache was stale."""
        for done, action in enumerate(actions):
            try:
                await self._do(job, action)
            except ApiError as error:
                if isinstance(error, ApiStatusError) and not is_server_error(error):
                    return ExecutionResult(
                        writes=done, rejected_write=_rejected_write(action, job, error, now)
                    )
                error.write = _describe_write(action, job)
                raise
        return ExecutionResult(writes=len(actions), rejected_write=None)

    async def _do(self, job: JobKey, action: Action) -> None:
        match action:
            case Create() if action.shared:
                await self._create_shared(job, action)
            case Create():
                await self._create(job[0], action)
            case Delete():
                await self._delete(PODS, (job[0], action.name), action.uid, action.grace_seconds)
            case DeleteJob():
                await self._delete(KIND_OF_JOB[job.kind], job[:2], action.uid)

    async def _create_shared(self, job: JobKey, action: Create) -> None:
        """Create an object of the namespace, unless a job has that is still there, and so the namespace."""
        key = (job.namespace, action.name)
        if (known := self._shared.get(key)) is not None and self._uid(known[0]) == known[1]:
            return
        await self._create(job.namespace, action)
        if (uid := self._uid(job)) is not None:
            self._shared[key] = job, uid

    def _uid(self, job: JobKey) -> str | None:
        record = self._cache.job(job)
        return record.uid if record is not None else None

    async def _create(self, namespace: str, action: Create) -> None:
        kind, body = CREATABLE[action.kind], self._body(namespace, action)
        try:
            created = await self._cluster.create(kind, namespace, body)
        except ApiStatusError as refused:
            if refused.code != 409 or refused.reason != "AlreadyExists":
                raise
            await self._accept_ours(kind, namespace, body, refused)
            return
        if kind is PODS:
            self._cache.put(kind, created)
        log.info("created %s %s", kind.name, action.name, extra=_attempt_field(body))

    async def _accept_ours(
        self, kind: ResourceKind, namespace: str, body: RawObject, refused: ApiStatusError
    ) -> None:
        """Accept an object that an earlier reconcile created; raise where it belongs to another.

        A Secret is ours: its name has the job's uid, or it is the one of the namespace, which all jobs share;
        the operator may not read Secrets.
        """
        if kind is SECRETS:
            return
        there = await self._get_existing(kind, namespace, body["metadata"]["name"])
        ours = controller_uid(there) == controller_uid(body) and "deletionTimestamp" not in there["metadata"]
        if kind is NETWORK_POLICIES and ours:
            await self._update_spec(kind, namespace, there, body)
            return
        if kind is PODS and self._cache.put(PODS, there):
            raise StaleCache(f"pod {body['metadata']['name']} exists already")
        if not ours:
            raise refused

    async def _update_spec(
        self, kind: ResourceKind, namespace: str, there: RawObject, body: RawObject
    ) -> None:
        """Give an object of ours the spec of now: the settings may have changed, or a user has edited it."""
        if there.get("spec") == body["spec"]:
            return
        name = body["metadata"]["name"]
        version = {"resourceVersion": there["metadata"]["resourceVersion"]}
        wanted = {**body, "metadata": {**body["metadata"], **version}}
        try:
            await self._cluster.replace(kind, namespace, name, wanted)
        except ApiStatusError as refused:
            if refused.code == 409 or refused.not_found:
                raise StaleCache(f"{kind.name} {name} has just changed") from refused
            raise
        log.info("updated %s %s", kind.name, name)

    async def _get_existing(self, kind: ResourceKind, namespace: str, name: str) -> RawObject:
        try:
            return await self._cluster.get(kind, namespace, name)
        except ApiStatusError as refused:
            if refused.not_found:
                raise StaleCache(f"{kind.name} {name} was just deleted") from refused
            raise

    def _body(self, namespace: str, action: Create) -> RawObject:
        body: dict[str, Any] = dict(action.body)
        if action.owner is not None:
            body["metadata"] = self._owned(namespace, action, body["metadata"])
        if action.kind == "Secret":
            body["stringData"] = {env_vars.TOKEN_KEY: secrets.token_urlsafe(TOKEN_BYTES)}
        return body

    def _owned(self, namespace: str, action: Create, metadata: Mapping[str, Any]) -> RawObject:
        owner = action.owner
        assert owner is not None, "what the job owns knows its uid"
        pod = self._cache.pod((namespace, owner))
        if pod is None or pod.deleting:
            raise StaleCache(f"pod {owner}, the owner of {metadata['name']}, does not exist any more")
        reference = driver_owner_reference(owner, pod.uid, controlled=action.controlled)
        return {**metadata, "ownerReferences": [reference]}

    async def _delete(self, kind: ResourceKind, key: Key, uid: str, grace_seconds: int | None = None) -> None:
        """Delete an object; success where it is gone or has another uid."""
        try:
            answer = await self._cluster.delete(kind, *key, uid=uid, grace_seconds=grace_seconds)
        except ApiStatusError as refused:
            if not refused.not_found and refused.code != 409:
                raise
            self._cache.drop(kind, key, uid)
            return
        log.info("deleted %s %s", kind.name, key[1])
        if answer.get("kind") == kind.name:
            self._cache.put(kind, answer)
        else:
            self._cache.drop(kind, key, uid)


def _describe_write(action: Action, job: JobKey) -> str:
    match action:
        case Create():
            return f"the creation of {action.kind} {action.name}"
        case Delete():
            return f"the deletion of {action.kind} {action.name}"
        case DeleteJob():
            return f"the deletion of {job.kind} {job.name}"


def _attempt_field(body: RawObject) -> Mapping[str, str]:
    number = body["metadata"].get("labels", {}).get(ATTEMPT_LABEL)
    return {"attempt": number} if number else {}


def is_server_error(refused: ApiStatusError) -> bool:
    """Return whether a retry may succeed soon; not so while an admission webhook is down."""
    if "failed calling webhook" in refused.message:
        return False
    return refused.code >= 500 or refused.code == 429 or refused.reason == NOT_SERVED


def _rejected_write(action: Action, job: JobKey, refused: ApiStatusError, now: datetime) -> RejectedWrite:
    kind, name = (job.kind, job.name) if isinstance(action, DeleteJob) else (action.kind, action.name)
    return RejectedWrite(
        kind=kind, name=name, code=refused.code, reason=refused.reason, message=refused.message, time=now
    )
