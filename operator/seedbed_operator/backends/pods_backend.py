"""The built-in backend: the driver pod is the Ray head, and worker pods join it through a Service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from seedbed_api.pod_contract.driver_endpoint import (
    HEALTH_PATH,
    PROGRESS_PORT,
    PROGRESS_PORT_NAME,
    RAY_PORT,
    RAY_PORT_NAME,
)
from seedbed_api.pod_contract.labels import Role
from seedbed_api.pod_contract.pod_environment import GpuExchange
from seedbed_api.trainingjob_status import ObjectStatus
from seedbed_operator.backends.backend_interface import Backends, DesiredAttempt
from seedbed_operator.backends.child_metadata import (
    attempt_labels,
    blocking_job_owner_reference,
    driver_name,
    driver_owner_reference,
    job_labels,
    job_owner_reference,
    metadata,
    pod_labels,
    service_name,
    token_name,
    worker_name,
)
from seedbed_operator.backends.effective_profile import EffectiveProfile, effective_profile
from seedbed_operator.backends.kueue_pod_group import group_annotations, group_labels, is_queued
from seedbed_operator.backends.network_policy import NetworkRules, network_policy
from seedbed_operator.backends.owner_key import owner_key_secret
from seedbed_operator.backends.pod_env import container_variables, driver_environment, worker_environment
from seedbed_operator.backends.pod_spec import container, pod_spec, worker_placement
from seedbed_operator.backends.signature_uploader_pod import signature_uploader_pod
from seedbed_operator.backends.spec_hash import driver_annotations
from seedbed_operator.backends.verifier_pod import verifier_pod
from seedbed_operator.job_observation import JobView, ProfileView
from seedbed_operator.plan import Create

_DRIVER_PORTS = (
    {"name": PROGRESS_PORT_NAME, "containerPort": PROGRESS_PORT, "protocol": "TCP"},
    {"name": RAY_PORT_NAME, "containerPort": RAY_PORT, "protocol": "TCP"},
)
_STARTUP_PROBE = {
    "httpGet": {"path": HEALTH_PATH, "port": PROGRESS_PORT_NAME},
    "initialDelaySeconds": 5,
    "periodSeconds": 5,
    "timeoutSeconds": 60,
    "failureThreshold": 60,
}
"""The driver opens its port first and answers once it has started; the probe waits for that by its timeout.

Nothing probes after the first answer: a kubelet goes on probing for up to a second after a container has
ended, and each failed readiness probe is a Warning in the events of a healthy job.
"""
_SAFE_TO_EVICT = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
DRIVER_GRACE_SECONDS = 120
"""Enough for a step and the upload of a checkpoint."""
WORKER_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class PodsBackend:
    """Runs Ray on plain pods."""

    name: Literal["Pods", "KubeRay"] = "Pods"
    network: NetworkRules | None = None
    """Rules of the NetworkPolicy of each job; None makes none."""
    gpu_exchange: GpuExchange = "Sealed"
    """How ranks on GPUs exchange."""

    def children(self, job: JobView, profile: ProfileView, attempt: DesiredAttempt) -> tuple[Create, ...]:
        """Return Secrets, NetworkPolicy, driver, Service and workers, in the order of creation."""
        effective = effective_profile(job, profile)
        return (
            token_secret(job),
            *self._before_pods(job, effective),
            Create(kind="Pod", body=driver_pod(job, effective, attempt, gpu_exchange=self.gpu_exchange)),
            _service(job, attempt),
            *(worker_pod(job, effective, attempt, index) for index in attempt.workers),
        )

    def verification(
        self, job: JobView, profile: ProfileView, attempt: DesiredAttempt, receipt_digest: str
    ) -> tuple[Create, ...]:
        """Return the verifier after key and NetworkPolicy, which may be gone since the last attempt."""
        effective = effective_profile(job, profile)
        return (
            *self._before_pods(job, effective, may_be_gone=True),
            verifier_pod(job, effective, attempt, receipt_digest),
        )

    def signature_upload(
        self, job: JobView, profile: ProfileView, attempt: DesiredAttempt, receipt: ObjectStatus
    ) -> tuple[Create, ...]:
        """Return the uploader after key and NetworkPolicy, as for a verification."""
        effective = effective_profile(job, profile)
        return (
            *self._before_pods(job, effective, may_be_gone=True),
            signature_uploader_pod(job, effective, attempt, receipt),
        )

    def _before_pods(
        self, job: JobView, effective: EffectiveProfile, *, may_be_gone: bool = False
    ) -> Iterator[Create]:
        """Yield the key of the namespace, if the job needs it, and the NetworkPolicy of the job."""
        yield from owner_secret(job, effective, may_be_gone=may_be_gone)
        if self.network is not None:
            yield network_policy(job, self.network)


BACKENDS: Backends = {"Pods": PodsBackend()}


def backends_with(network: NetworkRules | None, gpu_exchange: GpuExchange = "Sealed") -> Backends:
    """Return the backends of an operator with these settings."""
    return {"Pods": PodsBackend(network=network, gpu_exchange=gpu_exchange)}


def token_secret(job: JobView) -> Create:
    """Return the Secret of the job's Ray token; the random token is added at creation."""
    meta = metadata(job, token_name(job), job_labels(job), owner=job_owner_reference(job))
    return Create(
        kind="Secret",
        body={"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "immutable": True},
    )


def owner_secret(job: JobView, effective: EffectiveProfile, *, may_be_gone: bool = False) -> Iterator[Create]:
    """Yield the Secret of the namespace's key, if the job needs one; the first job makes it."""
    if effective.output_trust != "Store":
        yield owner_key_secret(job.namespace, may_be_gone=may_be_gone)


def ray_address(job: JobView, attempt: DesiredAttempt) -> str:
    """Return host and port of the Ray head for workers."""
    return f"{service_name(job, attempt.number)}:{RAY_PORT}"


def driver_pod(
    job: JobView,
    effective: EffectiveProfile,
    attempt: DesiredAttempt,
    *,
    ray_address: str | None = None,
    gpu_exchange: GpuExchange = "Sealed",
) -> dict[str, Any]:
    """Return the driver pod; it is the Ray head, or joins the Ray at an address."""
    environment = driver_environment(
        job, effective, attempt, ray_address=ray_address, gpu_exchange=gpu_exchange
    )
    box = container(
        "driver",
        effective,
        attempt.image,
        env=container_variables(job, effective, environment),
        resources=effective.profile.driver.resources,
    )
    box |= {"ports": list(_DRIVER_PORTS), "startupProbe": _STARTUP_PROBE}
    spec = pod_spec(effective, box, effective.profile.driver, grace_seconds=DRIVER_GRACE_SECONDS)
    name = driver_name(job, attempt.number)
    return _pod(
        job, effective, attempt, "driver", name=name, owner=blocking_job_owner_reference(job), spec=spec
    )


def worker_pod(job: JobView, effective: EffectiveProfile, attempt: DesiredAttempt, index: int) -> Create:
    """Return a worker pod with as many ranks as the profile sets."""
    environment = worker_environment(job, effective, attempt, ray_address(job, attempt))
    box = container(
        "worker",
        effective,
        attempt.image,
        env=container_variables(job, effective, environment),
        resources=effective.worker_resources,
        ranks=effective.workers_per_pod,
    )
    spec = pod_spec(effective, box, effective.profile.worker, grace_seconds=WORKER_GRACE_SECONDS)
    spec |= worker_placement(effective, pod_labels(job, attempt.number, "worker"))
    name = worker_name(job, attempt.number, index)
    controlled = not is_queued(effective.extra_labels(job))
    owner = _driver_owner(job, attempt, controlled=controlled)
    alone = index in attempt.alone
    body = _pod(job, effective, attempt, "worker", name=name, owner=owner, spec=spec, alone=alone)
    return Create(kind="Pod", body=body, owner=_pending_driver_name(job, attempt), controlled=controlled)


def _service(job: JobView, attempt: DesiredAttempt) -> Create:
    number = attempt.number
    meta = metadata(
        job, service_name(job, number), attempt_labels(job, number), owner=_driver_owner(job, attempt)
    )
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": pod_labels(job, number, "driver"),
        "ports": [{"name": RAY_PORT_NAME, "port": RAY_PORT, "targetPort": RAY_PORT_NAME, "protocol": "TCP"}],
    }
    body = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    return Create(kind="Service", body=body, owner=_pending_driver_name(job, attempt))


def _driver_owner(job: JobView, attempt: DesiredAttempt, *, controlled: bool = True) -> dict[str, Any] | None:
    if attempt.driver_uid is None:
        return None
    return driver_owner_reference(driver_name(job, attempt.number), attempt.driver_uid, controlled=controlled)


def _pending_driver_name(job: JobView, attempt: DesiredAttempt) -> str | None:
    return driver_name(job, attempt.number) if attempt.driver_uid is None else None


def _pod(
    job: JobView,
    effective: EffectiveProfile,
    attempt: DesiredAttempt,
    role: Role,
    *,
    name: str,
    owner: dict[str, Any] | None,
    spec: dict[str, Any],
    alone: bool = False,
) -> dict[str, Any]:
    passed = effective.extra_labels(job)
    grouped = is_queued(passed) and attempt.gang_size > 0 and not alone
    group = group_labels(job, attempt.number) if grouped else {}
    labels = {**passed, **group, **pod_labels(job, attempt.number, role)}
    template = driver_annotations(effective) if role == "driver" else {}
    count = group_annotations(attempt.gang_size) if grouped else {}
    annotations = {**effective.extra_annotations(job), **_SAFE_TO_EVICT, **template, **count}
    meta = metadata(job, name, labels, owner=owner, annotations=annotations)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
