"""Hostile specs that pass the API server: a reason and no pod, or the pods that any other job would have."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seedbed_operator.informer_cache.object_views import job_record, job_view, pod_view, profile_view
from support.manifests.hostile_specs import BASE, NAMESPACE, HostileSpec, attempts, without_what_jobs_may_say
from support.operator.builders import UID
from support.operator.simulated_cluster import World

SEEN = {
    "namespace": NAMESPACE,
    "uid": UID,
    "resourceVersion": "1",
    "generation": 1,
    "creationTimestamp": "2030-01-02T12:00:00Z",
}
PLAIN = HostileSpec(end="Harmless", change={})
PLANNED, DATA = attempts("Planning", "Models"), attempts("Harmless")


def world_of(attempt: HostileSpec) -> World:
    """Return a world with the job, its profile if it names that one, and what was there before."""
    manifest, profile = attempt.manifest(), attempt.profile_manifest()
    manifest["metadata"] |= SEEN
    manifest.pop("status", None)
    profile["metadata"] |= {"generation": 1, "resourceVersion": "1"}
    named = manifest["spec"]["cluster"]["profile"] == profile["metadata"]["name"]
    world = World(
        job=job_view(job_record(copy.deepcopy(manifest))), profile=profile_view(profile) if named else None
    )
    for thing in attempt.existing:
        bring(world, thing)
    return world


def bring(world: World, thing: dict[str, Any]) -> None:
    """Put an object of somebody else into the world, as far as the operator's watch shows it."""
    name = thing["metadata"]["name"]
    thing["metadata"] |= {
        "uid": f"of-{name}",
        "resourceVersion": "1",
        "creationTimestamp": SEEN["creationTimestamp"],
    }
    seen = pod_view({**thing, "status": {"phase": "Running"}}) if thing["kind"] == "Pod" else None
    if seen is not None:
        world.pods[name] = seen
    message = f'{thing["kind"].lower()}s "{name}" already exists'
    world.refuses[name] = (409, "AlreadyExists", message)


@pytest.mark.parametrize("attempt", PLANNED.values(), ids=PLANNED)
def test_it_ends_in_a_reason_and_without_a_pod_of_the_job(attempt: HostileSpec) -> None:
    world = world_of(attempt).settle()
    assert world.says() == f"False {attempt.reason or 'InvalidSpec'}"
    assert world.message()
    trained = [name for name in world.bodies if "worker" in name]
    assert attempt.existing or not world.bodies
    assert not trained or attempt.existing


@pytest.mark.parametrize("attempt", DATA.values(), ids=DATA)
def test_the_pods_are_those_of_any_other_job(attempt: HostileSpec) -> None:
    hostile, plain = world_of(attempt).settle(), world_of(PLAIN).settle()
    assert {"hostile-1-driver", "hostile-1-worker-0"} <= set(plain.bodies)
    assert set(hostile.bodies) == set(plain.bodies)
    for name, body in plain.bodies.items():
        assert without_what_jobs_may_say(hostile.bodies[name]) == without_what_jobs_may_say(body)


@pytest.mark.parametrize("attempt", DATA.values(), ids=DATA)
def test_nothing_that_a_job_says_is_expanded_by_the_kubelet(attempt: HostileSpec) -> None:
    for body in world_of(attempt).settle().bodies.values():
        (container,) = body["spec"]["containers"]
        for entry in container["env"]:
            assert "$" not in entry.get("value", "").replace("$$", "")


def test_nothing_of_somebody_else_is_deleted() -> None:
    for attempt in (*PLANNED.values(), *DATA.values()):
        world = world_of(attempt)
        before = dict(world.pods)
        world.settle()
        assert {name: world.pods.get(name) for name in before} == before


def test_the_comparison_sees_a_pod_that_differs() -> None:
    """The check of the check: a job whose pods do differ is told from BASE."""
    louder = HostileSpec(
        end="Harmless", change={"spec.cluster": {**BASE["spec.cluster"], "overrides": {"memory": "3Gi"}}}
    )
    bodies = [world_of(attempt).settle().bodies["hostile-1-worker-0"] for attempt in (louder, PLAIN)]
    assert without_what_jobs_may_say(bodies[0]) != without_what_jobs_may_say(bodies[1])
