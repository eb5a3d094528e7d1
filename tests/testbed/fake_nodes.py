"""Nodes that are objects only: kwok keeps them Ready and lets pods that are bound to them run in name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.eventually import eventually
from testbed.boxes import Daemon
from testbed.builds import KWOK, built
from testbed.control_plane import ControlPlane
from testbed.kube import Json, Kube

_STAGES = Path(__file__).with_name("kwok-stages.yaml")
_LABEL = {"type": "kwok"}
_NOT_READY = "node.kubernetes.io/not-ready"


@dataclass(kw_only=True, slots=True)
class FakeNodes:
    """A running kwok; its pods become Running by themselves and end when a test says so."""

    control: ControlPlane
    daemon: Daemon

    @property
    def kube(self) -> Kube:
        """The admin's connection."""
        return self.control.kube

    def add_pool(
        self,
        pool: str,
        count: int,
        *,
        resources: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Json] = (),
        cordoned: bool = False,
        seconds: float = 240,
    ) -> list[str]:
        """Add nodes `<pool>-<k>` and wait until pods may run on them; return their names."""
        names = [f"{pool}-{number}" for number in range(count)]
        for name in names:
            node = _a_node(name, resources or {}, labels or {}, taints)
            node["spec"]["unschedulable"] = cordoned
            self.kube.create("/api/v1/nodes", node)
        for name in names:
            self.kube.wait_for(f"/api/v1/nodes/{name}", _takes_pods, seconds=seconds)
        return names

    def preempt(self, name: str) -> None:
        """Take a machine away as a cloud does: kubelet ends its pods in the seconds that are left, then the node goes."""
        pods = self.kube.items("/api/v1/pods", fieldSelector=f"spec.nodeName={name}")
        for pod in pods:
            if pod["status"]["phase"] == "Running":
                self._shut_down(pod)
        self.remove(name)

    def remove(self, name: str) -> None:
        """Delete a node; its pods are collected after about a minute."""
        self.kube.delete(f"/api/v1/nodes/{name}")

    def _shut_down(self, pod: Json) -> None:
        place = pod["metadata"]
        ended = {"terminated": {"exitCode": 143, "reason": "Error"}}
        statuses = [{**each, "ready": False, "state": ended} for each in pod["status"]["containerStatuses"]]
        status = {
            "phase": "Failed",
            "reason": "Terminated",
            "message": "Pod was terminated in response to imminent node shutdown.",
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}],
            "containerStatuses": statuses,
        }
        path = f"/api/v1/namespaces/{place['namespace']}/pods/{place['name']}/status"
        self.kube.patch(path, {"status": status}, kind="strategic")

    def pause(self) -> None:
        """Stop kwok: its nodes become NotReady and its pods stay as they are."""
        self.daemon.stop()

    def resume(self) -> None:
        """Start kwok again."""
        self.daemon = self.control.box.restart(self.daemon)

    def end_container(
        self,
        namespace: str,
        pod: str,
        *,
        exit_code: int,
        message: str = "",
        reason: str = "",
        container: str = "",
    ) -> None:
        """Let a container of a fake pod end, and the pod with it, as kubelet would report it."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
        seen = self.kube.get(path)
        name = container or seen["spec"]["containers"][0]["name"]
        why = reason or ("Completed" if exit_code == 0 else "Error")
        ended = {"exitCode": exit_code, "reason": why, "message": message}
        statuses = [
            {**status, "ready": False, "state": {"terminated": ended}} if status["name"] == name else status
            for status in seen["status"]["containerStatuses"]
        ]
        phase = "Succeeded" if exit_code == 0 else "Failed"
        self.kube.patch(f"{path}/status", {"status": {"phase": phase, "containerStatuses": statuses}})


def start_fake_nodes(control: ControlPlane) -> FakeNodes:
    """Start kwok in the control plane's box, for the nodes labelled `type=kwok`."""
    user = control.user("kwok", groups=("system:masters",))
    flags = (
        f"--kubeconfig={control.write_kubeconfig(user, inside=True)}",
        f"--config={_STAGES}",
        "--manage-nodes-with-label-selector=type=kwok",
        "--node-lease-duration-seconds=8",
        "--cidr=10.89.0.0/16",
        "--node-ip=10.89.255.254",
        "--server-address=127.0.0.1:10247",
    )
    daemon = control.box.start("kwok", str(built(KWOK)), *flags)
    eventually(lambda: _said_ready(daemon), what="kwok", servers=(daemon,))
    return FakeNodes(control=control, daemon=daemon)


def _said_ready(daemon: Daemon) -> bool:
    return "Starting" in daemon.log.read_text() or daemon.running()


def _a_node(
    name: str, resources: Mapping[str, str], labels: Mapping[str, str], taints: Sequence[Json]
) -> Json:
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "1000", **resources}
    return {
        "metadata": {
            "name": name,
            "labels": {**_LABEL, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **labels},
        },
        "spec": {"taints": list(taints)},
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def _takes_pods(node: Json) -> bool:
    """Tell whether a node is Ready, and a controller has taken away the taint of a node that is not."""
    conditions = node.get("status", {}).get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and _NOT_READY not in {taint["key"] for taint in node["spec"].get("taints", ())}
