"""Actions against an API server: in order, through to the cache, idempotent, and nothing adopted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from seedbed_operator.backends.owner_key import owner_key_secret
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.client_interface import ApiStatusError, NoApiResponse
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, SECRETS, SERVICES, JobKey
from seedbed_operator.plan import Action, Create, Delete, DeleteJob
from seedbed_operator.plan_executor import ExecutionResult, PlanExecutor, StaleCache
from support.operator.fake_api_server import NOON, ApiServer

JOB = JobKey("team", "seedlings")
LABELS = {"seedbed.dev/job": "seedlings", "seedbed.dev/attempt": "1"}


def a_pod(
    role: str = "driver", name: str = "seedlings-1-driver", *, owner: str | None = "job-uid"
) -> dict[str, Any]:
    references = [{"uid": owner, "controller": True, "name": "seedlings"}] if owner else []
    metadata = {"name": name, "labels": {**LABELS, "seedbed.dev/role": role}, "ownerReferences": references}
    return {"metadata": metadata, "spec": {"containers": [{"name": role}]}}


def creating(body: dict[str, Any], kind: str = "Pod", owner: str | None = None) -> Create:
    return Create(kind=kind, body=body, owner=owner)  # type: ignore[arg-type]


def a_worker() -> Create:
    return creating(a_pod("worker", "seedlings-1-worker-0", owner=None), owner="seedlings-1-driver")


def apply(server: ApiServer, *actions: Action, cache: InformerCache | None = None) -> ExecutionResult:
    return asyncio.run(PlanExecutor(server, cache or InformerCache()).execute(JOB, actions, NOON))


def test_a_pod_is_owned_by_one_that_was_created_just_before() -> None:
    server, cache = ApiServer(), InformerCache()
    done = apply(server, creating(a_pod()), a_worker(), cache=cache)
    assert (done.writes, done.rejected_write) == (2, None)
    driver, worker = (server.find(PODS, "team", f"seedlings-1-{end}") for end in ("driver", "worker-0"))
    assert driver is not None
    assert worker is not None
    assert [
        (owner["uid"], owner["controller"], owner["blockOwnerDeletion"])
        for owner in worker["metadata"]["ownerReferences"]
    ] == [(driver["metadata"]["uid"], True, False)]
    assert [pod.name for pod in cache.pods(JOB)] == ["seedlings-1-driver", "seedlings-1-worker-0"]


def test_a_pod_whose_owner_is_gone_is_not_created() -> None:
    server = ApiServer()
    with pytest.raises(StaleCache):
        apply(server, a_worker())
    assert server.calls == []


def test_a_refused_write_stops_those_after_it() -> None:
    server = ApiServer(quota={"team": 1})
    done = apply(server, creating(a_pod()), a_worker(), creating({"metadata": {"name": "head"}}, "Service"))
    assert done.writes == 1
    assert done.rejected_write is not None
    assert (done.rejected_write.name, done.rejected_write.code, done.rejected_write.time) == (
        "seedlings-1-worker-0",
        403,
        NOON,
    )
    assert "exceeded quota" in done.rejected_write.message
    assert server.all(SERVICES) == []


def test_a_secret_gets_a_token_once() -> None:
    server = ApiServer()
    secret = creating({"metadata": {"name": "seedlings-0a1b2c3d-ray"}, "immutable": True}, "Secret")
    for _ in range(2):
        assert apply(server, secret).rejected_write is None
    (kept,) = server.all(SECRETS)
    assert len(kept["data"]["token"]) >= 43
    other = ApiServer()
    apply(other, secret)
    assert other.all(SECRETS)[0]["data"] != kept["data"]


def a_job(name: str, uid: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team", "uid": uid, "resourceVersion": "1", "generation": 1}
    return {"metadata": metadata, "spec": {}}


def test_the_key_of_a_namespace_is_asked_for_once_and_not_by_each_job() -> None:
    server, cache = ApiServer(), InformerCache()
    executor = PlanExecutor(server, cache)
    asked: list[Any] = []
    server.fault = asked.append  # type: ignore[assignment]  # tells of a call, and lets it pass

    def start(name: str, uid: str) -> int:
        """Return how often the API server is asked."""
        cache.put(JOBS, a_job(name, uid))
        asked.clear()
        asyncio.run(executor.execute(JobKey("team", name), [owner_key_secret("team")], NOON))
        return len(asked)

    assert start("first", "uid-1") == 1
    assert [start(f"job-{number}", f"uid-{number}") for number in range(2, 5)] == [0, 0, 0]
    cache.drop(JOBS, ("team", "first"), "uid-1")
    assert start("fifth", "uid-5") == 1, "the namespace may be another one of the same name"
    cache.drop(JOBS, ("team", "fifth"), "uid-5")
    assert start("fifth", "uid-6") == 1
    assert start("sixth", "uid-7") == 0
    assert len(server.all(SECRETS)) == 1


def test_a_key_that_is_known_to_be_missing_is_created_again() -> None:
    server, cache = ApiServer(), InformerCache()
    cache.put(JOBS, a_job(JOB.name, "uid-1"))
    executor = PlanExecutor(server, cache)
    asyncio.run(executor.execute(JOB, [owner_key_secret("team")], NOON))
    (key,) = server.all(SECRETS)
    server.objects.clear()
    asyncio.run(executor.execute(JOB, [owner_key_secret("team", may_be_gone=True)], NOON))
    (renewed,) = server.all(SECRETS)
    assert renewed["data"] != key["data"]


def test_a_key_whose_creation_was_refused_is_asked_for_again() -> None:
    server, cache = ApiServer(), InformerCache()
    cache.put(JOBS, a_job(JOB.name, "uid-1"))
    executor = PlanExecutor(server, cache)
    for fault, made in (("403", 0), (None, 1)):
        server.fault = lambda _, fault=fault: fault  # type: ignore[misc]
        asyncio.run(executor.execute(JOB, [owner_key_secret("team")], NOON))
        assert len(server.all(SECRETS)) == made


@pytest.mark.parametrize("kind", ["Pod", "Service"])
def test_what_is_ours_already_is_accepted_and_what_is_anothers_is_refused(kind: str) -> None:
    body = a_pod() if kind == "Pod" else {"metadata": a_pod()["metadata"]}
    server, cache = ApiServer(), InformerCache()
    apply(server, creating(body, kind), cache=cache)
    assert apply(server, creating(body, kind), cache=cache).rejected_write is None
    theirs = {
        **body,
        "metadata": {**body["metadata"], "ownerReferences": [{"uid": "other", "controller": True}]},
    }
    server = ApiServer()
    server.apply(
        PODS if kind == "Pod" else SERVICES,
        {**theirs, "metadata": {**theirs["metadata"], "namespace": "team", "labels": {}}},
    )
    before = dict(server.objects)
    refusal = apply(server, creating(body, kind)).rejected_write
    assert refusal is not None
    assert refusal.reason == "AlreadyExists"
    assert server.objects == before


def test_a_pod_that_the_stores_did_not_know_of_voids_the_plan() -> None:
    server, cache = ApiServer(), InformerCache()
    apply(server, creating(a_pod()))
    with pytest.raises(StaleCache):
        apply(server, creating(a_pod()), cache=cache)
    assert [pod.name for pod in cache.pods(JOB)] == ["seedlings-1-driver"]


def test_a_terminating_pod_of_ours_is_waited_for() -> None:
    server, cache = ApiServer(), InformerCache()
    apply(server, creating(a_pod()), cache=cache)
    server.start(server.all(PODS)[0])
    server.remove(PODS, "team", "seedlings-1-driver")
    with pytest.raises(StaleCache):
        apply(server, creating(a_pod()), cache=cache)
    assert cache.pods(JOB)[0].deleting
    refusal = apply(server, creating(a_pod()), cache=cache).rejected_write
    assert refusal is not None
    assert refusal.code == 409


def test_a_deletion_hits_its_uid_alone() -> None:
    server, cache = ApiServer(), InformerCache()
    apply(server, creating(a_pod()), cache=cache)
    known = cache.pods(JOB)[0]
    server.vanish(server.all(PODS)[0])
    server.apply(PODS, {**a_pod(), "metadata": {**a_pod()["metadata"], "namespace": "team"}})
    delete = Delete(kind="Pod", name=known.name, uid=known.uid)
    assert apply(server, delete, cache=cache).rejected_write is None
    assert len(server.all(PODS)) == 1
    assert cache.pods(JOB) == ()
    server.vanish(server.all(PODS)[0])
    assert apply(server, delete, cache=cache).rejected_write is None


def test_a_pod_that_is_terminating_is_in_the_stores_at_once() -> None:
    server, cache = ApiServer(), InformerCache()
    apply(server, creating(a_pod()), cache=cache)
    server.start(server.all(PODS)[0])
    apply(server, Delete(kind="Pod", name="seedlings-1-driver", uid=cache.pods(JOB)[0].uid), cache=cache)
    assert cache.pods(JOB)[0].deleting


def test_a_job_whose_time_is_over_is_deleted() -> None:
    server = ApiServer()
    job = server.apply(JOBS, {"metadata": {"name": "seedlings", "namespace": "team"}, "spec": {}})
    assert apply(server, DeleteJob(uid="of an earlier one")).rejected_write is None
    assert server.all(JOBS) == [job]
    apply(server, DeleteJob(uid=job["metadata"]["uid"]))
    assert server.all(JOBS) == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [("500", ApiStatusError), ("429", ApiStatusError), ("before", NoApiResponse), ("after", NoApiResponse)],
)
def test_trouble_of_the_api_server_ends_the_pass(fault: str, error: type[Exception]) -> None:
    server = ApiServer(fault=lambda _: fault)
    with pytest.raises(error):
        apply(server, creating(a_pod()))
