"""PodMonitors and ServiceMonitors as the Prometheus operator makes scrape configurations of them; and their definitions.

Pure functions of the objects. A field that is not known here is refused: a spelling that the Prometheus operator does
not know either would otherwise be no mistake. Its own program is not run: it would bring a second one and its images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
GROUP = "monitoring.coreos.com"
KINDS = {
    "PodMonitor": "podmonitors",
    "ServiceMonitor": "servicemonitors",
    "PrometheusRule": "prometheusrules",
}
_LIMITS = {"sampleLimit": "sample_limit", "labelLimit": "label_limit"}
_SPEC = {"selector", "namespaceSelector", "podMetricsEndpoints", "endpoints", *_LIMITS}
_ENDPOINT = {"port", "path", "interval", "honorLabels", "relabelings", "metricRelabelings"}
_RELABELING = {
    "action": "action",
    "sourceLabels": "source_labels",
    "targetLabel": "target_label",
    "regex": "regex",
    "replacement": "replacement",
}


def definitions() -> list[Json]:
    """Return CustomResourceDefinitions that take any spec: enough for Helm to install what the chart renders."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "versions": [version],
                "names": {
                    "kind": kind,
                    "plural": plural,
                    "singular": kind.lower(),
                    "listKind": f"{kind}List",
                },
            },
        }
        for kind, plural in KINDS.items()
    ]


def definitions_file(folder: Path) -> Path:
    """Write the definitions where kubectl can read them."""
    file = folder / "definitions.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions()}))
    return file


def scrape_configs(monitor: Json) -> Iterator[Json]:
    """Yield a scrape configuration for each endpoint of a monitor."""
    kind, spec = monitor["kind"], monitor["spec"]
    _check(spec, _SPEC, kind)
    pods = kind == "PodMonitor"
    name = f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
    for number, endpoint in enumerate(spec["podMetricsEndpoints" if pods else "endpoints"]):
        _check(endpoint, _ENDPOINT, f"endpoint of {name}")
        yield {
            "job_name": f"{kind[0].lower()}{kind[1:]}/{name}/{number}",
            "honor_labels": endpoint.get("honorLabels", False),
            "metrics_path": endpoint.get("path", "/metrics"),
            "scrape_interval": endpoint["interval"],
            "kubernetes_sd_configs": [
                {"role": "pod" if pods else "endpoints", **_namespaces(monitor)},
            ],
            "relabel_configs": [
                *(_found_pods(spec, endpoint, name) if pods else _found_endpoints(spec, endpoint)),
                *map(_relabeling, endpoint.get("relabelings", [])),
            ],
            "metric_relabel_configs": [*map(_relabeling, endpoint.get("metricRelabelings", []))],
            **{name: spec[field] for field, name in _LIMITS.items() if field in spec},
        }


def _namespaces(monitor: Json) -> Json:
    chosen = monitor["spec"].get("namespaceSelector", {})
    _check(chosen, {"any", "matchNames"}, "namespaceSelector")
    if chosen.get("any"):
        return {}
    return {"namespaces": {"names": chosen.get("matchNames", [monitor["metadata"]["namespace"]])}}


def _found_pods(spec: Json, endpoint: Json, name: str) -> Iterator[Json]:
    yield {
        "action": "drop",
        "source_labels": ["__meta_kubernetes_pod_phase"],
        "regex": "(Failed|Succeeded)",
    }
    yield from _selected(spec["selector"], "pod")
    yield _kept("__meta_kubernetes_pod_container_port_name", endpoint["port"])
    yield _copied("__meta_kubernetes_namespace", "namespace")
    yield _copied("__meta_kubernetes_pod_container_name", "container")
    yield _copied("__meta_kubernetes_pod_name", "pod")
    yield {"target_label": "job", "replacement": name}
    yield {"target_label": "endpoint", "replacement": endpoint["port"]}


def _found_endpoints(spec: Json, endpoint: Json) -> Iterator[Json]:
    yield from _selected(spec["selector"], "service")
    yield _kept("__meta_kubernetes_endpoint_port_name", endpoint["port"])
    yield _copied("__meta_kubernetes_namespace", "namespace")
    yield _copied("__meta_kubernetes_service_name", "service")
    yield _copied("__meta_kubernetes_pod_name", "pod")
    yield _copied("__meta_kubernetes_pod_container_name", "container")
    yield _copied("__meta_kubernetes_service_name", "job")
    yield {"target_label": "endpoint", "replacement": endpoint["port"]}


def _selected(selector: Json, role: str) -> Iterator[Json]:
    _check(selector, {"matchLabels"}, "selector")
    for label, value in selector["matchLabels"].items():
        name = re.sub(r"[^a-zA-Z0-9_]", "_", label)
        found = [f"__meta_kubernetes_{role}_{each}_{name}" for each in ("label", "labelpresent")]
        yield {"action": "keep", "source_labels": found, "regex": f"({re.escape(value)});true"}


def _kept(label: str, value: str) -> Json:
    return {"action": "keep", "source_labels": [label], "regex": re.escape(value)}


def _copied(label: str, target: str) -> Json:
    return {"source_labels": [label], "target_label": target}


def _relabeling(given: Json) -> Json:
    _check(given, set(_RELABELING), "relabeling")
    return {_RELABELING[name]: value for name, value in given.items()}


def _check(given: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = set(given) - known
    assert not unknown, f"{where}: {sorted(unknown)} not known"
