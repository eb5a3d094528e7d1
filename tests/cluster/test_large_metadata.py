"""The operator and thousands of jobs of the largest metadata that an API server allows, within the chart's limit."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator

import pytest

from cluster.large_jobs import LARGEST_ANNOTATION, create_jobs, memory, memory_limit, memory_of
from cluster.operator_process import Process, Scene
from support.eventually import eventually
from testbed.control_plane import ControlPlane, EtcdStore
from testbed.testbeds import running_testbed

pytestmark = [pytest.mark.cluster, pytest.mark.exhaustive]

JOBS = int(os.environ.get("SEEDBED_LARGE_JOBS", "2000"))
"""They have 0.5 GB of annotations, and the API server takes 3 GB for them; 5,000 need 9 GB."""
PATIENCE_SECONDS = 1800


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this test alone, whose etcd may hold gigabytes."""
    folder = tmp_path_factory.mktemp("large")
    store = EtcdStore.large(folder / "etcd")
    try:
        with running_testbed(folder, keep=True, store=store) as testbed:
            yield testbed.control
    finally:
        shutil.rmtree(store.folder)


def await_quiet(operator: Process) -> None:
    """Wait until an operator has reconciled what it wanted to."""
    eventually(
        lambda: operator.metric("queue_length"),
        lambda waiting: waiting == 0,
        what="an empty queue",
        seconds=PATIENCE_SECONDS,
        every=5,
        shown=str,
    )


@pytest.mark.timeout(3 * PATIENCE_SECONDS)
def test_jobs_of_the_largest_metadata_fit_the_memory_of_the_chart_across_a_restart(
    operator: Callable[..., Process], scene: Scene, control_plane: ControlPlane
) -> None:
    first = operator(control_plane.kubeconfig, "--sweep-seconds=30")
    first.wait_to_say("first relist")
    bare = memory(first)[0]
    began = time.monotonic()
    create_jobs(scene.kube, scene.namespace, JOBS, annotation=LARGEST_ANNOTATION, suspend=True)
    created = time.monotonic() - began
    await_quiet(first)
    time.sleep(40)  # a relist
    burst = memory(first)
    assert first.end() == 0
    again = operator(control_plane.kubeconfig, "--sweep-seconds=30")
    again.wait_to_say(f"{JOBS} trainingjobs", seconds=PATIENCE_SECONDS)
    await_quiet(again)
    time.sleep(40)  # one more relist
    restarted = memory(again)
    servers = {each.name: memory_of(each.pid) for each in (control_plane.etcd, control_plane.apiserver)}
    print({"jobs": JOBS, "created": created, "bare": bare, "burst": burst, "restarted": restarted, **servers})
    assert max(burst[1], restarted[1]) < memory_limit()
    assert restarted[0] - bare < (32 << 20) + JOBS * 30_000, "an eighth of what the annotations alone have"
