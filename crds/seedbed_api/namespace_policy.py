"""Which namespaces may use a profile.

A profile without allowedNamespaces serves every namespace, unless it grants what a namespace's users should
not get unasked: then it serves none until its administrator names them.
"""

from __future__ import annotations

from collections.abc import Mapping

from seedbed_api.errors import refusal
from seedbed_api.profile_access import LabelSelector, LabelSelectorRequirement
from seedbed_api.trainingprofile import TrainingProfileSpec

DEFAULT_ACCOUNT = "default"


def granted_powers(profile: TrainingProfileSpec) -> tuple[str, ...]:
    """Return the fields by which a profile grants a folder of a node, a priority class or a service account.

    A list counts where jobs may override the field that it is for.
    """
    grants = {
        "cache.hostPath": profile.cache.host_path is not None,
        "priorityClassName": profile.priority_class_name is not None,
        "allowedPriorityClasses": bool(profile.allowed_priority_classes)
        and "priorityClassName" in profile.allowed_overrides,
        "serviceAccountName": profile.service_account_name != DEFAULT_ACCOUNT,
        "allowedServiceAccounts": bool(profile.allowed_service_accounts)
        and "serviceAccountName" in profile.allowed_overrides,
    }
    return tuple(field for field, granted in grants.items() if granted)


def serves_nobody(profile: TrainingProfileSpec) -> bool:
    """Return whether no namespace may use a profile."""
    allowed = profile.allowed_namespaces
    if allowed is None:
        return bool(granted_powers(profile))
    return not allowed.names and allowed.selector is None


def needs_namespace_labels(profile: TrainingProfileSpec, namespace: str) -> bool:
    """Return whether only the labels of a namespace tell if it may use a profile."""
    allowed = profile.allowed_namespaces
    if allowed is None or allowed.selector is None or namespace in allowed.names:
        return False
    return bool(allowed.selector.match_labels or allowed.selector.match_expressions)


def namespace_violation(
    profile: TrainingProfileSpec, name: str, namespace: str, labels: Mapping[str, str] | None
) -> str | None:
    """Return why a namespace may not use the profile of a name; None where it may.

    `labels` are those of the namespace; None where they cannot be read or are not needed.
    """
    allowed = profile.allowed_namespaces
    if allowed is None:
        powers = granted_powers(profile)
        return _unnamed(name, namespace, powers) if powers else None
    if namespace in allowed.names:
        return None
    if needs_namespace_labels(profile, namespace) and labels is None:
        return _line(
            name,
            namespace,
            "cannot be matched: the operator cannot read the namespace's labels",
            f"ask the admin to list it in allowedNamespaces.names of TrainingProfile {name}",
        )
    if allowed.selector is not None and selects(allowed.selector, labels or {}):
        return None
    fix = f"name another profile, or ask the admin to add it to allowedNamespaces of TrainingProfile {name}"
    return _line(name, namespace, "is not one of the profile's allowedNamespaces", fix)


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector selects an object with these labels."""
    equal = all(labels.get(key) == value for key, value in selector.match_labels.items())
    return equal and all(_holds(requirement, labels) for requirement in selector.match_expressions)


def unnamed_namespaces_message(powers: tuple[str, ...]) -> str:
    """Return what is wrong with a profile that grants powers to namespaces that it does not name."""
    return f"it grants {', '.join(powers)} and has no allowedNamespaces, so no namespace may use it"


def _holds(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    """Return whether a requirement holds; as in Kubernetes, NotIn holds for a label that is absent."""
    match requirement.operator:
        case "Exists":
            return requirement.key in labels
        case "DoesNotExist":
            return requirement.key not in labels
        case "In":
            return labels.get(requirement.key) in requirement.values
        case "NotIn":
            return labels.get(requirement.key) not in requirement.values


def _unnamed(name: str, namespace: str, powers: tuple[str, ...]) -> str:
    fix = f"ask the admin to list it in allowedNamespaces of TrainingProfile {name}, or name another profile"
    return _line(name, namespace, f"may not use the profile: {unnamed_namespaces_message(powers)}", fix)


def _line(name: str, namespace: str, problem: str, fix: str) -> str:
    return refusal("spec.cluster.profile", name, f"namespace {namespace} {problem}", fix)
