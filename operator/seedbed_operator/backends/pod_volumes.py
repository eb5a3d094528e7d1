"""What a pod mounts: scratch space, the cache, Secrets of the stores, and claims that URLs name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from seedbed_api.job_kinds import JobSpec
from seedbed_api.pod_contract import paths
from seedbed_api.resource_quantities import quantity_bytes
from seedbed_api.trainingprofile import Cache, Scratch, TrainingProfileSpec
from seedbed_api.uri_validation import claim_of
from seedbed_operator.backends.child_metadata import OWNER_SECRET_NAME
from seedbed_operator.backends.effective_profile import EffectiveProfile

_LOG_BYTES = 2**30
"""Room for the log of a container, which the kubelet rotates, and for what a runtime writes beside it."""
_EMPTY_DIR_FILL = 0.9
"""Share of an emptyDir that the cache may fill: the kubelet evicts a pod that exceeds the limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A volume and its mount path in the container."""

    volume: dict[str, Any]
    path: str
    read_only: bool = False
    folder: str | None = None
    """The folder of the volume that is mounted, made by the kubelet with the mode of the volume."""

    @property
    def entry(self) -> dict[str, Any]:
        """Return the entry of the container's volumeMounts."""
        entry = {"name": self.volume["name"], "mountPath": self.path}
        if self.folder is not None:
            entry["subPath"] = self.folder
        return {**entry, "readOnly": True} if self.read_only else entry


def mounts_of(effective: EffectiveProfile, *, memory: str) -> tuple[Mount, ...]:
    """Return all mounts of a pod of the job; `memory` is the limit of the pod."""
    spec, profile = effective.spec, effective.profile
    return (
        *_scratch(profile.scratch, memory),
        _cache(profile.cache, effective.namespace),
        *_secrets(spec),
        *_owner(effective),
        *_claims(spec),
    )


def disk_limit(profile: TrainingProfileSpec) -> str:
    """Return the local disk in bytes that a pod can use by its volumes and its log."""
    cache = quantity_bytes(profile.cache.size_limit) if profile.cache.type == "EmptyDir" else 0
    return str(quantity_bytes(profile.scratch.size_limit) + cache + _LOG_BYTES)


def cache_bytes(cache: Cache) -> int:
    """Return the capacity of the cache in bytes."""
    limit = quantity_bytes(cache.size_limit)
    return int(limit * _EMPTY_DIR_FILL) if cache.type == "EmptyDir" else limit


def _scratch(scratch: Scratch, memory: str) -> Iterator[Mount]:
    """Yield /tmp and /dev/shm, whose content counts as memory of the pod."""
    yield Mount(volume={"name": "tmp", "emptyDir": {"sizeLimit": scratch.size_limit}}, path="/tmp")
    shared = {"medium": "Memory", "sizeLimit": memory}
    yield Mount(volume={"name": "shm", "emptyDir": shared}, path="/dev/shm")


def _cache(cache: Cache, namespace: str) -> Mount:
    """Mount the cache; of a folder of the node, the part of the job's namespace alone.

    Whoever may write to a cache can forge decoded images, so no other namespace may.
    """
    source: dict[str, Any] = {"emptyDir": {"sizeLimit": cache.size_limit}}
    if cache.host_path is not None:
        source = {"hostPath": {"path": cache.host_path.path, "type": "DirectoryOrCreate"}}
    if cache.persistent_volume_claim is not None:
        source = {"persistentVolumeClaim": {"claimName": cache.persistent_volume_claim.claim_name}}
    folder = namespace if cache.host_path is not None else None
    return Mount(volume={"name": "cache", **source}, path=paths.CACHE, folder=folder)


def _secrets(spec: JobSpec) -> Iterator[Mount]:
    """Mount whole Secrets: with a list of keys a missing key would look like a missing Secret."""
    roles = (
        (paths.DATASET_SECRET, spec.recipe.dataset.secret_ref),
        (paths.OUTPUT_SECRET, spec.output.secret_ref),
    )
    for role, reference in roles:
        if reference is not None:
            source = {"secret": {"secretName": reference.name, "defaultMode": 0o440}}
            yield Mount(
                volume={"name": f"{role}-secret", **source}, path=f"{paths.SECRETS}/{role}", read_only=True
            )


def _owner(effective: EffectiveProfile) -> Iterator[Mount]:
    """Mount the key of the namespace, unless the job reuses whatever is in the store."""
    if effective.output_trust != "Store":
        source = {"secret": {"secretName": OWNER_SECRET_NAME, "defaultMode": 0o440}}
        path = f"{paths.SECRETS}/{paths.OWNER_SECRET}"
        yield Mount(volume={"name": "owner-secret", **source}, path=path, read_only=True)


def _claims(spec: JobSpec) -> Iterator[Mount]:
    """Mount each claim once, read-only except the claim of the output."""
    written = claim_of(spec.output.uri)
    for number, claim in enumerate(claims_of(spec)):
        volume = {"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": claim}}
        yield Mount(volume=volume, path=f"{paths.CLAIMS}/{claim}", read_only=claim != written)


def claims_of(spec: JobSpec) -> tuple[str, ...]:
    """Return the distinct claims in the URLs of the job."""
    code, weights = spec.recipe.model.code, spec.recipe.model.weights
    uris = (
        spec.recipe.dataset.uri,
        spec.output.uri,
        *((code.uri,) if code else ()),
        *((weights.uri,) if weights and weights.uri else ()),
    )
    return tuple(dict.fromkeys(claim for claim in map(claim_of, uris) if claim is not None))
