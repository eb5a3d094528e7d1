"""The status of a profile, and the namespaces that the operator reads: one write or read, and no more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.resource_kinds import JOBS, NAMESPACES, PROFILES, JobKey
from seedbed_operator.observe.driver_polls import DriverPolls
from seedbed_operator.observe.evidence_collector import EvidenceCollector
from seedbed_operator.observe.transient_state import TransientState
from seedbed_operator.plan import EvidenceRequest
from seedbed_operator.status_writer import write_profile_statuses
from support.manifests.base_manifests import Case
from support.operator.builders import UID, a_recipe, after
from support.operator.fake_api_server import NOON, ApiServer
from support.operator.operator_instance import Drivers

VERDICTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "one that everybody may use": ({}, "True Accepted", ""),
    "one that grants and names nobody": (
        {"spec.priorityClassName": "high"},
        "False NoNamespaceAllowed",
        "it grants priorityClassName and has no allowedNamespaces, so no namespace may use it; list the namespaces "
        "in spec.allowedNamespaces.names, or select them with allowedNamespaces.selector",
    ),
    "one that names nobody": (
        {"spec.allowedNamespaces": {}},
        "False NoNamespaceAllowed",
        "allowedNamespaces names no namespace and selects none; list the namespaces in "
        "spec.allowedNamespaces.names, or select them with allowedNamespaces.selector",
    ),
    "one that is not valid": ({"spec.image": "no-digest"}, "False ProfileInvalid", "spec.image: "),
    "one that grants and names somebody": (
        {"spec.priorityClassName": "high", "spec.allowedNamespaces": {"names": ["a"]}},
        "True Accepted",
        "",
    ),
}


def ready(server: ApiServer) -> dict[str, Any]:
    found = server.find(PROFILES, "", "gpu")
    assert found is not None
    (condition,) = found["status"]["conditions"]
    assert condition["type"] == "Ready"
    return dict(condition)


def with_profile(change: dict[str, Any]) -> tuple[ApiServer, InformerCache]:
    server, cache = ApiServer(), InformerCache()
    cache.put(PROFILES, server.apply(PROFILES, Case(kind="TrainingProfile", change=change).manifest()))
    return server, cache


@pytest.mark.parametrize(("change", "verdict", "message"), VERDICTS.values(), ids=VERDICTS.keys())
def test_what_a_profile_says_of_itself(change: dict[str, Any], verdict: str, message: str) -> None:
    server, cache = with_profile(change)
    asyncio.run(write_profile_statuses(server, cache, NOON))
    condition = ready(server)
    assert f"{condition['status']} {condition['reason']}" == verdict
    assert condition["message"].startswith(message)
    assert len(server.calls) == 1
    asyncio.run(write_profile_statuses(server, cache, after(60)))
    assert len(server.calls) == 1, "what is said already is not written again"


def test_a_status_of_somebody_else_is_replaced_and_a_conflict_is_left_for_later() -> None:
    server, cache = with_profile({"spec.priorityClassName": "high"})
    server.edit(PROFILES, "", "gpu", lambda raw: raw.update(status={"conditions": "mine"}))
    asyncio.run(write_profile_statuses(server, cache, NOON))
    found = server.find(PROFILES, "", "gpu")
    assert found is not None
    assert found["status"] == {"conditions": "mine"}, "the cache was stale"
    cache.put(PROFILES, found)
    asyncio.run(write_profile_statuses(server, cache, NOON))
    assert ready(server)["status"] == "False"


def test_the_status_of_a_profile_wakes_no_job() -> None:
    server, cache = with_profile({})
    job = {"metadata": {"name": "j", "namespace": "default", "uid": UID}, "spec": a_recipe()}
    cache.put(JOBS, server.apply(JOBS, job))
    found = server.find(PROFILES, "", "gpu")
    assert found is not None
    changed = {**found, "metadata": {**found["metadata"], "resourceVersion": "5000"}, "status": {}}
    assert cache.put(PROFILES, changed) == frozenset()
    edited = {**changed, "spec": {**found["spec"], "priorityClassName": "high"}}
    edited["metadata"] = {**changed["metadata"], "resourceVersion": "5001", "generation": 2}
    assert len(cache.put(PROFILES, edited)) == 1


def test_labels_are_read_once_for_the_jobs_that_ask_at_the_same_time() -> None:
    server = ApiServer()
    server.apply(NAMESPACES, {"metadata": {"name": "default", "labels": {"team": "vision"}}})
    reads = []
    get = server.get

    async def counted(*place: Any) -> Any:
        reads.append(place)
        return await get(*place)

    server.get = counted  # type: ignore[method-assign]
    collector, state = (
        EvidenceCollector(server, DriverPolls(Drivers(), lambda keys: None, lambda: NOON)),
        TransientState(uid=UID),
    )
    asked = [EvidenceRequest(kind="NamespaceLabels")]

    async def labels(second: float) -> Any:
        found = await collector.collect(JobKey("default", "digits"), asked, state, after(second))
        assert found.namespace is not None
        return found.namespace.labels

    async def ask() -> list[Any]:
        return [await labels(second) for second in (0, 0.5, 0.9, 5)]

    assert asyncio.run(ask()) == [{"team": "vision"}] * 4
    assert len(reads) == 2
    server.forbidden = {("get", "namespaces")}
    assert asyncio.run(labels(60)) is None
