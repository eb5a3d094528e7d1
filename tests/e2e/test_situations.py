"""The table "Why is my job not running?" where kubelets, containers, drivers and stores are real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from e2e.chart_release import Release, a_profile
from e2e.jobs import PATIENCE_SECONDS, example, holds
from support.situations.cluster_setup import JOB, Ground, slug
from support.situations.kubelet_cases import LOST_NODE, SITUATIONS
from support.situations.status_history import Chronicle, check, check_not_flooded, chronicle
from testbed.kube import Json
from testbed.testbeds import Testbed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
PATIENT = "the Secret is not there"
"""Its kubelet tries again within two minutes: the others go on meanwhile."""
MENDED = sorted((name for name in SITUATIONS if SITUATIONS[name].heals is not None), key=PATIENT.__eq__)
STARTED = ("RayStarting", "WaitingForWorkers", "Training", "Evaluating", "Checkpointing", "Trained")


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """All situations, and what the jobs have said since."""

    grounds: dict[str, Ground]
    chronicle: Chronicle


@pytest.fixture(scope="module")
def made(release: Release, testbed: Testbed) -> Iterator[Made]:
    """Set everything up, create the jobs, all at once, and take a node away."""
    grounds = {name: a_ground(testbed, name) for name in SITUATIONS}
    lost = testbed.node(LOST_NODE)
    try:
        with testbed.network_policies(), chronicle(testbed.control) as kept:
            for name, ground in grounds.items():
                set_up(ground, name)
            for name, ground in grounds.items():
                SITUATIONS[name].happens(ground)
            lost.kill()
            yield Made(grounds=grounds, chronicle=kept)
    finally:
        if not lost.kubelet.running():
            lost.start()
        for ground in grounds.values():
            ground.clean_up()


def a_ground(testbed: Testbed, name: str) -> Ground:
    """Return the ground of a situation: the example's job, on nodes with two cores."""
    spec = example(JOB, "s3://runs/why-{name}")["spec"]
    image = testbed.load(testbed.workload)
    place = {"kubernetes.io/hostname": "node1"}
    profile = a_profile(image, testbed.s3.inside.endpoint)
    profile |= {role: {**profile[role], "nodeSelector": place} for role in ("driver", "worker")}
    pairs = testbed.s3.inside.environment()
    return Ground(
        kube=testbed.kube,
        name=slug(name),
        job_base=changes(spec),
        profile_base=changes(profile),
        secrets={key: pairs[key] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
    )


def changes(spec: Json) -> dict[str, Any]:
    return {f"spec.{field}": value for field, value in spec.items()}


def set_up(ground: Ground, name: str) -> None:
    """Make a situation, and create the job in it."""
    situation = SITUATIONS[name]
    ground.create_namespace()
    ground.await_account()
    assert situation.profile is not None
    ground.create_profile(situation.profile)
    situation.before(ground)
    ground.create_job(situation.job)


@pytest.mark.parametrize("name", SITUATIONS)
def test_it_says_why(made: Made, name: str) -> None:
    message = check(made.chronicle, made.grounds[name], SITUATIONS[name], seconds=PATIENCE_SECONDS)
    print(f"\n{name}\n    {message}")


@pytest.fixture(scope="module")
def mended(made: Made, testbed: Testbed) -> Made:
    """Do what makes the jobs go on, everywhere at once; jobs that nothing mends are deleted."""
    testbed.node(LOST_NODE).start()
    for name, ground in made.grounds.items():
        heals = SITUATIONS[name].heals
        if heals is None:
            ground.kube.delete(ground.job)
        else:
            heals(ground)
    return made


@pytest.mark.parametrize("name", MENDED)
def test_it_goes_on_when_that_is_mended(mended: Made, name: str) -> None:
    ground = mended.grounds[name]

    def goes_on(job: Json) -> bool:
        status = job["status"]
        found = {each["type"]: each["reason"] for each in status["conditions"]}
        phases = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in ground.pods()}
        drives = phases.get(f"{JOB}-{status['attempts']}-driver") in ("Running", "Succeeded")
        return found["Running"] in STARTED and (drives or holds(status, "Complete"))

    ground.kube.wait_for(ground.job, goes_on, seconds=PATIENCE_SECONDS, what="going on")
    check_not_flooded(ground)
    ground.kube.delete(ground.job)
