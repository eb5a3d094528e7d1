"""The control plane of the testbed: up in seconds, real in what it refuses, collects and survives; nothing stays behind."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.eventually import NotSeen, eventually
from testbed.boxes import start_box
from testbed.control_plane import ControlPlane
from testbed.fake_nodes import FakeNodes
from testbed.inventory import remove_all_but, take_inventory
from testbed.kube import Json, Kube, Refused

pytestmark = pytest.mark.cluster


def a_config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}}


def test_kubectl_of_the_same_release_reaches_it_from_outside(control_plane: ControlPlane) -> None:
    versions = control_plane.kube.kubectl("version")
    assert "Client Version: v1.36.4" in versions
    assert "Server Version: v1.36.4" in versions


def test_what_an_owner_leaves_is_collected(kube: Kube, namespace: str) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = kube.create(maps, a_config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    kube.create(maps, a_config_map("child", ownerReferences=[reference]))
    kube.delete(f"{maps}/owner")
    kube.wait_gone(f"{maps}/child", seconds=240)


def test_nothing_is_collected_while_the_controllers_are_paused(
    control_plane: ControlPlane, namespace: str
) -> None:
    kube, maps = control_plane.kube, f"/api/v1/namespaces/{namespace}/configmaps"
    owner = kube.create(maps, a_config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    kube.create(maps, a_config_map("child", ownerReferences=[reference]))
    control_plane.pause_controllers()
    try:
        kube.delete(f"{maps}/owner")
        with pytest.raises(NotSeen):
            kube.wait_gone(f"{maps}/child", seconds=3)
    finally:
        control_plane.resume_controllers()
    kube.wait_gone(f"{maps}/child", seconds=240)


def test_a_killed_api_server_comes_back_with_what_it_knew(
    control_plane: ControlPlane, namespace: str
) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    before = control_plane.kube.create(maps, a_config_map("kept"))
    control_plane.stop_apiserver()
    with pytest.raises(OSError):
        control_plane.kube.get(f"{maps}/kept")
    control_plane.start_apiserver()
    assert control_plane.kube.get(f"{maps}/kept")["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_service_account_may_do_what_it_was_granted_and_no_more(
    control_plane: ControlPlane, namespace: str
) -> None:
    kube = control_plane.kube
    kube.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "reader"}})
    account = control_plane.service_account(namespace, "reader")
    reader = control_plane.connect(account)
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    with pytest.raises(Refused, match="403"):
        reader.items(maps)
    kube.kubectl(
        "create",
        "rolebinding",
        "reads",
        "--clusterrole=view",
        f"--serviceaccount={namespace}:reader",
        "-n",
        namespace,
    )
    kube.wait_for(maps, lambda _: _allowed(reader, maps), seconds=240)
    with pytest.raises(Refused, match="403"):
        reader.create(maps, a_config_map("not-granted"))


def test_a_user_is_known_by_name_and_group(control_plane: ControlPlane) -> None:
    user = control_plane.user("somebody", groups=("team-a", "team-b"))
    known = control_plane.connect(user).kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}")
    assert '"team-a","team-b"' in known


def test_kubectl_says_what_the_server_refused(kube: Kube) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        kube.kubectl("get", "namespaces", "no-such")
    assert 'namespaces "no-such" not found' in refused.value.stderr


def _allowed(user: Kube, path: str) -> bool:
    try:
        user.get(path)
    except Refused:
        return False
    return True


def a_pod(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "any"}], **spec},
    }


def test_boxes_side_by_side_share_no_address_and_no_process(tmp_path: Path) -> None:
    address = "127.0.0.1:6443"
    one, two = (start_box(tmp_path / name, addresses=(address,)) for name in ("one", "two"))
    try:
        served = one.start("served", sys.executable, "-m", "http.server", "6443", "--bind", "127.0.0.1")
        eventually(lambda: _answers(one.ports[address]), what="a server", servers=(served,))
        assert not _answers(two.ports[address])
        assert "http.server" not in two.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert not Path("/run/lib/upper").exists(), "the machine's /run is its own"
    finally:
        for box in (one, two):
            box.stop()
    eventually(lambda: not served.running(), what="the end of what ran inside")
    assert list(tmp_path.iterdir()) == []


GPU = {"resources": {"limits": {"nvidia.com/gpu": "8"}}}
TAINT = {"key": "nvidia.com/gpu", "effect": "NoSchedule", "value": "present"}


def test_pods_of_a_pool_in_name_only_run_end_and_make_room(
    fake_nodes: FakeNodes, kube: Kube, namespace: str
) -> None:
    (node,) = fake_nodes.add_pool(
        "gpu", 1, resources={"nvidia.com/gpu": "8"}, labels={"pool": "gpu"}, taints=[TAINT]
    )
    pods = f"/api/v1/namespaces/{namespace}/pods"
    there = {"nodeSelector": {"pool": "gpu"}, "tolerations": [{"key": TAINT["key"], "operator": "Exists"}]}
    for name, seen in (("first", running), ("second", waits("Insufficient nvidia.com/gpu"))):
        pod = a_pod(name, **there)
        pod["spec"]["containers"][0].update(GPU)
        kube.create(pods, pod)
        kube.wait_for(f"{pods}/{name}", seen)
    assert kube.get(f"{pods}/first")["spec"]["nodeName"] == node

    fake_nodes.end_container(namespace, "first", exit_code=75, message="the store was full")
    ended = kube.get(f"{pods}/first")["status"]
    assert ended["phase"] == "Failed"
    assert ended["containerStatuses"][0]["state"]["terminated"]["message"] == "the store was full"
    kube.wait_for(f"{pods}/second", running)


def test_a_pod_that_tolerates_no_taint_stays_away_from_the_pool(
    fake_nodes: FakeNodes, kube: Kube, namespace: str
) -> None:
    fake_nodes.add_pool("tainted", 1, labels={"pool": "tainted"}, taints=[TAINT])
    pods = f"/api/v1/namespaces/{namespace}/pods"
    kube.create(pods, a_pod("plain", nodeSelector={"pool": "tainted"}))
    kube.wait_for(f"{pods}/plain", waits("untolerated taint"))


def test_pods_of_a_preempted_machine_say_that_they_were_disrupted(
    fake_nodes: FakeNodes, kube: Kube, namespace: str
) -> None:
    (node,) = fake_nodes.add_pool("spot", 1, labels={"pool": "spot"})
    pods = f"/api/v1/namespaces/{namespace}/pods"
    kube.create(pods, a_pod("preempted", nodeSelector={"pool": "spot"}))
    kube.wait_for(f"{pods}/preempted", running)
    fake_nodes.preempt(node)
    status = kube.get(f"{pods}/preempted")["status"]
    disrupted = {each["type"]: each["status"] for each in status["conditions"]}.get("DisruptionTarget")
    assert (status["phase"], disrupted) == ("Failed", "True")
    assert not kube.exists(f"/api/v1/nodes/{node}")


LEFTOVERS = "leftovers.example.org"


def leave_behind(kube: Kube) -> None:
    """Leave what holds itself or others: finalizers, a webhook that nobody answers, a namespace, a node, rights."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"kind": "Leftover", "plural": "leftovers"}
    spec = {"group": "example.org", "scope": "Namespaced", "names": names, "versions": [version]}
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    kube.apply({**definition, "metadata": {"name": LEFTOVERS}, "spec": spec})
    kube.await_definitions()
    kube.create("/api/v1/namespaces", {"metadata": {"name": "left"}})
    held = {"name": "held", "finalizers": ["example.org/nobody"]}
    kube.wait_for("/api/v1/namespaces/left/serviceaccounts/default", lambda _: True)
    kube.create("/api/v1/namespaces/left/pods", {**a_pod("held"), "metadata": held})
    for namespace in ("default", "left"):
        thing = {"apiVersion": "example.org/v1", "kind": "Leftover", "metadata": held}
        kube.create(f"/apis/example.org/v1/namespaces/{namespace}/leftovers", thing)
    kube.create("/api/v1/namespaces/default/configmaps", a_config_map("left"))
    rights = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    kube.create(rights, {"metadata": {"name": "left"}, "rules": []})
    rules = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["DELETE"], "resources": ["*"]}]
    asked = {"clientConfig": {"url": "https://127.0.0.1:9"}, "rules": rules, "failurePolicy": "Fail"}
    webhook = {"name": "left.example.org", "sideEffects": "None", "admissionReviewVersions": ["v1"], **asked}
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    kube.create(path, {"metadata": {"name": "left"}, "webhooks": [webhook]})


def test_what_a_tier_leaves_is_removed_whatever_holds_it(kube: Kube, fake_nodes: FakeNodes) -> None:
    kept = take_inventory(kube)
    fake_nodes.add_pool("left", 1)
    leave_behind(kube)
    assert {path.rpartition("/")[2] for path in take_inventory(kube) - kept} == {
        "left",
        "left-0",
        "held",
        LEFTOVERS,
    }
    remove_all_but(kept, kube)
    assert take_inventory(kube) - kept == set()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
            return True
    except OSError:
        return False


def running(pod: Json) -> bool:
    return bool(pod["status"]["phase"] == "Running")


def waits(why: str) -> Callable[[Json], bool]:
    """Tell whether the scheduler says this of a pod; before it knows the node, it says something else."""
    return lambda pod: any(why in each.get("message", "") for each in pod["status"].get("conditions", ()))
