"""The chart as Helm renders it, and the values that the tests render it with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seedbed_operator.backends.network_policy import network_policy
from seedbed_operator.manager.network_rules import parse_network_rules
from support.operator.builders import a_training_job

Json = dict[str, Any]
CHART = Path(__file__).parents[2] / "charts/seedbed"
SERVED = ("--api-versions", "seedbed.dev/v1alpha1/TrainingProfile")
OLDEST, NEWEST = "1.29", "1.36"
"""The versions of Kubernetes that the chart is checked for."""
IMAGE = "registry.example/seedbed@sha256:" + "0" * 64

MATRIX: dict[str, Json] = {
    "as it comes": {},
    "two namespaces, two replicas": {"watchNamespaces": ["team-a", "team-b"], "replicas": 2},
    "the release's own namespace alone": {"watchNamespaces": ["operators"]},
    "image by digest from a private registry": {
        "image": {"repository": "registry.example/seedbed-operator", "digest": "sha256:" + "a" * 64},
        "imagePullSecrets": [{"name": "registry"}],
    },
    "names of one's own": {
        "fullnameOverride": "bed",
        "nameOverride": "trainer",
        "commonLabels": {"team": "vision"},
    },
    "everything about the pod": {
        "operator": {
            "extraArgs": ["--verbose"],
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
            "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
            "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
            "annotations": {"example.org/owner": "platform"},
            "podAnnotations": {"example.org/scrape": "true"},
            "podLabels": {"example.org/tier": "control"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "control", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "zone",
                    "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {},
                }
            ],
            "priorityClassName": "system-cluster-critical",
            "runtimeClassName": "gvisor",
        }
    },
    "no roles, no account, no definitions": {
        "rbac": {"create": False, "aggregate": False},
        "serviceAccount": {"create": False, "name": "given"},
        "crds": {"install": False},
    },
    "receipts signed": {"signing": {"existingSecret": "receipts", "key": "ed25519.pem"}},
    "definitions that go with the release": {"crds": {"keep": False, "annotations": {"example.org/a": "b"}}},
    "profiles and priorities": {
        "profiles": {
            "cpu": {"image": IMAGE},
            "gpu-a100": {"image": IMAGE, "worker": {"gpu": {"count": 1}}, "allowedSecrets": ["s3"]},
        },
        "priorityClasses": {"training": {"value": -10, "preemptionPolicy": "Never"}},
    },
    "egress fenced": {
        "networkPolicy": {
            "operator": {"metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
            "training": {"namespaces": ["team-a"], "egress": {"restricted": True}},
        }
    },
    "no network policies": {"networkPolicy": {"enabled": False}},
    "monitored": {
        "metrics": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}
        | {"serviceMonitor": {"enabled": True}}
    },
    "jobs monitored, dashboards and alerts": {
        "watchNamespaces": ["team-a"],
        "metrics": {
            "drivers": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
            "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Training"}},
            "alerts": {"enabled": True, "runbooks": "https://runbooks.example/"},
        },
        "networkPolicy": {"training": {"metricsFrom": [{"namespaceSelector": {}}]}},
    },
}


_RENDERED: dict[tuple[Path, tuple[str, ...], str], str] = {}


class HelmFailed(Exception):  # noqa: N818 - named for what happened
    """Helm refused; the text is what it said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Helm:
    """A Helm of one major version."""

    major: int
    binary: Path

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """Run Helm and return what it printed."""
        command = [str(self.binary), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            raise HelmFailed(done.stdout + done.stderr)
        return done.stdout

    def template(
        self, values: Json, folder: Path, *arguments: str, release: str = "seedbed", chart: Path = CHART
    ) -> str:
        """Return the rendered manifests as text; the chart of the checkout is rendered once per values and options."""
        known = () if "--kube-version" in arguments else ("--kube-version", NEWEST)
        named = ("template", release, str(chart), "--namespace", "operators", *known, *arguments)
        key = (self.binary, named, json.dumps(values))
        if chart != CHART or key not in _RENDERED:
            _RENDERED[key] = self.run(*named, "--values", str(values_file(values, folder)))
        return _RENDERED[key]


def values_file(values: Json, folder: Path) -> Path:
    """Write values where Helm can read them."""
    file = folder / "values.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    return file


def objects(manifests: str) -> list[Json]:
    """Return the objects of rendered manifests."""
    return [document for document in yaml.load_all(manifests, Loader=yaml.CSafeLoader) if document]


def of_kind(found: Sequence[Json], kind: str) -> list[Json]:
    """Return the objects of a kind."""
    return [thing for thing in found if thing["kind"] == kind]


def named(found: Sequence[Json], kind: str, name: str) -> Json:
    """Return the one object of a kind and name."""
    (thing,) = (thing for thing in of_kind(found, kind) if thing["metadata"]["name"] == name)
    return thing


def pod_template(found: Sequence[Json]) -> Json:
    """Return the template of the operator's pods."""
    (deployment,) = of_kind(found, "Deployment")
    template: Json = deployment["spec"]["template"]
    return template


Right = tuple[str, str, str]
"""API group, resource or resource/subresource, verb."""


def rights(rules: Sequence[Json]) -> Iterator[Right]:
    """Yield what rules allow, one by one."""
    for rule in rules:
        assert set(rule) == {"apiGroups", "resources", "verbs"}, rule
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                yield from ((group, resource, verb) for verb in rule["verbs"])


def job_network_policy(found: list[Json]) -> Json | None:
    """Return the spec of the policy that the operator of a rendered release makes for a job; None for none."""
    (container,) = pod_template(found)["spec"]["containers"]
    values = {each["name"]: each.get("value") for each in container["env"]}
    rules = parse_network_rules(values["SEEDBED_OPERATOR_NETWORK_POLICY"])
    if rules is None:
        return None
    spec: Json = json.loads(json.dumps(network_policy(a_training_job().build(), rules).body["spec"]))
    return spec
