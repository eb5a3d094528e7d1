"""The control plane of the testbed: up in seconds, real in what it refuses, collects and survives; nothing stays behind."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from testbed.controlplanes import ControlPlane
from testbed.kube import Kube, Refused

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
    kube.wait_gone(f"{maps}/child", seconds=30)


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
        with pytest.raises(TimeoutError):
            kube.wait_gone(f"{maps}/child", seconds=3)
    finally:
        control_plane.resume_controllers()
    kube.wait_gone(f"{maps}/child", seconds=30)


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
    kube.wait_for(maps, lambda _: _allowed(reader, maps), seconds=10)
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
