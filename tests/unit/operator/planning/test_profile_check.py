"""What a job may name and override: refused with field, value and fix, and nothing is created."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed_api.profile_policy import image_allowed, uri_allowed
from seedbed_api.recipe import SecretRef
from support.operator.builders import IMAGE, a_profile, a_training_job
from support.operator.simulated_cluster import a_world

OTHER = "registry.example/team/mine:v1@sha256:" + "1" * 64
ALL_FIELDS = [
    "image",
    "imagePullSecrets",
    "cpu",
    "memory",
    "workersPerPod",
    "serviceAccountName",
    "priorityClassName",
    "labels",
    "annotations",
    "env",
]

OVERRIDES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "image": ({"image": OTHER}, {"allowedImages": ["registry.example/team/"]}),
    "imagePullSecrets": ({"imagePullSecrets": ["key"]}, {"allowedSecrets": ["key"]}),
    "cpu": ({"cpu": "2"}, {}),
    "memory": ({"memory": "4Gi"}, {}),
    "workersPerPod": ({"workersPerPod": 2}, {}),
    "serviceAccountName": (
        {"serviceAccountName": "sa"},
        {"allowedServiceAccounts": ["sa"], "allowedNamespaces": {"selector": {}}},
    ),
    "priorityClassName": (
        {"priorityClassName": "gold"},
        {"allowedPriorityClasses": ["gold"], "allowedNamespaces": {"selector": {}}},
    ),
    "labels": ({"labels": {"example.org/team": "a"}}, {"allowedLabels": ["example.org/"]}),
    "annotations": (
        {"annotations": {"example.org/note": "a"}},
        {"allowedAnnotations": ["example.org/note"]},
    ),
    "env": ({"env": [{"name": "LOG_LEVEL", "value": "$(HOME)"}]}, {"allowedEnv": ["LOG_LEVEL"]}),
}
WITH_LISTS = {name for name, (_, lists) in OVERRIDES.items() if lists}


def outcome_of(spec: dict[str, Any], profile: dict[str, Any]) -> tuple[str, str, list[str]]:
    world = a_world(a_training_job(**spec), profile=a_profile(**profile)).settle()
    return world.says(), world.message(), world.names()


@pytest.mark.parametrize("field", OVERRIDES)
def test_an_override_needs_its_name_in_the_list(field: str) -> None:
    overrides, lists = OVERRIDES[field]
    others = [name for name in ALL_FIELDS if name != field]
    said, message, pods = outcome_of(
        {"cluster": {"overrides": overrides}}, {"allowedOverrides": others, **lists}
    )
    assert said == "False OverrideNotAllowed"
    assert message.startswith(f"spec.cluster.overrides.{field}: ")
    assert message.endswith("ask the admin to add it to allowedOverrides")
    assert pods == []


@pytest.mark.parametrize("field", sorted(WITH_LISTS))
def test_an_override_needs_its_value_in_a_list_where_there_is_one(field: str) -> None:
    overrides, _ = OVERRIDES[field]
    said, message, pods = outcome_of({"cluster": {"overrides": overrides}}, {"allowedOverrides": [field]})
    secret = field == "imagePullSecrets"
    assert said == ("False SecretNotAllowed" if secret else "False OverrideNotAllowed")
    assert message.startswith(f"spec.cluster.overrides.{field}: ")
    assert pods == []


@pytest.mark.parametrize("field", OVERRIDES)
def test_what_is_allowed_is_done(field: str) -> None:
    overrides, lists = OVERRIDES[field]
    said, _, pods = outcome_of({"cluster": {"overrides": overrides}}, {"allowedOverrides": [field], **lists})
    assert said == "False Pending"
    assert "1-driver" in pods


PLACES: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "any URL without a list": ({}, {}, None),
    "below a prefix": ({}, {"allowedURIPrefixes": ["s3://data", "s3://runs/"]}, None),
    "below no prefix": ({}, {"allowedURIPrefixes": ["s3://data", "s3://others/"]}, "s3://runs"),
    "exactly the prefix": ({}, {"allowedURIPrefixes": ["s3://data/seedlings", "s3://runs"]}, None),
    "half a segment": ({}, {"allowedURIPrefixes": ["s3://dat", "s3://runs"]}, "s3://data/seedlings"),
    "a path of the pod": ({"output": {"uri": "/runs"}}, {}, "/runs"),
    "a file URL": ({"output": {"uri": "file:///runs"}}, {}, "file:///runs"),
    "a file URL in capitals": ({"output": {"uri": "FILE:///runs"}}, {}, "FILE:///runs"),
    "a chain of URLs": (
        {"dataset": {"uri": "simplecache::file:///etc"}},
        {},
        "simplecache::file:///etc",
    ),
    "a chain after a scheme": (
        {"dataset": {"uri": "zip://a::file:///etc"}},
        {"allowedURIPrefixes": ["zip://a::file:", "s3://runs"]},
        "zip://a::file:///etc",
    ),
    "code elsewhere": (
        {
            "model": {
                "entrypoint": "pkg:Net",
                "code": {"uri": "https://evil.example/x.whl"},
            }
        },
        {"allowedURIPrefixes": ["s3://data", "s3://runs"]},
        "https://evil.example/x.whl",
    ),
    "weights elsewhere": (
        {"model": {"name": "simple-cnn", "weights": {"uri": "https://evil.example/w.pt"}}},
        {"allowedURIPrefixes": ["s3://data", "s3://runs"]},
        "https://evil.example/w.pt",
    ),
    "weights in a claim that is not listed": (
        {"model": {"name": "simple-cnn", "weights": {"uri": "pvc://other/w.pt"}}},
        {},
        "pvc://other/w.pt",
    ),
    "weights of a run": ({"model": {"name": "simple-cnn", "weights": {"run": "0123abcd"}}}, {}, None),
    "a claim that is not listed": ({"dataset": {"uri": "pvc://other/x"}}, {}, "pvc://other/x"),
    "a claim that is listed": (
        {"dataset": {"uri": "pvc://data/x"}},
        {"allowedPersistentVolumeClaims": ["data"]},
        None,
    ),
}


@pytest.mark.parametrize(("spec", "profile", "refused"), PLACES.values(), ids=PLACES.keys())
def test_urls_stay_where_the_profile_wants_them(
    spec: dict[str, Any], profile: dict[str, Any], refused: str | None
) -> None:
    said, message, pods = outcome_of(spec, profile)
    assert said == ("False URINotAllowed" if refused else "False Pending")
    assert refused is None or (f"(got {refused!r})" in message and pods == [])


@pytest.mark.parametrize("block", ["dataset", "output"])
def test_secrets_are_named_by_the_profile(block: str) -> None:
    spec = {"dataset": {"uri": "s3://data/x"}, "output": {"uri": "s3://runs"}}
    spec[block]["secretRef"] = {"name": "key"}  # type: ignore[assignment]
    said, message, pods = outcome_of(spec, {"allowedSecrets": ["other"]})
    assert said == "False SecretNotAllowed"
    assert message.startswith(f"spec.{block}.secretRef.name: ")
    assert "'key'" in message
    assert pods == []
    assert outcome_of(spec, {"allowedSecrets": ["key"]})[0] == "False Pending"


def test_a_worker_that_is_replaced_mounts_no_secret_that_was_named_unseen() -> None:
    """Suspended, edited and resumed while the operator looked away: the attempt stops, no other begins."""
    world = a_world(a_training_job().with_workers(2, 2)).settle().start().settle()
    assert world.job.spec is not None
    output = world.job.spec.output.model_copy(update={"secret_ref": SecretRef(name="of-somebody-else")})
    world.edit(output=output)
    world.vanish("seedlings-1-worker-0").settle()
    assert world.names() == ["1-driver", "1-worker-1"]
    world.finish_deletions().settle().finish_deletions().settle()
    assert world.names() == []
    assert world.says() == "False SecretNotAllowed"
    world.profile = a_profile(allowedSecrets=["of-somebody-else"])
    world.settle()
    assert world.names() == ["2-driver", "2-worker-0", "2-worker-1"]


def test_a_refusal_stalls_and_heals_when_the_profile_changes() -> None:
    job = a_training_job().with_overrides(cpu="2")
    world = a_world(job).settle()
    assert world.says("Stalled") == "True OverrideNotAllowed"
    assert world.says("Reconciling") == "False OverrideNotAllowed"
    world.profile = a_profile(generation=2, allowedOverrides=["cpu"])
    world.settle()
    assert world.says("Stalled").startswith("False")
    assert world.names() == ["1-driver", "1-worker-0"]


@pytest.mark.parametrize(
    ("image", "repository", "allowed"),
    [
        (IMAGE, "registry.example/seedbed", True),
        (IMAGE, "registry.example/seed", False),
        (IMAGE, "registry.example/", True),
        (OTHER, "registry.example/team/mine", True),
        (OTHER, "registry.example/team", False),
        ("registry.example.evil/seedbed@sha256:" + "a" * 64, "registry.example/", False),
        ("registry.example:5000/x@sha256:" + "a" * 64, "registry.example:5000/x", True),
    ],
)
def test_images_come_from_repositories(image: str, repository: str, allowed: bool) -> None:
    assert image_allowed(image, [repository]) is allowed


@pytest.mark.parametrize(
    ("uri", "prefix", "below"),
    [
        ("s3://data/a", "s3://data", True),
        ("s3://data", "s3://data", True),
        ("s3://database", "s3://data", False),
        ("s3://anything", "s3://", True),
        ("https://host.evil/x", "https://host", False),
        ("https://host:8443/x", "https://host", False),
        ("S3://data/a", "s3://data", False),
    ],
)
def test_prefixes_are_whole_segments(uri: str, prefix: str, below: bool) -> None:
    assert uri_allowed(uri, [prefix]) is below


def test_a_spec_that_no_profile_could_allow_has_failed() -> None:
    """InvalidSpec is a reason of Failed: a job that waited with it would wait for ever."""
    weights = [{"name": f"c{number}" + "x" * 200, "weight": "1"} for number in range(900)]
    loss = {"type": "CrossEntropy", "crossEntropy": {"classWeights": weights}}
    training = {**a_training_job().fields["training"], "loss": loss}
    world = a_world(a_training_job(training=training)).settle()
    assert world.says("Failed") == "True InvalidSpec"
    assert world.says() == "False InvalidSpec"
    assert "is larger than" in world.message()
    assert world.job.status.completion_time is not None
    assert world.names() == []
