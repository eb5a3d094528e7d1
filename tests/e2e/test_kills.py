"""Whatever is killed, and at whichever step, a job ends with the model of `seedbed run`.

A chain is honest when the victim lived, when what follows begins at a checkpoint after step 0, when no more steps are
done twice than lie between two checkpoints, and when the status counts what happened and nothing else.
"""

from __future__ import annotations

import time
from random import Random

import pytest

from e2e.chart_release import NAMESPACE, OPERATORS, Release
from e2e.jobs import (
    EVERY,
    PATIENCE_SECONDS,
    TOTAL_STEPS,
    Job,
    Jobs,
    Straight,
    check_same_model,
    check_steps,
    holds,
)
from support.eventually import eventually
from testbed.nodes import Node
from testbed.testbeds import Testbed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
OUTAGE_SECONDS = 30.0


def counters(job: Job) -> dict[str, int]:
    """Return the counters of a job's status that are not zero."""
    names = ("attempts", "failures", "infrastructureFailures", "preemptions")
    return {name: count for name, count in job.status().items() if name in names and count}


@pytest.mark.exhaustive
def test_a_worker_a_driver_and_the_object_of_a_driver(jobs: Jobs, straight: Straight, chance: Random) -> None:
    job = jobs.apply()
    first, second, third = chance.randint(10, 60), chance.randint(110, 160), chance.randint(210, 260)

    before = job.await_checkpoint(at=first)
    worker = job.pod("worker")
    job.node_of(worker).kill_container(jobs.namespace, worker["metadata"]["name"], "worker")
    resumed = await_resumption(job, after=before, groups=1)
    assert counters(job) == {"attempts": 1}, "the driver lived and took another worker"

    before = job.await_checkpoint(at=max(second, resumed + EVERY))
    driver = job.pod("driver")
    job.node_of(driver).kill_container(jobs.namespace, driver["metadata"]["name"], "driver")
    await_resumption(job, after=before, groups=2)
    assert counters(job) == {"attempts": 2, "failures": 1}
    failure = job.status()["lastFailure"]
    assert (failure["attempt"], failure["pod"], failure["exitCode"]) == (1, driver["metadata"]["name"], 137)

    before = job.await_checkpoint(at=third)
    driver = job.pod("driver")
    force = ("delete", "pod", driver["metadata"]["name"], "--force", "--grace-period=0")
    jobs.testbed.kube.kubectl(*force, "-n", jobs.namespace)
    await_resumption(job, after=before, groups=3)

    job.await_complete()
    assert counters(job) == {"attempts": 3, "failures": 1, "infrastructureFailures": 1}
    check_same_model(job, straight)
    began = check_steps(job)
    assert len(began) == 4
    assert all(step > 0 for step in began[1:])


def await_resumption(job: Job, *, after: int, groups: int, seconds: float = PATIENCE_SECONDS) -> int:
    """Wait until one more group of workers has told of its steps; it began where nothing that was kept is lost."""
    told = eventually(
        job.told,
        lambda found: len(found) > groups,
        what=f"a group of workers after the kill at step {after}",
        seconds=seconds,
        every=0.2,
    )
    began = int(told[groups][0]["resumedFrom"])
    assert began >= after > 0
    return began


def test_the_operator_and_then_the_node_of_the_driver(
    release: Release, jobs: Jobs, second_node: Node, straight: Straight, chance: Random
) -> None:
    testbed = jobs.testbed
    second_node.label(**{"e2e/driver": "here"})
    job = jobs.apply(cluster={"profile": driver_profile(testbed)})
    first, second = chance.randint(10, 60), chance.randint(110, 260)

    job.await_checkpoint(at=first)
    (operator,) = testbed.kube.items(OPERATORS, labelSelector="app.kubernetes.io/component=operator")
    assert operator["status"]["phase"] == "Running"
    node = testbed.node(operator["spec"]["nodeName"])
    node.kill_container(NAMESPACE, operator["metadata"]["name"], "operator")

    driver = job.pod("driver")
    assert driver["spec"]["nodeName"] == second_node.name != operator["spec"]["nodeName"]
    testbed.nodes[0].label(**{"e2e/driver": "here"})
    before = job.await_checkpoint(at=second)
    second_node.kill()
    second_node.await_ready(ready=False, seconds=240)
    heir = f"/api/v1/namespaces/{jobs.namespace}/pods/{job.name}-2-driver"
    placed = testbed.kube.wait_for(heir, lambda pod: "nodeName" in pod["spec"], seconds=PATIENCE_SECONDS)
    assert job.node_of(placed).name == testbed.nodes[0].name
    await_resumption(job, after=before, groups=1)
    second_node.start()

    job.await_complete()
    (after,) = testbed.kube.items(OPERATORS, labelSelector="app.kubernetes.io/component=operator")
    restarts = after["status"]["containerStatuses"][0]["restartCount"]
    assert after["metadata"]["uid"] == operator["metadata"]["uid"]
    assert restarts >= 1, "it was killed; without an answer of the API server it ends by itself, too"
    assert counters(job) == {"attempts": 2, "preemptions": 1}, "an operator's death is no failure of a job"
    check_same_model(job, straight)
    began = check_steps(job)
    assert len(began) == 2
    assert began[1] > 0
    job.await_no_pods()


def driver_profile(testbed: Testbed) -> str:
    """Apply a profile whose drivers run where a label says, and return its name."""
    found = testbed.kube.get("/apis/seedbed.dev/v1alpha1/trainingprofiles/default")
    spec = found["spec"]
    spec["driver"]["nodeSelector"] = {"e2e/driver": "here"}
    kind = {"apiVersion": found["apiVersion"], "kind": found["kind"]}
    testbed.kube.apply({**kind, "metadata": {"name": "labelled"}, "spec": spec})
    return "labelled"


@pytest.mark.exhaustive
def test_the_object_store_and_then_the_api_server_for_half_a_minute(
    jobs: Jobs, straight: Straight, chance: Random
) -> None:
    testbed = jobs.testbed
    job = jobs.apply()
    first, second = chance.randint(10, 80), chance.randint(120, 200)

    job.await_checkpoint(at=first)
    testbed.s3.stop()
    during = job.newest()
    time.sleep(OUTAGE_SECONDS)
    assert job.newest() == during, "nothing can be kept without a store"
    testbed.s3.start()

    job.await_checkpoint(at=max(second, during + EVERY))
    assert not holds(job.status(), "Complete")
    testbed.control.stop_apiserver()
    time.sleep(OUTAGE_SECONDS)
    testbed.control.start_apiserver()

    job.await_complete()
    assert counters(job) == {"attempts": 1}, "both outages were waited out"
    check_same_model(job, straight)
    assert check_steps(job) == [0]
    assert job.newest() == TOTAL_STEPS
