"""Fixtures of the e2e tier: one testbed with two nodes, the chart installed once, a namespace and fresh stores per test."""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Iterator

import pytest

from e2e.chart_release import Release, a_profile, operator_on, release_on, values
from e2e.failure_report import what_happened
from e2e.jobs import Jobs, Straight
from e2e.stores import EXAMPLE, SMALL_SHARDS, give_secrets, run_here, stock
from seedbed.runs.run_folder import open_run
from seedbed.storage import open_storage
from testbed.fixtures import pod_namespace, second_node, testbed
from testbed.nodes import Node
from testbed.testbeds import Testbed

__all__ = ["pod_namespace", "second_node", "testbed"]

SEED = int(os.environ.get("SEEDBED_KILL_SEED") or random.SystemRandom().randrange(10**6))
FAILED = pytest.StashKey[bool]()


def pytest_report_header() -> str:
    """Tell how to kill at the same steps again."""
    return f"kills: SEEDBED_KILL_SEED={SEED}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Note a failure, so that fixtures can say what they know when they end."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Return the random numbers of a test."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture(scope="package")
def release(testbed: Testbed, second_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Install the chart by the commands of docs/operations.md, once the cluster has two nodes and a dataset."""
    folder = tmp_path_factory.mktemp("release")
    operator = operator_on(testbed)
    release = release_on(testbed, folder / "admin", operator)
    if operator.missing:
        warnings.warn(f"{operator.missing}; the operator runs on mounted programs", stacklevel=1)
    stock(testbed, folder, *SMALL_SHARDS)
    testbed.node("node1").label(**{"e2e/operator": "here"})
    workload = testbed.load(testbed.workload)
    profile = a_profile(workload, testbed.s3.inside.endpoint)
    chosen = values(operator=operator, profile=profile, node_selector={"e2e/operator": "here"})
    release.install(chosen)
    return release


@pytest.fixture(scope="package")
def straight(release: Release, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """Run the example on this machine without a cluster, in one process, in a store of its own."""
    store = tmp_path_factory.mktemp("straight")
    alone = ["--workers", "1", "--set", "spec.cluster.feed=Local", "--output", str(store), "-o", "json"]
    run = ["-m", "seedbed.cli", "run", "-f", str(EXAMPLE), *alone]
    status = json.loads(run_here(run, testbed.s3.outside.environment()))
    return Straight(status=status, folder=open_run(open_storage(str(store)), status["runID"]))


@pytest.fixture
def jobs(
    release: Release, testbed: Testbed, pod_namespace: str, request: pytest.FixtureRequest
) -> Iterator[Jobs]:
    """A namespace with the Secrets of the stores; when the test fails, all that is known of its jobs is printed."""
    give_secrets(testbed, pod_namespace)
    found = Jobs(testbed=testbed, namespace=pod_namespace)
    yield found
    if request.node.stash.get(FAILED, False):
        print(what_happened(testbed, pod_namespace))
    found.delete_all()
