"""The operator as users run it: its own process in the testbed's box, as a service account with the rights it asks for."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seedbed_api.crd_generator import definitions
from seedbed_operator.manager.preflight import REQUIRED_PERMISSIONS
from support.eventually import eventually
from testbed.boxes import Daemon
from testbed.control_plane import ControlPlane
from testbed.kube import Json, Kube, Refused

NAMESPACE, NAME = "seedbed-system", "seedbed-operator"
REPOSITORY = Path(__file__).parents[2]
_RBAC = "rbac.authorization.k8s.io"


def install(kube: Kube) -> None:
    """Bring what the chart brings: definitions, namespace, service account, rights."""
    kube.define(*(REPOSITORY / "crds" / name for name in definitions()))
    kube.apply(*_rights(), namespace=NAMESPACE)


@contextmanager
def running_operator(control: ControlPlane, *options: str, name: str = "operator") -> Iterator[Daemon]:
    """Install what it needs and run one operator for all namespaces; it works when this is entered."""
    install(control.kube)
    account = control.service_account(NAMESPACE, NAME)
    user = control.connect(account)
    eventually(lambda: _may_list(user), what="rights of the operator")
    log = control.box.folder / "logs" / f"{name}.log"
    begun = log.stat().st_size if log.exists() else 0
    daemon = control.box.start(
        name,
        f"{sys.prefix}/bin/seedbed-operator",
        "run",
        "--all-namespaces",
        f"--kubeconfig={control.write_kubeconfig(account, inside=True)}",
        f"--lease-namespace={NAMESPACE}",
        "--health-port=0",
        "--log-format=text",
        *options,
        environment={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        eventually(
            lambda: b"first relist:" in log.read_bytes()[begun:], what="the operator", servers=(daemon,)
        )
        yield daemon
    finally:
        daemon.stop(signal.SIGTERM, seconds=240)


def _may_list(user: Kube) -> bool:
    """Tell whether the API server has heard of what was granted."""
    try:
        user.items("/apis/seedbed.dev/v1alpha1/trainingjobs")
    except Refused as refused:
        if refused.status != 403:
            raise
        return False
    return True


def _rights() -> tuple[Json, ...]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    rules = [
        {
            "apiGroups": [kind.group],
            "resources": [f"{kind.plural}/{subresource}" if subresource else kind.plural],
            "verbs": verbs.split(),
        }
        for kind, subresource, verbs in REQUIRED_PERMISSIONS
    ]
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    return (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": NAMESPACE}},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": NAME},
            "rules": rules,
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": NAME},
            "subjects": [account],
        },
    )
