"""A Prometheus in a pod that reads what the chart's monitors say, beside an operator of the chart and jobs in pods."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from seedbed_api import metric_names as names
from testbed.kube import Json, Kube, Refused
from testbed.monitors import GROUP, KINDS, definitions, scrape_configs
from testbed.node_files import CHECKOUT
from testbed.prometheus import SCRAPE_SECONDS, Prometheus, program
from testbed.testbeds import Testbed

NAMESPACE = "seedbed"
"""Where the chart is installed."""
MONITORING = "monitoring"
TEAM = "observed-team"
FACTOR = 30
"""By how much alerts are more impatient here: ranges, `for`, and the hour of times of day."""
_DURATION = re.compile(r"(?<=\[)\d+[mh](?=\])|\b3600\b")
_POD = f"/api/v1/namespaces/{MONITORING}/pods/prometheus"
_PORT = 9090
_FOUND = [
    {"apiGroups": [""], "resources": ["pods", "services", "endpoints"], "verbs": ["get", "list", "watch"]}
]


@dataclass(frozen=True, kw_only=True)
class PodPrometheus(Prometheus):
    """One in a pod, asked through the API server."""

    kube: Kube

    def _ask(self, what: str, **parameters: object) -> Json:
        asked = {name: str(value) for name, value in parameters.items()}
        try:
            told: Json = json.loads(self.kube.text(f"{self.url}/api/v1/{what}", **asked))
        except Refused as refused:
            raise AssertionError(f"{parameters}: {refused}") from refused
        assert told["status"] == "success", told
        return told

    def tells(self, expression: str) -> bool:
        """Say whether a query brings a number: the rate of nothing by the rate of nothing is none."""
        return any(math.isfinite(float(found["value"][1])) for found in self.query(expression))

    def firing(self, alert: str) -> set[str]:
        """Return the jobs for which an alert fires; the namespace, or nothing, where it is about no job."""
        found = self.query(f'ALERTS{{alertname="{alert}", alertstate="firing"}}')
        labels = [series["metric"] for series in found]
        return {each.get("name", each.get("namespace", "")) for each in labels}

    def targets(self) -> list[tuple[str, Json]]:
        """Return what is scraped, each by its labels `job` and `pod`."""
        active = self._ask("targets")["data"]["activeTargets"]
        return [(f"{each['labels']['job']} {each['labels']['pod']}", each) for each in active]


def watched_values(values: Json, **profiles: Json) -> Json:
    """Return the values of a release with all that is about observing it, and Prometheus let in by the policies."""
    peer = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": MONITORING}}}]
    monitor = {"enabled": True, "interval": f"{SCRAPE_SECONDS}s"}
    return {
        **values,
        "profiles": {**values["profiles"], **profiles},
        "metrics": {
            "podMonitor": monitor,
            "serviceMonitor": monitor,
            "drivers": {"podMonitor": monitor},
            "dashboards": {"enabled": True},
            "alerts": {"enabled": True},
        },
        "networkPolicy": {
            "operator": {"metricsFrom": peer},
            "training": {"metricsFrom": peer},
        },
    }


def of_the_release(kube: Kube, kind: str) -> list[Json]:
    """Return the objects of a kind of the Prometheus operator that the chart installed."""
    path = f"/apis/{GROUP}/v1/namespaces/{NAMESPACE}/{KINDS[kind]}"
    return [{**each, "kind": kind} for each in kube.items(path)]


def hurried(rules: Json) -> Json:
    """Return rules that wait a FACTORth of the time; nothing else about them is changed."""
    changed: Json = json.loads(json.dumps(rules))
    for group in changed["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _DURATION.sub(lambda found: _shorter(found[0]), rule["expr"])
            rule["for"] = _shorter(rule["for"])
    return changed


def _shorter(duration: str) -> str:
    if duration.isdecimal():
        return str(int(duration) // FACTOR)
    return f"{int(duration[:-1]) * {'m': 60, 'h': 3600}[duration[-1]] // FACTOR}s"


def configuration(monitors: Iterable[Json]) -> Json:
    """Return Prometheus' configuration: the monitors', which say all about targets and labels.

    Of two monitors of one operator the ServiceMonitor's metrics are dropped once they are read: with both, all would
    be counted twice.
    """
    found = [_by_files(config) for monitor in monitors for config in scrape_configs(monitor)]
    for config in found:
        if config["job_name"].startswith("serviceMonitor/"):
            everything = {"action": "drop", "source_labels": ["__name__"], "regex": ".*"}
            config["metric_relabel_configs"].append(everything)
    return {
        "global": {"evaluation_interval": "1s"},
        "rule_files": ["/etc/prometheus/rules.json"],
        "scrape_configs": found,
    }


def _by_files(config: Json) -> Json:
    """Return a scrape configuration that finds in files what it would ask the API server for."""
    (sought,) = config.pop("kubernetes_sd_configs")
    files = {"files": [f"/data/{sought['role']}.json"], "refresh_interval": "1s"}
    chosen = "|".join(sought.get("namespaces", {}).get("names", [])) or ".*"
    inside = {"action": "keep", "source_labels": ["__meta_kubernetes_namespace"], "regex": chosen}
    rules = [inside, *config["relabel_configs"]]
    return {**config, "file_sd_configs": [files], "relabel_configs": rules}


def start_prometheus(testbed: Testbed, monitors: Iterable[Json], rules: Json) -> PodPrometheus:
    """Run Prometheus in a pod of a namespace of its own, with the rights to find pods and Services, and no others."""
    kube = testbed.kube
    kube.create("/api/v1/namespaces", {"metadata": {"name": MONITORING}})
    kube.wait_for(f"/api/v1/namespaces/{MONITORING}/serviceaccounts/default", lambda _: True)
    kube.apply(*_rights())
    files = {"prometheus.json": configuration(monitors), "rules.json": rules}
    kube.create(
        f"/api/v1/namespaces/{MONITORING}/configmaps",
        {
            "metadata": {"name": "prometheus"},
            "data": {name: json.dumps(each) for name, each in files.items()},
        },
    )
    kube.create(_POD.rpartition("/")[0], _pod(testbed.load(testbed.workload)))
    kube.wait_for(_POD, _is_ready, what="ready")
    return PodPrometheus(url=f"{_POD}:{_PORT}/proxy", kube=kube)


def _rights() -> tuple[Json, Json]:
    api = "rbac.authorization.k8s.io"
    role: Json = {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": {"name": MONITORING}}
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": MONITORING}
    reference = {"apiGroup": api, "kind": "ClusterRole", "name": MONITORING}
    binding = {**role, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]}
    return {**role, "rules": _FOUND}, binding


def _pod(image: str) -> Json:
    mounts = [
        {"name": "settings", "mountPath": "/etc/prometheus"},
        {"name": "data", "mountPath": "/data"},
    ]
    common = {"image": image, "imagePullPolicy": "Never", "volumeMounts": mounts}
    prometheus = {
        **common,
        "name": "prometheus",
        "command": [
            program("prometheus"),
            "--config.file=/etc/prometheus/prometheus.json",
            "--storage.tsdb.path=/data/tsdb",
            f"--web.listen-address=:{_PORT}",
            "--log.level=warn",
        ],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": _PORT}, "periodSeconds": 1},
    }
    discovering = {
        **common,
        "name": "discovering",
        "command": ["python", "-m", "testbed.prometheus_discovery", "/data"],
        "env": [{"name": "PYTHONPATH", "value": str(CHECKOUT / "tests")}],
    }
    volumes = [{"name": "settings", "configMap": {"name": "prometheus"}}, {"name": "data", "emptyDir": {}}]
    spec = {"containers": [prometheus, discovering], "volumes": volumes, "terminationGracePeriodSeconds": 1}
    return {"metadata": {"name": "prometheus"}, "spec": {**spec, "securityContext": {"runAsUser": 1000}}}


def _is_ready(pod: Json) -> bool:
    told = pod["status"].get("containerStatuses", [])
    return bool(told) and all(each["ready"] for each in told)


def seldom_misses(job: str, pod: str) -> str:
    """Return a query that tells once a driver makes steps and its cache misses little; it may not be read at all."""

    def each_second(family: names.Family, more: str = "") -> str:
        return f'sum(rate({family.name}{{name="{job}", pod="{pod}"{more}}}[30s]))'

    misses = each_second(names.CACHE_REQUESTS, ', result="miss"')
    return f"{each_second(names.STEPS)} > 0 and {misses} <= 0.25 * {each_second(names.CACHE_REQUESTS)}"


def asked_by_dashboards(kube: Kube) -> set[str]:
    """Return the queries of the dashboards that Grafana's sidecar would find."""
    label = {"labelSelector": "grafana_dashboard=1"}
    found = kube.items(f"/api/v1/namespaces/{NAMESPACE}/configmaps", **label)
    dashboards = [json.loads(text) for each in found for text in each["data"].values()]
    return {
        target["expr"]
        for dashboard in dashboards
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    }


def remove(kube: Kube) -> None:
    """Remove what `start_prometheus` made, and the definitions of the monitors."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    extensions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for path in (
        f"/api/v1/namespaces/{MONITORING}",
        f"{rbac}/clusterroles/{MONITORING}",
        f"{rbac}/clusterrolebindings/{MONITORING}",
        *(f"{extensions}/{each['metadata']['name']}" for each in definitions()),
    ):
        if kube.exists(path):
            kube.delete(path)
