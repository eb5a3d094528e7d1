"""Hostile uses of profiles against a real API server and the real operator.

Namespace GUEST is named by the profiles, STRANGER is not. MALLORY has the role `edit` and all rights on jobs in STRANGER,
and nothing elsewhere. `tests/cluster/test_hostile.py` tries what a job may write; here it is who may use what.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.operators import running_operator
from support.eventually import eventually
from support.manifests.base_manifests import Case
from support.situations.cluster_setup import PATIENCE_SECONDS, conditions
from testbed.control_plane import ControlPlane
from testbed.kube import Json, Kube, Refused

pytestmark = pytest.mark.cluster

GUEST, STRANGER = "tenancy-guest", "tenancy-stranger"
API, RBAC = "/apis/seedbed.dev/v1alpha1", "rbac.authorization.k8s.io"
HOST_PATH = {"spec.cache": {"type": "HostPath", "hostPath": {"path": "/var/cache/seedbed"}}}
NAMED: Json = {"spec.allowedNamespaces": {"names": [GUEST]}}
LABELLED: Json = {"spec.allowedNamespaces": {"selector": {"matchLabels": {"tenancy": "guest"}}}}
OVER = "spec.cluster.overrides"
ALL_SIZES = {"spec.allowedOverrides": ["cpu", "memory", "workersPerPod"]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """A job, its profile, and the reason with which it must wait."""

    profile: Json
    reason: str
    says: str
    job: Json
    kind: str = "TrainingJob"
    namespace: str = STRANGER


def use(profile: Json, reason: str, says: str, **more: Any) -> Use:
    return Use(profile=profile, reason=reason, says=says, **{"job": {}, **more})


def outside(profile: Json, says: str, **more: Any) -> Use:
    return use(profile, "NamespaceNotAllowed", says, **more)


def too_large(most: Json, says: str, job: Json, **more: Any) -> Use:
    profile = {"spec.maxPerJob": most, **ALL_SIZES, **NAMED}
    return use(profile, "ProfileLimitExceeded", says, job=job, namespace=GUEST, **more)


BATCH = {"spec.training.batch": {"globalSize": 4096, "microSize": 1}}
LISTED = ["serviceAccountName"]
USES: dict[str, Use] = {
    "a folder of the node that nobody was given": outside(HOST_PATH, "cache.hostPath"),
    "a priority class that nobody was given": outside(
        {"spec.priorityClassName": "high"}, "priorityClassName"
    ),
    "a service account that nobody was given": outside(
        {"spec.serviceAccountName": "trainer"}, "serviceAccountName"
    ),
    "service accounts to choose from that nobody was given": outside(
        {"spec.allowedServiceAccounts": ["trainer"], "spec.allowedOverrides": LISTED},
        "allowedServiceAccounts",
    ),
    "priority classes to choose from that nobody was given": outside(
        {"spec.allowedPriorityClasses": ["high"], "spec.allowedOverrides": ["priorityClassName"]},
        "allowedPriorityClasses",
    ),
    "a profile of another namespace": outside(HOST_PATH | NAMED, "allowedNamespaces"),
    "a profile of another namespace that grants nothing": outside(NAMED, "allowedNamespaces"),
    "a profile of a namespace whose name begins alike": outside(
        {"spec.allowedNamespaces": {"names": [STRANGER[:-1], f"{STRANGER}-2"]}}, "allowedNamespaces"
    ),
    "a profile for a label that the namespace lacks": outside(LABELLED, "allowedNamespaces"),
    "a profile for namespaces of another name": outside(
        {"spec.allowedNamespaces": {"selector": {"matchLabels": {"kubernetes.io/metadata.name": GUEST}}}},
        "allowedNamespaces",
    ),
    "a profile that is for nobody": outside({"spec.allowedNamespaces": {}}, "allowedNamespaces"),
    "a label on the job in place of one on the namespace": outside(
        LABELLED, "allowedNamespaces", job={"metadata.labels": {"tenancy": "guest"}}
    ),
    "a sweep with a profile of another namespace": outside(NAMED, "allowedNamespaces", kind="SweepJob"),
    "as many workers as there can be": too_large(
        {"workers": 8}, "use at most 8", {**BATCH, "spec.cluster.workers": {"max": 4096}}
    ),
    "a terabyte, written as an exponent": too_large(
        {"memory": "64Gi"}, "maxPerJob.memory", {OVER: {"memory": "1e12"}}
    ),
    "cores without end": too_large({"cpu": "64"}, "maxPerJob.cpu", {OVER: {"cpu": "9e99"}}),
    "room for 64 ranks in the pod of one": too_large(
        {"memory": "64Gi"}, "maxPerJob.memory", {OVER: {"workersPerPod": 64}}
    ),
    "trials side by side": too_large(
        {"workers": 8},
        "spec.parallelTrialCount",
        {"spec.parallelTrialCount": 1000, "spec.maxTrialCount": 1000},
        kind="SweepJob",
    ),
    "an override of the limit": use(
        {"spec.maxPerJob": {"memory": "64Gi"}, **NAMED},
        "OverrideNotAllowed",
        "memory",
        job={OVER: {"memory": "1Ti"}},
        namespace=GUEST,
    ),
}
NAMES = {title: f"use{number}" for number, title in enumerate(USES)}
"""Of the job and of its profile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tenants:
    """The cluster with an operator, and two of its users."""

    kube: Kube
    mallory: Kube

    def job(self, namespace: str, name: str, kind: str = "TrainingJob") -> str:
        return f"{API}/namespaces/{namespace}/{kind.lower()}s/{name}"

    def pod(self, namespace: str, name: str) -> str:
        return f"/api/v1/namespaces/{namespace}/pods/{name}"

    def profile(self, name: str, change: Json) -> None:
        body = Case(kind="TrainingProfile", change={"metadata.name": name, **change}).manifest()
        self.kube.create(f"{API}/trainingprofiles", body)

    def begin(
        self, namespace: str, name: str, *, kind: str = "TrainingJob", by: Kube | None = None, **more: Any
    ) -> None:
        base = {"metadata.name": name, "spec.cluster": {"profile": name}}
        body = Case(kind=kind, change={**base, **more}).manifest()
        (by or self.kube).create(self.job(namespace, name, kind).rpartition("/")[0], body)

    def awaits(self, namespace: str, name: str, reason: str, kind: str = "TrainingJob") -> str:
        """Wait for a reason; return its message."""
        seen = self.kube.wait_for(
            self.job(namespace, name, kind),
            lambda job: running(job).get("reason") == reason,
            seconds=PATIENCE_SECONDS,
            what=reason,
        )
        return str(running(seen)["message"])

    def awaits_pod(self, namespace: str, name: str) -> Json:
        return self.kube.wait_for(self.pod(namespace, name), lambda _: True, seconds=PATIENCE_SECONDS)

    def pods_of(self, namespace: str, name: str) -> list[Json]:
        selector = f"seedbed.dev/job={name}"
        return self.kube.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)


def running(job: Json) -> Json:
    return conditions(job.get("status", {})).get("Running", {})


@pytest.fixture(scope="module")
def tenants(control_plane: ControlPlane) -> Iterator[Tenants]:
    kube = control_plane.kube
    mallory = control_plane.connect(control_plane.user("mallory"))
    with running_operator(control_plane):
        try:
            for namespace in (GUEST, STRANGER):
                labels = {"tenancy": "guest"} if namespace == GUEST else {}
                kube.create("/api/v1/namespaces", {"metadata": {"name": namespace, "labels": labels}})
                kube.wait_for(f"/api/v1/namespaces/{namespace}/serviceaccounts/default", lambda _: True)
            grant(kube)
            yield Tenants(kube=kube, mallory=mallory)
        finally:
            clean_up(kube)


def grant(kube: Kube) -> None:
    """Give Mallory what the chart's aggregated role `edit` gives, in one namespace."""
    base = f"/apis/{RBAC}/v1/namespaces/{STRANGER}"
    rule = {"apiGroups": ["seedbed.dev"], "resources": ["trainingjobs", "sweepjobs"], "verbs": ["*"]}
    kube.create(f"{base}/roles", {"metadata": {"name": "jobs"}, "rules": [rule]})
    subject = {"kind": "User", "name": "mallory", "apiGroup": RBAC}
    for kind, name in (("Role", "jobs"), ("ClusterRole", "edit")):
        role = {"apiGroup": RBAC, "kind": kind, "name": name}
        body = {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
        kube.create(f"{base}/rolebindings", body)


def clean_up(kube: Kube) -> None:
    for namespace in (GUEST, STRANGER):
        if kube.exists(f"/api/v1/namespaces/{namespace}"):
            kube.delete(f"/api/v1/namespaces/{namespace}")
    for name in (*NAMES.values(), "guests", "leaving", "remade", "namesake", "forged", "kept", "told"):
        if kube.exists(f"{API}/trainingprofiles/{name}"):
            kube.delete(f"{API}/trainingprofiles/{name}")


@pytest.fixture(scope="module")
def used(tenants: Tenants) -> Tenants:
    """Try everything of the table at once."""
    for title, each in USES.items():
        tenants.profile(NAMES[title], each.profile)
        by = tenants.mallory if each.namespace == STRANGER else None
        tenants.begin(each.namespace, NAMES[title], kind=each.kind, by=by, **each.job)
    return tenants


@pytest.mark.parametrize("title", USES)
def test_a_hostile_use_waits_with_a_reason_and_has_no_pods(used: Tenants, title: str) -> None:
    each, name = USES[title], NAMES[title]
    message = used.awaits(each.namespace, name, each.reason, each.kind)
    assert each.says in message
    assert "\n" not in message
    assert used.pods_of(each.namespace, name) == []


def test_there_are_at_least_fifteen_hostile_uses() -> None:
    assert len(USES) >= 15


def test_a_profile_that_serves_nobody_says_so_itself(used: Tenants) -> None:
    name = NAMES["a folder of the node that nobody was given"]
    seen = used.kube.wait_for(
        f"{API}/trainingprofiles/{name}",
        lambda profile: conditions(profile.get("status", {})).get("Ready", {}).get("status") == "False",
        seconds=PATIENCE_SECONDS,
    )
    ready = conditions(seen["status"])["Ready"]
    assert ready["reason"] == "NoNamespaceAllowed"
    assert "cache.hostPath" in ready["message"]
    assert seen["status"]["observedGeneration"] == seen["metadata"]["generation"]
    used.kube.patch(f"{API}/trainingprofiles/{name}", {"spec": {"allowedNamespaces": {"names": [GUEST]}}})
    used.kube.wait_for(
        f"{API}/trainingprofiles/{name}",
        lambda profile: conditions(profile["status"])["Ready"]["status"] == "True",
        seconds=PATIENCE_SECONDS,
    )


FORBIDDEN: dict[str, Callable[[Tenants], object]] = {
    "a label on one's own namespace": lambda t: t.mallory.patch(
        f"/api/v1/namespaces/{STRANGER}", {"metadata": {"labels": {"tenancy": "guest"}}}
    ),
    "another profile": lambda t: t.mallory.create(
        f"{API}/trainingprofiles", Case(kind="TrainingProfile", change={"metadata.name": "mine"}).manifest()
    ),
    "one's namespace in a profile": lambda t: t.mallory.patch(
        f"{API}/trainingprofiles/guests", {"spec": {"allowedNamespaces": {"names": [STRANGER]}}}
    ),
    "the status of a profile": lambda t: t.mallory.patch(
        f"{API}/trainingprofiles/guests/status", {"status": {"conditions": []}}
    ),
    "a job in the namespace of a guest": lambda t: t.begin(GUEST, "guests", by=t.mallory),
    "a pod with the labels of a job of another namespace": lambda t: t.mallory.create(
        f"/api/v1/namespaces/{GUEST}/pods", {"metadata": {"name": "x"}, "spec": {}}
    ),
}


@pytest.mark.parametrize("title", FORBIDDEN)
def test_what_a_user_of_another_namespace_may_not_write(tenants: Tenants, title: str) -> None:
    if not tenants.kube.exists(f"{API}/trainingprofiles/guests"):
        tenants.profile("guests", NAMED)
    with pytest.raises(Refused) as refused:
        FORBIDDEN[title](tenants)
    assert refused.value.status == 403


def test_a_guest_whose_label_is_removed_keeps_its_attempt_and_starts_no_other(tenants: Tenants) -> None:
    tenants.profile("leaving", LABELLED)
    tenants.begin(GUEST, "leaving")
    driver = tenants.awaits_pod(GUEST, "leaving-1-driver")
    namespace = f"/api/v1/namespaces/{GUEST}"
    tenants.kube.patch(namespace, {"metadata": {"labels": {"tenancy": None}}})
    time.sleep(1.5)  # jobs of a namespace share what was read for a second
    try:
        kept = tenants.kube.get(tenants.pod(GUEST, "leaving-1-driver"))
        assert kept["metadata"]["uid"] == driver["metadata"]["uid"]
        assert "deletionTimestamp" not in kept["metadata"]
        tenants.kube.patch(tenants.job(GUEST, "leaving"), {"spec": {"suspend": True}})
        tenants.awaits(GUEST, "leaving", "Suspended")
        tenants.kube.patch(tenants.job(GUEST, "leaving"), {"spec": {"suspend": False}})
        tenants.awaits(GUEST, "leaving", "NamespaceNotAllowed")
        assert tenants.pods_of(GUEST, "leaving") == []
    finally:
        tenants.kube.patch(namespace, {"metadata": {"labels": {"tenancy": "guest"}}})
    tenants.awaits_pod(GUEST, "leaving-2-driver")


def test_a_profile_that_is_made_again_under_its_name_with_more_power_serves_nobody(tenants: Tenants) -> None:
    """Who was admitted to the weak profile is not admitted to the strong one."""
    tenants.profile("remade", {})
    tenants.begin(STRANGER, "remade", by=tenants.mallory)
    tenants.awaits_pod(STRANGER, "remade-1-driver")
    tenants.kube.delete(f"{API}/trainingprofiles/remade")
    tenants.profile("remade", HOST_PATH)
    tenants.mallory.patch(tenants.job(STRANGER, "remade"), {"spec": {"suspend": True}})
    tenants.awaits(STRANGER, "remade", "Suspended")
    tenants.mallory.patch(tenants.job(STRANGER, "remade"), {"spec": {"suspend": False}})
    tenants.awaits(STRANGER, "remade", "NamespaceNotAllowed")
    assert tenants.pods_of(STRANGER, "remade") == []


def test_jobs_of_one_name_in_two_namespaces_are_two_jobs(tenants: Tenants) -> None:
    tenants.profile("namesake", NAMED)
    tenants.begin(GUEST, "namesake")
    tenants.begin(STRANGER, "namesake", by=tenants.mallory)
    tenants.awaits_pod(GUEST, "namesake-1-driver")
    tenants.awaits(STRANGER, "namesake", "NamespaceNotAllowed")
    assert tenants.pods_of(STRANGER, "namesake") == []


def test_pods_that_pretend_to_be_those_of_a_job_are_left_alone_and_change_nothing(tenants: Tenants) -> None:
    """Labels and owner of the guest's job on a pod of the stranger's: the operator looks in the job's namespace."""
    tenants.profile("forged", {})
    tenants.begin(GUEST, "forged", **{"spec.suspend": True})
    tenants.awaits(GUEST, "forged", "Suspended")
    job = tenants.kube.get(tenants.job(GUEST, "forged"))["metadata"]
    tenants.mallory.create(f"/api/v1/namespaces/{STRANGER}/pods", disguised(job))
    tenants.kube.patch(tenants.job(GUEST, "forged"), {"spec": {"suspend": False}})
    real = tenants.awaits_pod(GUEST, "forged-1-driver")
    assert real["metadata"]["ownerReferences"][0]["uid"] == job["uid"]
    assert running(tenants.kube.get(tenants.job(GUEST, "forged")))["reason"] != "NameConflict"


def disguised(job: Json) -> Json:
    owner = {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "TrainingJob",
        "name": job["name"],
        "uid": job["uid"],
    }
    labels = {
        "app.kubernetes.io/managed-by": "seedbed",
        "app.kubernetes.io/part-of": "seedbed",
        "seedbed.dev/job": job["name"],
        "seedbed.dev/job-uid": job["uid"],
        "seedbed.dev/attempt": "1",
        "seedbed.dev/role": "driver",
    }
    metadata = {"name": f"{job['name']}-1-driver", "labels": labels, "ownerReferences": [owner]}
    return {
        "metadata": metadata,
        "spec": {"schedulerName": "nobody", "containers": [{"name": "x", "image": "x"}]},
    }


def test_a_finalizer_of_a_user_keeps_the_job_and_none_of_its_pods(tenants: Tenants) -> None:
    tenants.profile("kept", {})
    tenants.begin(STRANGER, "kept", by=tenants.mallory, **{"metadata.finalizers": ["example.org/keep"]})
    tenants.awaits_pod(STRANGER, "kept-1-driver")
    tenants.mallory.delete(tenants.job(STRANGER, "kept"))
    eventually(
        lambda: not tenants.pods_of(STRANGER, "kept"), what="the end of the pods", seconds=PATIENCE_SECONDS
    )
    tenants.mallory.patch(tenants.job(STRANGER, "kept"), {"metadata": {"finalizers": None}})


def test_a_status_that_a_user_writes_gives_no_image_and_no_namespace(tenants: Tenants) -> None:
    """Who may patch the status of jobs (the chart gives it to nobody) still gets nothing past the profile."""
    tenants.profile("told", NAMED)
    tenants.begin(STRANGER, "told", by=tenants.mallory)
    tenants.awaits(STRANGER, "told", "NamespaceNotAllowed")
    job = tenants.job(STRANGER, "told")
    claim = {
        "type": "Running",
        "status": "True",
        "reason": "Training",
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }
    tenants.kube.patch(f"{job}/status", {"status": {"attempts": 1, "conditions": [claim]}})
    tenants.awaits(STRANGER, "told", "NamespaceNotAllowed")
    assert tenants.pods_of(STRANGER, "told") == []
