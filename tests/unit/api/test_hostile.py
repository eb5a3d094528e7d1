"""Hostile specs, as far as models and permissions decide about them."""

from __future__ import annotations

from collections import Counter

import pytest
from jsonschema import Draft202012Validator

from seedbed_api.crd_generator import definitions
from seedbed_api.errors import UserError
from seedbed_api.manifest_loader import training_job, validate_document
from seedbed_api.profile_policy import image_allowed, key_allowed, policy_violations, uri_allowed
from seedbed_api.trainingprofile import TrainingProfile
from support.manifests.hostile_specs import HOSTILE, HostileSpec, attempts

SCHEMA = Draft202012Validator(
    definitions()["trainingjobs.yaml"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
)
DECIDED_LATER = ("ProfileNotFound", "NameConflict")


def told(attempt: HostileSpec) -> list[tuple[str, str]]:
    profile = validate_document(attempt.profile_manifest())
    assert isinstance(profile, TrainingProfile)
    found = policy_violations(training_job(attempt.manifest()).spec, profile.spec)
    return [(refusal.reason.value, refusal.message) for refusal in found]


def test_there_are_enough_of_each_end() -> None:
    ends = Counter(attempt.end for attempt in HOSTILE.values())
    assert ends["Server"] >= 30
    assert ends["Planning"] >= 20
    assert ends["Harmless"] >= 8


@pytest.mark.parametrize("attempt", attempts("Server", "Models").values(), ids=attempts("Server", "Models"))
def test_the_models_refuse_it(attempt: HostileSpec) -> None:
    with pytest.raises(UserError) as caught:
        training_job(attempt.manifest())
    assert caught.value.reason == "InvalidSpec"
    assert len(caught.value.message.splitlines()) == 1


@pytest.mark.parametrize("attempt", HOSTILE.values(), ids=HOSTILE)
def test_the_schema_refuses_what_needs_no_rule(attempt: HostileSpec) -> None:
    by_schema_alone = attempt.end == "Server" and attempt.server is None
    assert bool(list(SCHEMA.iter_errors(attempt.manifest()))) == by_schema_alone


@pytest.mark.parametrize("attempt", attempts("Planning").values(), ids=attempts("Planning"))
def test_the_profile_refuses_it_with_a_reason(attempt: HostileSpec) -> None:
    reasons = [reason for reason, _ in told(attempt)]
    assert reasons == ([] if attempt.reason in DECIDED_LATER else [attempt.reason])


@pytest.mark.parametrize("attempt", attempts("Planning").values(), ids=attempts("Planning"))
def test_a_refusal_names_field_value_and_fix(attempt: HostileSpec) -> None:
    for _, message in told(attempt):
        assert message.startswith("spec")
        assert " (got " in message
        assert "; " in message
        assert len(message) <= 1024


@pytest.mark.parametrize("attempt", attempts("Harmless").values(), ids=attempts("Harmless"))
def test_what_is_data_is_allowed(attempt: HostileSpec) -> None:
    assert told(attempt) == []


PLACES = [
    ("s3://data", "s3://data", True),
    ("s3://data/", "s3://data", True),
    ("s3://data", "s3://data/a", True),
    ("s3://data/", "s3://data/a", True),
    ("s3://data", "s3://database", False),
    ("s3://data/a", "s3://data", False),
    ("https://host", "https://host?x", True),
    ("https://host", "https://host:444/", False),
    ("https://", "https://host/x", True),
    ("gs://bucket/", "gs://bucket/x", True),
    ("s3://data", "S3://data/a", False),
]


@pytest.mark.parametrize(("prefix", "uri", "allowed"), PLACES)
def test_a_prefix_allows_whole_segments(prefix: str, uri: str, allowed: bool) -> None:
    assert uri_allowed(uri, [prefix]) is allowed


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("s3://a", True),
        ("https://a/b", True),
        ("gs://a", True),
        ("webhdfs://a:1/b", True),
        ("ftp://a", False),
        ("/a", False),
        ("a", False),
    ],
)
def test_without_prefixes_stores_are_allowed_and_paths_are_not(uri: str, allowed: bool) -> None:
    assert uri_allowed(uri, []) is allowed


IMAGES = [
    ("registry.example/team/", "registry.example/team/a", True),
    ("registry.example/team/", "registry.example/team/a/b:v1", True),
    ("registry.example/team/", "registry.example/teams/a", False),
    ("registry.example/team", "registry.example/team/a", False),
    ("registry.example/team", "registry.example/team:v1", True),
    ("registry.example:5000/team/", "registry.example:5000/team/a", True),
    ("registry.example/", "registry.example:5000/a", False),
    ("seedbed", "seedbed", True),
]


@pytest.mark.parametrize(("entry", "image", "allowed"), IMAGES)
def test_an_image_is_of_an_allowed_repository(entry: str, image: str, allowed: bool) -> None:
    assert image_allowed(f"{image}@sha256:{'0' * 64}", [entry]) is allowed


@pytest.mark.parametrize(
    ("entry", "key", "allowed"),
    [("a.org/", "a.org/x", True), ("a.org/x", "a.org/xy", False), ("x", "x", True), ("x", "a/x", False)],
)
def test_a_key_is_listed_or_of_a_listed_domain(entry: str, key: str, allowed: bool) -> None:
    assert key_allowed(key, [entry]) is allowed
