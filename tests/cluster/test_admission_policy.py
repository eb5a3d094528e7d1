"""examples/admission-policy.yaml on a real API server: what it lets through, and what it refuses by which sentence."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from support.eventually import eventually
from support.manifests.base_manifests import BASES, DIGEST
from testbed.control_plane import ControlPlane
from testbed.kube import Json, Kube, Refused

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("established")]

POLICY = Path("examples/admission-policy.yaml")
IMAGE = f"registry.example/seedbed/workload@{DIGEST}"


def job(namespace: str, kind: str = "TrainingJob") -> Json:
    body = copy.deepcopy(BASES[kind])
    spec = body["spec"]["trialTemplate"]["spec"] if kind == "SweepJob" else body["spec"]
    spec["dataset"] = {"uri": "s3://datasets/digits", "digest": DIGEST}
    body["spec"]["output"] = {"uri": f"s3://runs/{namespace}"}
    return body


def pod(namespace: str, image: str = IMAGE) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "worker", "labels": {"seedbed.dev/job": "digits"}},
        "spec": {"containers": [{"name": "worker", "image": image}]},
    }


def with_output(uri: str, kind: str = "TrainingJob") -> Callable[[str], Json]:
    def made(namespace: str) -> Json:
        body = job(namespace, kind)
        body["spec"]["output"]["uri"] = uri.format(namespace=namespace)
        return body

    return made


def without_pin(kind: str) -> Callable[[str], Json]:
    def made(namespace: str) -> Json:
        body = job(namespace, kind)
        spec = body["spec"]["trialTemplate"]["spec"] if kind == "SweepJob" else body["spec"]
        del spec["dataset"]["digest"]
        return body

    return made


def with_init_container(namespace: str) -> Json:
    body = pod(namespace)
    body["spec"]["initContainers"] = [{"name": "init", "image": "debian:latest"}]
    return body


ACCEPTED: dict[str, Callable[[str], Json]] = {
    "a job with a pin that writes to the folder of its namespace": job,
    "a job that writes below it": with_output("s3://runs/{namespace}/nightly"),
    "a sweep likewise": lambda namespace: job(namespace, "SweepJob"),
    "a pod of a job, by digest": pod,
    "a pod that is no job's": lambda namespace: {
        **pod(namespace, "debian:latest"),
        "metadata": {"name": "other"},
    },
}


@dataclass(frozen=True)
class Refusal:
    body: Callable[[str], Json]
    sentence: str


REFUSED = {
    "a job without a pin": Refusal(without_pin("TrainingJob"), "spec.dataset.digest must pin the dataset"),
    "a sweep without a pin": Refusal(without_pin("SweepJob"), "spec.dataset.digest must pin the dataset"),
    "a neighbour's folder": Refusal(with_output("s3://runs/neighbour"), "spec.output.uri must be s3://runs/"),
    "a folder whose name begins alike": Refusal(
        with_output("s3://runs/{namespace}-2"), "spec.output.uri must be s3://runs/"
    ),
    "a sweep in a neighbour's folder": Refusal(
        with_output("s3://runs/neighbour", "SweepJob"), "spec.output.uri must be s3://runs/"
    ),
    "a pod by tag": Refusal(
        lambda namespace: pod(namespace, "registry.example/seedbed/workload:1"), "images of training pods"
    ),
    "a pod of another registry": Refusal(
        lambda namespace: pod(namespace, f"elsewhere.example/seedbed@{DIGEST}"), "images of training pods"
    ),
    "an init container by tag": Refusal(with_init_container, "images of training pods"),
}


@pytest.fixture(scope="module")
def guarded(control_plane: ControlPlane) -> Iterator[str]:
    """Install the sample, and return a restricted namespace in which it is enforced."""
    kube = control_plane.kube
    documents = list(yaml.safe_load_all(POLICY.read_text(encoding="utf-8")))
    name = "restricted-team"
    labels = {"seedbed.dev/restricted": "true"}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    for document in documents:
        kube.apply(document)
    eventually(lambda: refusal_of(kube, name, pod(name, "a:1")), what="the policy of pods")
    eventually(lambda: refusal_of(kube, name, without_pin("TrainingJob")(name)), what="the policy of jobs")
    yield name
    for document in documents:
        kube.kubectl("delete", document["kind"].lower(), document["metadata"]["name"])
    kube.kubectl("delete", "namespace", name, "--wait=false")


def refusal_of(kube: Kube, namespace: str, body: Json) -> str:
    """Return why the API server refuses an object, or nothing."""
    group = "/api/v1" if body["kind"] == "Pod" else "/apis/seedbed.dev/v1alpha1"
    try:
        kube.create(f"{group}/namespaces/{namespace}/{body['kind'].lower()}s", body, dryRun="All")
    except Refused as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_it_accepts(kube: Kube, guarded: str, body: Callable[[str], Json]) -> None:
    assert refusal_of(kube, guarded, body(guarded)) == ""


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_it_refuses(kube: Kube, guarded: str, case: Refusal) -> None:
    assert case.sentence in refusal_of(kube, guarded, case.body(guarded))
    if case.body(guarded)["kind"] != "Pod":
        assert refusal_of(kube, "default", case.body(guarded)) == "", "other namespaces are as before"
