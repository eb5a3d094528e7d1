"""What a job may name and override: only what its profile allows; checked again before every attempt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from seedbed_api.blocks import camel
from seedbed_api.conditions import RunningReason
from seedbed_api.errors import refusal
from seedbed_api.execution import Overrides
from seedbed_api.trainingjob import TrainingJobSpec
from seedbed_api.trainingprofile import TrainingProfileSpec
from seedbed_api.uris import claim_of
from seedbed_operator.backends.offers import is_allowed_key
from seedbed_operator.planning.explaining.explanations import Explanation

_OVERRIDES = "spec.cluster.overrides"
_URL = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_INSIDE_THE_POD = re.compile(r"^(file|local|memory)://", re.IGNORECASE)


def not_allowed(spec: TrainingJobSpec, profile: TrainingProfileSpec) -> Explanation | None:
    """Return the first thing that the profile does not allow; None where all is allowed."""
    overrides = spec.cluster.overrides or Overrides()
    found = (*_overridden(overrides, profile), *_secrets(spec, profile), *_uris(spec, profile))
    return found[0] if found else None


def _overridden(overrides: Overrides, profile: TrainingProfileSpec) -> Iterator[Explanation]:
    set_to = {camel(name): getattr(overrides, name) for name in type(overrides).model_fields}
    for name, value in set_to.items():
        if value and name not in profile.allowed_overrides:
            yield _override(name, value, "is not in the profile's allowedOverrides")
    yield from _values(overrides, profile)


def _values(overrides: Overrides, profile: TrainingProfileSpec) -> Iterator[Explanation]:
    image = overrides.image
    if image is not None and not any(is_from(image, entry) for entry in profile.allowed_images):
        yield _override("image", image, "is from no repository in the profile's allowedImages")
    lists: tuple[tuple[str, Iterable[str | None], tuple[str, ...], str], ...] = (
        (
            "serviceAccountName",
            [overrides.service_account_name],
            profile.allowed_service_accounts,
            "allowedServiceAccounts",
        ),
        (
            "priorityClassName",
            [overrides.priority_class_name],
            profile.allowed_priority_classes,
            "allowedPriorityClasses",
        ),
        ("imagePullSecrets", overrides.image_pull_secrets, profile.allowed_secrets, "allowedSecrets"),
        ("env", (variable.name for variable in overrides.env), profile.allowed_env, "allowedEnv"),
    )
    for field, values, allowed, name in lists:
        for value in values:
            if value is not None and value not in allowed:
                yield _override(field, value, f"is not in the profile's {name}")
    yield from _keys("labels", overrides.labels, profile.allowed_labels, "allowedLabels")
    yield from _keys("annotations", overrides.annotations, profile.allowed_annotations, "allowedAnnotations")


def _keys(field: str, keys: Iterable[str], allowed: tuple[str, ...], name: str) -> Iterator[Explanation]:
    for key in keys:
        if not is_allowed_key(key, allowed):
            yield _override(field, key, f"is not in the profile's {name}")


def is_from(image: str, repository: str) -> bool:
    """Tell whether an image by digest is of a repository, or below one that ends in a slash."""
    name = re.sub(r"(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?@sha256:[0-9a-f]{64}$", "", image)
    return name.startswith(repository) if repository.endswith("/") else name == repository


def _override(field: str, value: Any, problem: str) -> Explanation:
    message = refusal(f"{_OVERRIDES}.{field}", value, problem, "remove it, or ask the admin to allow it")
    return Explanation(reason=RunningReason.OVERRIDE_NOT_ALLOWED, message=message)


def _secrets(spec: TrainingJobSpec, profile: TrainingProfileSpec) -> Iterator[Explanation]:
    named = (("dataset", spec.dataset.secret_ref), ("output", spec.output.secret_ref))
    for block, reference in named:
        if reference is not None and reference.name not in profile.allowed_secrets:
            field, problem = f"spec.{block}.secretRef.name", "is not in the profile's allowedSecrets"
            message = refusal(
                field, reference.name, problem, "use one of those, or ask the admin to allow it"
            )
            yield Explanation(reason=RunningReason.SECRET_NOT_ALLOWED, message=message)


def _uris(spec: TrainingJobSpec, profile: TrainingProfileSpec) -> Iterator[Explanation]:
    named = [("spec.dataset.uri", spec.dataset.uri), ("spec.output.uri", spec.output.uri)]
    if spec.model.code is not None:
        named.append(("spec.model.code.uri", spec.model.code.uri))
    for field, uri in named:
        if problem := _problem(uri, profile):
            fix = "use another one, or ask the admin to allow it"
            yield Explanation(reason=RunningReason.URI_NOT_ALLOWED, message=refusal(field, uri, problem, fix))


def _problem(uri: str, profile: TrainingProfileSpec) -> str | None:
    """Return what is wrong with a URL; a chain of them (a::b) could lead anywhere."""
    if not _URL.match(uri) or _INSIDE_THE_POD.match(uri) or "::" in uri:
        return "must be one URL of a store, not a path inside the pod"
    claim = claim_of(uri)
    if claim is not None:
        allowed = claim in profile.allowed_persistent_volume_claims
        return (
            None if allowed else f"names claim {claim}, not in allowedPersistentVolumeClaims of the profile"
        )
    prefixes = profile.allowed_uri_prefixes
    below = not prefixes or any(is_below(uri, prefix) for prefix in prefixes)
    return None if below else "is not below the profile's allowedURIPrefixes"


def is_below(uri: str, prefix: str) -> bool:
    """Tell whether a URL begins with a prefix in whole segments: s3://data allows s3://data/a only."""
    return uri == prefix or uri.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
