"""Preflight checks: the API server responds, the CRDs fit this version, all permissions are granted.

CRDs are checked by discovery and OpenAPI, which every client may read: no permission on CRDs is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from seedbed_api.base_model import Block
from seedbed_api.field_lookup import every_path
from seedbed_api.sweepjob import SweepJob
from seedbed_api.trainingjob import TrainingJob
from seedbed_api.trainingprofile import TrainingProfile
from seedbed_operator.kube_client.client_interface import ApiStatusError, KubeClient, RawObject
from seedbed_operator.kube_client.resource_kinds import (
    CORE_EVENTS,
    EVENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    PROFILES,
    SECRETS,
    SERVICES,
    SWEEPS,
    ResourceKind,
)
from seedbed_operator.manager.operator_settings import Settings

REQUIRED_PERMISSIONS: Final[tuple[tuple[ResourceKind, str, str], ...]] = (
    (JOBS, "", "get list watch delete"),
    (JOBS, "status", "patch"),
    (JOBS, "finalizers", "update"),
    (SWEEPS, "", "get list watch delete"),
    (SWEEPS, "status", "patch"),
    (SWEEPS, "finalizers", "update"),
    (PROFILES, "", "list watch"),
    (PROFILES, "status", "patch"),
    (NAMESPACES, "", "get"),
    (PODS, "", "get list watch create delete"),
    (PODS, "log", "get"),
    (SERVICES, "", "get create"),
    (SECRETS, "", "create"),
    (NETWORK_POLICIES, "", "get create update"),
    (CORE_EVENTS, "", "list"),
    (EVENTS, "", "create"),
    (LEASES, "", "get create update"),
)
"""Permissions of the operator: kind, subresource, verbs. It sets no finalizers; some API servers require
`finalizers` for blockOwnerDeletion."""

_MODELS: Final[Mapping[ResourceKind, type[Block]]] = {
    JOBS: TrainingJob,
    SWEEPS: SweepJob,
    PROFILES: TrainingProfile,
}
_FIX_CRDS: Final = "install the CRDs of this version: helm upgrade, or kubectl apply --server-side -f crds/"


@dataclass(frozen=True, kw_only=True, slots=True)
class _AccessCheck:
    kind: ResourceKind
    subresource: str
    verb: str
    namespace: str | None

    def refused(self) -> str:
        name = "/".join(part for part in (self.kind.plural, self.subresource) if part)
        group = f".{self.kind.group}" if self.kind.group else ""
        where = f"in namespace {self.namespace}" if self.namespace else "cluster-wide"
        return f"may not {self.verb} {name}{group} {where}; add it to the operator's role"


async def preflight_problems(cluster: KubeClient, settings: Settings) -> list[str]:
    """Return one line per missing CRD or permission; raise NoApiResponse without an API server."""
    return [*await crd_problems(cluster), *await permission_problems(cluster, settings)]


async def unreadable_namespaces(cluster: KubeClient, settings: Settings) -> dict[str, list[str]]:
    """Return the missing permissions of some watched namespaces where another has all of them.

    The operator serves the others meanwhile. A deleted namespace has lost its Role as well.
    """
    lines: dict[str, list[str]] = {}
    for question in await _denied_checks(cluster, settings):
        if question.namespace in settings.namespaces and question.kind is not LEASES:
            lines.setdefault(question.namespace, []).append(question.refused())
    return lines if len(lines) < len(settings.namespaces) else {}


async def permission_problems(cluster: KubeClient, settings: Settings) -> list[str]:
    """Return one line for each missing permission."""
    return [question.refused() for question in await _denied_checks(cluster, settings)]


async def _denied_checks(cluster: KubeClient, settings: Settings) -> list[_AccessCheck]:
    questions = list(_access_checks(settings))
    answers = await asyncio.gather(
        *(
            cluster.allows(question.verb, question.kind, question.namespace, question.subresource)
            for question in questions
        )
    )
    return [question for question, allowed in zip(questions, answers, strict=True) if not allowed]


def _access_checks(settings: Settings) -> Iterator[_AccessCheck]:
    for kind, subresource, verbs in REQUIRED_PERMISSIONS:
        if kind is NETWORK_POLICIES and settings.network_rules is None:
            continue
        for namespace in _scopes(kind, settings):
            for verb in verbs.split():
                yield _AccessCheck(kind=kind, subresource=subresource, verb=verb, namespace=namespace)


def _scopes(kind: ResourceKind, settings: Settings) -> tuple[str | None, ...]:
    if kind is LEASES:
        return (settings.lease_namespace,)
    return settings.scopes if kind.namespaced else (None,)


async def crd_problems(cluster: KubeClient) -> list[str]:
    """Return one line for each kind that is not served or whose schema lacks a field."""
    try:
        discovered = await cluster.read(f"/apis/{JOBS.api_version}")
    except ApiStatusError as refused:
        if refused.code != 404:
            raise
        discovered = {"resources": []}
    served = {resource["name"] for resource in discovered["resources"]}
    missing = [kind for kind in _MODELS if not {kind.plural, f"{kind.plural}/status"} <= served]
    if missing:
        return [f"{kind.plural}.{kind.group} {kind.version} is not served; {_FIX_CRDS}" for kind in missing]
    document = await cluster.read(f"/openapi/v3/apis/{JOBS.api_version}")
    return [line for kind, model in _MODELS.items() for line in _outdated_crd(kind, model, document)]


def _outdated_crd(kind: ResourceKind, model: type[Block], document: RawObject) -> Iterator[str]:
    schema = _schema(kind, document)
    unknown = [
        path
        for path, _ in every_path(model)
        if not path.startswith("metadata") and not _schema_has(schema, path)
    ]
    if unknown:
        shown = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
        yield f"{kind.plural}.{kind.group} is older than this operator: it lacks {shown}; {_FIX_CRDS}"


def _schema(kind: ResourceKind, document: RawObject) -> RawObject:
    group = ".".join(reversed(kind.group.split(".")))
    schemas = document["components"]["schemas"]
    schema: RawObject = schemas.get(f"{group}.{kind.version}.{kind.name}", {})
    return schema


def _schema_has(schema: Mapping[str, Any], path: str) -> bool:
    """Return whether a schema has a field; preserved unknown fields count."""
    for part in path.split("."):
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return True
        name, _, is_list = part.partition("[")
        if name not in schema.get("properties", {}):
            return False
        schema = schema["properties"][name]
        if is_list:
            schema = schema.get("items", {})
    return True
