"""The operator on a real API server, with a neighbour whose drivers answer slowly."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread

import pytest

from cluster.large_jobs import create_jobs
from cluster.operator_process import Process, Scene
from seedbed_api.pod_contract.driver_endpoint import PROGRESS_PORT
from support.eventually import eventually
from support.servers.slow_driver import drip
from testbed.control_plane import ControlPlane

pytestmark = pytest.mark.cluster

SLOW_DRIVERS = int(os.environ.get("SEEDBED_SLOW_DRIVERS", "1000"))


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
