"""Real nodes of a testbed: each its own containerd, kubelet, bridge and cgroups; they can be killed and come back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from support.eventually import eventually
from testbed.boxes import Box, Daemon
from testbed.builds import PAUSE, built, need
from testbed.cgroups import cgroups_writable, daemons_cgroup, make_cgroup, processes_below
from testbed.control_plane import ControlPlane
from testbed.images import Image, write_image
from testbed.kube import Json, Kube
from testbed.node_files import (
    CLUSTER_DNS,
    ENVIRONMENT,
    OWN_TO_PODS,
    PAUSE_IMAGE,
    NodePaths,
    containerd_config,
    kubelet_config,
    mounted_paths,
    network_config,
    rewritten_files,
    root_paths,
    runtime_spec,
)

_NEEDED = ("containerd", "containerd-shim-runc-v2", "runc", "ctr", "nft")
_OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}


@dataclass(kw_only=True, slots=True)
class Node:
    """A node that runs pods."""

    paths: NodePaths
    control: ControlPlane
    cgroup: str
    containerd: Daemon
    kubelet: Daemon
    images: list[Image] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name in the API."""
        return self.paths.name

    @property
    def kube(self) -> Kube:
        """The admin's connection."""
        return self.control.kube

    @property
    def path(self) -> str:
        """Its path in the API."""
        return f"/api/v1/nodes/{self.name}"

    def ctr(self, *arguments: str) -> str:
        """Run containerd's client on this node."""
        command = ("ctr", "-a", self.paths.socket, "-n", "k8s.io", *arguments)
        return self.control.box.run(*command, seconds=300)  # unpacks images, also on a busy machine

    def load(self, image: Image) -> str:
        """Make an image known to the node; return its reference by digest."""
        self.ctr("images", "import", "--base-name", "localhost", str(image.archive))
        listed = self.ctr("images", "ls", f"name=={image.name}").splitlines()[1].split()
        digest = next(word for word in listed if word.startswith("sha256:"))
        reference = f"{image.repository}@{digest}"
        self.ctr("images", "tag", "--force", image.name, reference)
        return reference

    def set_gpus(self, count: int) -> None:
        """Let the node say that it has GPUs; the scheduler counts them, containers get none."""
        patch = [{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": str(count)}]
        self.kube.patch(f"{self.path}/status", patch, kind="json")
        self.kube.wait_for(self.path, lambda seen: "nvidia.com/gpu" in seen["status"]["allocatable"])

    def label(self, **labels: str | None) -> None:
        """Set labels, or remove those that are None."""
        self.kube.patch(self.path, {"metadata": {"labels": labels}})

    def kill(self) -> None:
        """End kubelet, containerd and all processes of all pods at once, as when the power goes."""
        for process in (*processes_below(self.cgroup), *processes_below(daemons_cgroup(self.cgroup))):
            _kill(process)
        self.kubelet.stop()
        self.containerd.stop()
        eventually(lambda: not processes_below(self.cgroup), what=f"end of {self.name}'s pods")

    def start(self) -> None:
        """Bring a killed node back, as a machine that was booted again; returns when it is Ready."""
        self.containerd = self.control.box.restart(self.containerd)
        _await_containerd(self.control.box, self.paths, self.containerd)
        self.kubelet = self.control.box.restart(self.kubelet)
        self.set_out_of_service(on=False)
        self.await_ready()

    @contextmanager
    def counting_disk(self) -> Iterator[None]:
        """Let kubelet count meanwhile what pods write, and evict those that exceed their limits; pods go on."""
        config = _kubelet_config_file(self.control, self.paths)
        usual = config.read_text()
        often = {"localStorageCapacityIsolation": True, "volumeStatsAggPeriod": "2s"}
        counting = {**yaml.safe_load(usual), **often}
        try:
            self._restart_kubelet(config, yaml.safe_dump(counting))
            yield
        finally:
            self._restart_kubelet(config, usual)

    def _restart_kubelet(self, config: Path, text: str) -> None:
        config.write_text(text)
        self.kubelet.stop()
        self.kubelet = self.control.box.restart(self.kubelet)
        self.await_ready()

    def set_out_of_service(self, *, on: bool = True) -> None:
        """Taint a node that will not come back, so that its pods are given up; or take the taint away."""
        taints = [
            taint
            for taint in self.kube.get(self.path)["spec"].get("taints", [])
            if not _out_of_service(taint)
        ]
        self.kube.patch(self.path, {"spec": {"taints": [*taints, _OUT_OF_SERVICE] if on else taints}})

    def cordon(self, *, on: bool = True) -> None:
        """Let no new pod be scheduled to it, or let them again."""
        self.kube.patch(self.path, {"spec": {"unschedulable": on}})

    def drain(self) -> None:
        """Cordon it and evict its pods, as `kubectl drain` does before maintenance."""
        self.kube.kubectl("drain", self.name, "--ignore-daemonsets", "--delete-emptydir-data", "--force")

    def await_ready(self, *, ready: bool = True, seconds: float = 240) -> None:
        """Wait until the node is Ready, or is not any more."""
        if ready:
            eventually(self._comes_up, what=f"{self.name} is Ready", seconds=seconds)
        else:
            self.kube.wait_for(self.path, lambda seen: not is_ready(seen), seconds=seconds, what="not Ready")

    def _comes_up(self) -> bool:
        """Say whether the node is Ready; start kubelet again where it gave up, as the init system of a machine does.

        It gives up when containerd does not serve yet.
        """
        if not self.kubelet.running():
            self.kubelet = self.control.box.restart(self.kubelet)
        return self.kube.exists(self.path) and is_ready(self.kube.get(self.path))

    def processes(self, namespace: str, pod: str, container: str) -> Mapping[int, str]:
        """Return a container's processes, their numbers outside the box and their command lines."""
        identifier = self._container_id(namespace, pod, container)
        found = processes_below(self.cgroup, containing=identifier)
        return {process: _command_line(process) for process in found}

    def kill_container(
        self, namespace: str, pod: str, container: str, number: signal.Signals = signal.SIGKILL
    ) -> None:
        """Send a signal to the first process of a container, behind kubelet's back."""
        identifier = self._container_id(namespace, pod, container)
        self.ctr("tasks", "kill", "--signal", number.name, identifier)

    def _container_id(self, namespace: str, pod: str, container: str) -> str:
        statuses = self.kube.get(f"/api/v1/namespaces/{namespace}/pods/{pod}")["status"]["containerStatuses"]
        found = next(status["containerID"] for status in statuses if status["name"] == container)
        return str(found).removeprefix("containerd://")


def missing_node_means() -> list[str]:
    """Return what this machine lacks to run pods."""
    programs = [name for name in _NEEDED if shutil.which(name) is None]
    if not Path("/usr/lib/cni/bridge").exists():
        programs.append("/usr/lib/cni/bridge")
    hidden = any(Path(sys.base_prefix).is_relative_to(folder) for folder in OWN_TO_PODS)
    return [
        *([f"no {', '.join(programs)} (make testbed-packages)"] if programs else []),
        *([] if cgroups_writable() else ["/sys/fs/cgroup cannot be written"]),
        *([f"Python lies in {sys.base_prefix}, of which every pod has its own"] if hidden else []),
    ]


def start_node(
    control: ControlPlane, number: int, *, labels: Mapping[str, str] | None = None, root: Path | None = None
) -> Node:
    """Start a node and wait until it is Ready; `labels` name its pool, `root` is that of RuntimeClass `own`."""
    need(missing_node_means())
    box, paths = control.box, NodePaths(number=number)
    pause = _pause_image(box.folder / "images")
    _write_files(control, paths, root)
    cgroup = make_cgroup(box.name, paths.name)
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    config = f"{paths.home}/containerd.toml"
    containerd = box.start(
        f"containerd-{paths.name}",
        "containerd",
        "--config",
        config,
        environment=environment,
        cgroup=daemons_cgroup(cgroup),
    )
    _await_containerd(box, paths, containerd)
    node = Node(
        paths=paths,
        control=control,
        cgroup=cgroup,
        containerd=containerd,
        kubelet=_start_kubelet(control, paths, cgroup, labels or {}, environment),
    )
    node.load(pause)
    node.await_ready()
    return node


def is_ready(node: Json) -> bool:
    """Say whether a node object has the condition Ready."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _kubelet_config_file(control: ControlPlane, paths: NodePaths) -> Path:
    return control.box.folder / f"kubelet-{paths.name}.yaml"


def _start_kubelet(
    control: ControlPlane,
    paths: NodePaths,
    cgroup: str,
    labels: Mapping[str, str],
    environment: Mapping[str, str],
) -> Daemon:
    user = control.user(f"system:node:{paths.name}", groups=("system:nodes",))
    serving = control.authority.sign(
        f"kubelet-{paths.name}", user=paths.name, addresses=(f"IP:{paths.address}",)
    )
    config = kubelet_config(
        paths,
        cgroup=cgroup,
        authority=control.authority.own.certificate,
        certificate=serving.certificate,
        key=serving.key,
    )
    place = _kubelet_config_file(control, paths)
    place.write_text(config)
    flags = (
        f"--config={place}",
        f"--kubeconfig={control.write_kubeconfig(user, inside=True)}",
        f"--root-dir={paths.home}/kubelet",
        f"--cert-dir={paths.home}/kubelet-certificates",
        f"--hostname-override={paths.name}",
        f"--node-ip={paths.address}",
        f"--node-labels={','.join(f'{key}={value}' for key, value in labels.items())}",
    )
    return control.box.start(
        f"kubelet-{paths.name}",
        str(control.binary),
        "kubelet",
        *flags,
        environment=environment,
        cgroup=daemons_cgroup(cgroup),
    )


def _write_files(control: ControlPlane, paths: NodePaths, root: Path | None) -> None:
    """Write a node's files into the box's memory, and give it its bridge."""
    box = control.box
    default = json.loads(box.run("ctr", "oci", "spec"))
    texts = rewritten_files()
    rewritten = {place: Path(f"{paths.home}/rewritten{place}") for place in texts}
    files = {
        "containerd.toml": containerd_config(paths),
        "cni/10-bridge.conflist": network_config(paths),
        "mounted.json": runtime_spec(default, {**mounted_paths(), **rewritten}),
        "plain.json": runtime_spec(default, {}),
        "own.json": runtime_spec(default, root_paths(root) if root else {}),
        "resolv.conf": f"nameserver {CLUSTER_DNS}\n",
    }
    box.write({f"{paths.home}/{name}": text for name, text in files.items()})
    box.write({str(rewritten[place]): text for place, text in texts.items()})
    box.run("chmod", "-R", "a+rX,a+x", f"{paths.home}/rewritten")
    if not Path(f"/proc/{box.pid}/root/sys/class/net/{paths.bridge}").exists():
        for command in (
            f"link add {paths.bridge} type bridge",
            f"addr add {paths.address}/24 dev {paths.bridge}",
            f"link set {paths.bridge} up",
        ):
            box.run("ip", *command.split())


def _await_containerd(box: Box, paths: NodePaths, daemon: Daemon) -> None:
    socket = Path(f"/proc/{box.pid}/root{paths.socket}")
    eventually(socket.exists, what="containerd", servers=(daemon,))


def _pause_image(folder: Path) -> Image:
    program = built(PAUSE).read_bytes()
    return write_image(folder, PAUSE_IMAGE, command=["/pause"], files={"pause": program})


def _out_of_service(taint: Json) -> bool:
    return bool(taint["key"] == _OUT_OF_SERVICE["key"])


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return  # ended by itself


def _command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def workload_image(
    folder: Path, name: str, *, command: Sequence[str] = ("python", "-V"), prefix: Path | str = ENVIRONMENT
) -> Image:
    """Return a tiny image in which `seedbed`, `python` and the system's programs run from what is mounted."""
    path = f"{prefix}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    environment = {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    return write_image(folder, name, command=command, environment=environment)
