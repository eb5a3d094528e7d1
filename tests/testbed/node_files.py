"""The configuration files of a node: containerd, its network, its runtime spec, kubelet. Text in, nothing done."""

from __future__ import annotations

import copy
import json
import resource
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
CHECKOUT = Path("/opt/seedbed")
"""Where pods see this checkout and its environment, wherever they lie on this machine."""
ENVIRONMENT = CHECKOUT / "venv"
OWN_TO_PODS = ("/dev", "/etc", "/proc", "/run", "/sys", "/tmp")
"""Folders of which every pod has its own: nothing of this machine can be mounted there."""
CLUSTER_DNS = "10.96.0.10"
PAUSE_IMAGE = "localhost/pause:testbed"
RUNTIME_CLASSES = ("plain", "own")
"""`plain` mounts nothing of this machine, `own` the programs of another root, where the testbed was given one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodePaths:
    """Where one node keeps what; all in the box's own memory."""

    number: int

    @property
    def name(self) -> str:
        """The node's name."""
        return f"node{self.number}"

    @property
    def address(self) -> str:
        """The node's address, also that of its bridge."""
        return f"10.88.{self.number}.1"

    @property
    def bridge(self) -> str:
        """The name of its bridge."""
        return f"tb{self.number}"

    @property
    def home(self) -> Path:
        """Its folder."""
        return Path("/run/seedbed", self.name)

    @property
    def socket(self) -> str:
        """Where its containerd listens."""
        return f"/run/containerd/{self.name}.sock"


def mounted_paths() -> dict[str, Path]:
    """Return what tiny images borrow from this machine: the system's programs, Python, the environment, our sources."""
    system = [Path(name) for name in ("/usr", "/bin", "/sbin", "/lib", "/lib64") if Path(name).exists()]
    python = [] if Path(sys.base_prefix).is_relative_to("/usr") else [Path(sys.base_prefix)]
    sources = ("crds", "operator", "workloads", "examples", "tests")
    checkout = {CHECKOUT / name: REPOSITORY / name for name in sources} | {ENVIRONMENT: Path(sys.prefix)}
    places = {path: path for path in (*system, *python)} | checkout
    return {str(place): path.resolve() for place, path in places.items()}


def rewritten_files() -> dict[str, str]:
    """Return the files of the environment that name its place, as they must read in pods, by their place there."""
    packages = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    sources = "".join(f"{CHECKOUT / name}\n" for name in ("crds", "operator", "workloads"))
    links = {packages / path.name: sources for path in (sys.prefix / packages).glob("*seedbed*.pth")}
    commands = {
        Path("bin", entry.name): _command(entry.module, entry.attr)
        for entry in distribution("seedbed").entry_points.select(group="console_scripts")
    }
    return {str(ENVIRONMENT / name): text for name, text in {**links, **commands}.items()}


def _command(module: str, function: str) -> str:
    lines = (f"#!{ENVIRONMENT}/bin/python", "import sys", f"from {module} import {function}")
    return "\n".join((*lines, f"sys.exit({function}())", ""))


def root_paths(root: Path) -> dict[str, Path]:
    """Return what tiny images borrow from a root of another system: its programs, and nothing of this machine."""
    names = ("usr", "bin", "sbin", "lib", "lib64", "opt", "etc/ssl", "etc/ld.so.cache")
    return {f"/{name}": (root / name).resolve() for name in names if (root / name).exists()}


def runtime_spec(default: dict[str, Any], mounts: Mapping[str, Path]) -> str:
    """Return the OCI spec that all containers start from: read-only mounts, and room for Ray's open files.

    `mounts` are paths of this machine by their place in the container.
    """
    spec = copy.deepcopy(default)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": hard, "soft": hard}]
    spec["mounts"] += [
        {
            "destination": place,
            "source": str(source),
            "type": "bind",
            "options": ["rbind", "ro", "nosuid", "nodev"],
        }
        for place, source in mounts.items()
    ]
    return json.dumps(spec)


def containerd_config(paths: NodePaths) -> str:
    """Return containerd's configuration: a runtime for each RuntimeClass, `plain` and `own` beside the usual one."""
    runtimes = "".join(
        f"""
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
runtime_type = "io.containerd.runc.v2"
base_runtime_spec = "{paths.home}/{spec}.json"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
SystemdCgroup = false
"""
        for name, spec in (("runc", "mounted"), *((name, name) for name in RUNTIME_CLASSES))
    )
    return f"""version = 2
root = "{paths.home}/containerd"
state = "/run/containerd/{paths.name}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
address = "{paths.socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
disable_tcp_service = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{paths.home}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
{runtimes}"""


def network_config(paths: NodePaths) -> str:
    """Return the CNI configuration: a bridge of the node's own, addresses by host-local."""
    ranges = [[{"subnet": f"10.88.{paths.number}.0/24", "gateway": paths.address}]]
    bridge = {
        "type": "bridge",
        "bridge": paths.bridge,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": f"{paths.home}/addresses",
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": paths.name, "plugins": [bridge]})


def kubelet_config(paths: NodePaths, *, cgroup: str, authority: Path, certificate: Path, key: Path) -> str:
    """Return kubelet's configuration; nothing is evicted or collected for want of disk."""
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": paths.address,
            "healthzPort": 0,
            "authentication": {"x509": {"clientCAFile": str(authority)}, "anonymous": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "tlsCertFile": str(certificate),
            "tlsPrivateKeyFile": str(key),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup,
            "cgroupsPerQOS": True,  # 1.36 crashes on init containers with resources without it
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "localStorageCapacityIsolation": False,
            "maxOpenFiles": 20000,
            "nodeStatusUpdateFrequency": "4s",
            "nodeLeaseDurationSeconds": 8,
            "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "clusterDNS": [CLUSTER_DNS],
            "clusterDomain": "cluster.local",
            "resolvConf": f"{paths.home}/resolv.conf",
            "podLogsDir": f"{paths.home}/logs",
            "volumePluginDir": f"{paths.home}/volume-plugins",
            "containerRuntimeEndpoint": f"unix://{paths.socket}",
            "registerWithTaints": [],
            "shutdownGracePeriod": "0s",
        }
    )
