"""The chart on a testbed: what an admin does once, as docs/operations.md tells, before jobs can be applied."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import build
from e2e.cluster_terminal import terminal_on
from support.docs.pages import commands
from support.docs.terminal import Terminal
from testbed.images import Image
from testbed.nodes import workload_image
from testbed.testbeds import Testbed

RELEASE, NAMESPACE = "seedbed", "seedbed"
"""As docs/operations.md names them."""
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}-operator"
OPERATORS = f"/api/v1/namespaces/{NAMESPACE}/pods"


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """The release of the chart, and the terminal of who takes care of it."""

    terminal: Terminal

    @property
    def values(self) -> dict[str, Any]:
        """The values that it has."""
        found: dict[str, Any] = json.loads(self._file.read_text())
        return found

    @property
    def _file(self) -> Path:
        return self.terminal.folder / "profiles.yaml"

    def install(self, values: dict[str, Any], announce: Callable[[str], object] = lambda _: None) -> None:
        """Type what docs/operations.md tells to type, with values of one's own; announce each line before."""
        self._file.write_text(json.dumps(values, indent=2))
        for line in commands("docs/operations.md", "console"):
            announce(self.terminal.filled_in(line))
            self.terminal.types(line)

    def upgrade(self, values: dict[str, Any]) -> None:
        """Upgrade the release to other values and wait until the operator is ready."""
        self._file.write_text(json.dumps(values, indent=2))
        named = ("upgrade", RELEASE, "charts/seedbed", "--namespace", NAMESPACE, "--values", self._file.name)
        self.run(*named, "--wait", "--timeout", "600s")

    def run(self, *arguments: str) -> str:
        """Run Helm against the cluster, also for charts of others."""
        return self.terminal.types(shlex.join(("helm", *arguments))).stdout


def release_on(testbed: Testbed, folder: Path, operator: Operator) -> Release:
    """Return the release, not installed yet; `ToolMissing` where Helm cannot be built."""
    registry = operator.reference.partition("/")[0]
    return Release(terminal=terminal_on(testbed, folder, knows={"REGISTRY": registry}))


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
        tiny = workload_image(testbed.box.folder / "images", "localhost/seedbed-operator:mounted")
        return Operator(reference=testbed.load(tiny), missing=f"not run: {image.tag}: {reason}")
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
