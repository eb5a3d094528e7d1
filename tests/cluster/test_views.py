"""What kubectl shows of jobs, and which quantities it takes: those that it takes of a pod."""

from __future__ import annotations

from subprocess import CalledProcessError

import pytest

from seedbed_api.trainingjob_status import Progress, TrainingJobStatus, WorkerCounts
from support.manifests.base_manifests import DIGEST
from support.manifests.yaml_documents import PLAIN
from testbed.kube import Kube

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("established")]

PROFILE = f"""apiVersion: seedbed.dev/v1alpha1
kind: TrainingProfile
metadata: {{name: odd}}
spec:
  image: registry.example/seedbed@{DIGEST}
  worker: {{resources: {{%s: %s}}}}
"""
POD = """apiVersion: v1
kind: Pod
metadata: {name: odd}
spec:
  containers: [{name: a, image: b, resources: {limits: {%s: %s}}}]
"""
QUANTITIES = {
    "cpu": ("4", "1e3", "1E1", "010", "100m", '"4"', '"1.5"', '"1e3"', ".5e1", '"+2"', '"2k"', '".5"', "4.0"),
    "memory": ("1024", "1Ki", "1e9", '"12E6"', "1E", "0.5Gi", "16Gi", '"1.5Gi"', "128974848"),
}
REFUSED = {"cpu": ("-1", "four", "yes", "1x", "[1]"), "memory": ("1GB", "1 Gi", "1gi", "-1Gi", "{}")}


def taken(kube: Kube, text: str) -> bool:
    try:
        kube.kubectl("create", "--dry-run=server", "-f", "-", feed=text)
    except CalledProcessError:
        return False
    return True


@pytest.mark.parametrize("name", QUANTITIES)
def test_a_profile_takes_the_quantities_that_a_pod_takes(kube: Kube, name: str) -> None:
    for written in QUANTITIES[name]:
        assert taken(kube, POD % (name, written)), written
        assert taken(kube, PROFILE % (name, written)), written
    for written in REFUSED[name]:
        assert not taken(kube, POD % (name, written)), written
        assert not taken(kube, PROFILE % (name, written)), written


def test_kubectl_lists_jobs_among_all_that_users_own(kube: Kube, namespace: str) -> None:
    kube.kubectl("apply", "-n", namespace, "-f", "-", feed=PLAIN)
    status = TrainingJobStatus(
        start_time="2030-01-02T12:00:00Z",
        duration="1h02m",
        workers=WorkerCounts(ready=2, desired=4),
        progress=Progress(epoch=0, step=45, total_steps=100, percent=45),
    )
    path = f"/apis/seedbed.dev/v1alpha1/namespaces/{namespace}/trainingjobs/odd/status"
    kube.patch(path, {"status": status.plain()})
    for names in ("all", "seedbed", "trainingjobs"):
        listed = kube.kubectl("get", names, "-n", namespace)
        (row,) = (line.split() for line in listed.splitlines() if "odd" in line)
        assert row[0].endswith("odd")
        assert row[-3:-1] == ["45%", "2/4"], listed
    wide = kube.kubectl("get", "trainingjobs", "-n", namespace, "-o", "wide")
    assert "STARTED" in wide
    assert "1h02m" in wide
    assert "odd" not in kube.kubectl("get", "all", "-n", "default")


def test_what_kubectl_applies_again_is_unchanged(kube: Kube, namespace: str) -> None:
    """A default that the server wrote into an entry of a list would differ from the file for ever."""
    flip = "    - {type: HorizontalFlip, horizontalFlip: {}}\n"
    text = PLAIN.replace("    augmentation:\n", f"    augmentation:\n{flip}")
    for expected in ("created", "unchanged"):
        assert expected in kube.kubectl("apply", "-n", namespace, "-f", "-", feed=text)
    assert kube.kubectl("diff", "-n", namespace, "-f", "-", feed=text) == ""
    sides = kube.kubectl("apply", "--server-side", "--dry-run=server", "-n", namespace, "-f", "-", feed=text)
    assert "serverside-applied" in sides
