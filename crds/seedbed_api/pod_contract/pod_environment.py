"""The environment of a driver pod and of a worker pod: the operator writes it, the pod reads it.

The kubelet adds what the operator cannot know: name and address of the pod, and the token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, field_validator

from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.base_model import StatusBlock
from seedbed_api.errors import UserError, refusal
from seedbed_api.execution_settings import OutputTrust
from seedbed_api.job_kinds import Job
from seedbed_api.manifest_loader import any_job
from seedbed_api.pod_contract import env_vars
from seedbed_api.pod_contract.labels import Role
from seedbed_api.scalar_types import Digest, Matches, invalid_value
from seedbed_api.strict_json import parse_json
from seedbed_api.validation_errors import error_lines

RayMode: TypeAlias = Literal["head", "join"]


def _whole_number(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not (value.isascii() and value.isdigit()):
        raise invalid_value("must be a whole number", "write it in decimal digits")
    return int(value)


def _parsed_job(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        document = parse_json(value)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise invalid_value("is not a TrainingJob or SweepJob as JSON", "write one")
    return any_job(document, env_vars.JOB)


def _parsed_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError:
        raise invalid_value("is not a JSON list", 'write for example ["s3://datasets/"]') from None


def _parsed_policy(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError:
        raise invalid_value("is not a policy as JSON", "write minimum and keys") from None


def _policy_json(policy: SignaturePolicy) -> str:
    return json.dumps(policy.plain(), separators=(",", ":"), sort_keys=True)


def _job_json(job: Job) -> str:
    """Return kind, name and spec of a job as JSON with sorted keys; the rest of its metadata may change."""
    metadata = {"name": job.metadata.name, "namespace": job.metadata.namespace, "uid": job.metadata.uid}
    document = {"apiVersion": job.api_version, "kind": job.kind, "metadata": metadata}
    return json.dumps({**document, "spec": job.spec.plain()}, separators=(",", ":"), sort_keys=True)


Number = Annotated[int, BeforeValidator(_whole_number)]
JobJson = Annotated[Job, BeforeValidator(_parsed_job), PlainSerializer(_job_json, return_type=str)]
JsonList = Annotated[
    tuple[str, ...],
    BeforeValidator(_parsed_list),
    PlainSerializer(json.dumps, return_type=str, when_used="unless-none"),
]
PolicyJson = Annotated[
    SignaturePolicy,
    BeforeValidator(_parsed_policy),
    PlainSerializer(_policy_json, return_type=str, when_used="unless-none"),
]
HostAndPort = Annotated[
    str, Matches(r"^.+:[0-9]+$", 300, "is not HOST:PORT of the Ray head", "write for example head:6379")
]


GpuExchange = Literal["NCCL", "Sealed"]
"""How ranks on GPUs exchange: by NCCL, or by messages over gloo that are sealed with the job's token."""


# Plain pydantic instead of pydantic-settings: the operator builds these models in every reconcile, in 0.2 ms
# instead of 2 ms, and its own environment (POD_NAME among it) must never become that of a pod.
class EnvironmentModel(StatusBlock):
    """A set of environment variables; each field has a variable's name as its alias."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read an environment, where an empty variable counts as missing and unknown ones are ignored.

        Raises UserError InvalidSpec: one line that names the variable, its value and the fix.
        """
        given = {name: value for name, value in environ.items() if value}
        try:
            return cls.model_validate(given, by_alias=True, by_name=False)
        except ValidationError as error:
            raise UserError("InvalidSpec", next(error_lines(error, cls))) from None

    def to_env(self) -> dict[str, str]:
        """Return the variables in the order of the fields; what is None has none."""
        values = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {name: str(value) for name, value in values.items()}


class PodEnvironment(EnvironmentModel):
    """The variables that every pod of an attempt gets from the operator."""

    job: JobJson = Field(alias=env_vars.JOB)
    """The job as it was when the attempt started."""
    attempt: Number = Field(ge=1, alias=env_vars.ATTEMPT)
    """Number of the attempt, as in the names of its pods."""
    role: Role = Field(alias=env_vars.ROLE)
    ray_mode: RayMode = Field(alias=env_vars.RAY_MODE)
    """`head`: this pod is the Ray head; `join`: it joins the Ray at ray_address."""
    ray_address: HostAndPort | None = Field(default=None, alias=env_vars.RAY_ADDRESS)
    ranks: Number | None = Field(default=None, ge=1, alias=env_vars.RANKS)
    """Ranks that this worker pod holds."""
    gpus: Number = Field(default=0, ge=0, alias=env_vars.GPUS)
    """GPUs of a rank."""
    device: Literal["cpu", "cuda"] = Field(default="cpu", alias=env_vars.DEVICE)
    expected_dataset_digest: str | None = Field(default=None, alias=env_vars.EXPECTED_DATASET_DIGEST)
    expected_run_id: str | None = Field(default=None, alias=env_vars.EXPECTED_RUN_ID)
    expected_environment_class: str | None = Field(default=None, alias=env_vars.EXPECTED_ENVIRONMENT_CLASS)
    """What earlier attempts found; this one fails where it finds anything else."""
    output_trust: OutputTrust = Field(default="Store", alias=env_vars.OUTPUT_TRUST)
    """Which stored objects are reused, where the job does not say; operators of before it do not set it."""
    signature_policy: PolicyJson | None = Field(default=None, alias=env_vars.SIGNATURE_POLICY)
    """Whose signed runs are reused where output_trust is Signed; the profile's, never the job's."""
    cache_folder: str | None = Field(default=None, alias=env_vars.CACHE_FOLDER)
    cache_bytes: Number | None = Field(default=None, ge=1, alias=env_vars.CACHE_BYTES)
    allowed_uri_prefixes: JsonList | None = Field(default=None, alias=env_vars.ALLOWED_URI_PREFIXES)
    """The profile's allowedURIPrefixes; None where it lists none."""

    def to_env(self) -> dict[str, str]:
        """Return the variables of this pod and those that are the same in every pod."""
        return {**super().to_env(), **env_vars.CONSTANTS}


class DriverEnvironment(PodEnvironment):
    """The environment of a driver pod, which is the Ray head or joins the Ray of a backend."""

    role: Literal["driver"] = Field(alias=env_vars.ROLE)
    ray_mode: RayMode = Field(default="head", alias=env_vars.RAY_MODE)
    ray_address: HostAndPort | None = Field(default=None, validate_default=True, alias=env_vars.RAY_ADDRESS)
    gpu_exchange: GpuExchange | None = Field(default=None, alias=env_vars.GPU_EXCHANGE)
    """None, of CPUs and of operators of before it, counts as Sealed: NCCL takes messages from whoever reaches
    its ports, which only a network that keeps strangers away makes up for."""

    @field_validator("ray_address", mode="after")
    @classmethod
    def _only_to_join(cls, address: str | None, info: Any) -> str | None:
        if info.data.get("ray_mode") != "join":
            return None
        if address is None:
            fix = "write HOST:PORT of the Ray head"
            raise UserError("InvalidSpec", refusal(env_vars.RAY_ADDRESS, "", "is missing", fix))
        return address


class WorkerEnvironment(PodEnvironment):
    """The environment of a worker pod."""

    role: Literal["worker"] = Field(alias=env_vars.ROLE)
    ray_mode: Literal["join"] = Field(default="join", alias=env_vars.RAY_MODE)
    ray_address: HostAndPort = Field(alias=env_vars.RAY_ADDRESS)
    ranks: Number = Field(default=1, ge=1, alias=env_vars.RANKS)


class ReceiptEnvironment(PodEnvironment):
    """The environment of a pod about the receipt of a complete run; it has no token of the job."""

    ray_mode: Literal["head"] = Field(default="head", alias=env_vars.RAY_MODE)
    """It starts no Ray."""
    expected_run_id: Digest = Field(alias=env_vars.EXPECTED_RUN_ID)
    """The run of the job; its receipt is below the job's own output."""
    receipt_digest: Digest = Field(alias=env_vars.RECEIPT_DIGEST)
    """Digest that the driver reported; the receipt must have it."""


class VerifierEnvironment(ReceiptEnvironment):
    """The environment of a pod that recomputes a complete run from its receipt."""

    role: Literal["verifier"] = Field(alias=env_vars.ROLE)


class SignatureUploaderEnvironment(ReceiptEnvironment):
    """The environment of a pod that stores the operator's signature beside the receipt."""

    role: Literal["signature-uploader"] = Field(alias=env_vars.ROLE)
    signature: str = Field(alias=env_vars.SIGNATURE)
    """The envelope in the status of the job."""


class PodIdentity(EnvironmentModel):
    """The variables that the kubelet fills in from the pod and from the job's Secret."""

    pod_name: str = Field(alias=env_vars.POD_NAME)
    pod_ip: str = Field(alias=env_vars.POD_IP)
    ray_auth_mode: Literal["token"] = Field(alias=env_vars.RAY_AUTH_MODE)
    """A Ray without tokens runs anyone's code."""
    token: str = Field(repr=False, alias=env_vars.RAY_AUTH_TOKEN)
    """Proves that a pod belongs to the job."""
