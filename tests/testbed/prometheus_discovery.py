"""What Prometheus' `kubernetes_sd_configs` would find, as files for it: `python -m testbed.prometheus_discovery FOLDER`, in a pod.

The distribution's Prometheus is built without that part. Labels are named as its documentation names them.
"""

from __future__ import annotations

import json
import re
import ssl
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]
ROLES = ("pod", "endpoints")
LOOK_SECONDS = 2.0
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SERVER = "https://kubernetes.default.svc"


def pods_found(pods: Sequence[Json]) -> Iterator[Json]:
    """Yield a target for each declared port of each container of a pod that has an address."""
    for pod in pods:
        address = pod["status"].get("podIP")
        for container in pod["spec"]["containers"] if address else ():
            for port in container.get("ports", []):
                yield {
                    "targets": [f"{address}:{port['containerPort']}"],
                    "labels": _of_pod(pod) | _of_port(container, port),
                }


def endpoints_found(
    endpoints: Sequence[Json], services: Sequence[Json], pods: Sequence[Json]
) -> Iterator[Json]:
    """Yield a target for each address and port of the endpoints of a Service."""
    by_name = {_key(pod): pod for pod in pods}
    labels = {_key(service): service["metadata"].get("labels", {}) for service in services}
    for each in endpoints:
        namespace, name = _key(each)
        for subset in each.get("subsets", []):
            for address in subset.get("addresses", []):
                pod = by_name.get((namespace, address.get("targetRef", {}).get("name", "")))
                for port in subset.get("ports", []):
                    found = {
                        "__meta_kubernetes_namespace": namespace,
                        "__meta_kubernetes_service_name": name,
                        "__meta_kubernetes_endpoint_port_name": port.get("name", ""),
                        **_labels("service", labels.get((namespace, name), {})),
                        **(_behind(pod, port) if pod else {}),
                    }
                    yield {"targets": [f"{address['ip']}:{port['port']}"], "labels": found}


def _behind(pod: Json, port: Json) -> Json:
    for container in pod["spec"]["containers"]:
        for each in container.get("ports", []):
            if each["containerPort"] == port["port"]:
                return _of_pod(pod) | _of_port(container, each)
    return _of_pod(pod)


def _key(thing: Json) -> tuple[str, str]:
    return thing["metadata"]["namespace"], thing["metadata"]["name"]


def _of_pod(pod: Json) -> Json:
    namespace, name = _key(pod)
    return {
        "__meta_kubernetes_namespace": namespace,
        "__meta_kubernetes_pod_name": name,
        "__meta_kubernetes_pod_phase": pod["status"]["phase"],
        **_labels("pod", pod["metadata"].get("labels", {})),
    }


def _of_port(container: Json, port: Json) -> Json:
    return {
        "__meta_kubernetes_pod_container_name": container["name"],
        "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
    }


def _labels(role: str, labels: Json) -> Json:
    named = {re.sub(r"[^a-zA-Z0-9_]", "_", name): value for name, value in labels.items()}
    present = {f"__meta_kubernetes_{role}_labelpresent_{name}": "true" for name in named}
    return present | {f"__meta_kubernetes_{role}_label_{name}": value for name, value in named.items()}


def main() -> None:
    """Look every few seconds, until it is ended; what fails ends it, and the kubelet starts it again."""
    folder = Path(sys.argv[1])
    while True:
        pods, services, endpoints = map(_listed, ("pods", "services", "endpoints"))
        _write(folder / "pod.json", list(pods_found(pods)))
        _write(folder / "endpoints.json", list(endpoints_found(endpoints, services, pods)))
        time.sleep(LOOK_SECONDS)


def _listed(plural: str) -> list[Json]:
    token = (_ACCOUNT / "token").read_text()
    asked = urllib.request.Request(f"{_SERVER}/api/v1/{plural}", headers={"Authorization": f"Bearer {token}"})
    trust = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(asked, timeout=60, context=trust) as answer:
        found: list[Json] = json.load(answer)["items"]
    return found


def _write(file: Path, targets: list[Json]) -> None:
    aside = file.with_suffix(".aside")
    aside.write_text(json.dumps(targets))
    aside.rename(file)


if __name__ == "__main__":
    main()
