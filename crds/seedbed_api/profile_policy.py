"""What a profile allows a job to name and override.

Lists of names match whole names; lists of places match whole segments, so that s3://data does not allow
s3://database and registry.example/team/ does not allow registry.example/teams.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seedbed_api.base_model import camel
from seedbed_api.conditions import FailedReason, RunningReason, one_line
from seedbed_api.errors import refusal
from seedbed_api.execution_settings import Overrides
from seedbed_api.job_kinds import JobSpec
from seedbed_api.trainingprofile import Allowed
from seedbed_api.uri_validation import claim_of

REMOTE_SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "webhdfs", "swebhdfs", "http", "https")
"""Allowed schemes if the profile lists no prefixes; paths would be inside the pod."""

MOST_SPEC_BYTES = 100_000
"""Pods get the spec in one environment variable, for which Linux allows 128 KiB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyViolation:
    """A value of a job that its profile does not allow."""

    reason: RunningReason | FailedReason
    message: str
    """Field, value, what is wrong with it, and the fix."""


def policy_violations(spec: JobSpec, profile: Allowed) -> tuple[PolicyViolation, ...]:
    """Return all violations in the order of the spec."""
    return (
        *_too_large(spec),
        *_uris(spec, profile),
        *_secrets(spec, profile),
        *_trust(spec, profile),
        *_overrides(spec, profile),
    )


def uri_allowed(uri: str, prefixes: Sequence[str]) -> bool:
    """Return whether a URL other than pvc:// is allowed; without prefixes, any URL of a remote store is."""
    scheme, separator, _ = uri.partition("://")
    if not separator or "::" in uri:
        return False
    return any(_below(uri, prefix) for prefix in prefixes) if prefixes else scheme in REMOTE_SCHEMES


def image_allowed(image: str, repositories: Sequence[str]) -> bool:
    """Return whether an image is of one of the repositories; one that ends in / includes all below it."""
    repository = repository_of(image)
    return any(
        repository.startswith(entry) if entry.endswith("/") else repository == entry for entry in repositories
    )


def repository_of(image: str) -> str:
    """Return the repository of an image, without tag and digest."""
    name, _, _ = image.partition("@")
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def key_allowed(key: str, entries: Sequence[str]) -> bool:
    """Return whether a key of a label or annotation is listed, by itself or by its domain."""
    return any(key == entry or (entry.endswith("/") and key.startswith(entry)) for entry in entries)


def _below(uri: str, prefix: str) -> bool:
    if uri == prefix.rstrip("/"):
        return True
    return uri.startswith(prefix) and (prefix.endswith("/") or uri[len(prefix) :][:1] in ("", "/", "?", "#"))


def _too_large(spec: JobSpec) -> Iterator[PolicyViolation]:
    size = len(json.dumps(spec.plain()))
    if size > MOST_SPEC_BYTES:
        problem = f"is larger than {MOST_SPEC_BYTES} bytes of JSON"
        message = refusal(
            "spec", f"{size} bytes", problem, "shorten training.loss.crossEntropy.classWeights or model.args"
        )
        yield PolicyViolation(reason=FailedReason.INVALID_SPEC, message=message)


def _uris(spec: JobSpec, profile: Allowed) -> Iterator[PolicyViolation]:
    prefixes, claims = profile.allowed_uri_prefixes, profile.allowed_persistent_volume_claims
    for field, uri in _named_uris(spec):
        claim = claim_of(uri)
        if claim is not None:
            if claim not in claims:
                yield _refused(RunningReason.URI_NOT_ALLOWED, field, uri, "allowedPersistentVolumeClaims")
        elif not uri_allowed(uri, prefixes):
            listed = _refused(RunningReason.URI_NOT_ALLOWED, field, uri, "allowedURIPrefixes")
            yield listed if prefixes else _not_remote(field, uri)


def _named_uris(spec: JobSpec) -> Iterator[tuple[str, str]]:
    recipe, path = spec.recipe, spec.recipe_path
    yield f"{path}.dataset.uri", recipe.dataset.uri
    if recipe.model.code is not None:
        yield f"{path}.model.code.uri", recipe.model.code.uri
    if recipe.model.weights is not None and recipe.model.weights.uri is not None:
        yield f"{path}.model.weights.uri", recipe.model.weights.uri
    yield "spec.output.uri", spec.output.uri


def _secrets(spec: JobSpec, profile: Allowed) -> Iterator[PolicyViolation]:
    named = {
        f"{spec.recipe_path}.dataset": spec.recipe.dataset.secret_ref,
        "spec.output": spec.output.secret_ref,
    }
    for block, reference in named.items():
        if reference is not None and reference.name not in profile.allowed_secrets:
            field = f"{block}.secretRef.name"
            yield _refused(RunningReason.SECRET_NOT_ALLOWED, field, reference.name, "allowedSecrets")


_TRUSTS = ("Own", "Signed", "Store")
"""From the strictest to the weakest."""


def _trust(spec: JobSpec, profile: Allowed) -> Iterator[PolicyViolation]:
    chosen = spec.output.trust
    if chosen is None or _TRUSTS.index(chosen) <= _TRUSTS.index(profile.output_trust):
        return
    if chosen not in profile.allowed_output_trusts:
        field = "spec.output.trust"
        yield _refused(RunningReason.OVERRIDE_NOT_ALLOWED, field, chosen, "allowedOutputTrusts")


def _overrides(spec: JobSpec, profile: Allowed) -> Iterator[PolicyViolation]:
    overrides = spec.cluster.overrides
    if overrides is None:
        return
    for attribute in Overrides.model_fields:
        value = getattr(overrides, attribute)
        field = f"spec.cluster.overrides.{camel(attribute)}"
        if not value:
            continue
        if camel(attribute) not in profile.allowed_overrides:
            yield _refused(RunningReason.OVERRIDE_NOT_ALLOWED, field, _shown(value), "allowedOverrides")
        elif attribute in _LISTS:
            yield from _values(attribute, field, value, profile)


_LISTS = {
    "image": "allowed_images",
    "image_pull_secrets": "allowed_secrets",
    "service_account_name": "allowed_service_accounts",
    "priority_class_name": "allowed_priority_classes",
    "labels": "allowed_labels",
    "annotations": "allowed_annotations",
    "env": "allowed_env",
}
_ALLOWS: Mapping[str, Callable[[str, Sequence[str]], bool]] = {
    "image": image_allowed,
    "labels": key_allowed,
    "annotations": key_allowed,
}


def _values(attribute: str, field: str, value: Any, profile: Allowed) -> Iterator[PolicyViolation]:
    entries = getattr(profile, _LISTS[attribute])
    allows = _ALLOWS.get(attribute, _is_listed)
    for name in _names(value):
        if not allows(name, entries):
            secret = attribute == "image_pull_secrets"
            reason = RunningReason.SECRET_NOT_ALLOWED if secret else RunningReason.OVERRIDE_NOT_ALLOWED
            yield _refused(reason, field, name, camel(_LISTS[attribute]))


def _is_listed(name: str, entries: Sequence[str]) -> bool:
    return name in entries


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [getattr(entry, "name", entry) for entry in value]


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int) else ", ".join(_names(value))


def _refused(reason: RunningReason, field: str, value: Any, profile_list: str) -> PolicyViolation:
    fix = f"remove it or choose another, or ask the admin to add it to {profile_list}"
    line = refusal(field, value, "is not allowed by the profile", fix)
    return PolicyViolation(reason=reason, message=one_line(line))


def _not_remote(field: str, uri: str) -> PolicyViolation:
    known = "s3://, gs://, az://, webhdfs://, http(s)://"
    problem = "does not lie in a store that pods can reach"
    fix = f"write a URL of {known} or pvc://claim/folder, or ask the admin to list it in allowedURIPrefixes"
    line = refusal(field, uri, problem, fix)
    return PolicyViolation(reason=RunningReason.URI_NOT_ALLOWED, message=one_line(line))
