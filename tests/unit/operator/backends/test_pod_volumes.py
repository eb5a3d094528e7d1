"""Volumes of pods: what is mounted, what may be written, and how much of a node's disk it may fill."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from seedbed_api.run_identity import ExpectedIdentity
from seedbed_operator.backends.backend_interface import DesiredAttempt
from seedbed_operator.backends.pods_backend import PodsBackend
from support.operator.builders import (
    IMAGE,
    UID,
    a_profile,
    a_training_job,
)
from unit.operator.backends.attempt_children import driver, environment, worker


@pytest.mark.parametrize(
    ("dataset", "output", "mounts"),
    [
        ("pvc://data/a", "s3://runs", {"/mnt/pvc/data": True}),
        ("s3://data", "pvc://runs/b", {"/mnt/pvc/runs": False}),
        ("pvc://both/a", "pvc://both/b", {"/mnt/pvc/both": False}),
        ("pvc://data/a", "pvc://runs/b", {"/mnt/pvc/data": True, "/mnt/pvc/runs": False}),
        ("s3://data", "s3://runs", {}),
    ],
    ids=["dataset", "output", "one claim for both", "two claims", "none"],
)
def test_claims_are_mounted_and_only_the_output_is_written(
    dataset: str, output: str, mounts: dict[str, bool]
) -> None:
    pod = driver(job=a_training_job(dataset={"uri": dataset}, output={"uri": output}))
    found = {
        mount["mountPath"]: mount.get("readOnly", False)
        for mount in pod["spec"]["containers"][0]["volumeMounts"]
        if mount["mountPath"].startswith("/mnt/pvc/")
    }
    assert found == mounts


def test_the_claim_of_weights_is_mounted_to_be_read() -> None:
    model = {"name": "simple-cnn", "weights": {"uri": "pvc://models/w.safetensors"}}
    for pod in (build(job=a_training_job(model=model)) for build in (driver, worker)):
        mounts = {mount["mountPath"]: mount for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        assert mounts["/mnt/pvc/models"]["readOnly"] is True


def test_secrets_are_files_of_their_role_and_never_variables() -> None:
    job = a_training_job(
        dataset={"uri": "s3://d", "secretRef": {"name": "read"}},
        output={"uri": "s3://r", "secretRef": {"name": "write"}},
    )
    pod = worker(job=job)
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    paths = {mount["mountPath"]: mount for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    for role, secret in (("dataset", "read"), ("output", "write")):
        mount = paths[f"/etc/seedbed/secrets/{role}"]
        assert mount["readOnly"] is True
        assert volumes[mount["name"]]["secret"]["secretName"] == secret
    references = [value for value in environment(pod).values() if isinstance(value, dict)]
    assert [entry for entry in references if "secretKeyRef" in entry] == [
        {"secretKeyRef": {"name": f"seedlings-{UID[:8]}-ray", "key": "token"}}
    ]


@pytest.mark.parametrize(
    ("cache", "source", "size"),
    [
        ({"sizeLimit": "10Gi"}, {"emptyDir": {"sizeLimit": "10Gi"}}, int(10 * 2**30 * 0.9)),
        (
            {"type": "HostPath", "hostPath": {"path": "/c"}, "sizeLimit": "1Gi"},
            {"hostPath": {"path": "/c", "type": "DirectoryOrCreate"}},
            2**30,
        ),
        (
            {
                "type": "PersistentVolumeClaim",
                "persistentVolumeClaim": {"claimName": "c"},
                "sizeLimit": "1Gi",
            },
            {"persistentVolumeClaim": {"claimName": "c"}},
            2**30,
        ),
    ],
    ids=["of the pod", "of the node", "of the namespace"],
)
def test_the_cache_is_where_the_profile_says(
    cache: dict[str, Any], source: dict[str, Any], size: int
) -> None:
    pod = worker(profile=a_profile(cache=cache))
    assert {"name": "cache", **source} in pod["spec"]["volumes"]
    assert environment(pod)["SEEDBED_CACHE_BYTES"] == str(size)


@pytest.mark.parametrize("namespace", ["default", "neighbours"])
def test_the_cache_of_a_node_has_a_folder_for_each_namespace(namespace: str) -> None:
    """A pod sees its namespace's folder alone: what lies there it can forge, and read."""
    profile = a_profile(cache={"type": "HostPath", "hostPath": {"path": "/c"}, "sizeLimit": "1Gi"})
    job = replace(a_training_job().build(), namespace=namespace)
    attempt = DesiredAttempt(
        number=1, driver_uid=None, workers=(0,), image=IMAGE, expected=ExpectedIdentity()
    )
    for create in PodsBackend().children(job, profile, attempt):
        if create.body["kind"] == "Pod":
            (box,) = create.body["spec"]["containers"]
            mounted = [mount for mount in box["volumeMounts"] if mount["name"] == "cache"]
            assert mounted == [{"name": "cache", "mountPath": "/var/cache/seedbed", "subPath": namespace}]


DISKS: dict[str, tuple[dict[str, Any], str, str]] = {
    "by default all that the volumes and the log may hold": ({}, "0", str(31 * 2**30)),
    "a smaller /tmp": ({"scratch": {"sizeLimit": "1Gi"}}, "0", str(12 * 2**30)),
    "a smaller cache": ({"cache": {"sizeLimit": "1e9"}}, "0", str(21 * 2**30 + 10**9)),
    "a cache that is no disk of the pod": (
        {"cache": {"type": "HostPath", "hostPath": {"path": "/c"}, "sizeLimit": "1Ti"}},
        "0",
        str(21 * 2**30),
    ),
    "what the profile requests": ({"worker": {"resources": {"ephemeralStorage": "5Gi"}}}, "5Gi", "5Gi"),
    "what the profile requests for each rank": (
        {"worker": {"resources": {"ephemeralStorage": "5Gi"}, "workersPerPod": 2}},
        "10Gi",
        "10Gi",
    ),
}


@pytest.mark.parametrize(("profile", "requested", "most"), DISKS.values(), ids=DISKS.keys())
def test_local_disk_has_a_limit(profile: dict[str, Any], requested: str, most: str) -> None:
    resources = worker(profile=a_profile(**profile))["spec"]["containers"][0]["resources"]
    assert resources["requests"]["ephemeral-storage"] == requested
    assert resources["limits"]["ephemeral-storage"] == most


def test_every_folder_that_a_pod_may_write_has_a_limit() -> None:
    """/tmp by the profile, /dev/shm by the pod's memory, the cache by its own; the rest is read-only."""
    for pod in (driver(), worker(), worker(profile=a_profile(worker={"workersPerPod": 3}))):
        (box,) = pod["spec"]["containers"]
        assert box["securityContext"]["readOnlyRootFilesystem"] is True
        writable = [each for each in pod["spec"]["volumes"] if "secret" not in each]
        limits = {each["name"]: each["emptyDir"]["sizeLimit"] for each in writable}
        assert limits == {"tmp": "20Gi", "shm": box["resources"]["limits"]["memory"], "cache": "10Gi"}
