"""A real Prometheus reads operator, driver and sweep: every name in dashboards and alerts exists, every query tells.

The operator serves a real API server. Its drivers are names only but for one, which trains beside the test and
answers on the driver's port; a sweep does the same.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import pytest
import yaml

import alerts
from cluster.helper_process import beside
from cluster.observed_jobs import DRIVER_PORT, a_driver, a_profile_with_gpus, apply, take_away
from cluster.operator_process import JOBS, Process, Scene
from dashboards.dashboard_files import DASHBOARDS
from seedbed_api import metric_names as names
from support.eventually import eventually
from support.monitoring.dashboard_pictures import picture
from support.monitoring.dashboard_queries import chosen, queries
from support.operator.builders import an_outcome
from support.runs.command_line import dataset, spec
from support.runs.sweep_commands import ASHA, a_sweep
from support.servers.range_server import RangeHandler
from testbed.gateway import free_port
from testbed.kube import Json
from testbed.prometheus import Prometheus, Target, program, running_prometheus

pytestmark = pytest.mark.cluster
T = TypeVar("T")
STEPS = 10_000_000
"""More than any machine trains: `cluster.observed_driver` stops."""
NAMES = ("seedlings", "diverges", "taken", "waits")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """Serve a small dataset over HTTP, so that its bytes pass through the cache."""
    dataset(tmp_path / "data", train=40, validation=6)
    handler = partial(RangeHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/data"
    server.shutdown()
    server.server_close()


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What Prometheus has read of all of it."""

    prometheus: Prometheus
    operator: Process

    def firing(self, alert: str) -> list[str]:
        """Return the jobs for which an alert fires; an empty name where it is about none."""
        found = self.prometheus.query(f'ALERTS{{alertname="{alert}", alertstate="firing"}}')
        return sorted(series["metric"].get("name", "") for series in found)

    def silent(self, expressions: Mapping[str, str]) -> dict[str, str]:
        """Return the queries that bring no data, by title."""
        return {title: each for title, each in expressions.items() if not self._tells(each)}

    def _tells(self, expression: str) -> bool:
        """Tell whether a query brings a number: the rate of nothing by the rate of nothing is none."""
        return any(math.isfinite(float(found["value"][1])) for found in self.prometheus.query(expression))


@pytest.fixture
def prometheus_installed() -> None:
    program("prometheus")


@pytest.fixture
def observed(
    prometheus_installed: None,
    operator: Callable[[], Process],
    scene: Scene,
    store: str,
    tmp_path: Path,
) -> Iterator[Observed]:
    """Run an operator with jobs in several states, a driver that trains, a sweep, and a Prometheus that reads them."""
    running = operator()
    running.wait_to_say("first relist")
    a_profile_with_gpus(scene)
    for name in NAMES:
        apply(scene, name)
    sweep_port = free_port()
    targets = [
        Target(address=f"127.0.0.1:{running.port}", labels={"pod": "operator-0"}),
        a_driver(DRIVER_PORT, "seedlings", scene.namespace),
        a_driver(sweep_port, "tiny", scene.namespace),
    ]
    with (
        running_prometheus(tmp_path, targets, rules=impatient(tmp_path / "alerts.yaml")) as prometheus,
        a_driver_and_a_sweep(scene, store, tmp_path, sweep_port),  # trains while it is looked at
    ):
        scene.run("seedlings-1-driver", "seedlings-1-worker-0")
        scene.run("diverges-1-driver", "taken-1-driver")
        failed = an_outcome("Failed", "NonFiniteLoss", message="loss nan at step 3")
        scene.end("diverges-1-driver", 2, failed)
        take_away(scene, "taken-1-driver")
        yield Observed(prometheus=prometheus, operator=running)


def impatient(path: Path) -> Path:
    """Write the chart's alerts so that they fire at once; `promtool` looks at how long they wait."""
    groups = alerts.groups()
    for rule in groups["groups"][0]["rules"]:
        rule["for"] = "0s"
    path.write_text(yaml.safe_dump(groups), encoding="utf-8")
    return path


@contextmanager
def a_driver_and_a_sweep(scene: Scene, store: str, folder: Path, sweep_port: int) -> Iterator[None]:
    """Train beside the test as the driver of `seedlings`, then search; both go on answering until the end."""
    pods = {f"{name}-1-{role}" for name in NAMES for role in ("driver", "worker-0")}
    eventually(scene.pods, lambda found: pods <= set(found), what=f"the pods {sorted(pods)}", shown=sorted)
    job = scene.kube.get(f"{JOBS.format(scene.namespace)}/seedlings")
    told = {
        "uid": job["metadata"]["uid"],
        "job": a_training(store, folder, scene.namespace),
        "sweep": a_search(store, folder, scene.namespace),
        "cache": str(folder / "cache"),
        "port": DRIVER_PORT,
        "sweepPort": sweep_port,
    }
    with beside("cluster.observed_driver", told, folder / "driver.log"):
        yield


def a_training(store: str, folder: Path, namespace: str) -> Json:
    fields = spec(store, folder / "runs")
    fields["training"]["steps"] = STEPS
    fields |= {"evaluation": {"everySteps": 50}, "checkpoint": {"everySteps": 20}}
    return {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "seedlings", "namespace": namespace},
        "spec": fields,
    }


def a_search(store: str, folder: Path, namespace: str) -> Json:
    sweep = a_sweep(Path("data"), folder / "runs", earlyStopping=ASHA)
    sweep["metadata"]["namespace"] = namespace
    sweep["spec"]["trialTemplate"]["spec"]["dataset"]["uri"] = store
    return sweep


def is_seldom(expression: str) -> bool:
    """Tell whether a query asks for what this machine has not."""
    return any(family.name in expression for family in names.FAMILIES if family.seldom)


def test_every_query_brings_data_and_alerts_fire_and_resolve(observed: Observed, scene: Scene) -> None:
    prometheus = observed.prometheus
    prometheus.wait_for(f'{names.JOB_PROGRESS.name}{{name="seedlings"}} > 0')
    prometheus.wait_for(f'{names.JOBS.name}{{condition="Failed", reason="NonFiniteLoss"}}')
    prometheus.wait_for(names.BEST_OBJECTIVE.name)
    asked = {title: each for title, each in queries().items() if not is_seldom(each)}
    assert patiently(lambda: observed.silent(asked)) == {}
    assert patiently(prometheus.unhealthy) == []
    known = [family for family in names.FAMILIES if not family.seldom]
    assert patiently(lambda: [family.name for family in known if not there(prometheus, family)]) == []
    renamed = {title: each.replace("seedbed_", "seedbed_x_", 1) for title, each in asked.items()}
    forgiving = [title for title, each in asked.items() if " or " in each]
    assert set(observed.silent(renamed)) == set(asked) - set(forgiving)
    draw(prometheus)
    alerts_fire_and_resolve(observed, scene)


def draw(prometheus: Prometheus) -> None:
    """Leave pictures of the dashboards for a person to look at, where SEEDBED_PICTURES names a folder."""
    folder = os.environ.get("SEEDBED_PICTURES")
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    for page in DASHBOARDS:
        picture(page, prometheus, Path(folder) / f"{page.uid}.png", chosen)


def patiently(missing: Callable[[], T], *, seconds: float = 240) -> T:
    """Return what is missing once it is nothing, or what still is when patience is at its end."""
    deadline = time.monotonic() + seconds
    while (found := missing()) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def alerts_fire_and_resolve(observed: Observed, scene: Scene) -> None:
    """Provoke three of them one after the other."""
    firing = observed.firing
    eventually(
        lambda: firing("SeedbedDivergence"),
        lambda found: found == ["diverges"],
        what="SeedbedDivergence fires for diverges",
    )
    scene.kube.delete(f"{JOBS.format(scene.namespace)}/diverges")
    eventually(
        lambda: firing("SeedbedDivergence"),
        lambda found: found == [],
        what="SeedbedDivergence fires for nobody",
    )
    apply(scene, "astray", dataset="pvc://of-another-team/data")
    eventually(
        lambda: firing("SeedbedJobStalled"),
        lambda found: "astray" in found,
        what="SeedbedJobStalled fires for astray",
    )
    scene.kube.delete(f"{JOBS.format(scene.namespace)}/astray")
    eventually(
        lambda: firing("SeedbedJobStalled"),
        lambda found: "astray" not in found,
        what="SeedbedJobStalled fires no more for astray",
    )
    eventually(
        lambda: firing("SeedbedOperatorNotReconciling"),
        lambda found: found == [],
        what="SeedbedOperatorNotReconciling fires for nobody",
    )
    observed.operator.end(signal.SIGKILL)
    eventually(
        lambda: firing("SeedbedOperatorNotReconciling"),
        lambda found: found == [""],
        what="SeedbedOperatorNotReconciling fires for the operator",
    )


def there(prometheus: Prometheus, family: names.Family) -> bool:
    """Tell whether a metric was read under its name."""
    return bool(prometheus.query(family.name + ("_count" if family.kind == "histogram" else "")))
