"""The chart on a real API server: install, upgrade, uninstall, dry runs, and who may do what."""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from chart.releases import (
    DEFINITIONS,
    JOBS,
    NAMESPACE,
    OURS,
    PATIENCE_SECONDS,
    PODS,
    RELEASE,
    Releases,
    at_rest,
)
from chart.rendering import CHART, IMAGE, MATRIX, SERVED, Helm, HelmFailed, Json, objects
from seedbed_operator.kube_client.resource_kinds import LEASES
from seedbed_operator.manager.preflight import REQUIRED_PERMISSIONS
from testbed.control_plane import ControlPlane
from testbed.kube import Kube, Refused

pytestmark = pytest.mark.cluster
PREVIOUS = sorted((Path(__file__).parent / "previous").glob("*.tgz"))
PROFILE = {"profiles": {"cpu": {"image": IMAGE}}}
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:seedbed-operator"
EXAMPLE = Path(__file__).parents[2] / "examples/digits.yaml"


@pytest.fixture
def releases(cluster: ControlPlane, helm: Helm, tmp_path) -> Iterator[Releases]:
    """Return Helm on the cluster; what it leaves behind is removed."""
    found = Releases(helm=helm, control=cluster, folder=tmp_path)
    yield found
    found.clear()


@pytest.fixture
def releases4(cluster: ControlPlane, helm4: Helm, tmp_path) -> Iterator[Releases]:
    """Return Helm 4 on the cluster, for what does not depend on Helm."""
    found = Releases(helm=helm4, control=cluster, folder=tmp_path)
    yield found
    found.clear()


def a_job(releases: Releases, namespace: str = "team-a") -> str:
    """Create the example's job and return its path."""
    body = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    body["spec"]["dataset"]["uri"], body["spec"]["output"]["uri"] = "s3://datasets/digits", "s3://runs"
    path = JOBS.format(namespace)
    releases.control.kube.create(path, body)
    return f"{path}/{body['metadata']['name']}"


def uids(releases: Releases) -> set[str]:
    kube = releases.control.kube
    return {kube.get(f"{DEFINITIONS}/{name}")["metadata"]["uid"] for name in OURS}


def profiles_of(releases: Releases) -> list[str]:
    """Return the names of the profiles; kubectl waits while the API server prepares a new definition."""
    found = releases.control.kube.kubectl("get", "trainingprofiles", "-o", "name").split()
    return [name.partition("/")[2] for name in found]


def test_install_again_for_the_profiles_and_uninstall(releases: Releases) -> None:
    kube = releases.control.kube
    notes = releases.install({**PROFILE, "replicas": 2}, "--wait")
    assert "were NOT created" in notes
    assert "--wait --reset-then-reuse-values" in notes, "as docs/operations.md says"
    assert "It deletes the profiles (cpu)" in notes
    assert releases.ready_pods() == 2, "--wait returned before the pods were ready"
    for name in OURS:
        conditions = kube.get(f"{DEFINITIONS}/{name}")["status"]["conditions"]
        assert {c["type"]: c["status"] for c in conditions} == {
            "NamesAccepted": "True",
            "Established": "True",
        }
    assert profiles_of(releases) == []

    notes = releases.upgrade({**PROFILE, "replicas": 2}, "--wait")
    assert "were NOT created" not in notes
    assert profiles_of(releases) == ["cpu"]
    deployment = kube.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/seedbed-operator")
    assert deployment["metadata"]["generation"] == 1, "nothing about the operator has changed"

    job = a_job(releases)
    before = uids(releases)
    releases.uninstall("--wait")
    kept = {f"customresourcedefinition.apiextensions.k8s.io/{name}" for name in OURS}
    assert at_rest(releases.of_the_release, kept) == kept
    assert kube.exists(job), "the user's jobs outlive the operator"

    assert "were NOT created" not in releases.install(PROFILE, "--wait")
    assert uids(releases) == before, "the definitions that were kept are taken over"
    assert profiles_of(releases) == ["cpu"]
    kube.delete(job)


@pytest.mark.exhaustive  # the API server takes minutes to finalize a definition that is deleted as soon as it is made
def test_uninstall_of_definitions_that_are_not_kept_leaves_nothing(releases: Releases) -> None:
    releases.install({"crds": {"keep": False}})
    releases.uninstall("--wait")
    for name in OURS:
        releases.control.kube.wait_gone(f"{DEFINITIONS}/{name}", seconds=PATIENCE_SECONDS)
    assert at_rest(releases.of_the_release, set()) == set()


@pytest.mark.parametrize("options", [(), ("--reuse-values",), ("--reset-then-reuse-values",)], ids=" ".join)
@pytest.mark.parametrize("previous", PREVIOUS, ids=lambda path: path.stem)
def test_upgrade_from_a_previous_chart(releases: Releases, previous: Path, options: tuple[str, ...]) -> None:
    kube = releases.control.kube
    releases.install({}, "--wait", chart=previous)
    job, before = a_job(releases), uids(releases)
    spec = kube.get(job)["spec"]
    releases.upgrade(PROFILE, "--wait", *options)
    assert uids(releases) == before
    assert kube.get(job)["spec"] == spec
    assert profiles_of(releases) == ["cpu"]
    labels = {kube.get(f"{DEFINITIONS}/{name}")["metadata"]["labels"]["helm.sh/chart"] for name in OURS}
    assert labels == {"seedbed-0.1.0"}, "the definitions are the new chart's"
    kube.delete(job)


def test_definitions_that_another_release_has_kept(releases4: Releases) -> None:
    kube = releases4.control.kube
    releases4.install({})
    before = uids(releases4)
    releases4.uninstall("--wait")
    other = dataclasses.replace(releases4, name="prod")
    with pytest.raises(HelmFailed, match="belongs to the release operators/seedbed") as refused:
        other.install({})
    _, _, said = str(refused.value).partition("give all three to this release: ")
    for line in said.strip().splitlines()[0].split(" && "):
        program, *words = shlex.split(line)
        assert program == "kubectl"
        kube.kubectl(*words)
    other.install({})
    assert uids(releases4) == before
    other.uninstall("--wait")


def test_definitions_that_came_without_helm(releases4: Releases) -> None:
    releases4.control.kube.define(CHART / "files/crds")
    with pytest.raises(HelmFailed, match="belongs to no release of Helm"):
        releases4.install({})
    releases4.install({"crds": {"install": False}})


WATCHED = {
    "both watch everything": ([], [], "of all namespaces"),
    "one watches everything": ([], ["team-a"], "of team-a"),
    "the other watches everything": (["team-b"], [], "of team-b"),
    "they share a namespace": (["team-a", "team-b"], ["team-b"], "of team-b"),
    "each has its own": (["team-a"], ["team-b"], None),
}


@pytest.mark.parametrize(("first", "second", "told"), WATCHED.values(), ids=WATCHED.keys())
def test_a_second_release_that_would_run_the_same_jobs(
    releases4: Releases, first: list[str], second: list[str], told: str | None
) -> None:
    releases4.install({"crds": {"keep": False}, "watchNamespaces": first})
    releases4.upgrade({"crds": {"keep": False}, "watchNamespaces": first})
    other = dataclasses.replace(releases4, name="second", namespace="team-b")
    values = {"crds": {"install": False}, "watchNamespaces": second}
    if told is None:
        other.install(values)
        other.uninstall("--wait")
    else:
        with pytest.raises(HelmFailed, match=f"operators/seedbed runs the jobs {told} already"):
            other.install(values)


def test_there_is_a_previous_chart_to_upgrade_from() -> None:
    assert PREVIOUS


def test_server_side_dry_run_accepts_every_rendering(releases4: Releases, tmp_path) -> None:
    releases4.install({"crds": {"keep": False}})
    renderings = (
        releases4.helm.template(values, tmp_path, *SERVED, release="other") for values in MATRIX.values()
    )
    found = [thing for rendering in renderings for thing in objects(rendering)]
    ours = [thing for thing in found if not thing["apiVersion"].startswith("monitoring.coreos.com/")]
    options = ("apply", "--dry-run=server", "--server-side", "--force-conflicts", "-f", "-")
    said = releases4.control.kube.kubectl(*options, feed=yaml.safe_dump_all(ours))
    assert said.count("(server dry run)") == len(ours) > 10 * len(MATRIX)


def test_the_restricted_namespace_takes_the_operators_pod(releases4: Releases) -> None:
    releases4.install({"crds": {"keep": False}}, "--wait")
    kube = releases4.control.kube
    deployment = kube.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/seedbed-operator")
    body = {"metadata": {"name": "again"}, "spec": deployment["spec"]["template"]["spec"]}
    assert kube.create(PODS, body, dryRun="All")["metadata"]["name"] == "again"
    body["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(Refused, match="violates PodSecurity"):
        kube.create(PODS, body, dryRun="All")


NEVER = {
    "read a Secret": ("get", "secrets"),
    "list Secrets": ("list", "secrets"),
    "watch Secrets": ("watch", "secrets"),
    "change a Secret": ("patch", "secrets"),
    "change a pod": ("patch", "pods"),
    "run in a pod": ("create", "pods/exec"),
    "reach into a pod": ("create", "pods/portforward"),
    "debug a pod": ("patch", "pods/ephemeralcontainers"),
    "change what users wrote": ("patch", "trainingjobs.seedbed.dev"),
    "make jobs": ("create", "trainingjobs.seedbed.dev"),
    "change sweeps": ("patch", "sweepjobs.seedbed.dev"),
    "write profiles": ("create", "trainingprofiles.seedbed.dev"),
    "change profiles": ("patch", "trainingprofiles.seedbed.dev"),
    "list namespaces": ("list", "namespaces"),
    "label a namespace": ("patch", "namespaces"),
    "list policies": ("list", "networkpolicies.networking.k8s.io"),
    "delete policies": ("delete", "networkpolicies.networking.k8s.io"),
    "read settings": ("get", "configmaps"),
    "mint tokens": ("create", "serviceaccounts/token"),
    "grant rights": ("create", "rolebindings.rbac.authorization.k8s.io"),
    "act as another": ("impersonate", "users"),
    "look at nodes": ("list", "nodes"),
    "change definitions": ("patch", "customresourcedefinitions.apiextensions.k8s.io"),
    "delete Services": ("delete", "services"),
    "run Jobs of Kubernetes": ("create", "jobs.batch"),
}
ELSEWHERE = {
    "make pods": ("create", "pods"),
    "delete pods": ("delete", "pods"),
    "make Secrets": ("create", "secrets"),
    "see jobs": ("list", "trainingjobs.seedbed.dev"),
    "read logs": ("get", "pods/log"),
}


def may(control: ControlPlane, verb: str, resource: str, namespace: str, who: str = ACCOUNT) -> bool:
    """Ask the API server whether someone may do something."""
    resource, _, subresource = resource.partition("/")
    resource, _, group = resource.partition(".")
    asked = {"verb": verb, "resource": resource, "group": group, "subresource": subresource}
    body: Json = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": who, "resourceAttributes": {**asked, "namespace": namespace}},
    }
    answer = control.kube.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(answer["status"]["allowed"])


def needed_in(namespace: str) -> Iterator[tuple[str, str, str]]:
    for kind, subresource, verbs in REQUIRED_PERMISSIONS:
        name = f"{kind.plural}.{kind.group}".rstrip(".") + f"/{subresource}".rstrip("/")
        where = NAMESPACE if kind is LEASES else namespace if kind.namespaced else ""
        yield from ((verb, name, where) for verb in verbs.split())


def refused_in(namespace: str, control: ControlPlane) -> list[tuple[str, str, str]]:
    """Return what the operator may not do although it asks for it."""
    return [asked for asked in needed_in(namespace) if not may(control, *asked)]


def allowed_of(rights: dict[str, tuple[str, str]], namespace: str, control: ControlPlane) -> list[str]:
    """Return which of these rights the operator has."""
    return [what for what, asked in rights.items() if may(control, *asked, namespace)]


def checked(control: ControlPlane, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the operator's own check of its rights and definitions, as its service account."""
    account = control.service_account(NAMESPACE, "seedbed-operator")
    command = [sys.executable, "-c", "from seedbed_operator.cli import main; main()", "check", *arguments]
    options = ["--lease-namespace", NAMESPACE, "--kubeconfig", str(control.write_kubeconfig(account))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)


def test_rights_of_the_operator_in_the_whole_cluster(releases4: Releases) -> None:
    releases4.install({"crds": {"keep": False}})
    control = releases4.control
    assert at_rest(lambda: refused_in("team-a", control), []) == []
    assert at_rest(lambda: allowed_of(NEVER, "team-a", control), []) == []
    done = checked(control, "--all-namespaces")
    assert done.returncode == 0, done.stderr


def test_rights_of_the_operator_in_named_namespaces(releases4: Releases) -> None:
    releases4.install({"crds": {"keep": False}, "watchNamespaces": ["team-a"]})
    control = releases4.control
    assert at_rest(lambda: refused_in("team-a", control), []) == []
    for namespace in ("team-b", NAMESPACE):
        assert at_rest(lambda where=namespace: allowed_of(NEVER | ELSEWHERE, where, control), []) == []
    assert at_rest(lambda: allowed_of(NEVER, "team-a", control), []) == []
    assert checked(control, "--namespace", "team-a").returncode == 0
    done = checked(control, "--namespace", "team-b")
    assert done.returncode == 2
    assert "may not list trainingjobs.seedbed.dev in namespace team-b" in done.stderr


def test_the_operator_says_which_right_was_taken_away(releases4: Releases) -> None:
    releases4.install({"crds": {"keep": False}})
    control, kube = releases4.control, releases4.control.kube
    assert at_rest(lambda: refused_in("team-a", control), []) == []
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{NAMESPACE}:{RELEASE}:operator"
    role = kube.get(path)
    rules = [rule for rule in role["rules"] if rule["resources"] != ["secrets"]]
    assert len(rules) == len(role["rules"]) - 1
    kube.replace(path, {**role, "rules": rules})
    assert at_rest(lambda: may(control, "create", "secrets", ""), False) is False
    done = checked(control, "--all-namespaces")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["may not create secrets cluster-wide; add it to the operator's role"]


PEOPLE = {
    "view": ({"get", "list", "watch"}, False),
    "edit": ({"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}, False),
    "admin": ({"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}, True),
}


@pytest.mark.parametrize(("role", "verbs", "profiles"), [(r, *e) for r, e in PEOPLE.items()], ids=PEOPLE)
def test_people_with_the_roles_of_kubernetes(releases4: Releases, role, verbs, profiles) -> None:
    releases4.install({"crds": {"keep": False}})
    kube = releases4.control.kube
    body = {"metadata": {"name": f"{role}-ann"}}
    body |= {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}}
    body |= {"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}]}
    binding = "/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/rolebindings"
    kube.create(binding, body)
    assert at_rest(lambda: verbs_of_ann(releases4.control), verbs) == verbs
    assert not may(releases4.control, "patch", "trainingjobs.seedbed.dev/status", "team-a", "ann")
    assert not may(releases4.control, "get", "trainingjobs.seedbed.dev", "team-b", "ann")
    assert not may(releases4.control, "create", "trainingprofiles.seedbed.dev", "", "ann"), (
        "bound in one namespace"
    )
    assert at_rest(lambda: writes_profiles(kube, role), profiles) is profiles
    kube.delete(f"{binding}/{role}-ann")


def verbs_of_ann(control: ControlPlane) -> set[str]:
    """Return what ann may do with jobs in the namespace in which she has a role."""
    asked = PEOPLE["edit"][0]
    return {verb for verb in asked if may(control, verb, "trainingjobs.seedbed.dev", "team-a", "ann")}


def writes_profiles(kube: Kube, role: str) -> bool:
    """Tell whether a role of Kubernetes lets whoever has it in the whole cluster create profiles."""
    rules = kube.get(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}")["rules"]
    return any("trainingprofiles" in rule["resources"] and "create" in rule["verbs"] for rule in rules)
