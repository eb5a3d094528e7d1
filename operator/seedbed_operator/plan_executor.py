"""Carry out the actions of a plan, in their order, until one is refused; what was written is in the stores.

Nothing is adopted: what is there already is ours only if its controller is the one we would have set.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seedbed_api.pod_contract import env_vars
from seedbed_api.pod_contract.labels import ATTEMPT_LABEL
from seedbed_operator.backends.child_metadata import owned_by_driver
from seedbed_operator.informer_cache.cache import Stores
from seedbed_operator.informer_cache.object_projections import controller
from seedbed_operator.job_observation import Refusal
from seedbed_operator.kube_client.client_interface import NOT_SERVED, Cluster, ClusterError, Raw, Refused
from seedbed_operator.kube_client.resource_kinds import CREATABLE, KIND_OF, PODS, SECRETS, JobKey, Key, Kind
from seedbed_operator.plan import Action, Create, Delete, DeleteJob

TOKEN_BYTES = 32

log = logging.getLogger(__name__)


class Stale(Exception):  # noqa: N818 - a way out, not a failure
    """The stores were behind the cluster and have now caught up: the plan is void, plan again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What became of a plan's actions."""

    writes: int
    """How many took effect."""
    refusal: Refusal | None
    """The one that the API server refused; those after it were not tried."""


class Applier:
    """Writes to the cluster, and through to the stores."""

    def __init__(self, cluster: Cluster, stores: Stores) -> None:
        self._cluster = cluster
        self._stores = stores

    async def apply(self, job: JobKey, actions: Sequence[Action], now: datetime) -> Applied:
        """Carry out the actions of one job's plan; raise Stale where the stores were behind."""
        for done, action in enumerate(actions):
            try:
                await self._do(job, action)
            except ClusterError as error:
                if isinstance(error, Refused) and not is_trouble_of_the_server(error):
                    return Applied(writes=done, refusal=_refusal(action, job, error, now))
                error.write = _in_words(action, job)
                raise
        return Applied(writes=len(actions), refusal=None)

    async def _do(self, job: JobKey, action: Action) -> None:
        match action:
            case Create():
                await self._create(job[0], action)
            case Delete():
                await self._delete(PODS, (job[0], action.name), action.uid, action.grace_seconds)
            case DeleteJob():
                await self._delete(KIND_OF[job.kind], job[:2], action.uid)

    async def _create(self, namespace: str, action: Create) -> None:
        kind, body = CREATABLE[action.kind], self._body(namespace, action)
        try:
            created = await self._cluster.create(kind, namespace, body)
        except Refused as refused:
            if refused.code != 409 or refused.reason != "AlreadyExists":
                raise
            await self._accept_ours(kind, namespace, body, refused)
            return
        if kind is PODS:
            self._stores.put(kind, created)
        log.info("created %s %s", kind.name, action.name, extra=_attempt(body))

    async def _accept_ours(self, kind: Kind, namespace: str, body: Raw, refused: Refused) -> None:
        """Let pass what an earlier pass of ours created; raise the refusal where it is another's.

        The name of a Secret carries the job's uid and the operator may not read Secrets: it is ours.
        """
        if kind is SECRETS:
            return
        there = await self._look(kind, namespace, body["metadata"]["name"])
        ours = controller(there) == controller(body) and "deletionTimestamp" not in there["metadata"]
        if kind is PODS and self._stores.put(PODS, there):
            raise Stale(f"pod {body['metadata']['name']} is there already")
        if not ours:
            raise refused

    async def _look(self, kind: Kind, namespace: str, name: str) -> Raw:
        try:
            return await self._cluster.get(kind, namespace, name)
        except Refused as refused:
            if refused.gone:
                raise Stale(f"{kind.name} {name} has just gone") from refused
            raise

    def _body(self, namespace: str, action: Create) -> Raw:
        body: dict[str, Any] = dict(action.body)
        if action.owner is not None:
            body["metadata"] = self._owned(namespace, action, body["metadata"])
        if action.kind == "Secret":
            body["stringData"] = {env_vars.TOKEN_KEY: secrets.token_urlsafe(TOKEN_BYTES)}
        return body

    def _owned(self, namespace: str, action: Create, metadata: Mapping[str, Any]) -> Raw:
        owner = action.owner
        assert owner is not None, "what the job owns knows its uid"
        pod = self._stores.pod((namespace, owner))
        if pod is None or pod.deleting:
            raise Stale(f"pod {owner}, which was to own {metadata['name']}, is gone")
        reference = owned_by_driver(owner, pod.uid, controlled=action.controlled)
        return {**metadata, "ownerReferences": [reference]}

    async def _delete(self, kind: Kind, key: Key, uid: str, grace_seconds: int | None = None) -> None:
        """Delete an object; one that is gone, or has another uid by now, needs no deleting."""
        try:
            answer = await self._cluster.delete(kind, *key, uid=uid, grace_seconds=grace_seconds)
        except Refused as refused:
            if not refused.gone and refused.code != 409:
                raise
            self._stores.drop(kind, key, uid)
            return
        log.info("deleted %s %s", kind.name, key[1])
        if answer.get("kind") == kind.name:
            self._stores.put(kind, answer)
        else:
            self._stores.drop(kind, key, uid)


def _in_words(action: Action, job: JobKey) -> str:
    match action:
        case Create():
            return f"the creation of {action.kind} {action.name}"
        case Delete():
            return f"the deletion of {action.kind} {action.name}"
        case DeleteJob():
            return f"the deletion of {job.kind} {job.name}"


def _attempt(body: Raw) -> Mapping[str, str]:
    number = body["metadata"].get("labels", {}).get(ATTEMPT_LABEL)
    return {"attempt": number} if number else {}


def is_trouble_of_the_server(refused: Refused) -> bool:
    """Tell whether the same write may succeed at any moment; not so while an admission webhook is down."""
    if "failed calling webhook" in refused.message:
        return False
    return refused.code >= 500 or refused.code == 429 or refused.reason == NOT_SERVED


def _refusal(action: Action, job: JobKey, refused: Refused, now: datetime) -> Refusal:
    kind, name = (job.kind, job.name) if isinstance(action, DeleteJob) else (action.kind, action.name)
    return Refusal(
        kind=kind, name=name, code=refused.code, reason=refused.reason, message=refused.message, time=now
    )
