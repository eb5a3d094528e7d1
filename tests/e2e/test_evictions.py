"""A pod that writes more to /tmp than its profile allows: the kubelet evicts it, its job says what to raise, others go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.jobs import EVERY, Job, Jobs, Straight, check_same_model
from testbed.kube import Json
from testbed.nodes import Node
from testbed.testbeds import Testbed

# exhaustive: it takes minutes, since a kubelet counts seldom; what the fields of pods are is tested each time
pytestmark = [pytest.mark.e2e, pytest.mark.exhaustive, pytest.mark.timeout(2400)]

PROFILES = "/apis/seedbed.dev/v1alpha1/trainingprofiles"
POOL = {"e2e/disk": "counted"}
LIMIT, WRITTEN = "200Mi", 300 * 2**20
SECONDS = 1200


def test_a_driver_that_fills_tmp_is_evicted_and_the_neighbour_trains_on(
    testbed: Testbed, jobs: Jobs, second_node: Node, straight: Straight
) -> None:
    second_node.label(**POOL)
    add_profile(testbed, "roomy")
    add_profile(testbed, "narrow", scratch={"sizeLimit": LIMIT})
    try:
        with second_node.counting_disk():
            neighbour = jobs.apply(workers=(1, 1), cluster={"profile": "roomy"})
            job = jobs.apply(workers=(1, 1), cluster={"profile": "narrow"})
            job.await_checkpoint(at=EVERY)
            job.stop_ranks()  # kubelet counts seldom; they end with their pods
            fill_tmp(job)
            check_failure(job)
            neighbour.wait_for(lambda status: (status.get("progress") or {}).get("step", 0) > 0, what="steps")
            for each in (job, neighbour):
                each.wait_for(lambda status: "completionTime" in status, what="Complete", seconds=SECONDS)
                check_same_model(each, straight)
    finally:
        second_node.label(**dict.fromkeys(POOL))
        for name in ("roomy", "narrow"):
            testbed.kube.delete(f"{PROFILES}/{name}")
    assert (neighbour.status()["attempts"], neighbour.status().get("failures", 0)) == (1, 0)
    assert job.status()["attempts"] == 2


def add_profile(testbed: Testbed, name: str, **fields: Json) -> None:
    """Add a profile like the default one for the nodes that count disk."""
    spec = dict(testbed.kube.get(f"{PROFILES}/default")["spec"])
    for role in ("driver", "worker"):
        spec[role] = {**spec[role], "nodeSelector": POOL}
    body = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingProfile", "metadata": {"name": name}}
    testbed.kube.create(PROFILES, {**body, "spec": {**spec, **fields}})


def fill_tmp(job: Job) -> None:
    """Write into /tmp of the driver, as user code might."""
    pod = job.pod("driver")
    process = min(job.node_of(pod).processes(job.namespace, pod["metadata"]["name"], "driver"))
    Path(f"/proc/{process}/root/tmp/filled").write_bytes(bytes(WRITTEN))


def check_failure(job: Job) -> None:
    """Check that the attempt counts as the user's, and that the message names volume, limit and field."""
    status = job.wait_for(lambda found: "lastFailure" in found, what="a failure", seconds=SECONDS)
    failure = status["lastFailure"]
    assert failure["reason"] == "Evicted"
    assert f'Usage of EmptyDir volume "tmp" exceeds the limit "{LIMIT}"' in failure["message"]
    assert "raise scratch.sizeLimit of the profile, or write less to /tmp" in failure["message"]
    assert (status["failures"], status.get("infrastructureFailures", 0)) == (1, 0), (
        "the next one may do it again"
    )
