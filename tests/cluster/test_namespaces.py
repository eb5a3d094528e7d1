"""An operator that serves some namespaces of a real API server, while they are deleted, made and closed."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.operators import NAMESPACE, install
from seedbed_operator.kube_client.resource_kinds import LEASES
from seedbed_operator.manager.preflight import REQUIRED_PERMISSIONS
from support.eventually import eventually
from support.operator.builders import IMAGE, a_recipe
from testbed.boxes import Daemon
from testbed.control_plane import ControlPlane
from testbed.kube import Json, Kube, Refused

pytestmark = pytest.mark.cluster

API, RBAC = "/apis/seedbed.dev/v1alpha1", "rbac.authorization.k8s.io"
NAME = "narrow-operator"
GONE, STAYS, LATER = "narrow-gone", "narrow-stays", "narrow-later"
PATIENCE_SECONDS = 240.0


@dataclass
class Narrow:
    """An operator for three namespaces, with a Role in each that is there."""

    control: ControlPlane
    daemon: Daemon | None = None
    begun: int = 0
    """Where in the log its present life begins."""

    @property
    def kube(self) -> Kube:
        return self.control.kube

    def log(self) -> str:
        return (self.control.box.folder / "logs" / f"{NAME}.log").read_text()[self.begun :]

    def open(self, namespace: str) -> None:
        """Create a namespace and let the operator work there."""
        self.kube.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        self.kube.wait_for(f"/api/v1/namespaces/{namespace}/serviceaccounts/default", lambda _: True)
        self.grant(
            namespace,
            [rule(each) for each in REQUIRED_PERMISSIONS if each[0].namespaced and each[0] is not LEASES],
        )

    def grant(self, namespace: str, rules: list[Json]) -> None:
        """Give the operator rights in a namespace."""
        base = f"/apis/{RBAC}/v1/namespaces/{namespace}"
        account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
        role = {"apiGroup": RBAC, "kind": "Role", "name": NAME}
        self.kube.create(f"{base}/roles", {"metadata": {"name": NAME}, "rules": rules})
        binding = {"metadata": {"name": NAME}, "roleRef": role, "subjects": [account]}
        self.kube.create(f"{base}/rolebindings", binding)

    def start(self) -> None:
        """Start the operator and wait until it works."""
        account = self.control.service_account(NAMESPACE, NAME)
        log = self.control.box.folder / "logs" / f"{NAME}.log"
        self.begun = len(log.read_text()) if log.exists() else 0
        command = [f"{sys.prefix}/bin/seedbed-operator", "run"]
        command += [f"--namespace={each}" for each in (GONE, STAYS, LATER)]
        command += [f"--kubeconfig={self.control.write_kubeconfig(account, inside=True)}"]
        command += [
            f"--lease-namespace={NAMESPACE}",
            f"--lease-name={NAME}",
            "--health-port=0",
            "--sweep-seconds=2",
        ]
        self.daemon = self.control.box.start(
            NAME, *command, "--log-format=text", environment={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        self.waits_for(lambda: "first relist:" in self.log(), "the operator")

    def stop(self) -> None:
        if self.daemon is not None:
            self.daemon.stop(signal.SIGTERM, seconds=PATIENCE_SECONDS)

    def waits_for(self, reached: object, what: str) -> None:
        assert self.daemon is not None
        assert callable(reached)
        eventually(reached, what=what, seconds=PATIENCE_SECONDS, servers=(self.daemon,))

    def begins(self, namespace: str, name: str, **spec: Any) -> None:
        """Create a job and wait until the operator has made its driver."""
        body = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}}
        self.kube.create(f"{API}/namespaces/{namespace}/trainingjobs", {**body, "spec": a_recipe() | spec})
        driver = f"/api/v1/namespaces/{namespace}/pods/{name}-1-driver"
        self.waits_for(lambda: self.kube.exists(driver), f"the driver of {namespace}/{name}")

    def answer(self, path: str) -> str:
        """Return what the operator answers on its port."""
        (port,) = re.findall(r"serving on port (\d+)", self.log())
        return self.control.box.run("curl", "-s", f"http://127.0.0.1:{port}{path}")


def rule(needed: tuple[object, str, str]) -> Json:
    kind, subresource, verbs = needed
    plural = getattr(kind, "plural")  # noqa: B009
    resource = f"{plural}/{subresource}" if subresource else plural
    return {"apiGroups": [getattr(kind, "group")], "resources": [resource], "verbs": verbs.split()}  # noqa: B009


@pytest.fixture(scope="module")
def narrow(control_plane: ControlPlane) -> Iterator[Narrow]:
    install(control_plane.kube)
    made = Narrow(control=control_plane)
    kube = control_plane.kube
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": NAME}
    rules = [rule(each) for each in REQUIRED_PERMISSIONS if not each[0].namespaced]
    kube.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": NAMESPACE}},
        {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": NAME}, "rules": rules},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME},
            "roleRef": role,
            "subjects": [account],
        },
        {
            "apiVersion": "seedbed.dev/v1alpha1",
            "kind": "TrainingProfile",
            "metadata": {"name": "default"},
            "spec": {"image": IMAGE},
        },
        namespace=NAMESPACE,
    )
    made.grant(NAMESPACE, [rule(each) for each in REQUIRED_PERMISSIONS if each[0] is LEASES])
    for namespace in (GONE, STAYS):
        made.open(namespace)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        for path in (
            f"{API}/trainingprofiles/default",
            *(f"/api/v1/namespaces/{each}" for each in (GONE, STAYS, LATER)),
        ):
            try:
                kube.delete(path)
            except Refused as refused:
                if refused.status != 404:
                    raise


def test_a_role_in_the_namespace_is_enough_to_read_its_labels(narrow: Narrow) -> None:
    """The operator has no right on other namespaces: `get` in a Role is about that namespace alone."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": STAYS}}
    body = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingProfile", "metadata": {"name": "by-label"}}
    spec = {"image": IMAGE, "allowedNamespaces": {"selector": selector}}
    narrow.kube.create(f"{API}/trainingprofiles", {**body, "spec": spec})
    try:
        narrow.begins(STAYS, "by-label", cluster={"profile": "by-label"})
    finally:
        narrow.kube.delete(f"{API}/trainingprofiles/by-label")


def test_jobs_of_a_namespace_go_on_while_another_is_deleted_a_third_comes_and_the_operator_restarts(
    narrow: Narrow,
) -> None:
    assert f"namespace {LATER} cannot be read" in narrow.log()
    narrow.begins(GONE, "one")
    narrow.begins(STAYS, "one")
    narrow.kube.delete(f"/api/v1/namespaces/{GONE}")
    narrow.waits_for(lambda: not narrow.kube.exists(f"/api/v1/namespaces/{GONE}"), "the end of the namespace")
    narrow.waits_for(lambda: f"namespace {GONE} cannot be read" in narrow.log(), "the operator to notice")
    narrow.waits_for(lambda: f'namespace="{GONE}"' not in narrow.answer("/metrics"), "its series to go")

    narrow.begins(STAYS, "two")
    assert narrow.answer("/healthz") == "ok\n"
    assert f'namespace="{STAYS}"' in narrow.answer("/metrics")

    narrow.open(LATER)
    narrow.begins(LATER, "one")

    narrow.stop()
    narrow.start()
    narrow.begins(STAYS, "three")
    assert narrow.answer("/healthz") == "ok\n"
