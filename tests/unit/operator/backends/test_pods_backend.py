"""Pods by the contract: what every pod has, and what a job or a profile may change of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.run_identity import ExpectedIdentity
from seedbed_operator.backends.backend_interface import DesiredAttempt
from seedbed_operator.backends.pods_backend import PodsBackend
from support.manifests.cluster_validation_cases import AN_IDENTITY, PUBLIC_KEY
from support.operator.builders import (
    IMAGE,
    UID,
    JobBuilder,
    a_profile,
    a_training_job,
)
from unit.operator.backends.attempt_children import children, driver, environment, worker

GOLDEN = Path(__file__).parent / "golden"
RICH_PROFILE: dict[str, Any] = {
    "imagePullSecrets": ["registry"],
    "driver": {"resources": {"cpu": "500m", "memory": "1Gi"}, "nodeSelector": {"pool": "cpu"}},
    "worker": {
        "resources": {"cpu": "4", "memory": "16Gi", "ephemeralStorage": "20Gi"},
        "gpu": {"count": 1},
        "nodeSelector": {"pool": "a100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "workersPerPod": 2,
        "topologySpread": {"mode": "Required", "topologyKey": "topology.kubernetes.io/zone"},
    },
    "cache": {"type": "HostPath", "hostPath": {"path": "/var/cache/seedbed"}, "sizeLimit": "100Gi"},
    "storage": {"endpointURL": "https://s3.example.org", "region": "eu-central-1"},
    "serviceAccountName": "trainer",
    "priorityClassName": "batch",
    "runtimeClassName": "nvidia",
    "labels": {"example.org/team": "vision"},
    "annotations": {"example.org/cost": "42"},
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"}],
    "allowedSecrets": ["s3-read", "s3-write"],
}


@pytest.mark.parametrize("name", ["plain", "rich"])
def test_the_children_are_those_of_the_golden_file(name: str) -> None:
    """Every byte that is sent: whoever changes it reads it here."""
    job = a_training_job()
    if name == "rich":
        job = a_training_job(
            dataset={"uri": "pvc://data/seedlings", "secretRef": {"name": "s3-read"}},
            output={"uri": "s3://runs", "secretRef": {"name": "s3-write"}},
        )
    profile = a_profile(**(RICH_PROFILE if name == "rich" else {}))
    made = children(job, profile, workers=(0, 1))
    assert made == json.loads((GOLDEN / f"{name}.json").read_text())


QUEUED = a_training_job().with_overrides(labels={"kueue.x-k8s.io/queue-name": "team-a"})


def grouped(pod: dict[str, Any]) -> tuple[str | None, str | None]:
    metadata = pod["metadata"]
    name = metadata["labels"].get("kueue.x-k8s.io/pod-group-name")
    return name, metadata["annotations"].get("kueue.x-k8s.io/pod-group-total-count")


@pytest.mark.parametrize(
    ("job", "gang", "alone", "group"),
    [
        (QUEUED, 3, (), (f"seedlings-7-{UID[:8]}", "3")),
        (QUEUED, 3, (0,), (None, None)),
        (QUEUED, 0, (), (None, None)),
        (a_training_job(), 3, (), (None, None)),
    ],
    ids=[
        "of the minimum",
        "above the minimum",
        "of an attempt that began without a queue",
        "without a queue",
    ],
)
def test_a_worker_belongs_to_the_group_that_a_queue_admits_together(
    job: JobBuilder, gang: int, alone: tuple[int, ...], group: tuple[str | None, str | None]
) -> None:
    attempt = DesiredAttempt(number=7, driver_uid="d", workers=(0,), image=IMAGE, gang_size=gang, alone=alone)
    made = PodsBackend().children(job.build(), a_profile(), attempt)
    pods = {create.name: dict(create.body) for create in made if create.kind == "Pod"}
    assert grouped(pods["seedlings-7-worker-0"]) == group
    owner = pods["seedlings-7-worker-0"]["metadata"]["ownerReferences"][0]
    assert owner["controller"] is (job is not QUEUED), (
        "Kueue passes over a pod that a pod of its own controls"
    )
    assert pods["seedlings-7-driver"]["metadata"]["ownerReferences"][0]["controller"] is True


def test_the_name_of_a_group_fits_a_label_whatever_the_job_is_called() -> None:
    job = QUEUED.seen(name="j" * 40).build()
    attempt = DesiredAttempt(number=999_999_999, driver_uid=None, workers=(), image=IMAGE, gang_size=2)
    driver = PodsBackend().children(job, a_profile(), attempt)[2].body
    name, _ = grouped(dict(driver))
    assert name is not None
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name)


def test_children_come_in_the_order_in_which_they_need_each_other() -> None:
    names = list(children(workers=(0, 3)))
    assert names == [
        f"seedlings-{UID[:8]}-ray",
        "seedbed-owner",
        "seedlings-1-driver",
        "seedlings-1-head",
        "seedlings-1-worker-0",
        "seedlings-1-worker-3",
    ]


@pytest.mark.parametrize("role", [driver, worker])
@pytest.mark.parametrize(
    ("profile", "job", "trust"),
    [
        ("Own", None, "Own"),
        ("Own", "Store", "Store"),
        ("Store", None, "Store"),
        ("Store", "Signed", "Signed"),
    ],
)
def test_pods_have_the_key_of_their_namespace_unless_they_believe_the_store(
    role: Any, profile: str, job: str | None, trust: str
) -> None:
    output = {"uri": "s3://runs"} | ({} if job is None else {"trust": job})
    asked = {"job": a_training_job(output=output), "profile": a_profile(outputTrust=profile)}
    pod, made = role(**asked), children(**asked)
    assert environment(pod)["SEEDBED_OUTPUT_TRUST"] == trust
    mounts = {each["name"]: each for each in pod["spec"]["containers"][0]["volumeMounts"]}
    assert ("owner-secret" in mounts) == ("seedbed-owner" in made) == (trust != "Store")
    if trust != "Store":
        assert mounts["owner-secret"]["readOnly"] is True
        assert mounts["owner-secret"]["mountPath"] == "/etc/seedbed/secrets/owner"
        assert "ownerReferences" not in made["seedbed-owner"]["metadata"], "it outlives the job"


POLICIES = {
    "a key": {"keys": [{"name": "a", "role": "Operator", "publicKey": PUBLIC_KEY, "namespaces": ["team-*"]}]},
    "an identity": {"identities": [AN_IDENTITY]},
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@pytest.mark.parametrize("role", [driver, worker])
def test_pods_have_the_policy_of_the_profile_where_signatures_count(role: Any, policy: Any) -> None:
    job = a_training_job(output={"uri": "s3://runs", "trust": "Signed"})
    told = environment(role(job=job, profile=a_profile(signaturePolicy=policy)))
    read = SignaturePolicy.model_validate_json(told["SEEDBED_SIGNATURE_POLICY"])
    assert read == SignaturePolicy.model_validate(policy)
    own = environment(role(profile=a_profile(signaturePolicy=policy)))
    without = environment(role(job=job, profile=a_profile()))
    assert not [each for each in (own, without) if "SEEDBED_SIGNATURE_POLICY" in each]


def test_attempts_share_the_key_of_the_namespace_and_a_verification_asks_for_it_again() -> None:
    """A verification comes long after the attempts, and nothing mends it when the key was deleted meanwhile."""
    job, attempt = (
        a_training_job().build(),
        DesiredAttempt(number=1, driver_uid=None, workers=(), image=IMAGE),
    )
    expected = replace(attempt, expected=replace(attempt.expected, run_id="sha256:" + "1" * 64))
    begun = PodsBackend().children(job, a_profile(), attempt)
    verified = PodsBackend().verification(job, a_profile(), expected, "sha256:" + "9" * 64)
    for made, shared in ((begun, True), (verified, False)):
        assert [each.shared for each in made if each.name == "seedbed-owner"] == [shared]


@pytest.mark.parametrize("role", [driver, worker])
def test_pods_are_restricted(role: Any) -> None:
    spec = role(profile=a_profile(**RICH_PROFILE))["spec"]
    box = spec["containers"][0]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert box["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert box["securityContext"]["allowPrivilegeEscalation"] is False
    assert box["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["restartPolicy"] == "Never"
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "hostUsers"} & set(spec)
    assert box["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_driver_belongs_to_the_job_and_the_rest_to_the_driver() -> None:
    first, later = children(), children(driver_uid="uid-7")
    owner = first["seedlings-1-driver"]["metadata"]["ownerReferences"]
    assert [(entry["kind"], entry["uid"], entry["controller"]) for entry in owner] == [
        ("TrainingJob", UID, True)
    ]
    assert "ownerReferences" not in first["seedlings-1-worker-0"]["metadata"], "filled in when it is created"
    for name in ("seedlings-1-head", "seedlings-1-worker-0"):
        reference = later[name]["metadata"]["ownerReferences"][0]
        assert (reference["kind"], reference["name"], reference["uid"]) == (
            "Pod",
            "seedlings-1-driver",
            "uid-7",
        )
        assert reference["blockOwnerDeletion"] is False


def test_several_ranks_share_a_pod() -> None:
    profile = a_profile(
        worker={"workersPerPod": 4, "gpu": {"count": 1}, "resources": {"cpu": "500m", "memory": "1.5Gi"}}
    )
    pod = worker(profile=profile)
    resources = pod["spec"]["containers"][0]["resources"]
    disk = {"ephemeral-storage": str(31 * 2**30)}
    none = {"ephemeral-storage": "0"}
    assert resources["requests"] == {"cpu": "2000m", "memory": "6Gi", "nvidia.com/gpu": "4", **none}
    assert resources["limits"] == {"memory": "6Gi", "nvidia.com/gpu": "4", **disk}
    told = environment(pod)
    assert (told["SEEDBED_RANKS"], told["SEEDBED_GPUS"], told["SEEDBED_DEVICE"]) == ("4", "1", "cuda")
    assert "nvidia.com/gpu" not in driver(profile=profile)["spec"]["containers"][0]["resources"]["limits"]


def test_the_driver_is_head_and_workers_join_it() -> None:
    assert environment(driver())["SEEDBED_RAY_MODE"] == "head"
    told = environment(worker())
    assert (told["SEEDBED_RAY_MODE"], told["SEEDBED_RAY_ADDRESS"]) == ("join", "seedlings-1-head:6379")


def test_what_must_be_found_again_is_told() -> None:
    expected = ExpectedIdentity(run_id="sha256:1")
    assert environment(driver(expected=expected))["SEEDBED_EXPECTED_RUN_ID"] == "sha256:1"
    assert "SEEDBED_EXPECTED_RUN_ID" not in environment(driver())


def test_labels_pass_only_where_the_profile_allows_them_and_never_displace_ours() -> None:
    job = a_training_job().seen(
        labels={"kueue.x-k8s.io/queue-name": "team", "secret": "no", "seedbed.dev/job": "other"},
        annotations={"example.org/a": "1", "other.org/b": "2"},
    )
    closed = driver(job=job)["metadata"]
    assert "kueue.x-k8s.io/queue-name" not in closed["labels"]
    profile = a_profile(allowedLabels=["kueue.x-k8s.io/"], allowedAnnotations=["example.org/a"])
    opened = driver(job=job, profile=profile)["metadata"]
    assert opened["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert opened["labels"]["seedbed.dev/job"] == "seedlings"
    assert "secret" not in opened["labels"]
    digests = {
        key: opened["annotations"].pop(f"seedbed.dev/{key}-digest") for key in ("execution", "profile")
    }
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in digests.values())
    assert opened["annotations"] == {
        "example.org/a": "1",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "seedbed.dev/workers-per-pod": "1",
    }


def test_overrides_lie_over_the_profile() -> None:
    job = a_training_job().with_overrides(
        cpu="8",
        memory="32Gi",
        workersPerPod=2,
        serviceAccountName="mine",
        priorityClassName="gold",
        imagePullSecrets=["key"],
        env=[{"name": "LOG_LEVEL", "value": "debug"}],
    )
    profile = a_profile(env=[{"name": "LOG_LEVEL", "value": "info"}], imagePullSecrets=["ours"])
    pod = worker(job=job, profile=profile)
    spec = pod["spec"]
    assert spec["containers"][0]["resources"]["requests"] == {
        "cpu": "16",
        "memory": "64Gi",
        "ephemeral-storage": "0",
    }
    assert (spec["serviceAccountName"], spec["priorityClassName"]) == ("mine", "gold")
    assert spec["imagePullSecrets"] == [{"name": "ours"}, {"name": "key"}]
    assert environment(pod)["LOG_LEVEL"] == "debug"


@settings(max_examples=30, deadline=None)
@given(value=st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=64))
def test_every_string_of_a_user_reaches_the_driver_as_it_stands(value: str) -> None:
    job = a_training_job(model={"name": "simple-cnn", "args": [{"name": "width", "value": value}]})
    given_value = environment(driver(job=job))["SEEDBED_JOB"]
    document = json.loads(expanded(given_value))
    assert document["spec"]["model"]["args"] == [{"name": "width", "value": value}]
    assert document["metadata"] == {"name": "seedlings", "namespace": "team", "uid": UID}


def expanded(value: str) -> str:
    """Return what the kubelet makes of a value when every variable that could be named is set."""
    result, position = [], 0
    while position < len(value):
        two = value[position : position + 2]
        if two == "$$":
            result.append("$")
            position += 2
        elif two == "$(" and ")" in value[position:]:
            result.append("EXPANDED")
            position = value.index(")", position) + 1
        else:
            result.append(value[position])
            position += 1
    return "".join(result)


def test_the_check_of_expansion_can_fail() -> None:
    assert expanded("$(HOME)") == "EXPANDED"
    assert expanded("$$(HOME)") == "$(HOME)"
