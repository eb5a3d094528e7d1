"""The cluster of the benchmark: a real control plane, fake nodes and drivers, an operator."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scale import meters
from seedbed_api import metric_names as names
from seedbed_operator.manager.preflight import REQUIRED_PERMISSIONS
from testbed.boxes import Daemon
from testbed.control_plane import API_ADDRESS, ControlPlane
from testbed.fake_nodes import FakeNodes
from testbed.kube import Kube
from testbed.kubeconfigs import User
from testbed.testbeds import running_testbed

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PORT = 8090
CONCURRENCY = 32
"""Jobs that are worked on side by side, by the operator and by the plain client."""
IMAGE = "registry.example/seedbed@sha256:" + "0" * 64
PROFILE = {
    "apiVersion": "seedbed.dev/v1alpha1",
    "kind": "TrainingProfile",
    "metadata": {"name": "default"},
    "spec": {
        "image": IMAGE,
        "driver": {"resources": {"cpu": "100m", "memory": "256Mi"}},
        "worker": {"resources": {"cpu": "100m", "memory": "256Mi"}, "gpu": {"count": 1}},
        "allowedSecrets": ["s3-read", "s3-write"],
    },
}
JOB = {
    "apiVersion": "seedbed.dev/v1alpha1",
    "kind": "TrainingJob",
    "spec": yaml.safe_load((ROOT / "examples/digits.yaml").read_text())["spec"]
    | {"cluster": {"workers": {"min": 3, "max": 3}}},
}
PODS = 4
"""A driver and three workers."""


@dataclass(kw_only=True)
class Operator:
    """A running operator."""

    world: World
    daemon: Daemon

    @property
    def pid(self) -> int:
        """Its process."""
        return self.daemon.pid

    def metrics(self) -> dict[str, float]:
        """Return what it counts; nothing while it does not answer."""
        code = (
            f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{PORT}/metrics').read().decode())"
        )
        done = self.world.inside(sys.executable, "-I", "-S", "-c", code)
        return meters.operator_metrics(done.stdout)

    def ended(self) -> str | None:
        """Return its last words where it has ended; None while it runs."""
        return None if self.daemon.running() else self.daemon.tail()

    def stop(self) -> None:
        """End it as Kubernetes does."""
        self.daemon.stop(signal.SIGTERM, seconds=40)


@dataclass(kw_only=True)
class World:
    """A control plane with fake nodes."""

    folder: Path
    control: ControlPlane
    nodes: FakeNodes
    drivers: Daemon
    user: User
    tidy: bool = True
    profiles: Path | None = None
    """Where cProfile shall write what the operator does, if anywhere; it then is about twice as slow."""

    @property
    def kube(self) -> Kube:
        """The admin's connection."""
        return self.control.kube

    @property
    def processes(self) -> dict[str, int]:
        """What runs beside the operator, by name."""
        control = self.control
        daemons = (control.apiserver, control.etcd, control.controllers, control.scheduler)
        return {each.name: each.pid for each in (*daemons, self.nodes.daemon, self.drivers)}

    def inside(self, *command: str, feed: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the box to its end, whatever that is."""
        inside = self.control.box.inside(command)
        return subprocess.run(inside, input=feed, capture_output=True, text=True, check=False)

    def begin(self, command: str, **asked: Any) -> Callable[[], Any]:
        """Start a command of the plain client in the box; calling what is returned waits for its answer."""
        script = (sys.executable, str(HERE / "client.py"), command)
        process = subprocess.Popen(
            self.control.box.inside(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        document = {
            "server": f"https://{API_ADDRESS}",
            "authority": str(self.control.authority.own.certificate),
            "token": self.user.token,
            **asked,
        }

        assert process.stdin is not None
        process.stdin.write(json.dumps(document))
        process.stdin.close()
        process.stdin = None
        return lambda: _answer(command, process)

    def client(self, command: str, **asked: Any) -> Any:
        """Run a command of the plain client in the box to its end."""
        return self.begin(command, **asked)()

    def apply_jobs(self, namespace: str, count: int, *, first: int = 0, **spec: Any) -> None:
        """Create jobs as fast as a few connections can."""
        self.client(
            "apply", namespace=namespace, count=count, first=first, rate=0, prefix="job-", job=job(**spec)
        )

    def namespace(self, name: str) -> str:
        """Create a namespace."""
        self.kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
        self.kube.wait_for(f"/api/v1/namespaces/{name}/serviceaccounts/default", lambda _: True)
        return name

    def remove(self, namespace: str, *, seconds: float = 1200) -> None:
        """Delete a namespace with all that is in it; not where the whole world ends soon."""
        if not self.tidy:
            return
        self.kube.delete(f"/api/v1/namespaces/{namespace}")
        self.kube.wait_gone(f"/api/v1/namespaces/{namespace}", seconds=seconds)

    def operate(self, namespace: str) -> Operator:
        """Start an operator for a namespace, and wait until it leads and has swept."""
        kubeconfig = self.control.write_kubeconfig(self.user, inside=True)
        daemon = self.control.box.start(
            "operator",
            *self._profiled(namespace),
            str(Path(sys.executable).with_name("seedbed-operator")),
            *("run", "--namespace", namespace, "--lease-namespace", namespace, "--log-format", "text"),
            *("--kubeconfig", str(kubeconfig), "--health-port", str(PORT)),
            *("--concurrency", str(CONCURRENCY)),
        )
        operator = Operator(world=self, daemon=daemon)
        wait(
            lambda: sum(meters.of(names.RELISTS, operator.metrics()).values()) >= 1,
            what="the operator's first relist",
            failed=operator.ended,
        )
        return operator

    def _profiled(self, namespace: str) -> tuple[str, ...]:
        if self.profiles is None:
            return ()
        return sys.executable, "-m", "cProfile", "-o", str(self.profiles / f"{namespace}.prof")

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds so far of all that runs beside the operator."""
        return {name: meters.cpu_seconds(pid) for name, pid in self.processes.items()}

    def writes(self) -> dict[str, int]:
        """Return, by the API server's own count, the writes that only the operator makes."""
        return meters.our_writes(meters.requests_served(self.kube.text("/metrics")))

    def events(self, namespace: str) -> int:
        """Return how many events the operator has written."""
        events = self.kube.items(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
        return sum(event.get("reportingController") == "seedbed.dev/operator" for event in events)

    def jobs(self, namespace: str) -> list[dict[str, Any]]:
        """Return all jobs of a namespace."""
        return self.kube.items(f"/apis/seedbed.dev/v1alpha1/namespaces/{namespace}/trainingjobs")

    def let_drivers_go_on(self) -> None:
        """Let the fake drivers report ever more steps."""
        (self.folder / "goes-on").touch()


def _answer(command: str, process: subprocess.Popen[str]) -> Any:
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"client {command}: exit code {process.returncode}")
    return json.loads(output)


def job(**spec: Any) -> dict[str, Any]:
    """Return a job without a name."""
    return {**JOB, "spec": {**JOB["spec"], **spec}}


def condition(job: Mapping[str, Any], kind: str) -> str:
    """Return the status of a condition of a job."""
    found = [each for each in job.get("status", {}).get("conditions", ()) if each["type"] == kind]
    return str(found[0]["status"]) if found else ""


def wait(
    question: Callable[[], bool],
    *,
    what: str,
    seconds: float = 600,
    failed: Callable[[], str | None] = lambda: None,
    every: float = 0.5,
) -> None:
    """Ask until the answer is yes."""
    deadline = time.monotonic() + seconds
    while not question():
        if trouble := failed():
            raise SystemExit(f"{what}: {trouble}")
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


@contextmanager
def running_world(nodes: int, *, tidy: bool = True, profiles: Path | None = None) -> Iterator[World]:
    """Start a world; all of it is gone at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-operator-") as name,
        running_testbed(Path(name)) as testbed,
    ):
        control = testbed.control
        control.kube.define(*sorted((ROOT / "crds").glob("*.yaml")))
        control.kube.apply(PROFILE)
        resources = {"cpu": "10k", "memory": "100Ti", "nvidia.com/gpu": "2k", "pods": "2k"}
        testbed.fake_nodes.add_pool("pool", nodes, resources=resources)
        yield World(
            folder=Path(name),
            control=control,
            nodes=testbed.fake_nodes,
            drivers=_start_drivers(control, Path(name)),
            user=_least_rights(control),
            tidy=tidy,
            profiles=profiles,
        )


def _start_drivers(control: ControlPlane, folder: Path) -> Daemon:
    """Lead every address of a fake pod to one server in the box."""
    control.box.run("ip", "route", "add", "local", "10.89.0.0/16", "dev", "lo")
    return control.box.start("drivers", sys.executable, str(HERE / "drivers.py"), str(folder / "goes-on"))


def _least_rights(control: ControlPlane) -> User:
    """Return a service account that may do what the operator says it needs, and create jobs for the load."""
    rules = [
        {
            "apiGroups": [kind.group],
            "resources": ["/".join(part for part in (kind.plural, subresource) if part)],
            "verbs": verbs.split(),
        }
        for kind, subresource, verbs in REQUIRED_PERMISSIONS
    ]
    rules.append({"apiGroups": ["seedbed.dev"], "resources": ["trainingjobs"], "verbs": ["create"]})
    subject = {"kind": "ServiceAccount", "name": "operator", "namespace": "default"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "operator"}
    rbac = "rbac.authorization.k8s.io/v1"
    control.kube.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "operator"}, "rules": rules},
        {
            "apiVersion": rbac,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "operator"},
            "subjects": [subject],
            "roleRef": role,
        },
    )
    return control.service_account("default", "operator")
