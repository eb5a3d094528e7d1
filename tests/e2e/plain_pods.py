"""Pods of the testbed's image that run a script."""

from __future__ import annotations

from typing import Any

from testbed.kube import Json
from testbed.testbeds import WORKLOAD_IMAGE, Testbed


def a_pod(name: str, script: str, **spec: Any) -> Json:
    container = {
        "name": "main",
        "image": WORKLOAD_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", script],
        **spec.pop("container", {}),
    }
    metadata = {"name": name, "labels": {"app": name}}
    return {
        "metadata": metadata,
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **spec,
        },
    }


def ended(testbed: Testbed, path: str, *, seconds: float = 240) -> Json:
    """Wait for a pod's end and return how its container ended."""
    over = ("Succeeded", "Failed")
    seen = testbed.kube.wait_for(path, lambda pod: pod["status"]["phase"] in over, seconds=seconds)
    return dict(seen["status"]["containerStatuses"][0]["state"]["terminated"])


def run(testbed: Testbed, namespace: str, pod: Json) -> str:
    """Run a pod to its end and return what it printed; its exit code must be 0."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    path = f"{pods}/{pod['metadata']['name']}"
    testbed.kube.create(pods, pod)
    end = ended(testbed, path)
    printed = testbed.kube.text(f"{path}/log")
    assert end["exitCode"] == 0, printed
    return printed
