"""The environment variables of the containers: of the pod contract, profile, job and object store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from seedbed_api.job_kinds import MODELS, Job
from seedbed_api.object_metadata import ObjectMeta
from seedbed_api.pod_contract import env_vars, paths
from seedbed_api.pod_contract.pod_environment import (
    DriverEnvironment,
    GpuExchange,
    PodEnvironment,
    ReceiptEnvironment,
    SignatureUploaderEnvironment,
    VerifierEnvironment,
    WorkerEnvironment,
)
from seedbed_api.pod_template import EnvVar
from seedbed_api.trainingjob_status import ObjectStatus
from seedbed_operator.backends.backend_interface import DesiredAttempt
from seedbed_operator.backends.child_metadata import API_VERSION, token_name
from seedbed_operator.backends.effective_profile import EffectiveProfile
from seedbed_operator.backends.pod_volumes import cache_bytes
from seedbed_operator.job_observation import JobView

Variable = dict[str, Any]
_NO_CACHE: Final[dict[str, Any]] = {"cache_folder": None, "cache_bytes": None}


def driver_environment(
    job: JobView,
    effective: EffectiveProfile,
    attempt: DesiredAttempt,
    *,
    ray_address: str | None = None,
    gpu_exchange: GpuExchange = "Sealed",
) -> DriverEnvironment:
    """Return the environment of a driver that is the Ray head, or joins the Ray at an address."""
    return DriverEnvironment(
        role="driver",
        ray_mode="head" if ray_address is None else "join",
        ray_address=ray_address,
        gpu_exchange=gpu_exchange if effective.device == "cuda" else None,
        **_of_every_pod(job, effective, attempt),
    )


def worker_environment(
    job: JobView, effective: EffectiveProfile, attempt: DesiredAttempt, ray_address: str
) -> WorkerEnvironment:
    """Return the environment of a worker that joins the Ray at an address."""
    return WorkerEnvironment(
        role="worker",
        ray_address=ray_address,
        ranks=effective.workers_per_pod,
        **_of_every_pod(job, effective, attempt),
    )


def verifier_environment(
    job: JobView, effective: EffectiveProfile, attempt: DesiredAttempt, receipt_digest: str
) -> VerifierEnvironment:
    """Return the environment of a pod that verifies a receipt."""
    return VerifierEnvironment(
        role="verifier",
        receipt_digest=receipt_digest,
        **{**_of_every_pod(job, effective, attempt), **_NO_CACHE},
    )


def signature_uploader_environment(
    job: JobView, effective: EffectiveProfile, attempt: DesiredAttempt, receipt: ObjectStatus
) -> SignatureUploaderEnvironment:
    """Return the environment of a pod that stores the signature of a receipt."""
    assert receipt.signature is not None, "only a signature that is there is stored"
    return SignatureUploaderEnvironment(
        role="signature-uploader",
        receipt_digest=receipt.digest,
        signature=receipt.signature,
        **{**_of_every_pod(job, effective, attempt), **_NO_CACHE, "signature_policy": None},
    )


def _of_every_pod(job: JobView, effective: EffectiveProfile, attempt: DesiredAttempt) -> dict[str, Any]:
    return {
        "job": _job(job),
        "attempt": attempt.number,
        "gpus": effective.profile.worker.gpu.count,
        "device": effective.device,
        "expected_dataset_digest": attempt.expected.dataset_digest,
        "expected_run_id": attempt.expected.run_id,
        "expected_environment_class": attempt.expected.environment_class,
        "output_trust": effective.output_trust,
        "signature_policy": effective.signature_policy,
        "cache_folder": paths.CACHE,
        "cache_bytes": cache_bytes(effective.profile.cache),
        "allowed_uri_prefixes": effective.profile.allowed_uri_prefixes or None,
    }


def _job(job: JobView) -> Job:
    """Return the job that the pods get; its parts were validated when it was observed."""
    assert job.spec is not None, "a job with an invalid spec has no children"
    metadata = ObjectMeta.model_construct(name=job.name, namespace=job.namespace, uid=job.uid)
    fields: dict[str, Any] = {"api_version": API_VERSION, "kind": job.kind, "spec": job.spec}
    return MODELS[job.kind].model_construct(metadata=metadata, **fields)


def container_variables(
    job: JobView, effective: EffectiveProfile, environment: PodEnvironment
) -> list[Variable]:
    """Return all variables of a container; those of the contract come last and win."""
    own = [
        *_literals(_of_profile_and_job(effective)),
        *_of_the_store(effective),
        *_of_the_pod(),
        *_literals(environment.to_env()),
    ]
    return own if isinstance(environment, ReceiptEnvironment) else [*own, _token(job)]


def _literals(values: Mapping[str, str]) -> Iterator[Variable]:
    """Yield variables with literal values: the kubelet replaces $(NAME) unless the dollar is doubled."""
    for name, value in values.items():
        yield {"name": name, "value": value.replace("$", "$$")}


def _of_profile_and_job(effective: EffectiveProfile) -> dict[str, str]:
    """Return the variables of profile and job; the job's replace the profile's."""
    sources: tuple[tuple[EnvVar, ...], ...] = effective.env
    return {variable.name: variable.value for source in sources for variable in source}


def _of_the_store(effective: EffectiveProfile) -> Iterator[Variable]:
    """Yield the profile's object store, which a Secret of the job may replace."""
    storage = effective.profile.storage
    values = {"AWS_ENDPOINT_URL": storage.endpoint_url, "AWS_DEFAULT_REGION": storage.region}
    for name, value in values.items():
        if value is not None:
            yield {"name": name, "value": value}


def _of_the_pod() -> Iterator[Variable]:
    for name, path in env_vars.POD_FIELDS.items():
        yield {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _token(job: JobView) -> Variable:
    reference = {"name": token_name(job), "key": env_vars.TOKEN_KEY}
    return {"name": env_vars.RAY_AUTH_TOKEN, "valueFrom": {"secretKeyRef": reference}}
