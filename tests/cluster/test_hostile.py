"""Hostile specs against a real API server and the real operator: refused, answered with a reason, or mere data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.operators import running_operator
from support.manifests.hostile_specs import (
    BASE,
    HOSTILE,
    NAME,
    HostileSpec,
    attempts,
    without_what_jobs_may_say,
)
from support.situations.cluster_setup import PATIENCE_SECONDS, conditions
from testbed.control_plane import ControlPlane
from testbed.kube import Json, Kube, Refused

pytestmark = pytest.mark.cluster

HERE, NEIGHBOUR = "hostile", "hostile-neighbour"
JOBS = f"/apis/seedbed.dev/v1alpha1/namespaces/{HERE}/trainingjobs"
PROFILES = "/apis/seedbed.dev/v1alpha1/trainingprofiles"
SERVER, DENIED, DATA = attempts("Server"), attempts("Planning", "Models"), attempts("Harmless")
LOUDER = {"spec.cluster": {**BASE["spec.cluster"], "overrides": {"memory": "3Gi"}}}
STORED = {
    **DENIED,
    **DATA,
    "plain": HostileSpec(end="Harmless", change={}),
    "louder": HostileSpec(end="Harmless", change=LOUDER),
}
NAMES = {title: f"h{number}" for number, title in enumerate(STORED)}
"""Of the jobs, all in one namespace."""
KEY = f"/api/v1/namespaces/{HERE}/secrets/seedbed-owner"
KINDS = ("pods", "services", "secrets", "configmaps", "serviceaccounts")


@dataclass(frozen=True, kw_only=True, slots=True)
class Aftermath:
    """What is there when all was tried."""

    kube: Kube
    foreign: dict[str, Json]
    """Everything that does not belong to the jobs, by path, as it was before."""

    def job(self, title: str) -> Json:
        """Return the job of an attempt."""
        return self.kube.get(f"{JOBS}/{NAMES[title]}")

    def pods(self, title: str) -> dict[str, Json]:
        """Return the pods that belong to the job of an attempt, by role."""
        uid = self.job(title)["metadata"]["uid"]
        selector = f"seedbed.dev/job={NAMES[title]},seedbed.dev/job-uid={uid}"
        found = self.kube.items(f"/api/v1/namespaces/{HERE}/pods", labelSelector=selector)
        return {pod["metadata"]["labels"]["seedbed.dev/role"]: pod for pod in found}


@pytest.fixture(scope="module")
def aftermath(control_plane: ControlPlane) -> Iterator[Aftermath]:
    """Bring what belongs to others, then try everything at once."""
    kube = control_plane.kube
    with running_operator(control_plane):
        try:
            bring_others(kube)
            seen = foreign(kube)
            for title, attempt in STORED.items():
                kube.create(JOBS, manifest(kube, title, attempt))
            for title, attempt in STORED.items():
                settle(kube, title, attempt)
            yield Aftermath(kube=kube, foreign=seen)
        finally:
            clean_up(kube)


def bring_others(kube: Kube) -> None:
    """Create the neighbours, the profiles, and what stands in the way of the jobs."""
    for namespace in (HERE, NEIGHBOUR):
        kube.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        kube.wait_for(f"/api/v1/namespaces/{namespace}/serviceaccounts/default", lambda _: True)
        kube.wait_for(f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt", lambda _: True)
        for name in ("prod", "s3-read", "seedbed-operator-token"):
            secret = {"metadata": {"name": name}, "stringData": {"password": "of somebody else"}}
            kube.create(f"/api/v1/namespaces/{namespace}/secrets", secret)
        kube.create(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "x"}})
    for title, attempt in STORED.items():
        for thing in attempt.existing:
            for namespace in (HERE, NEIGHBOUR):
                bring(kube, namespace, renamed(thing, title))
        if attempt.profile or title == "plain":
            profile = attempt.profile_manifest()
            kube.create(PROFILES, {**profile, "metadata": {"name": profile_name(title, attempt)}})


def bring(kube: Kube, namespace: str, thing: Json) -> None:
    """Create an object of somebody else; a pod of a scheduler that is not there stays as it is."""
    body = {**thing, "metadata": {**thing["metadata"], "namespace": namespace}}
    if thing["kind"] == "Pod":
        body["spec"] = {**thing["spec"], "schedulerName": "nobody"}
    kube.create(f"/api/v1/namespaces/{namespace}/{thing['kind'].lower()}s", body)


def renamed(thing: Any, title: str) -> Any:
    """Return an object in which the job of the table has the name that it has here."""
    return json.loads(re.sub(rf"\b{NAME}\b", NAMES[title], json.dumps(thing)))


def profile_name(title: str, attempt: HostileSpec) -> str:
    return f"guarded-{NAMES[title]}" if attempt.profile else "guarded"


def manifest(kube: Kube, title: str, attempt: HostileSpec) -> Json:
    """Return the job; an owner that it names is there, or the garbage collector would end the job."""
    job: Json = renamed(attempt.manifest(), title)
    if attempt.profile:
        job["spec"]["cluster"]["profile"] = profile_name(title, attempt)
    for owner in job["metadata"].get("ownerReferences", ()):
        path = f"/api/v1/namespaces/{HERE}/configmaps/{owner['name']}"
        owner["uid"] = kube.get(path)["metadata"]["uid"]
    return job


def settle(kube: Kube, title: str, attempt: HostileSpec) -> None:
    """Wait until the operator has answered: by the reason, or by the last pod of the attempt."""
    if attempt.end == "Harmless":
        pod = f"/api/v1/namespaces/{HERE}/pods/{NAMES[title]}-1-worker-0"
        kube.wait_for(pod, lambda _: True, seconds=PATIENCE_SECONDS)
        return
    kube.wait_for(
        f"{JOBS}/{NAMES[title]}",
        lambda job: reason_of(job) == expected(attempt),
        seconds=PATIENCE_SECONDS,
        what=expected(attempt),
    )


def expected(attempt: HostileSpec) -> str:
    return attempt.reason or "InvalidSpec"


def reason_of(job: Json) -> str:
    return str(conditions(job.get("status", {})).get("Running", {}).get("reason", ""))


def foreign(kube: Kube) -> dict[str, Json]:
    """Return all objects of both namespaces that no job owns, and the profiles, by path."""
    found = {f"{PROFILES}/{each['metadata']['name']}": as_written(each) for each in kube.items(PROFILES)}
    for namespace in (HERE, NEIGHBOUR):
        for kind in KINDS:
            path = f"/api/v1/namespaces/{namespace}/{kind}"
            found |= {f"{path}/{each['metadata']['name']}": each for each in kube.items(path)}
    return found


def as_written(profile: Json) -> Json:
    """Return a profile without what the operator's status of it changes."""
    kept = {key: profile["metadata"][key] for key in ("name", "uid", "generation")}
    return {**{key: value for key, value in profile.items() if key != "status"}, "metadata": kept}


def clean_up(kube: Kube) -> None:
    for namespace in (HERE, NEIGHBOUR):
        if kube.exists(f"/api/v1/namespaces/{namespace}"):
            kube.delete(f"/api/v1/namespaces/{namespace}")
    for profile in kube.items(PROFILES):
        kube.delete(f"{PROFILES}/{profile['metadata']['name']}")


@pytest.mark.parametrize("attempt", SERVER.values(), ids=SERVER)
def test_the_api_server_refuses_it(aftermath: Aftermath, attempt: HostileSpec) -> None:
    with pytest.raises(Refused) as caught:
        aftermath.kube.create(JOBS, attempt.manifest(), fieldValidation="Strict")
    assert caught.value.status in (400, 422)


@pytest.mark.parametrize("title", DENIED)
def test_the_operator_answers_with_a_reason_and_starts_nothing(aftermath: Aftermath, title: str) -> None:
    attempt, job = DENIED[title], aftermath.job(title)
    running = conditions(job["status"])["Running"]
    assert (running["status"], running["reason"]) == ("False", expected(attempt))
    assert running["message"]
    pods = aftermath.pods(title)
    if not attempt.existing:
        assert pods == {}
    for role, pod in pods.items():
        assert comparable(pod) == comparable(aftermath.pods("plain")[role])
    assert "worker" not in pods


@pytest.mark.parametrize("title", DATA)
def test_the_pods_are_those_of_any_other_job(aftermath: Aftermath, title: str) -> None:
    pods, plain = aftermath.pods(title), aftermath.pods("plain")
    assert set(pods) == set(plain) == {"driver", "worker"}
    for role, pod in pods.items():
        assert comparable(pod) == comparable(plain[role])


def comparable(pod: Json) -> Json:
    """Return what a job has no say in, without what differs between any two jobs: names and uids of its own."""
    kept = {key: pod["metadata"][key] for key in ("name", "labels", "annotations", "ownerReferences")}
    assert not pod["metadata"].get("finalizers")
    rest = without_what_jobs_may_say({"metadata": kept, "spec": pod["spec"]})
    text = json.dumps(rest, sort_keys=True)
    name, uid = pod["metadata"]["labels"]["seedbed.dev/job"], pod["metadata"]["labels"]["seedbed.dev/job-uid"]
    for owner in kept["ownerReferences"]:
        text = text.replace(owner["uid"], "UID")
    text = text.replace(uid, "UID").replace(f"{name}-{uid[:8]}", "JOB-UID")
    same: Json = json.loads(re.sub(rf"\b{name}\b", "JOB", text))
    return same


def test_the_comparison_sees_a_pod_that_differs(aftermath: Aftermath) -> None:
    """The check of the check: a job with more memory is told from the plain one."""
    louder, plain = (aftermath.pods(title)["worker"] for title in ("louder", "plain"))
    assert comparable(louder) != comparable(plain)


def test_nothing_of_somebody_else_was_touched(aftermath: Aftermath) -> None:
    now = foreign(aftermath.kube)
    assert len(aftermath.foreign) > 20
    assert {path: now.get(path) for path in aftermath.foreign} == aftermath.foreign


def test_nothing_came_into_being_but_children_of_the_jobs(aftermath: Aftermath) -> None:
    now = foreign(aftermath.kube)
    new = {path: thing for path, thing in now.items() if path not in aftermath.foreign}
    uids = {thing["metadata"]["uid"] for thing in now.values()} | {
        job["metadata"]["uid"] for job in aftermath.kube.items(JOBS)
    }
    assert KEY in new, "the key by which jobs of the namespace know their own objects belongs to no job"
    for path, thing in new.items():
        if path == KEY:
            continue
        (owner,) = thing["metadata"]["ownerReferences"]
        assert path.startswith(f"/api/v1/namespaces/{HERE}/")
        assert owner["kind"] in ("TrainingJob", "Pod")
        assert owner["uid"] in uids


def test_the_jobs_themselves_are_as_their_users_wrote_them(aftermath: Aftermath) -> None:
    for job in aftermath.kube.items(JOBS):
        assert job["metadata"]["generation"] == 1
        assert "finalizers" not in job["metadata"]


def test_at_least_thirty_attempts_are_refused_or_answered() -> None:
    assert len(SERVER) + len(DENIED) >= 30
    assert len(DENIED) >= 15
    assert len(HOSTILE) == len(SERVER) + len(DENIED) + len(DATA)
