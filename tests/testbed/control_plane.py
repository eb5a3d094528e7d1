"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler in a box; no kubelet, so that no pod runs."""

from __future__ import annotations

import signal
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.eventually import eventually
from testbed.boxes import Box, Daemon
from testbed.builds import KUBERNETES, built
from testbed.certificates import Authority, create_authority, create_signing_key
from testbed.kube import Kube
from testbed.kubeconfigs import User, write_kubeconfig

MACHINE_ADDRESS = "10.88.0.1"
"""The address of servers in the box, also from within pods."""
API_ADDRESS = "127.0.0.1:6443"
POD_RANGE = "10.88.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
_ETCD = "http://127.0.0.1:2379"
_SERVER_NAMES = (
    "IP:127.0.0.1",
    f"IP:{MACHINE_ADDRESS}",
    "IP:10.96.0.1",
    "DNS:localhost",
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    "DNS:kubernetes.default.svc.cluster.local",
)
_CONTROLLERS = "*,-node-ipam-controller,-node-route-controller,-service-lb-controller"


@dataclass(frozen=True, kw_only=True, slots=True)
class EtcdStore:
    """Where etcd keeps its data, and how much of it; by default what a test writes, in memory."""

    folder: str = "/run/etcd"
    options: tuple[str, ...] = ()
    compaction: str = "5m"
    """How often the API server drops old versions of objects."""

    @classmethod
    def large(cls, folder: Path) -> EtcdStore:
        """Return a store on disk for gigabytes of objects, with a short log of the last writes in memory."""
        options = (
            f"--quota-backend-bytes={8 << 30}",
            "--snapshot-count=200",
            "--snapshot-catchup-entries=100",
        )
        return cls(folder=str(folder), options=options, compaction="30s")


@dataclass(kw_only=True, slots=True)
class ControlPlane:
    """A running control plane."""

    box: Box
    authority: Authority
    binary: Path
    etcd: Daemon
    apiserver: Daemon
    controllers: Daemon
    scheduler: Daemon
    kubeconfig: Path
    """The admin's, for processes outside the box."""
    kube: Kube = field(repr=False)

    def user(self, name: str, *, groups: tuple[str, ...] = ()) -> User:
        """Return credentials of a user that RBAC may know; nothing is granted here."""
        return User(
            name=name, certificate=self.authority.sign(name.replace(":", "_"), user=name, groups=groups)
        )

    def service_account(self, namespace: str, name: str) -> User:
        """Return credentials of a service account that exists, good for a day."""
        request = {"spec": {"expirationSeconds": 86400}}
        answer = self.kube.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", request)
        return User(name=f"{namespace}_{name}", token=answer["status"]["token"])

    def connect(self, user: User) -> Kube:
        """Return a user's connection."""
        return Kube(
            server=self.kube.server,
            authority=self.authority.own.certificate,
            user=user,
            kubeconfig=self.write_kubeconfig(user),
            kubectl_binary=self.binary,
        )

    def write_kubeconfig(self, user: User, *, inside: bool = False) -> Path:
        """Write the kubeconfig of a user, for processes outside the box or inside of it."""
        port = self.box.ports[API_ADDRESS]
        server = f"https://{API_ADDRESS}" if inside else f"https://127.0.0.1:{port}"
        place = self.box.folder / f"{user.name.replace(':', '_')}{'.inside' if inside else ''}.kubeconfig"
        return write_kubeconfig(place, server=server, authority=self.authority.own.certificate, user=user)

    def stop_apiserver(self) -> None:
        """Kill the API server; etcd keeps what it stored."""
        self.apiserver.stop()

    def start_apiserver(self) -> None:
        """Start the API server again, and wait until it is ready and serves the kinds of all definitions."""
        self.apiserver = self.box.restart(self.apiserver)
        eventually(self.ready, what="kube-apiserver", servers=(self.apiserver,))
        self.kube.await_definitions()

    def pause_controllers(self) -> None:
        """Stop garbage collection, endpoints, node life cycle and the rest until `resume_controllers`."""
        self.controllers.send(signal.SIGSTOP)

    def resume_controllers(self) -> None:
        """Let the paused controllers go on."""
        self.controllers.send(signal.SIGCONT)

    def pause_scheduler(self) -> None:
        """Leave new pods unscheduled until `resume_scheduler`."""
        self.scheduler.send(signal.SIGSTOP)

    def resume_scheduler(self) -> None:
        """Let the paused scheduler go on."""
        self.scheduler.send(signal.SIGCONT)

    def ready(self) -> bool:
        """Say whether the API server calls itself ready."""
        return _api_ready(self.box, self.authority)


def start_control_plane(box: Box, *, store: EtcdStore | None = None) -> ControlPlane:
    """Start the four components in the box and wait until the API answers."""
    store = store or EtcdStore()
    binary = built(KUBERNETES)
    _add_machine_address(box)
    certificates = box.folder / "certificates"
    authority = create_authority(certificates)
    places = (store.folder, _ETCD, "http://127.0.0.1:2380")
    etcd = box.start("etcd", str(binary), "etcd", *places, *store.options)
    apiserver = _start_apiserver(box, binary, authority, compaction=store.compaction)
    admin = User(name="admin", certificate=authority.sign("admin", user="admin", groups=("system:masters",)))
    server = f"https://127.0.0.1:{box.ports[API_ADDRESS]}"
    trust = authority.own.certificate
    outside = write_kubeconfig(box.folder / "admin.kubeconfig", server=server, authority=trust, user=admin)
    inside = write_kubeconfig(
        box.folder / "admin.inside.kubeconfig", server=f"https://{API_ADDRESS}", authority=trust, user=admin
    )
    eventually(lambda: _api_ready(box, authority), what="kube-apiserver", servers=(etcd, apiserver))
    return ControlPlane(
        box=box,
        authority=authority,
        binary=binary,
        etcd=etcd,
        apiserver=apiserver,
        controllers=_start_controllers(box, binary, authority, inside),
        scheduler=_start_scheduler(box, binary, inside),
        kubeconfig=outside,
        kube=Kube(server=server, authority=trust, user=admin, kubeconfig=outside, kubectl_binary=binary),
    )


def _add_machine_address(box: Box) -> None:
    """Give the box an address that pods and Services can name, and a way to Services from the box itself."""
    for command in (
        "link add tb0 type bridge",
        f"addr add {MACHINE_ADDRESS}/32 dev tb0",
        "link set tb0 up",
        f"route add {SERVICE_RANGE} dev tb0",
    ):
        box.run("ip", *command.split())


def _start_apiserver(box: Box, binary: Path, authority: Authority, *, compaction: str) -> Daemon:
    folder = authority.folder
    server = authority.sign("apiserver", user="kube-apiserver", addresses=_SERVER_NAMES)
    kubelets = authority.sign("apiserver-kubelet", user="kube-apiserver", groups=("system:masters",))
    key = create_signing_key(folder / "service-accounts.key")
    return _start(
        box,
        binary,
        "kube-apiserver",
        {
            "etcd-servers": _ETCD,
            "etcd-compaction-interval": compaction,
            "secure-port": API_ADDRESS.rpartition(":")[2],
            "advertise-address": MACHINE_ADDRESS,
            "endpoint-reconciler-type": "lease",
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            "client-ca-file": authority.own.certificate,
            "tls-cert-file": server.certificate,
            "tls-private-key-file": server.key,
            "kubelet-client-certificate": kubelets.certificate,
            "kubelet-client-key": kubelets.key,
            "kubelet-preferred-address-types": "InternalIP",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-cluster-ip-range": SERVICE_RANGE,
            "profiling": "false",
        },
    )


def _start_controllers(box: Box, binary: Path, authority: Authority, kubeconfig: Path) -> Daemon:
    return _start(
        box,
        binary,
        "kube-controller-manager",
        {
            "kubeconfig": kubeconfig,
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": authority.folder / "service-accounts.key",
            "root-ca-file": authority.own.certificate,
            "controllers": _CONTROLLERS,
            "node-monitor-period": "1s",
            "node-monitor-grace-period": "20s",  # a busy machine keeps a living kubelet waiting
            "profiling": "false",
        },
    )


def _start_scheduler(box: Box, binary: Path, kubeconfig: Path) -> Daemon:
    return _start(
        box,
        binary,
        "kube-scheduler",
        {"kubeconfig": kubeconfig, "leader-elect": "false", "profiling": "false"},
    )


def _start(box: Box, binary: Path, component: str, flags: Mapping[str, str | Path]) -> Daemon:
    options = (f"--{name}={value}" for name, value in flags.items())
    return box.start(component, str(binary), component, *options)


def _api_ready(box: Box, authority: Authority) -> bool:
    trust = ssl.create_default_context(cafile=str(authority.own.certificate))
    address = f"https://127.0.0.1:{box.ports[API_ADDRESS]}/readyz"
    try:
        with urllib.request.urlopen(address, timeout=5, context=trust) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
