"""A second implementation of the port, as KubeRay would be: a cluster of its own, which the driver joins.

Its first worker pod bears the Ray head; the driver is told its address and holds no head itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from seedbed_operator.backends.backend_interface import DesiredAttempt
from seedbed_operator.backends.child_metadata import (
    attempt_labels,
    driver_owner_reference,
    metadata,
    pod_labels,
)
from seedbed_operator.backends.effective_profile import effective_profile
from seedbed_operator.backends.pods_backend import driver_pod, owner_secret, token_secret, worker_pod
from seedbed_operator.job_observation import JobView, ProfileView
from seedbed_operator.plan import Create

RAY_PORT = 6379


@dataclass(frozen=True, slots=True)
class JoinBackend:
    """Ray beside the driver."""

    name: Literal["Pods", "KubeRay"] = "KubeRay"

    def children(self, job: JobView, profile: ProfileView, attempt: DesiredAttempt) -> tuple[Create, ...]:
        """Return Secrets, driver, the Service of the cluster, and its pods."""
        offer = effective_profile(job, profile)
        driver = driver_pod(job, offer, attempt, ray_address=address(job, attempt))
        members = (worker_pod(job, offer, attempt, index) for index in attempt.workers)
        return (
            token_secret(job),
            *owner_secret(job, offer),
            Create(kind="Pod", body=driver),
            _service(job, attempt, driver["metadata"]["name"]),
            *(_of_the_cluster(job, attempt, member) for member in members),
        )


def address(job: JobView, attempt: DesiredAttempt) -> str:
    """Return where the cluster is found."""
    return f"{job.name}-{attempt.number}-ray:{RAY_PORT}"


def _of_the_cluster(job: JobView, attempt: DesiredAttempt, member: Create) -> Create:
    env = member.body["spec"]["containers"][0]["env"]
    told = [entry if entry["name"] != "SEEDBED_RAY_ADDRESS" else _address(job, attempt) for entry in env]
    body: dict[str, Any] = {**member.body, "spec": dict(member.body["spec"])}
    body["spec"]["containers"] = [{**member.body["spec"]["containers"][0], "env": told}]
    return replace(member, body=body)


def _address(job: JobView, attempt: DesiredAttempt) -> dict[str, str]:
    return {"name": "SEEDBED_RAY_ADDRESS", "value": address(job, attempt)}


def _service(job: JobView, attempt: DesiredAttempt, driver: str) -> Create:
    number = attempt.number
    owner = driver_owner_reference(driver, attempt.driver_uid) if attempt.driver_uid else None
    meta = metadata(job, f"{job.name}-{number}-ray", attempt_labels(job, number), owner=owner)
    selector = pod_labels(job, number, "worker")
    spec = {"clusterIP": "None", "selector": selector, "ports": [{"name": "ray", "port": RAY_PORT}]}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    return Create(kind="Service", body=body, owner=None if owner else driver)
