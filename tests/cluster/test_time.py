"""When a job's time runs, and edits that are allowed at any time, where the API server sets defaults and gates."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cluster.operators import running_operator
from support.situations.cluster_setup import (
    PATIENCE_SECONDS,
    Ground,
    awaits_admission,
    changes_job,
    common_nodes,
    conditions,
    is_refused,
    lets_pods_pass,
    slug,
)
from support.situations.control_plane_cases import SITUATIONS
from testbed.kube import Json
from testbed.testbeds import Testbed

pytestmark = pytest.mark.cluster
LIMIT = 4
QUEUED = SITUATIONS["a queue holds the pods"]


@pytest.fixture(scope="module")
def testbed_with_operator(control_plane_testbed: Testbed) -> Iterator[Testbed]:
    with (
        common_nodes(control_plane_testbed.fake_nodes),
        running_operator(control_plane_testbed.control, "--sweep-seconds=5"),
    ):
        yield control_plane_testbed


@pytest.fixture
def ground(testbed_with_operator: Testbed, request: pytest.FixtureRequest) -> Iterator[Ground]:
    here = Ground(
        kube=testbed_with_operator.kube,
        fake_nodes=testbed_with_operator.fake_nodes,
        name=slug(request.node.name.removeprefix("test_")),
    )
    here.create_namespace()
    here.await_account()
    here.create_profile({})
    yield here
    here.clean_up()


def failed(job: Json) -> bool:
    return conditions(job.get("status", {})).get("Failed", {}).get("reason") == "DeadlineExceeded"


def test_a_queue_stops_the_clock(ground: Ground) -> None:
    QUEUED.before(ground)
    ground.create_job({"spec.activeDeadlineSeconds": LIMIT})
    ground.awaits(reason="Queued", seconds=PATIENCE_SECONDS)
    time.sleep(3 * LIMIT)
    status = ground.status()
    assert conditions(status)["Running"]["reason"] == "Queued"
    assert "Failed" not in conditions(status)
    assert not {"startTime", "resumeTime"} & status.keys()
    lets_pods_pass(ground)
    ended = ground.kube.wait_for(ground.job, failed, seconds=PATIENCE_SECONDS)
    assert ended["status"]["startTime"] == ended["status"]["resumeTime"]


def test_a_quota_does_not(ground: Ground) -> None:
    ground.create("ResourceQuota", "team", spec={"hard": {"pods": "0"}})
    awaits_admission(is_refused)(ground)
    ground.create_job({"spec.activeDeadlineSeconds": LIMIT})
    ended = ground.kube.wait_for(ground.job, failed, seconds=PATIENCE_SECONDS)
    assert "startTime" in ended["status"]
    assert "attempts" not in ended["status"]


def test_what_may_be_edited_stops_nothing(ground: Ground) -> None:
    ground.create_job({})
    driver = f"{ground.path('Pod', 'digits-1-driver')}"
    ground.kube.wait_for(driver, lambda _: True, seconds=PATIENCE_SECONDS)
    for edit, named in (
        ({"cluster": {"feed": "Local"}}, "spec.cluster.feed"),
        ({"checkpoint": {"everySteps": 7}}, "spec.checkpoint.everySteps"),
        ({"cluster": {"workers": {"max": 2}}}, "spec.cluster.workers.max"),
    ):
        changes_job(**edit)(ground)
        ground.awaits(parts=["changed since attempt 1 started", named], seconds=PATIENCE_SECONDS)
    changes_job(cluster={"feed": None, "workers": {"max": None}}, checkpoint=None)(ground)
    ground.kube.wait_for(
        ground.job,
        lambda job: "changed since" not in conditions(job["status"])["Running"]["message"],
        seconds=PATIENCE_SECONDS,
    )
    assert "deletionTimestamp" not in ground.kube.get(driver)["metadata"]
    assert sorted(pod["metadata"]["name"] for pod in ground.pods()) == [
        "digits-1-driver",
        "digits-1-worker-0",
    ]
