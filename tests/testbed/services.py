"""What pods find in a testbed beside each other: Services, names, an S3 server."""

from __future__ import annotations

import secrets
import signal
from dataclasses import dataclass

import yaml

from support.eventually import eventually
from testbed.boxes import Box, Daemon
from testbed.builds import COREDNS, VERSITYGW, built
from testbed.control_plane import MACHINE_ADDRESS, POD_RANGE, ControlPlane
from testbed.gateway import Gateway, answers, gateway_command
from testbed.kube import Json
from testbed.node_files import CLUSTER_DNS

_DNS_PORTS = [
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
]
S3_ADDRESS = f"{MACHINE_ADDRESS}:9000"


@dataclass(kw_only=True, slots=True)
class InnerGateway:
    """The S3 server in the box; one folder of the machine holds its buckets."""

    box: Box
    daemon: Daemon
    outside: Gateway
    """For processes of the machine."""
    inside: Gateway
    """For pods: another endpoint, the same buckets and keys."""

    def pause(self) -> None:
        """Let every request hang until `resume`."""
        self.daemon.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self.daemon.send(signal.SIGCONT)

    def stop(self) -> None:
        """Kill the server: connections are refused until `start`; what was stored stays."""
        self.daemon.stop()

    def start(self) -> None:
        """Start the server again."""
        self.daemon = self.box.restart(self.daemon)
        self.await_answer()

    def await_answer(self) -> None:
        """Wait until it answers."""
        eventually(lambda: answers(self.outside), what="versitygw", servers=(self.daemon,))


def start_proxy(control: ControlPlane) -> Daemon:
    """Start the one kube-proxy that gives all nodes of this box their Services."""
    user = control.user("system:kube-proxy")
    config = control.box.folder / "kube-proxy.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "nftables",
                "clientConnection": {"kubeconfig": str(control.write_kubeconfig(user, inside=True))},
                "clusterCIDR": POD_RANGE,
                "detectLocalMode": "ClusterCIDR",
                "hostnameOverride": "node1",
                "conntrack": {"maxPerCore": 0, "min": 0},
                "nftables": {"minSyncPeriod": "0.1s"},
            }
        )
    )
    return control.box.start("kube-proxy", str(control.binary), "kube-proxy", f"--config={config}")


def start_dns(control: ControlPlane) -> Daemon:
    """Start CoreDNS beside the cluster, and the Service by which pods know it; other names do not exist."""
    binary = built(COREDNS)
    user = control.user("coredns", groups=("system:masters",))
    config = control.box.folder / "Corefile"
    config.write_text(
        f"""cluster.local in-addr.arpa {{
    bind {MACHINE_ADDRESS}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {control.write_kubeconfig(user, inside=True)}
        ttl 1
    }}
}}
. {{
    bind {MACHINE_ADDRESS}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
    )
    daemon = control.box.start("coredns", str(binary), "-conf", str(config))
    control.kube.apply(_dns_service(), _dns_endpoints(), namespace="kube-system")
    return daemon


def start_s3(box: Box) -> InnerGateway:
    """Start the S3 server where pods and the machine reach it."""
    binary, folder = built(VERSITYGW), box.folder / "s3"
    for name in ("root", "iam"):
        (folder / name).mkdir(parents=True)
    keys = {"access_key": "testbed", "secret_key": secrets.token_hex(16)}
    inside = Gateway(endpoint=f"http://{S3_ADDRESS}", root=folder / "root", **keys)
    outside = Gateway(endpoint=f"http://127.0.0.1:{box.ports[S3_ADDRESS]}", root=folder / "root", **keys)
    command, environment = gateway_command(binary, inside, folder)
    daemon = box.start("versitygw", *command, environment=environment)
    gateway = InnerGateway(box=box, daemon=daemon, outside=outside, inside=inside)
    gateway.await_answer()
    return gateway


def _dns_service() -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": CLUSTER_DNS, "ports": _DNS_PORTS},
    }


def _dns_endpoints() -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "ports": _DNS_PORTS,
        "endpoints": [{"addresses": [MACHINE_ADDRESS], "conditions": {"ready": True}}],
    }
