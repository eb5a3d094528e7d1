"""The chart on a testbed: what an admin does once, with Helm, before jobs can be applied."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import build
from chart.rendering import CHART, Helm
from testbed.builds import HELM4, built
from testbed.images import Image
from testbed.testbeds import Testbed

RELEASE, NAMESPACE = "seedbed", "seedbed-system"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}-operator"
OPERATORS = f"/api/v1/namespaces/{NAMESPACE}/pods"


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """Helm, and the release of the chart that it takes care of."""

    helm: Helm
    kubeconfig: Path
    folder: Path
    """For the values, and for what Helm keeps."""

    def upgrade(self, values: dict[str, Any], *options: str) -> str:
        """Install or upgrade the release and return the notes; with `--wait` when the operator is ready."""
        file = self.folder / "values.json"
        file.write_text(json.dumps(values, indent=2))
        named = ("upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--create-namespace")
        return self.run(*named, "--values", str(file), "--timeout", "600s", *options)

    def run(self, *arguments: str) -> str:
        """Run Helm against the cluster, also for charts of others."""
        homes = {
            f"HELM_{kind}_HOME": str(self.folder / "helm" / kind) for kind in ("CACHE", "CONFIG", "DATA")
        }
        environment = {**os.environ, **homes, "KUBECONFIG": str(self.kubeconfig)}
        return self.helm.run(*arguments, environment=environment)


def release_on(testbed: Testbed, folder: Path) -> Release:
    """Return the release, not installed yet; `ToolMissing` where Helm cannot be built."""
    folder.mkdir(parents=True, exist_ok=True)
    return Release(helm=Helm(major=4, binary=built(HELM4)), kubeconfig=testbed.kubeconfig, folder=folder)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """How the operator runs on a testbed."""

    reference: str
    """The image by digest."""
    missing: str = ""
    """Why it is not the operator's own image in its own root, but this machine's programs in a tiny one."""


def operator_on(testbed: Testbed) -> Operator:
    """Build the operator's image and make it known to the nodes; a tiny image stands in where it cannot be built."""
    image = build.IMAGES["operator"]
    try:
        archive = build.built(image)
    except build.CannotBuild as reason:
        return Operator(reference=testbed.load(testbed.workload), missing=f"not run: {image.tag}: {reason}")
    return Operator(reference=testbed.load(Image(name=image.tag, archive=archive)))


def values(
    *, operator: Operator, profile: dict[str, Any], node_selector: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the values of the chart: the operator's image by digest, and the profile `default`."""
    repository, _, digest = operator.reference.partition("@")
    place = {"nodeSelector": dict(node_selector or {})}
    return {
        "image": {"repository": repository, "digest": digest, "pullPolicy": "Never"},
        "operator": place if operator.missing else {**place, "runtimeClassName": "plain"},
        "profiles": {"default": profile},
    }


def a_profile(image: str, endpoint: str, **fields: Any) -> dict[str, Any]:
    """Return a profile for a machine with two cores: what pods ask for fits beside each other."""
    return {
        "image": image,
        "imagePullPolicy": "Never",
        "driver": {"resources": {"cpu": "100m", "memory": "2Gi"}},
        "worker": {"resources": {"cpu": "100m", "memory": "2Gi"}},
        "cache": {"sizeLimit": "1Gi"},
        "storage": {"endpointURL": endpoint, "region": "us-east-1"},
        "allowedURIPrefixes": ["s3://datasets/", "s3://runs/"],
        "allowedSecrets": ["s3-read", "s3-write"],
        **fields,
    }
