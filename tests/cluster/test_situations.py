"""The table "Why is my job not running?" on a real API server and scheduler, with the operator as users run it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cluster.grounds import GROUP, Ground, conditions
from cluster.operators import running_operator
from cluster.situations import SITUATIONS, Situation
from testbed.fakenodes import FakeNodes
from testbed.kube import Kube
from testbed.testbeds import Testbed

pytestmark = pytest.mark.cluster
MENDED = {name: situation for name, situation in SITUATIONS.items() if situation.heals is not None}
JOBS = f"{GROUP}/trainingjobs"
ELSEWHERE = "another controller has it"
Grounds = dict[str, Ground]


@pytest.fixture(scope="module")
def grounds(control_plane_testbed: Testbed) -> Iterator[Grounds]:
    """Start the operator, set everything up, and create the jobs, all at once."""
    kube, nodes = control_plane_testbed.kube, control_plane_testbed.fake_nodes
    made = {name: Ground(kube=kube, fake_nodes=nodes, name=slug(name)) for name in (*SITUATIONS, ELSEWHERE)}
    with common_nodes(nodes), running_operator(control_plane_testbed.control):
        try:
            set_up(made)
            yield made
        finally:
            for ground in made.values():
                ground.clean_up()


@contextmanager
def common_nodes(nodes: FakeNodes) -> Iterator[None]:
    """Have nodes with room for every job."""
    names = nodes.add_pool("common", 2, labels={"pool": "common"})
    yield
    for name in names:
        nodes.remove(name)


def slug(name: str) -> str:
    """Return the name of a situation as objects bear it."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())[:36].rstrip("-")


def set_up(grounds: Grounds) -> None:
    """Make all situations, then create the jobs, that which is to wait longest first."""
    for ground in grounds.values():
        ground.kube.create("/api/v1/namespaces", {"metadata": {"name": ground.namespace}})
    for name, situation in reversed(SITUATIONS.items()):
        ground = grounds[name]
        ground.kube.wait_for(ground.path("ServiceAccount", "default"), lambda _: True)
        if situation.profile is not None:
            ground.create_profile(situation.profile)
        situation.before(ground)
        ground.create_job(situation.job)
    grounds[ELSEWHERE].create_job({"spec.managedBy": "example.org/controller"})


@pytest.fixture(scope="module")
def mended(grounds: Grounds) -> Grounds:
    """Do what makes the jobs go on, everywhere at once."""
    for name, situation in MENDED.items():
        assert situation.heals is not None
        situation.heals(grounds[name])
    return grounds


@pytest.mark.parametrize("name", SITUATIONS)
def test_it_says_why(grounds: Grounds, name: str) -> None:
    ground, situation = grounds[name], SITUATIONS[name]
    running = ground.awaits(situation.reason, seconds=40)
    print(f"\n{name}\n    {running['reason']}: {running['message']}")
    for part in situation.says:
        assert part in running["message"], f"{part} is not in: {running['message']}"
    assert running["status"] == "False"
    assert_flags(ground, situation)
    assert_announced(ground, situation)


def assert_flags(ground: Ground, situation: Situation) -> None:
    """The operator is at work on it, or it stands still until a person acts; never both."""
    found = conditions(ground.status())
    held = {kind for kind in ("Reconciling", "Stalled") if found.get(kind, {}).get("status") == "True"}
    assert held == {situation.condition} - {"Neither"}


def assert_announced(ground: Ground, situation: Situation) -> None:
    """An Event says it too, in the words of the status, and not again and again."""
    deadline = time.monotonic() + 10
    while situation.reason not in {event["reason"] for event in ground.events()}:
        assert time.monotonic() < deadline, "no Event"
        time.sleep(0.2)
    told = Counter(event["reason"] for event in ground.events())
    assert set(told) == {situation.reason}
    assert told[situation.reason] <= 2


def test_kubectl_shows_the_reasons_as_status(grounds: Grounds) -> None:
    kube = grounds[ELSEWHERE].kube
    before = reasons(kube)
    shown = kube.kubectl("get", "tjob", "-A", "--no-headers").splitlines()
    columns = {line.split()[0]: line.split()[2] for line in shown}
    after = reasons(kube)
    lasting = {place: reason for place, reason in before.items() if after[place] == reason}
    assert len(lasting) > len(SITUATIONS) - 4
    assert {place: columns[place] for place in lasting} == lasting


def reasons(kube: Kube) -> dict[str, str]:
    """Return the reason of Running of all jobs that have one, by namespace."""
    jobs = {job["metadata"]["namespace"]: conditions(job.get("status", {})) for job in kube.items(JOBS)}
    return {place: found["Running"]["reason"] for place, found in jobs.items() if "Running" in found}


def test_what_another_controller_has_is_left_alone(grounds: Grounds) -> None:
    ground = grounds[ELSEWHERE]
    assert ground.status() == {}
    assert ground.pods() == []
    assert ground.events() == []


@pytest.mark.parametrize("name", MENDED)
def test_it_goes_on_when_that_is_mended(mended: Grounds, name: str) -> None:
    ground = mended[name]
    ground.awaits(SITUATIONS[name].then, seconds=60)
    running = {pod["metadata"]["name"] for pod in ground.pods() if pod["status"]["phase"] == "Running"}
    attempt = ground.status()["attempts"]
    assert {f"digits-{attempt}-driver", f"digits-{attempt}-worker-0"} <= running


def test_nothing_was_announced_again_and_again(mended: Grounds) -> None:
    for name, ground in mended.items():
        told = Counter(event["reason"] for event in ground.events())
        most = max(2, ground.status().get("attempts", 0))
        assert all(count <= most for count in told.values()), f"{name}: {told}"
