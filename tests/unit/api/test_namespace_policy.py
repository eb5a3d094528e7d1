"""Which namespaces may use a profile: names, labels, and nobody where it grants what nobody should get unasked."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from seedbed_api.namespace_policy import (
    granted_powers,
    namespace_violation,
    needs_namespace_labels,
    serves_nobody,
)
from seedbed_api.trainingprofile import TrainingProfileSpec
from support.manifests.base_manifests import PROFILE

HOST_PATH = {"cache": {"type": "HostPath", "hostPath": {"path": "/var/cache/seedbed"}}}
TEAM_A = {"kubernetes.io/metadata.name": "team-a", "team": "vision", "tier": "gold"}


def profile(**spec: Any) -> TrainingProfileSpec:
    return TrainingProfileSpec.model_validate({**PROFILE["spec"], **spec})


def allowed(**block: Any) -> dict[str, Any]:
    return {"allowedNamespaces": block}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    listed = {"values": list(values)} if values else {}
    return {"selector": {"matchExpressions": [{"key": key, "operator": operator, **listed}]}}


ALLOWED: dict[str, tuple[dict[str, Any], bool]] = {
    "a plain profile serves everybody": ({}, True),
    "a cache in the pod is no power": ({"cache": {"type": "EmptyDir"}}, True),
    "a claim is the namespace's own": (
        {"cache": {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "c"}}},
        True,
    ),
    "the account that every pod has": ({"serviceAccountName": "default"}, True),
    "a folder of the node": (HOST_PATH, False),
    "a priority class": ({"priorityClassName": "high"}, False),
    "priority classes to choose": (
        {"allowedPriorityClasses": ["high"], "allowedOverrides": ["priorityClassName"]},
        False,
    ),
    "a list of priority classes that no job may choose from": ({"allowedPriorityClasses": ["high"]}, True),
    "a service account": ({"serviceAccountName": "trainer"}, False),
    "service accounts to choose": (
        {"allowedServiceAccounts": ["trainer"], "allowedOverrides": ["serviceAccountName"]},
        False,
    ),
    "a folder of the node for a namespace that is named": (HOST_PATH | allowed(names=["team-a"]), True),
    "a folder of the node for another namespace": (HOST_PATH | allowed(names=["team-b"]), False),
    "a folder of the node for everybody, said in so many words": (HOST_PATH | allowed(selector={}), True),
    "an empty block allows nobody": (allowed(), False),
    "a name that begins alike": (allowed(names=["team"]), False),
    "a label": (allowed(selector={"matchLabels": {"team": "vision"}}), True),
    "another value of a label": (allowed(selector={"matchLabels": {"team": "speech"}}), False),
    "one label of two": (allowed(selector={"matchLabels": {"team": "vision", "tier": "iron"}}), False),
    "the label that the API server sets": (
        allowed(selector={"matchLabels": {"kubernetes.io/metadata.name": "team-a"}}),
        True,
    ),
    "a name or a label": (allowed(names=["team-a"], selector={"matchLabels": {"team": "speech"}}), True),
    "In": (allowed(**expression("tier", "In", "gold", "silver")), True),
    "In, another value": (allowed(**expression("tier", "In", "silver")), False),
    "In, no label": (allowed(**expression("absent", "In", "gold")), False),
    "NotIn": (allowed(**expression("tier", "NotIn", "gold")), False),
    "NotIn, no label": (allowed(**expression("absent", "NotIn", "gold")), True),
    "Exists": (allowed(**expression("tier", "Exists")), True),
    "DoesNotExist": (allowed(**expression("tier", "DoesNotExist")), False),
}


@pytest.mark.parametrize(("spec", "may"), ALLOWED.values(), ids=ALLOWED.keys())
def test_who_may_use_a_profile(spec: dict[str, Any], may: bool) -> None:
    line = namespace_violation(profile(**spec), "gpu", "team-a", TEAM_A)
    assert (line is None) is may
    if line is not None:
        assert line.startswith("spec.cluster.profile: namespace team-a ")
        assert "(got 'gpu'); " in line
        assert "another profile" in line
        assert "allowedNamespaces" in line


def test_a_refusal_names_what_the_profile_grants() -> None:
    line = namespace_violation(profile(**HOST_PATH, priorityClassName="high"), "gpu", "team-a", None)
    assert line == (
        "spec.cluster.profile: namespace team-a may not use the profile: it grants cache.hostPath, "
        "priorityClassName and has no allowedNamespaces, so no namespace may use it (got 'gpu'); ask the admin to "
        "list it in allowedNamespaces of TrainingProfile gpu, or name another profile"
    )


def test_labels_are_needed_only_where_they_decide() -> None:
    by_label = {"matchLabels": {"team": "vision"}}
    assert needs_namespace_labels(profile(**allowed(selector=by_label)), "team-a")
    assert not needs_namespace_labels(profile(**allowed(selector=by_label, names=["team-a"])), "team-a")
    assert not needs_namespace_labels(profile(**allowed(selector={})), "team-a")
    assert not needs_namespace_labels(profile(**allowed(names=["team-a"])), "team-a")
    assert not needs_namespace_labels(profile(), "team-a")


def test_labels_that_cannot_be_read_match_nothing() -> None:
    """Also a selector that holds for a namespace without labels."""
    for block in (expression("absent", "NotIn", "gold"), {"selector": {"matchLabels": {"team": "vision"}}}):
        line = namespace_violation(profile(**allowed(**block)), "gpu", "team-a", None)
        assert line is not None
        assert "cannot read the namespace's labels" in line
    assert namespace_violation(profile(**allowed(selector={})), "gpu", "team-a", None) is None


def test_which_profiles_serve_nobody() -> None:
    assert serves_nobody(profile(**HOST_PATH))
    assert serves_nobody(profile(**allowed()))
    assert not serves_nobody(profile())
    assert not serves_nobody(profile(**HOST_PATH, **allowed(names=["team-a"])))
    assert granted_powers(profile(serviceAccountName="trainer")) == ("serviceAccountName",)


@pytest.mark.parametrize(
    "block",
    [
        expression("tier", "In"),
        expression("tier", "Exists", "gold"),
        {"names": ["Team-A"]},
        {"names": ["*"]},
        {"selector": {"matchLabels": {"team": "a b"}}},
        {"selector": {"matchLabel": {}}},
        {"namespaces": ["team-a"]},
    ],
)
def test_what_is_no_selection(block: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        profile(**allowed(**block))
