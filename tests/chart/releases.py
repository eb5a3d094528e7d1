"""Releases of the chart on the testbed's control plane, and what is left of them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chart.rendering import CHART, Helm, Json, values_file
from testbed.control_plane import ControlPlane

RELEASE = "seedbed"
NAMESPACE = "operators"
OURS = "trainingjobs.seedbed.dev", "sweepjobs.seedbed.dev", "trainingprofiles.seedbed.dev"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
JOBS = "/apis/seedbed.dev/v1alpha1/namespaces/{}/trainingjobs"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
PATIENCE_SECONDS = 600.0
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
T = TypeVar("T")


def at_rest(look: Callable[[], T], wanted: T) -> T:
    """Return what a look shows once it is as wanted, or what it still shows when patience is at its end.

    What is granted or deleted is seen by the API server's authorizer, aggregation and garbage collection a little later.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (seen := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    return seen


def is_ready(pod: Json) -> bool:
    """Tell whether a pod is ready."""
    found = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Releases:
    """One Helm against one cluster, in a namespace of the Pod Security level restricted."""

    helm: Helm
    control: ControlPlane
    folder: Path
    name: str = RELEASE
    namespace: str = NAMESPACE

    def install(self, values: Json, *options: str, chart: Path = CHART) -> str:
        """Install the chart and return the notes, once the kinds of its definitions are served."""
        notes = self._with_values("install", values, chart, options)
        self.control.kube.await_definitions()
        return notes

    def upgrade(self, values: Json, *options: str, chart: Path = CHART) -> str:
        """Upgrade the release and return the notes."""
        return self._with_values("upgrade", values, chart, options)

    def uninstall(self, *options: str) -> str:
        """Uninstall the release."""
        return self._run("uninstall", self.name, *options)

    def of_the_release(self) -> set[str]:
        """Return kind and name of everything in the cluster that carries the release's label.

        Where a kind went while it was asked for, what kubectl says of that.
        """
        kube = self.control.kube
        resources = kube.kubectl("api-resources", "--verbs=list,delete", "-o", "name").split()
        kinds = ",".join(sorted(set(resources) - {"events", "events.events.k8s.io"}))
        selector = f"app.kubernetes.io/instance={self.name}"
        try:
            return set(kube.kubectl("get", kinds, "-A", "-o", "name", "-l", selector).split())
        except subprocess.CalledProcessError as refused:
            return {refused.stderr}

    def ready_pods(self) -> int:
        """Return how many of the operator's pods are ready."""
        return sum(map(is_ready, self.pods()))

    def pods(self) -> list[Json]:
        """Return the operator's pods; those of a release that is gone stay until they are collected."""
        return self.control.kube.items(PODS, labelSelector=f"app.kubernetes.io/instance={self.name}")

    def clear(self) -> None:
        """Leave no trace of the release, whatever a test did."""
        self.uninstall("--wait", "--ignore-not-found")
        assert at_rest(self.pods, []) == []
        for name in OURS:
            if self.control.kube.exists(f"{DEFINITIONS}/{name}"):
                self.control.kube.delete(f"{DEFINITIONS}/{name}")
                self.control.kube.wait_gone(f"{DEFINITIONS}/{name}", seconds=PATIENCE_SECONDS)

    def _with_values(self, verb: str, values: Json, chart: Path, options: tuple[str, ...]) -> str:
        file = values_file(values, self.folder)
        return self._run(verb, self.name, str(chart), "--values", str(file), "--timeout", "600s", *options)

    def _run(self, *arguments: str) -> str:
        homes = {f"HELM_{kind}_HOME": str(self.folder / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        environment = {**os.environ, **homes, "KUBECONFIG": str(self.control.kubeconfig)}
        return self.helm.run(*arguments, "--namespace", self.namespace, environment=environment)
