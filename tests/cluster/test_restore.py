"""etcd is restored from a backup while the operator runs: it believes what is there now, and goes on seeing it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.operators import running_operator
from support.eventually import eventually
from support.operator.builders import IMAGE, a_recipe
from support.situations.cluster_setup import conditions
from testbed.control_plane import ControlPlane
from testbed.kube import Json, Kube
from testbed.testbeds import running_testbed

pytestmark = pytest.mark.cluster

TEAM = "restored"
JOBS = f"/apis/seedbed.dev/v1alpha1/namespaces/{TEAM}/trainingjobs"
PODS = f"/api/v1/namespaces/{TEAM}/pods"
PATIENCE_SECONDS = 240.0


@pytest.fixture
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this test alone: its history is rewritten."""
    with running_testbed(tmp_path_factory.mktemp("restore"), keep=True) as testbed:
        yield testbed.control


def while_stopped(control: ControlPlane, command: str) -> None:
    """Run a command while neither etcd nor the API server runs, then start all that reads from them anew."""
    for daemon in (control.scheduler, control.controllers, control.apiserver, control.etcd):
        daemon.stop()
    control.box.run("sh", "-c", command)
    control.etcd = control.box.restart(control.etcd)
    control.start_apiserver()
    control.controllers = control.box.restart(control.controllers)
    control.scheduler = control.box.restart(control.scheduler)


def begin(kube: Kube, name: str) -> None:
    """Create a job and wait for its driver."""
    body = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}}
    kube.create(JOBS, {**body, "spec": a_recipe()})
    kube.wait_for(f"{PODS}/{name}-1-driver", lambda _: True, seconds=PATIENCE_SECONDS)


def is_suspended(job: Json) -> bool:
    return conditions(job.get("status", {})).get("Suspended", {}).get("status") == "True"


def test_a_restored_backup_is_noticed_and_the_operator_goes_on(control: ControlPlane) -> None:
    kube, log = control.kube, control.box.folder / "logs" / "operator.log"
    with running_operator(control, "--sweep-seconds=5") as operator:
        kube.create("/api/v1/namespaces", {"metadata": {"name": TEAM}})
        kube.wait_for(f"/api/v1/namespaces/{TEAM}/serviceaccounts/default", lambda _: True)
        kind = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingProfile"}
        kube.apply({**kind, "metadata": {"name": "default"}, "spec": {"image": IMAGE}})
        begin(kube, "kept")
        while_stopped(control, "cp -r /run/etcd /run/backup")

        for number in range(30):
            kube.patch(f"{JOBS}/kept", {"metadata": {"labels": {"number": str(number)}}})
        begin(kube, "since-then")
        kube.delete(f"{JOBS}/kept")
        eventually(
            lambda: not kube.exists(f"{PODS}/kept-1-driver"),
            what="the end of its pods",
            seconds=PATIENCE_SECONDS,
            servers=(operator,),
        )

        while_stopped(control, "rm -rf /run/etcd && cp -r /run/backup /run/etcd")
        assert not kube.exists(f"{JOBS}/since-then")
        kube.patch(f"{JOBS}/kept", {"spec": {"suspend": True}})
        kube.wait_for(f"{JOBS}/kept", is_suspended, seconds=PATIENCE_SECONDS)
        assert not kube.exists(f"{PODS}/kept-1-driver")
        assert "as after the restore of a backup" in log.read_text()
        begin(kube, "afterwards")
        assert operator.running(), "it need not be started again"
