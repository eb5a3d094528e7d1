"""An API server in memory, with what can go wrong at the real one; the operator's port is implemented by it.

What it does as the real one does: uids and resource versions, 409 for a name that is taken, also by a pod that
is terminating, deletion with uid preconditions and grace, status writes guarded by the resource version, owners
and their garbage, quota, defaults of our CRD, a log of watch events. `tests/cluster/test_api_server.py` runs
the same stories against a real one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from seedbed_api.trainingjob_status import TrainingJobStatus
from seedbed_operator.kube_client.client_interface import ApiStatusError, ListPage, NoApiResponse, RawObject
from seedbed_operator.kube_client.resource_kinds import (
    CORE_EVENTS,
    EVENTS,
    JOBS,
    PODS,
    PROFILES,
    SECRETS,
    SERVICES,
    SWEEPS,
    ResourceKind,
)
from support.operator.api_server_rules import copied, default_fields, deletion_grace, has_labels, merged

NOON = datetime(2030, 1, 2, 12, 0, 0, tzinfo=UTC)
KINDS = {kind.name: kind for kind in (JOBS, SWEEPS, PROFILES, PODS, SERVICES, SECRETS, EVENTS)}
PAGE = 3

Name = tuple[str, str, str]
"""Plural, namespace and name."""


class Crash(BaseException):
    """The operator's process ends here."""


@dataclass(frozen=True, kw_only=True)
class WatchEvent:
    """One event of the watch on a kind."""

    kind: ResourceKind
    type: str
    object: RawObject

    def raw(self) -> dict[str, Any]:
        return {"type": self.type, "object": self.object}


@dataclass(frozen=True)
class Call:
    """A write that was asked for."""

    verb: str
    kind: str
    name: str
    body: Any = None


Fault = Callable[[Call], str | None]
"""What befalls a write: None, "before" or "after" (no answer), "crash-before", "crash-after", or an HTTP code."""


@dataclass
class ApiServer:
    """Objects by kind, namespace and name; one that is stored is never changed, but replaced."""

    now: datetime = NOON
    nodes_ahead: timedelta = timedelta(0)
    """How far the clocks of schedulers and kubelets are ahead of the API server's."""
    objects: dict[Name, dict[str, Any]] = field(default_factory=dict)
    log: list[WatchEvent] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    """Writes that took effect."""
    revision: int = 1000
    created: int = 0
    quota: dict[str, int] = field(default_factory=dict)
    """Most pods of a namespace."""
    refused_names: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """Code, reason and message for creations, by name."""
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    """Verb and plural that the operator may not use."""
    closed: set[str] = field(default_factory=set)  # namespaces in which its Role is gone
    logs: dict[str, str] = field(default_factory=dict)
    down: bool = False
    fault: Fault = lambda _: None
    admit: Callable[[dict[str, Any]], None] = lambda _: None
    """What a mutating webhook does to a pod that is created."""

    # -- the operator's port -----------------------------------------------------------------------------------

    async def pages(
        self, kind: ResourceKind, namespace: str | None, *, labels: str = ""
    ) -> AsyncIterator[ListPage]:
        self._allow("list", kind, namespace)
        found = [raw for raw in self.all(kind, namespace) if has_labels(raw, labels)]
        version = str(self.revision)
        for start in range(0, max(len(found), 1), PAGE):
            yield ListPage(resource_version=version, items=found[start : start + PAGE])

    async def get(self, kind: ResourceKind, namespace: str | None, name: str) -> RawObject:
        self._allow("get", kind, namespace)
        return self._existing(kind, namespace or "", name)

    async def create(self, kind: ResourceKind, namespace: str, body: RawObject) -> RawObject:
        call = Call("create", kind.name, body["metadata"]["name"], copied(body))
        return self._write(call, kind, lambda: self._create(kind, namespace, body), namespace)

    async def replace(self, kind: ResourceKind, namespace: str, name: str, body: RawObject) -> RawObject:
        call = Call("update", kind.name, name, copied(body))
        return self._write(call, kind, lambda: self._replace(kind, namespace, name, body), namespace)

    async def delete(
        self, kind: ResourceKind, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> RawObject:
        call = Call("delete", kind.name, name, uid)
        return self._write(
            call, kind, lambda: self._delete(kind, namespace, name, uid, grace_seconds), namespace
        )

    async def patch_status(
        self, kind: ResourceKind, namespace: str, name: str, *, resource_version: str, patch: RawObject
    ) -> RawObject:
        call = Call("patch", kind.name, name, copied(patch))
        return self._write(
            call, kind, lambda: self._patch_status(kind, namespace, name, resource_version, patch), namespace
        )

    async def pod_log(
        self, namespace: str, name: str, *, lines: int, most_bytes: int, container: str | None = None
    ) -> str:
        self._allow("get", PODS, namespace)
        several = len(self._existing(PODS, namespace, name)["status"].get("containerStatuses", ())) > 1
        if container is None and several:
            raise ApiStatusError(400, "BadRequest", "a container name must be specified")
        return self.logs.get(name, "")[:most_bytes]

    async def pod_events(self, namespace: str, uid: str) -> Sequence[RawObject]:
        self._allow("list", CORE_EVENTS)
        return ()

    async def allows(
        self, verb: str, kind: ResourceKind, namespace: str | None, subresource: str = ""
    ) -> bool:
        plural = f"{kind.plural}/{subresource}" if subresource else kind.plural
        return (verb, plural) not in self.forbidden and namespace not in self.closed

    async def read(self, path: str) -> RawObject:
        raise ApiStatusError(404, "NotFound", path)

    # -- people and other controllers --------------------------------------------------------------------------

    def apply(self, kind: ResourceKind, body: RawObject) -> dict[str, Any]:
        """Create an object as a user does."""
        metadata = body["metadata"]
        return self._create(kind, metadata.get("namespace", ""), body)

    def edit(
        self, kind: ResourceKind, namespace: str, name: str, change: Callable[[dict[str, Any]], None]
    ) -> None:
        """Change an object as a user does."""
        raw = copied(self._existing(kind, namespace, name))
        change(raw)
        if raw.get("spec") != self._existing(kind, namespace, name).get("spec"):
            raw["metadata"]["generation"] = raw["metadata"].get("generation", 0) + 1
        self._store(kind, raw, "MODIFIED")

    def remove(self, kind: ResourceKind, namespace: str, name: str, *, grace: int | None = None) -> None:
        """Delete an object as a user does."""
        self._delete(kind, namespace, name, self._existing(kind, namespace, name)["metadata"]["uid"], grace)

    def all(self, kind: ResourceKind, namespace: str | None = None) -> list[dict[str, Any]]:
        return [
            raw
            for (plural, where, _), raw in sorted(self.objects.items())
            if plural == kind.plural and namespace in (None, where)
        ]

    def find(self, kind: ResourceKind, namespace: str, name: str) -> dict[str, Any] | None:
        return self.objects.get((kind.plural, namespace, name))

    def collect_garbage(self) -> bool:
        """Delete what has owners, none of which is there any more; tell whether there was any."""
        uids = {raw["metadata"]["uid"] for raw in self.objects.values()}
        orphans = [
            (name, raw)
            for name, raw in sorted(self.objects.items())
            if (owners := raw["metadata"].get("ownerReferences"))
            and not any(owner["uid"] in uids for owner in owners)
            and "deletionTimestamp" not in raw["metadata"]
        ]
        for (plural, namespace, name), raw in orphans:
            kind = next(kind for kind in KINDS.values() if kind.plural == plural)
            self._delete(kind, namespace, name, raw["metadata"]["uid"], None)
        return bool(orphans)

    # -- nodes -------------------------------------------------------------------------------------------------

    def start(self, pod: RawObject, node: str = "node-a", *, ip: str = "10.0.0.7") -> None:
        """Schedule a pod and run its container."""
        name = pod["spec"]["containers"][0]["name"]
        state = {"running": {"startedAt": self.node_time()}}
        self._pod_status(
            pod,
            node=node,
            phase="Running",
            podIP=ip,
            conditions=[
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": self.node_time()},
                {"type": "Ready", "status": "True", "lastTransitionTime": self.node_time()},
            ],
            containerStatuses=[{"name": name, "state": state}],
        )

    def end(self, pod: RawObject, code: int, message: str = "", *, disruption: str | None = None) -> None:
        """End a pod's container."""
        name = pod["spec"]["containers"][0]["name"]
        state = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message}
        state |= {"startedAt": self.node_time(), "finishedAt": self.node_time()}
        kept = [each for each in pod["status"].get("conditions", ()) if str(each["type"]).endswith("Target")]
        conditions = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": self.node_time()},
            *kept,
        ]
        told = [{"type": "DisruptionTarget", "status": "True", "reason": disruption}] if disruption else []
        self._pod_status(
            pod,
            phase="Succeeded" if code == 0 else "Failed",
            conditions=[*conditions, *told],
            containerStatuses=[{"name": name, "state": {"terminated": state}}],
        )

    def vanish(self, pod: RawObject) -> None:
        """Remove a pod's object, as the kubelet does at the end of its deletion."""
        metadata = pod["metadata"]
        self._drop(PODS, metadata["namespace"], metadata["name"])

    def time(self) -> str:
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def node_time(self) -> str:
        return (self.now + self.nodes_ahead).strftime("%Y-%m-%dT%H:%M:%SZ")

    # -- inside ------------------------------------------------------------------------------------------------

    def _allow(self, verb: str, kind: ResourceKind, namespace: str | None = None) -> None:
        if self.down:
            raise NoApiResponse("the API server is down")
        if (verb, kind.plural) in self.forbidden or namespace in self.closed:
            raise ApiStatusError(403, "Forbidden", f"may not {verb} {kind.plural}")

    def _write(
        self, call: Call, kind: ResourceKind, do: Callable[[], dict[str, Any]], namespace: str
    ) -> RawObject:
        self._allow(call.verb, kind, namespace)
        fault = self.fault(call)
        if fault == "before":
            raise NoApiResponse("lost on the way there")
        if fault == "crash-before":
            raise Crash
        if fault is not None and fault.isdigit():
            raise ApiStatusError(
                int(fault), {"403": "Forbidden", "409": "Conflict"}.get(fault, "Error"), "by chance"
            )
        answer = do()
        self.calls.append(call)
        if fault == "after":
            raise NoApiResponse("lost on the way back")
        if fault == "crash-after":
            raise Crash
        return answer

    def _existing(self, kind: ResourceKind, namespace: str, name: str) -> dict[str, Any]:
        found = self.find(kind, namespace, name)
        if found is None:
            raise ApiStatusError(404, "NotFound", f'{kind.plural} "{name}" not found')
        return found

    def _create(self, kind: ResourceKind, namespace: str, body: RawObject) -> dict[str, Any]:
        name = body["metadata"]["name"]
        if name in self.refused_names:
            raise ApiStatusError(*self.refused_names[name])
        if self.find(kind, namespace, name) is not None:
            raise ApiStatusError(409, "AlreadyExists", f'{kind.plural} "{name}" already exists')
        if kind is PODS and len(self.all(PODS, namespace)) >= self.quota.get(namespace, 10**9):
            raise ApiStatusError(403, "Forbidden", f'pods "{name}" is forbidden: exceeded quota: pods')
        raw = copied(body)
        for owner in raw["metadata"].get("ownerReferences", ()):
            assert owner["uid"], "the API server refuses an owner without a uid"
        self.created += 1
        metadata = {
            "uid": f"{self.created:08x}-0000-4000-8000-000000000000",
            "creationTimestamp": self.time(),
        }
        raw["metadata"] |= metadata | ({"namespace": namespace} if kind.namespaced else {})
        raw |= {"apiVersion": kind.api_version, "kind": kind.name}
        default_fields(kind, raw)
        if kind is PODS:
            self.admit(raw)
        return self._store(kind, raw, "ADDED")

    def _replace(self, kind: ResourceKind, namespace: str, name: str, body: RawObject) -> dict[str, Any]:
        before = self._existing(kind, namespace, name)
        if before["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise ApiStatusError(409, "Conflict", f'Operation cannot be fulfilled on {kind.plural} "{name}"')
        return self._store(kind, {**before, **{"spec": copied(body["spec"])}}, "MODIFIED")

    def _delete(
        self, kind: ResourceKind, namespace: str, name: str, uid: str, grace: int | None
    ) -> dict[str, Any]:
        raw = self._existing(kind, namespace, name)
        if raw["metadata"]["uid"] != uid:
            raise ApiStatusError(409, "Conflict", "the UID in the precondition does not match")
        if kind is not PODS:
            self._drop(kind, namespace, name)
            return {"kind": "Status", "status": "Success"}
        if (seconds := deletion_grace(raw, grace)) == 0 and not raw["metadata"].get("finalizers"):
            return self._drop(kind, namespace, name)
        due = (self.now + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        if raw["metadata"].get("deletionTimestamp", "9") <= due:
            return raw
        raw = copied(raw)
        raw["metadata"] |= {"deletionTimestamp": due, "deletionGracePeriodSeconds": seconds}
        return self._store(kind, raw, "MODIFIED")

    def _patch_status(
        self, kind: ResourceKind, namespace: str, name: str, resource_version: str, patch: RawObject
    ) -> dict[str, Any]:
        before = self._existing(kind, namespace, name)
        if before["metadata"]["resourceVersion"] != resource_version:
            raise ApiStatusError(409, "Conflict", f'Operation cannot be fulfilled on {kind.plural} "{name}"')
        raw = copied(before)
        raw["status"] = merged(raw.get("status") or {}, patch)
        try:
            TrainingJobStatus.model_validate(raw["status"])
        except ValidationError as error:
            raise ApiStatusError(422, "Invalid", str(error)) from error
        default_fields(kind, raw)
        return before if raw == before else self._store(kind, raw, "MODIFIED")

    def _pod_status(self, pod: RawObject, *, node: str | None = None, **status: Any) -> None:
        metadata = pod["metadata"]
        raw = copied(self._existing(PODS, metadata["namespace"], metadata["name"]))
        raw["status"] = {**raw["status"], **status}
        if node is not None:
            raw["spec"]["nodeName"] = node
        self._store(PODS, raw, "MODIFIED")

    def _store(self, kind: ResourceKind, raw: dict[str, Any], event: str) -> dict[str, Any]:
        self.revision += 1
        raw["metadata"]["resourceVersion"] = str(self.revision)
        metadata = raw["metadata"]
        self.objects[kind.plural, metadata.get("namespace", ""), metadata["name"]] = raw
        self._log(kind, event, raw)
        return raw

    def _drop(self, kind: ResourceKind, namespace: str, name: str) -> dict[str, Any]:
        raw = copied(self.objects.pop((kind.plural, namespace, name)))
        self.revision += 1
        raw["metadata"]["resourceVersion"] = str(self.revision)
        self._log(kind, "DELETED", raw)
        return raw

    def _log(self, kind: ResourceKind, event: str, raw: RawObject) -> None:
        if kind in (JOBS, SWEEPS, PODS, PROFILES):
            self.log.append(WatchEvent(kind=kind, type=event, object=raw))
