"""Jobs and profiles whose driver is a process of this machine that serves real metrics."""

from __future__ import annotations

from cluster.operator_process import JOBS, Scene
from support.operator.builders import IMAGE, a_recipe
from testbed.prometheus import Target

DRIVER_PORT = 8701


def a_driver(port: int, job: str, namespace: str) -> Target:
    labels = {"pod": f"{job}-1-driver", "namespace": namespace, "name": job}
    return Target(address=f"127.0.0.1:{port}", labels=labels, trusted=False)


def a_profile_with_gpus(scene: Scene) -> None:
    body = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingProfile", "metadata": {"name": "gpus"}}
    scene.kube.apply({**body, "spec": {"image": IMAGE, "worker": {"gpu": {"count": 1}}}})


def apply(scene: Scene, name: str, dataset: str = "s3://data/seedlings") -> None:
    cluster = {"profile": "gpus", "workers": {"min": 1, "max": 1}}
    job = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}}
    spec = {**a_recipe(), "dataset": {"uri": dataset}, "cluster": cluster}
    scene.kube.create(JOBS.format(scene.namespace), {**job, "spec": spec})


def take_away(scene: Scene, pod: str) -> None:
    """Let a pod make room for another one."""
    status = {
        "phase": "Failed",
        "reason": "Preempting",
        "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}],
    }
    scene.kube.patch(scene.path("pods", f"{pod}/status"), {"status": status}, kind="strategic")
