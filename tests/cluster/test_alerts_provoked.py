"""Alerts about data, checkpoints and preemptions, provoked for real: they fire, and resolve when that is mended.

The operator serves a real API server, trainings run beside the test, a real Prometheus reads all of it. Its alerts are
`FACTOR` times as impatient as the chart's, and not changed otherwise. The rest is provoked in test_metrics.py.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

import alerts
from cluster.helper_process import beside
from cluster.observed_jobs import DRIVER_PORT, a_driver, a_profile_with_gpus, apply, take_away
from cluster.operator_process import JOBS, Process, Scene
from support.eventually import eventually
from support.monitoring.prometheus_pod import hurried, seldom_misses
from support.runs.command_line import dataset, spec
from support.servers.range_server import RangeHandler
from testbed.gateway import free_port
from testbed.kube import Json
from testbed.prometheus import Prometheus, Target, program, running_prometheus

pytestmark = [pytest.mark.cluster, pytest.mark.exhaustive, pytest.mark.timeout(1200)]
PATIENCE_SECONDS = 400.0
SLOW_SECONDS = 1.5
AMPLE, TINY = 1 << 30, 5_000
"""A cache that holds all, and one that holds a few record batches of hundreds."""
STORMY = ("north", "east", "south")


class SlowHandler(RangeHandler):
    """Serves a dataset; `slow` lets every read of it wait."""

    slow = threading.Event()

    def do_GET(self) -> None:  # noqa: N802 - as the base names it
        if "/slow/" in self.path and self.headers.get("Range") and self.slow.is_set():
            time.sleep(SLOW_SECONDS)
        super().do_GET()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """Serve two datasets over HTTP."""
    for name in ("slow", "fast"):
        dataset(tmp_path / name / "data", train=400, validation=6)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SlowHandler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    SlowHandler.slow.clear()
    server.shutdown()
    server.server_close()


@contextmanager
def a_training(scene: Scene, name: str, data: str, folder: Path, *, port: int, cache: int) -> Iterator[None]:
    """Train beside the test as the driver of a job."""
    fields = spec(data, folder / f"{name}-{cache}")
    fields["training"]["steps"] = 10_000_000
    fields |= {"evaluation": {"everySteps": 100_000}, "checkpoint": {"everySteps": 200}}
    job: Json = scene.kube.get(f"{JOBS.format(scene.namespace)}/{name}")
    about = {"name": name, "namespace": scene.namespace}
    manifest = {"apiVersion": job["apiVersion"], "kind": "TrainingJob", "metadata": about, "spec": fields}
    told = {"job": manifest, "uid": job["metadata"]["uid"], "port": port}
    told |= {"cache": str(folder / f"cache-{name}"), "cacheBytes": cache}
    with beside("cluster.observed_training", told, folder / f"{name}-{cache}.log"):
        yield


@pytest.fixture
def prometheus_installed() -> None:
    program("prometheus")


def test_alerts_about_data_checkpoints_and_preemptions(
    prometheus_installed: None,
    operator: Callable[[], Process],
    scene: Scene,
    store: str,
    tmp_path: Path,
) -> None:
    running = operator()
    running.wait_to_say("first relist")
    port = free_port()
    targets = [
        Target(address=f"127.0.0.1:{running.port}", labels={"pod": "operator-0"}),
        a_driver(DRIVER_PORT, "starved", scene.namespace),
        a_driver(port, "cramped", scene.namespace),
    ]
    rules = tmp_path / "alerts.json"
    rules.write_text(json.dumps(hurried(alerts.groups())))
    a_profile_with_gpus(scene)
    for name in ("starved", "cramped"):
        a_job(scene, name)
    SlowHandler.slow.set()
    cramped = partial(a_training, scene, "cramped", f"{store}/fast/data", tmp_path, port=port)
    starved = a_training(scene, "starved", f"{store}/slow/data", tmp_path, port=DRIVER_PORT, cache=AMPLE)
    with running_prometheus(tmp_path, targets, rules=rules) as prometheus, starved:
        with cramped(cache=TINY):
            preempted_again_and_again(prometheus, scene)
            await_firing(prometheus, "SeedbedCacheThrash", "cramped")
        with cramped(cache=AMPLE):
            await_firing(prometheus, "SeedbedDataStarvation", "starved")
            await_firing(prometheus, "SeedbedCheckpointAge", "starved")
            SlowHandler.slow.clear()
            prometheus.wait_for(seldom_misses("cramped", "cramped-1-driver"), seconds=PATIENCE_SECONDS)
            await_silence(prometheus, "SeedbedCacheThrash", "cramped")
        await_silence(prometheus, "SeedbedDataStarvation", "starved")
        await_silence(prometheus, "SeedbedCheckpointAge", "starved")
        await_silence(prometheus, "SeedbedPreemptionStorm", scene.namespace)


def a_job(scene: Scene, name: str) -> None:
    """Create a job, and say of its pods that they run."""
    apply(scene, name)
    pods = {f"{name}-1-driver", f"{name}-1-worker-0"}
    eventually(scene.pods, lambda found: pods <= set(found), what=f"the pods {sorted(pods)}", shown=sorted)
    scene.run(*sorted(pods))


def preempted_again_and_again(prometheus: Prometheus, scene: Scene) -> None:
    """Let the drivers of jobs make room for others whenever they are there."""
    taken = set[str]()
    for name in STORMY:
        apply(scene, name)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while scene.namespace not in firing(prometheus, "SeedbedPreemptionStorm"):
        assert time.monotonic() < deadline, f"no storm after {sorted(taken)}"
        here = {name for name in scene.pods() if name.startswith(STORMY) and name.endswith("-driver")}
        for pod in sorted(here - taken):
            scene.run(pod)
            take_away(scene, pod)
        taken |= here
        time.sleep(1)
    print(f"{time.strftime('%X')} SeedbedPreemptionStorm fires after {sorted(taken)}")
    assert len(taken) > 5
    for name in STORMY:
        scene.kube.delete(f"{JOBS.format(scene.namespace)}/{name}")


def firing(prometheus: Prometheus, alert: str) -> set[str]:
    """Return the jobs for which an alert fires; the namespace where it is about no job."""
    found = prometheus.query(f'ALERTS{{alertname="{alert}", alertstate="firing"}}')
    return {each["metric"].get("name", each["metric"].get("namespace", "")) for each in found}


def await_firing(prometheus: Prometheus, alert: str, who: str) -> None:
    eventually(
        lambda: firing(prometheus, alert),
        lambda found: who in found,
        what=f"{alert} fires for {who}",
        seconds=PATIENCE_SECONDS,
    )
    print(f"{time.strftime('%X')} {alert} fires: {who}")


def await_silence(prometheus: Prometheus, alert: str, who: str) -> None:
    eventually(
        lambda: firing(prometheus, alert),
        lambda found: who not in found,
        what=f"{alert} fires no more for {who}",
        seconds=PATIENCE_SECONDS,
    )
    print(f"{time.strftime('%X')} {alert} is silent: {who}")
