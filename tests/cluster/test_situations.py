"""The table "Why is my job not running?" on a real API server and scheduler, with the operator as users run it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cluster.grounds import Ground, a_job, a_profile
from cluster.operators import running_operator
from cluster.situations import SITUATIONS, Situation
from testbed.fakenodes import FakeNodes
from testbed.kube import Json
from testbed.testbeds import Testbed

pytestmark = pytest.mark.cluster
COMMON_NODES = 2


@pytest.fixture(scope="module")
def grounds(control_plane_testbed: Testbed) -> Iterator[dict[str, Ground]]:
    """Start the operator, set everything up, and create the jobs, all at once."""
    kube, nodes = control_plane_testbed.kube, control_plane_testbed.fake_nodes
    made = {name: Ground(kube=kube, fake_nodes=nodes, name=slug(name)) for name in SITUATIONS}
    with running_operator(control_plane_testbed.control), common_nodes(nodes):
        try:
            for name, situation in SITUATIONS.items():
                set_up(made[name], situation)
            yield made
        finally:
            for ground in made.values():
                ground.clean_up()


@contextmanager
def common_nodes(nodes: FakeNodes) -> Iterator[None]:
    """Have nodes with room for every job."""
    names = nodes.add_pool("common", COMMON_NODES, labels={"pool": "common"})
    yield
    for name in names:
        nodes.remove(name)


def slug(name: str) -> str:
    """Return the name of a situation as objects bear it."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())[:36].rstrip("-")


def set_up(ground: Ground, situation: Situation) -> None:
    """Make the situation, then create the job in it."""
    ground.kube.create("/api/v1/namespaces", {"metadata": {"name": ground.namespace}})
    if situation.profile is not None:
        manifest = a_profile(ground, situation.profile)
        ground.create("TrainingProfile", ground.name, spec=manifest["spec"])
    situation.before(ground)
    ground.kube.create(ground.path("TrainingJob"), a_job(ground, situation.job))


@pytest.mark.parametrize("name", SITUATIONS)
def test_it_says_why_and_goes_on_when_that_is_mended(grounds: dict[str, Ground], name: str) -> None:
    ground, situation = grounds[name], SITUATIONS[name]
    running = said(ground, situation)
    print(f"\n{name}\n    {running['reason']}: {running['message']}")
    for part in situation.says:
        assert part in running["message"], running["message"]
    assert ground.column() == situation.reason
    assert_flags(ground.status(), situation)
    assert_events(ground, situation)
    if situation.heals is not None:
        situation.heals(ground)
        awaited(ground, situation.then, seconds=40)


def said(ground: Ground, situation: Situation) -> Json:
    """Return the condition Running once it has the reason of the situation."""
    assert situation.reason is not None
    return awaited(ground, situation.reason, seconds=situation.seconds)


def awaited(ground: Ground, reason: str, *, seconds: float) -> Json:
    """Return the condition Running once it has a reason."""
    seen = ground.kube.wait_for(
        ground.job,
        lambda job: conditions(job).get("Running", {}).get("reason") == reason,
        seconds=seconds,
        what=reason,
    )
    return conditions(seen)["Running"]


def conditions(job: Json) -> dict[str, Json]:
    return {each["type"]: each for each in job.get("status", {}).get("conditions", [])}


def assert_flags(status: Json, situation: Situation) -> None:
    """The operator is at work on it, or it stands still until a person acts; never both."""
    found = conditions({"status": status})
    stalled = found.get("Stalled", {}).get("status", "False")
    assert (stalled, found["Reconciling"]["status"]) == (str(situation.stalled), str(not situation.stalled))
    assert found["Running"]["status"] == "False"


def assert_events(ground: Ground, situation: Situation) -> None:
    """It is announced once, in the words of the status."""
    deadline = time.monotonic() + 5
    wanted = situation.events if situation.events is not None else (situation.reason,)
    while {event["reason"] for event in ground.events()} != set(wanted) and time.monotonic() < deadline:
        time.sleep(0.2)
    told: dict[str, list[Any]] = {}
    for event in ground.events():
        told.setdefault(event["reason"], []).append(event["note"])
    assert set(told) == set(wanted), told
    assert all(len(notes) <= 2 for notes in told.values()), told
