"""Pods that have nothing of this machine: the workload's own root, built as its image is, gives one digest too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import build
from e2e.chart_release import a_profile, operator_on, release_on, values
from e2e.failure_report import what_happened
from e2e.jobs import Job, Jobs, check_steps
from e2e.stores import SMALL_SHARDS, give_secrets, stock
from testbed.nodes import workload_image
from testbed.testbeds import Testbed, running_testbed

pytestmark = [pytest.mark.e2e, pytest.mark.exhaustive, pytest.mark.timeout(2400)]
IMAGE = "localhost/seedbed-workload:own"


@pytest.fixture(scope="module")
def rooted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """A testbed of one node whose RuntimeClass `own` has the workload's root."""
    workload = build.IMAGES["workload"]
    root = build.tree_of(workload)
    if not root.exists():
        pytest.skip(
            f"not run: {workload.tag} has no root here; `make root-workload` builds it, {workload.size}"
        )
    with running_testbed(tmp_path_factory.mktemp("rooted"), nodes=1, root=root) as testbed:
        yield testbed


@pytest.fixture(scope="module")
def jobs(rooted: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """Jobs of the namespace default, whose profile runs them from the workload's root."""
    folder = tmp_path_factory.mktemp("release")
    image = rooted.load(workload_image(folder / "images", IMAGE, prefix="/opt/seedbed"))
    profile = a_profile(image, rooted.s3.inside.endpoint, runtimeClassName="own")
    stock(rooted, folder, *SMALL_SHARDS)
    operator = operator_on(rooted)
    release_on(rooted, folder / "admin", operator).install(values(operator=operator, profile=profile))
    give_secrets(rooted, "default")
    return Jobs(testbed=rooted, namespace="default")


def test_one_worker_and_two_give_one_digest_in_a_root_of_their_own(jobs: Jobs) -> None:
    digests, classes = set(), set()
    for count in (1, 2):
        job = jobs.apply(workers=(count, count), every=100)
        status = job.await_complete()
        check_steps(job, every=100)
        check_root(job)
        digests.add(status["model"]["weightsDigest"])
        classes.add(status["environment"]["class"])
    assert (len(digests), len(classes)) == (1, 1), what_happened(jobs.testbed, jobs.namespace)


def check_root(job: Job) -> None:
    """Check that the driver ran with the C library of its own root, not with this machine's."""
    folder = job.folder
    assert folder is not None
    environment = folder.objects.read("environment.json").decode()
    assert "2.36" in environment, f"bookworm's glibc: {environment}"
    assert Path("/opt/seedbed").exists() is False, "nothing of it is on this machine"
