"""The operator on a real API server, with jobs of large metadata and a neighbour whose drivers answer slowly."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
import yaml

from cluster.operator_process import JOBS, Process, Scene
from seedbed_api.pod_contract.driver_endpoint import PROGRESS_PORT
from support.eventually import eventually
from support.operator.builders import a_recipe
from support.servers.slow_driver import drip
from testbed.control_plane import ControlPlane
from testbed.kube import Kube

pytestmark = pytest.mark.cluster

LARGE_JOBS = int(os.environ.get("SEEDBED_LARGE_JOBS", "1700"))
"""1,700 jobs took 781 MB before; etcd of the testbed holds 2 GB."""
SLOW_DRIVERS = int(os.environ.get("SEEDBED_SLOW_DRIVERS", "1000"))
ANNOTATION = "x" * 250_000
"""The API server allows 262,144 bytes of annotations."""


def memory_limit() -> int:
    """Return the chart's limit of the operator's memory in bytes."""
    values = yaml.safe_load(Path("charts/seedbed/values.yaml").read_text(encoding="utf-8"))
    limit: str = values["operator"]["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    return int(limit[:-2]) * 1024 * 1024


def memory(process: Process) -> tuple[int, int]:
    """Return resident and peak memory of an operator in bytes."""
    lines = Path(f"/proc/{process.process.pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return int(found["VmRSS"].split()[0]) * 1024, int(found["VmHWM"].split()[0]) * 1024


def create_jobs(
    kube: Kube, namespace: str, count: int, *, annotation: str = "", suspend: bool = False
) -> None:
    annotations = {"another.dev/notes": annotation} if annotation else {}
    spec = {**a_recipe(), "suspend": suspend, "cluster": {"workers": {"min": 1, "max": 1}}}

    def create(number: int) -> None:
        metadata = {"name": f"job-{number}", "annotations": annotations}
        body = {
            "apiVersion": "seedbed.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": metadata,
            "spec": spec,
        }
        kube.create(JOBS.format(namespace), body)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(count)))


def _has_passed_over(operator: Process, jobs: int) -> Callable[[], bool]:
    return lambda: f"{jobs} trainingjobs" in operator.log.read_text()


@pytest.mark.exhaustive
def test_jobs_with_large_annotations_fit_the_memory_of_the_chart_across_a_restart(
    operator: Callable[..., Process], scene: Scene
) -> None:
    first = operator()
    first.wait_to_say("first relist")
    bare = memory(first)[0]
    create_jobs(scene.kube, scene.namespace, LARGE_JOBS, annotation=ANNOTATION, suspend=True)
    eventually(
        lambda: first.metric("queue_length"),
        lambda waiting: waiting == 0,
        what="an empty queue",
        seconds=600,
        shown=str,
    )
    time.sleep(20)  # a relist, every five seconds here
    burst = memory(first)
    assert first.end() == 0
    again = operator()
    eventually(_has_passed_over(again, LARGE_JOBS), what="the first relist", seconds=600)
    time.sleep(20)
    restarted = memory(again)
    print({"jobs": LARGE_JOBS, "bare": bare, "burst": burst, "restarted": restarted})
    assert max(burst[1], restarted[1]) < memory_limit()
    assert restarted[0] - bare < LARGE_JOBS * 60_000, "a quarter of what the annotations alone have"


@contextmanager
def dripping_drivers(addresses: str) -> Iterator[list[float]]:
    """Answer at every address of the loopback network with one byte a second; yield the times of connections."""
    seen: list[float] = []
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(time.monotonic())
        await drip(reader, writer)

    server = loop.run_until_complete(asyncio.start_server(answer, addresses, PROGRESS_PORT, backlog=2048))
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        asyncio.run_coroutine_threadsafe(_close(server), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _close(server: asyncio.Server) -> None:
    """Close the server, and end what still drips."""
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)


def run_drivers(scene: Scene, count: int) -> None:
    """Let the driver of each job run at an address of its own."""

    def run(number: int) -> None:
        path = scene.path("pods", f"job-{number}-1-driver")
        scene.kube.wait_for(path, lambda _: True, seconds=900)
        address = f"127.1.{number // 250}.{number % 250 + 1}"
        running = [
            {
                "name": "driver",
                "state": {"running": {}},
                "ready": True,
                "restartCount": 0,
                "image": "",
                "imageID": "",
            }
        ]
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "containerStatuses": running,
        }
        scene.kube.patch(f"{path}/status", {"status": status})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(count)))


_NUMBERS = itertools.count(1)


@pytest.fixture
def neighbour(control_plane: ControlPlane) -> Iterator[str]:
    """Yield another tenant's namespace."""
    name = f"a-calm-neighbour-{next(_NUMBERS)}"
    control_plane.kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
    control_plane.kube.wait_for(f"/api/v1/namespaces/{name}/serviceaccounts/default", lambda _: True)
    yield name
    control_plane.kube.delete(f"/api/v1/namespaces/{name}")


def slow_drivers_hold_up_nobody(
    operator: Callable[..., Process],
    scene: Scene,
    control: ControlPlane,
    neighbour: str,
    count: int,
    *,
    seconds: float,
) -> None:
    with dripping_drivers("0.0.0.0") as asked:
        running = operator(control.kubeconfig, f"--namespace={neighbour}")
        running.wait_to_say("first relist")
        create_jobs(scene.kube, scene.namespace, count)
        run_drivers(scene, count)
        eventually(lambda: len(asked), lambda times: times >= min(count, 100), what="slow drivers", shown=str)
        calm = Scene(kube=scene.kube, namespace=neighbour)
        began, before = time.monotonic(), len(asked)
        calm.apply_job(workers=1)
        calm.wait_for_pods("seedlings-1-driver", "seedlings-1-worker-0", seconds=60)
        took = time.monotonic() - began
        print(
            f"\n{count} slow drivers: both pods after {took:.2f} s; {len(asked) - before} requests meanwhile"
        )
        assert took < seconds


def test_slow_drivers_of_one_tenant_hold_up_no_job_of_another(
    operator: Callable[..., Process], scene: Scene, control_plane: ControlPlane, neighbour: str
) -> None:
    slow_drivers_hold_up_nobody(operator, scene, control_plane, neighbour, 50, seconds=30)


@pytest.mark.exhaustive
def test_a_thousand_slow_drivers_of_one_tenant_hold_up_no_job_of_another(
    operator: Callable[..., Process], scene: Scene, control_plane: ControlPlane, neighbour: str
) -> None:
    slow_drivers_hold_up_nobody(operator, scene, control_plane, neighbour, SLOW_DRIVERS, seconds=5)
