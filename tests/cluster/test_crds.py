"""The definitions on a real API server: accepted, explained, and of one mind with the models about every case."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from seedbed_api.crd_generator import definitions
from seedbed_api.manifest_loader import validate_document
from support.manifests.base_manifests import BASES, DIGEST, Case
from support.manifests.full_statuses import NOON, a_full_status, a_full_sweep_status
from support.manifests.hostile_specs import HOSTILE, HostileSpec
from support.manifests.structural_schema import nodes
from support.manifests.update_cases import CHANGES, Change
from support.manifests.validation_cases import CASES
from support.situations.cluster_setup import UNSEEN, said
from testbed.control_plane import ControlPlane
from testbed.kube import Json, Kube, Refused

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("established")]

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "/apis/seedbed.dev/v1alpha1"
DEFINITIONS = definitions()
SCHEMAS = {
    definition["spec"]["names"]["kind"]: definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for definition in DEFINITIONS.values()
}


def of_ours() -> list[str]:
    return [f"crd/{definition['metadata']['name']}" for definition in DEFINITIONS.values()]


def collection(manifest: Json, namespace: str) -> str:
    kind = manifest["kind"]
    scope = "" if kind == "TrainingProfile" else f"/namespaces/{namespace}"
    return f"{GROUP}{scope}/{kind.lower()}s"


def tried(kube: Kube, manifest: Json, field_validation: str = "Strict") -> Json:
    """Return what the API server would store, as kubectl asks for it."""
    path = collection(manifest, "default")
    return kube.create(path, manifest, dryRun="All", fieldValidation=field_validation)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_is_established_without_complaint(kube: Kube, name: str) -> None:
    status = kube.get(f"{CRDS}/{DEFINITIONS[name]['metadata']['name']}")["status"]
    conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
    assert conditions == {"Established": "True", "NamesAccepted": "True"}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_that_helm_applied_is_applied_again_without_conflict(kube: Kube, name: str) -> None:
    for manager in ("helm", "kubectl"):
        kube.kubectl("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", *file(name))
    kube.kubectl("apply", "--server-side", "--field-manager=argocd", *file(name))


def file(name: str) -> tuple[str, str]:
    return "-f", str(Path("crds", name))


SPOILT = {
    "a list without bound, which a rule walks over": (
        "spec.training.augmentation",
        "maxItems",
        "estimated rule",
    ),
    "a block without type": ("spec.training.batch", "type", "type: Required value"),
}


@pytest.mark.parametrize(("path", "key", "complaint"), SPOILT.values(), ids=SPOILT)
def test_a_spoilt_definition_would_be_refused(kube: Kube, path: str, key: str, complaint: str) -> None:
    spoilt = copy.deepcopy(DEFINITIONS["trainingjobs.yaml"])
    spoilt["metadata"]["name"] = "trainingjobs.spoilt.dev"
    spoilt["spec"]["group"] = "spoilt.dev"
    place = spoilt["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name in path.split("."):
        place = place["properties"][name]
    del place[key]
    with pytest.raises(Refused, match=complaint):
        kube.create(CRDS, spoilt, dryRun="All")


ACCEPTED = {name: case for name, case in CASES.items() if case.line is None or case.server_accepts}
REFUSED = {name: case for name, case in CASES.items() if case.line is not None and not case.server_accepts}


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_the_server_accepts_the_case(kube: Kube, case: Case) -> None:
    assert tried(kube, case.manifest())["kind"] == case.kind


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_the_server_refuses_the_case_and_names_the_field(kube: Kube, case: Case) -> None:
    with pytest.raises(Refused) as caught:
        tried(kube, case.manifest())
    told = str(caught.value)
    assert caught.value.status in (400, 422)
    assert case.line is not None
    assert (case.server or case.line.partition(":")[0]) in told


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_server_judges_the_change(kube: Kube, namespace: str, change: Change) -> None:
    old, new = change.old(), change.new()
    stored = kube.create(collection(old, namespace), old)
    new["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
    path = f"{collection(old, namespace)}/{old['metadata']['name']}"
    if change.field is None:
        assert kube.replace(path, new)["spec"] == tried(kube, renamed(change.new()))["spec"]
    else:
        with pytest.raises(Refused, match=r"immutable|only while the job is suspended") as caught:
            kube.replace(path, new)
        assert change.field in str(caught.value)


def renamed(manifest: Json) -> Json:
    return {**manifest, "metadata": {"name": "another"}}


@pytest.mark.parametrize("kind", BASES)
def test_the_server_fills_in_the_defaults_of_the_models(kube: Kube, kind: str) -> None:
    document = Case(kind=kind).manifest()
    filled = tried(kube, document)["spec"]
    expected = validate_document(document).plain()["spec"]
    assert validate_document({**document, "spec": filled}).plain()["spec"] == expected
    assert set(leaves(filled)) <= set(leaves(expected))
    members = set(leaves(expected)) - set(leaves(filled))
    assert all(".sgd." in path for path in members), "only the member of a chosen type is left to the models"


def test_the_golden_spec_is_what_the_server_and_the_models_make_of_the_smallest_job(kube: Kube) -> None:
    golden = json.loads(Path("tests/unit/api/golden/spec.json").read_text(encoding="utf-8"))
    document = Case().manifest()
    filled = tried(kube, document)["spec"]
    assert validate_document({**document, "spec": filled}).plain()["spec"] == golden


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of everything in a document that holds nothing else."""
    entries: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        entries = [(f"{path}.{name}", entry) for name, entry in value.items()]
    elif isinstance(value, list):
        entries = [(f"{path}[{index}]", entry) for index, entry in enumerate(value)]
    for inner, entry in entries:
        yield from leaves(entry, inner)
    if not entries:
        yield path


@pytest.mark.parametrize(
    "path", ["", "spec", "spec.training", "spec.training.optimizer", "spec.cluster.overrides"]
)
def test_kubectl_explains_every_field(kube: Kube, path: str) -> None:
    node = SCHEMAS["TrainingJob"]
    for name in filter(None, path.split(".")):
        node = node["properties"][name]
    shown = kube.kubectl("explain", ".".join(filter(None, ["trainingjob", path])))
    told = " ".join(shown.split())
    assert " ".join(node["description"].split()) in told
    for name, entry in node["properties"].items():
        assert f"\n  {name}\t<" in shown
        assert " ".join(entry.get("description", "").split()) in told


def test_short_names_categories_and_columns(kube: Kube, namespace: str) -> None:
    job, profile = Case().manifest(), Case(kind="TrainingProfile").manifest()
    stored = kube.create(collection(job, namespace), job)
    kube.create(collection(profile, namespace), profile)
    set_status(kube, stored, a_full_status().plain())
    jobs = kube.kubectl("get", "tjob", "-n", namespace, "-o", "wide").splitlines()
    profiles = kube.kubectl("get", "tprofile").splitlines()
    kube.delete(f"{collection(profile, namespace)}/{profile['metadata']['name']}")
    assert jobs[0].split() == [
        "NAME",
        "STATUS",
        "PROGRESS",
        "WORKERS",
        "AGE",
        "STARTED",
        "DURATION",
        "PROFILE",
        "ATTEMPTS",
        "DIGEST",
        "MESSAGE",
    ]
    assert jobs[1].split()[:4] == ["small", "Training", "50%", "2/2"]
    assert jobs[1].endswith(f"default   5          {DIGEST}   2 of 2 workers train")
    assert profiles[0].split() == ["NAME", "BACKEND", "GPUS", "READY", "WORKERS/POD", "AGE"]
    sweep = Case(kind="SweepJob").manifest()
    set_status(kube, kube.create(collection(sweep, namespace), sweep), a_full_sweep_status().plain())
    header, row = kube.kubectl("get", "sweep", "-n", namespace, "-o", "wide").splitlines()
    columns = [
        "NAME",
        "STATUS",
        "TRIALS",
        "BEST",
        "WORKERS",
        "AGE",
        "STARTED",
        "DURATION",
        "PROFILE",
        "ATTEMPTS",
        "DIGEST",
        "MESSAGE",
    ]
    assert header.split() == columns
    assert row.split()[:5] == ["sweep", "Training", "7/10", "0.98", "2/2"]
    assert row.endswith(f"default   5          {DIGEST}   2 of 2 workers train")
    assert "trainingjob.seedbed.dev/small" in kube.kubectl("get", "seedbed", "-n", namespace, "-o", "name")


SELECTED = {
    "by profile": ("spec.cluster.profile=default", 1),
    "by another profile": ("spec.cluster.profile=gpu", 0),
    "by controller": ("spec.managedBy=seedbed.dev/operator", 1),
    "what is not suspended": ("spec.suspend=false", 1),
    "by run": (f"status.runID={DIGEST}", 1),
}


@pytest.mark.parametrize(("selector", "found"), SELECTED.values(), ids=SELECTED)
def test_jobs_are_selected_by_field(kube: Kube, namespace: str, selector: str, found: int) -> None:
    path = collection(Case().manifest(), namespace)
    set_status(kube, kube.create(path, Case().manifest()), {"runID": DIGEST})
    assert len(kube.items(path, fieldSelector=selector)) == found


def set_status(kube: Kube, stored: Json, status: Json) -> Json:
    """Write a status as the operator does: guarded by the resource version."""
    metadata = stored["metadata"]
    path = f"{collection(stored, metadata['namespace'])}/{metadata['name']}/status"
    guarded = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
    return kube.patch(path, guarded, fieldValidation="Strict")


FULL = {"TrainingJob": a_full_status(), "SweepJob": a_full_sweep_status()}


@pytest.mark.parametrize("kind", FULL)
def test_a_full_status_is_stored_as_it_is(kube: Kube, namespace: str, kind: str) -> None:
    manifest = Case(kind=kind).manifest()
    stored = kube.create(collection(manifest, namespace), manifest)
    full = FULL[kind].plain()
    written = set_status(kube, stored, full)
    assert written["status"] == full
    assert written["metadata"]["generation"] == stored["metadata"]["generation"]


def condition(kind: str, **changes: Any) -> Json:
    return {"type": kind, "status": "True", "reason": "Why", "lastTransitionTime": NOON, **changes}


STATUSES: dict[str, tuple[Json, str]] = {
    "a digest that is none": ({"runID": "abc"}, "status.runID"),
    "less than no attempts": ({"attempts": -1}, "status.attempts"),
    "an unknown field": ({"phase": "Running"}, "unknown field"),
    "a condition twice": ({"conditions": [condition("Running")] * 2}, "Duplicate value"),
    "a condition without reason": ({"conditions": [condition("Running", reason="")]}, "reason"),
    "a time of two words": ({"retryTime": "at noon"}, "status.retryTime"),
    "a giant log": ({"lastFailure": {"attempt": 1, "reason": "Why", "logTail": "x" * 2049}}, "logTail"),
    "a giant message": ({"lastFailure": {"attempt": 1, "reason": "Why", "message": "x" * 1025}}, "message"),
}


@pytest.mark.parametrize(("status", "complaint"), STATUSES.values(), ids=STATUSES)
def test_a_status_that_cannot_be_is_refused(kube: Kube, namespace: str, status: Json, complaint: str) -> None:
    stored = kube.create(collection(Case().manifest(), namespace), Case().manifest())
    with pytest.raises(Refused, match=complaint):
        set_status(kube, stored, status)


def test_a_status_on_an_old_version_is_refused(kube: Kube, namespace: str) -> None:
    stored = kube.create(collection(Case().manifest(), namespace), Case().manifest())
    set_status(kube, stored, {"attempts": 1})
    with pytest.raises(Refused, match="the object has been modified") as caught:
        set_status(kube, stored, {"attempts": 2})
    assert caught.value.status == 409


def test_status_and_spec_are_written_apart(kube: Kube, namespace: str) -> None:
    path = collection(Case().manifest(), namespace)
    stored = kube.create(path, {**Case().manifest(), "status": {"attempts": 7}})
    assert said(stored["status"]) == UNSEEN
    changed = kube.patch(f"{path}/small/status", {"spec": {"suspend": True}, "status": {"attempts": 1}})
    assert changed["spec"]["suspend"] is False
    assert kube.patch(f"{path}/small", {"status": {"attempts": 9}})["status"]["attempts"] == 1


def top(kubeconfig: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Type `seedbed top`, as a user with a kubeconfig does."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("seedbed")), "top", "--kubeconfig", str(kubeconfig), *words],
        capture_output=True,
        text=True,
        check=False,
    )


def test_top_shows_both_kinds_of_a_namespace(control_plane: ControlPlane, namespace: str) -> None:
    kube = control_plane.kube
    for kind, status in (("TrainingJob", {"attempts": 1}), ("SweepJob", {"trials": {"finished": "7/10"}})):
        manifest = Case(kind=kind).manifest()
        path = collection(manifest, namespace)
        kube.create(path, manifest)
        kube.patch(f"{path}/{manifest['metadata']['name']}/status", {"status": status})
    shown = top(control_plane.kubeconfig, "--namespace", namespace)
    assert shown.returncode == 0, shown.stderr
    header, *rows = (line.split() for line in shown.stdout.splitlines())
    assert header == ["NAME", "STATUS", "PROGRESS", "KIND"]
    assert rows == [
        [f"{namespace}/small", "Pending", "TrainingJob"],
        [f"{namespace}/sweep", "Pending", "7/10", "trials", "SweepJob"],
    ]


def test_top_tells_who_may_not_look(control_plane: ControlPlane) -> None:
    stranger = control_plane.write_kubeconfig(control_plane.user("stranger"))
    refused = top(stranger)
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: NotAllowed: top: trainingjobs cannot be listed (403 Forbidden); let an admin bind the ClusterRole "
        "view, or name your namespace: --namespace\n"
    )


EXAMPLES = sorted({*Path("examples").glob("*.yaml")} - {Path("examples/admission-policy.yaml")})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_accepted(kube: Kube, example: Path) -> None:
    for document in yaml.safe_load_all(example.read_text(encoding="utf-8")):
        assert tried(kube, document)["metadata"]["name"] == document["metadata"]["name"]


@pytest.mark.parametrize("attempt", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_spec_is_refused_or_left_to_the_operator(kube: Kube, attempt: HostileSpec) -> None:
    if attempt.end != "Server":
        assert said(tried(kube, attempt.manifest())["status"]) == UNSEEN
        return
    with pytest.raises(Refused) as caught:
        tried(kube, attempt.manifest())
    assert caught.value.status in (400, 422)
    assert attempt.server is None or attempt.server in str(caught.value)


UNKNOWN = {name: attempt for name, attempt in HOSTILE.items() if attempt.server == "unknown field"}


@pytest.mark.parametrize("attempt", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_no_field_is_dropped_for_clients_that_are_not_strict(
    kube: Kube, attempt: HostileSpec
) -> None:
    kept = tried(kube, attempt.manifest(), field_validation="Ignore")["spec"]
    known = {path.rpartition(".")[2].removesuffix("[]") for path, _ in nodes(SCHEMAS["TrainingJob"])}
    names = {part.partition("[")[0] for path in leaves(kept) for part in path.split(".") if part}
    assert len(names) > 20
    assert names <= known


def test_refusals_do_not_depend_on_kubectl(kube: Kube, namespace: str) -> None:
    """What a person sees: one message with the field, and exit code 1."""
    manifest = Case(change={"spec.training.seed": -1}).manifest()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        kube.apply(manifest, namespace=namespace)
    assert "spec.training.seed" in caught.value.stderr
