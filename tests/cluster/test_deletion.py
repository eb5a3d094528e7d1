"""Jobs that are deleted in every way that kubectl knows, on a real API server with its garbage collector."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.operators import running_operator
from support.eventually import eventually
from support.operator.builders import IMAGE, a_recipe
from support.situations.cluster_setup import conditions
from testbed.boxes import Daemon
from testbed.control_plane import ControlPlane
from testbed.kube import Json, Kube

pytestmark = pytest.mark.cluster

HERE, PROFILE = "going", "going"
JOBS = f"/apis/seedbed.dev/v1alpha1/namespaces/{HERE}/trainingjobs"
PODS = f"/api/v1/namespaces/{HERE}/pods"
HELD = {"metadata": {"finalizers": ["example.org/kept"]}}
FREE = {"metadata": {"finalizers": None}}
PATIENCE_SECONDS = 240.0


@pytest.fixture(scope="module")
def operator(control_plane: ControlPlane) -> Iterator[Daemon]:
    kube = control_plane.kube
    with running_operator(control_plane, "--sweep-seconds=5") as daemon:
        kube.create("/api/v1/namespaces", {"metadata": {"name": HERE}})
        kube.wait_for(f"/api/v1/namespaces/{HERE}/serviceaccounts/default", lambda _: True)
        kind = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingProfile"}
        kube.apply({**kind, "metadata": {"name": PROFILE}, "spec": {"image": IMAGE}})
        yield daemon
        kube.delete(f"/apis/seedbed.dev/v1alpha1/trainingprofiles/{PROFILE}")
        kube.delete(f"/api/v1/namespaces/{HERE}")


def begin(kube: Kube, name: str) -> str:
    """Create a job, wait for its pods and return the path of its driver."""
    body = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}}
    kube.create(JOBS, {**body, "spec": {**a_recipe(), "cluster": {"profile": PROFILE}}})
    for pod in ("driver", "worker-0"):
        kube.wait_for(f"{PODS}/{name}-1-{pod}", lambda _: True, seconds=PATIENCE_SECONDS)
    return f"{PODS}/{name}-1-driver"


def is_going(raw: Json) -> bool:
    return "deletionTimestamp" in raw["metadata"]


def message(kube: Kube, name: str, part: str) -> str:
    """Wait until the job's message says something."""

    def says(job: Json) -> bool:
        return part in conditions(job.get("status", {})).get("Running", {}).get("message", "")

    job = kube.wait_for(f"{JOBS}/{name}", says, seconds=PATIENCE_SECONDS, what=part)
    return str(conditions(job["status"])["Running"]["message"])


def until_gone(kube: Kube, path: str, operator: Daemon) -> None:
    eventually(
        lambda: not kube.exists(path),
        what=f"the end of {path}",
        seconds=PATIENCE_SECONDS,
        servers=(operator,),
    )


def test_a_deletion_in_the_foreground_waits_for_the_drivers_pod(
    control_plane: ControlPlane, operator: Daemon
) -> None:
    kube = control_plane.kube
    driver = begin(kube, "foreground")
    kube.patch(driver, HELD)
    kube.kubectl("delete", "tjob", "foreground", "-n", HERE, "--cascade=foreground", "--wait=false")
    kube.wait_for(driver, is_going, seconds=PATIENCE_SECONDS)
    until_gone(kube, f"{PODS}/foreground-1-worker-0", operator)
    assert "its pods end first: foreground-1-driver" in message(kube, "foreground", "being deleted")
    assert is_going(kube.get(f"{JOBS}/foreground")), "it is there as long as its driver is"
    kube.patch(driver, FREE)
    until_gone(kube, f"{JOBS}/foreground", operator)


def test_the_pods_of_a_job_that_anothers_finalizer_holds_stop_and_it_says_so(
    control_plane: ControlPlane, operator: Daemon
) -> None:
    kube = control_plane.kube
    driver = begin(kube, "held")
    kube.patch(f"{JOBS}/held", HELD)
    kube.kubectl("delete", "tjob", "held", "-n", HERE, "--wait=false")
    until_gone(kube, driver, operator)
    until_gone(kube, f"{PODS}/held-1-worker-0", operator)
    assert "the owners of its finalizers example.org/kept" in message(kube, "held", "example.org/kept")
    kube.patch(f"{JOBS}/held", FREE)
    until_gone(kube, f"{JOBS}/held", operator)


def test_pods_that_were_to_be_kept_are_kept_and_the_next_job_of_the_name_names_them(
    control_plane: ControlPlane, operator: Daemon
) -> None:
    kube = control_plane.kube
    driver = begin(kube, "kept")
    kube.kubectl("delete", "tjob", "kept", "-n", HERE, "--cascade=orphan")
    until_gone(kube, f"{JOBS}/kept", operator)
    body = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "kept"}}
    kube.create(JOBS, {**body, "spec": {**a_recipe(), "cluster": {"profile": PROFILE}}})
    told = message(kube, "kept", "--cascade=orphan")
    assert "`kubectl delete pod -n going kept-1-driver` deletes kept-1-driver, kept-1-worker-0" in told
    assert not is_going(kube.get(driver))
    kube.kubectl("delete", "pod", "-n", HERE, "kept-1-driver", "--wait=true")
    uid = kube.get(f"{JOBS}/kept")["metadata"]["uid"]
    kube.wait_for(
        driver, lambda pod: pod["metadata"]["labels"]["seedbed.dev/job-uid"] == uid, seconds=PATIENCE_SECONDS
    )
