"""The operator's own process against a real API server; pods do what the test writes into their status."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.operator_process import JOBS, SWEEPS, Process, Scene, command, install
from support.operator.builders import LEDGER, a_search, a_sweeps_end, an_outcome
from testbed.control_plane import ControlPlane
from testbed.faults import fault_proxy
from testbed.kube import Json

pytestmark = pytest.mark.cluster


ALL = ("seedlings-1-driver", "seedlings-1-worker-0", "seedlings-1-worker-1")


def test_from_apply_to_complete(operator: Callable[[], Process], scene: Scene) -> None:
    running = operator()
    running.wait_to_say("first relist")
    scene.apply_job()
    scene.wait_for_pods(*ALL)
    driver = scene.pods()[ALL[0]]
    assert driver["metadata"]["ownerReferences"][0]["kind"] == "TrainingJob"
    for name in ALL[1:]:
        assert scene.pods()[name]["metadata"]["ownerReferences"][0]["uid"] == driver["metadata"]["uid"]
    secret = scene.kube.items(scene.path("secrets"))[0]
    assert secret["immutable"]
    assert len(secret["data"]["token"]) > 40
    scene.run(*ALL)
    scene.end(ALL[0], 0, an_outcome())
    job = scene.wait_for("Complete")
    assert job["status"]["model"]["weightsDigest"].startswith("sha256:")
    assert scene.pods() == {}
    assert "finalizers" not in job["metadata"]
    assert not [name for name in job["metadata"].get("annotations", {}) if "kopf" in name]
    assert running.end() == 0
    assert running.says("released the lease")


def test_a_sweep_and_a_training_of_one_name_live_side_by_side(
    operator: Callable[[], Process], scene: Scene
) -> None:
    operator()
    scene.apply_job(workers=1)
    body = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "SweepJob", "metadata": {"name": "seedlings"}}
    scene.kube.create(SWEEPS.format(scene.namespace), {**body, "spec": a_search()})
    training = ("seedlings-1-driver", "seedlings-1-worker-0")
    sweep = ("seedlings-1-sweep-driver", "seedlings-1-sweep-worker-0")
    scene.wait_for_pods(*training, *sweep)
    owners = [
        scene.pods()[name]["metadata"]["ownerReferences"][0]["kind"] for name in (training[0], sweep[0])
    ]
    assert owners == ["TrainingJob", "SweepJob"]
    scene.run(*sweep)
    scene.end(sweep[0], 0, a_sweeps_end())
    path = f"{SWEEPS.format(scene.namespace)}/seedlings"
    seen = scene.kube.wait_for(path, complete, seconds=240, what="Complete")
    assert seen["status"]["trials"]["finished"] == "12/12"
    assert seen["status"]["ledger"] == LEDGER.plain()
    scene.wait_for_pods(*training)
    job = scene.kube.get(f"{JOBS.format(scene.namespace)}/seedlings")
    assert not complete(job), "what one kind does is nothing to the other"


def complete(job: Json) -> bool:
    found = job.get("status", {}).get("conditions", ())
    return any(each["type"] == "Complete" and each["status"] == "True" for each in found)


def test_a_killed_operator_is_followed_by_one_that_creates_nothing_twice(
    operator: Callable[[], Process], scene: Scene
) -> None:
    first = operator()
    scene.apply_job()
    uids = scene.wait_for_pods(*ALL)
    first.end(signal.SIGKILL)
    scene.run(*ALL)
    scene.end(ALL[0], 0, an_outcome())
    second = operator()
    scene.wait_for("Complete", seconds=240)
    assert not second.says("created")
    assert set(uids) == set(ALL)
    assert scene.kube.get(f"{JOBS.format(scene.namespace)}/seedlings")["status"]["attempts"] == 1


def test_of_two_operators_one_leads_and_the_other_follows_it(
    operator: Callable[[], Process], scene: Scene
) -> None:
    first = operator()
    first.wait_to_say("leader as")
    second = operator()
    second.wait_to_say("waiting for the lease")
    scene.apply_job()
    scene.wait_for_pods(*ALL)
    assert not second.says("leader as")
    assert first.end() == 0
    second.wait_to_say("leader as", seconds=240)
    scene.run(*ALL)
    scene.end(ALL[0], 0, an_outcome())
    scene.wait_for("Complete")


def test_the_api_server_goes_away_for_ten_seconds_and_the_operator_stays(
    operator: Callable[..., Process], scene: Scene, control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Ten seconds, and not what a start of the API server takes on a busy machine: its lease holds for twenty."""
    admin = control_plane.kubeconfig.read_text()
    with fault_proxy(scene.kube.server) as proxy:
        theirs = tmp_path / "by-the-proxy.kubeconfig"
        theirs.write_text(admin.replace(scene.kube.server, proxy.endpoint.replace("http:", "https:")))
        running = operator(theirs)
        scene.apply_job()
        lost = scene.wait_for_pods(*ALL)[ALL[1]]
        with proxy.away():
            scene.kube.delete(scene.path("pods", ALL[1]), grace_seconds=0)
            time.sleep(10)
        there = scene.wait_for_replacement(lost, count=len(ALL))
        scene.run(*there)
        scene.end(ALL[0], 0, an_outcome())
        scene.wait_for("Complete", seconds=240)
        assert running.process.poll() is None
        assert running.metric("leader") == 1


@contextmanager
def nobody(control_plane: ControlPlane, namespace: str) -> Iterator[Path]:
    """A service account without any right."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    control_plane.kube.create(path, {"metadata": {"name": "nobody"}})
    yield control_plane.write_kubeconfig(control_plane.service_account(namespace, "nobody"))


def test_what_is_forbidden_is_said_in_a_line_for_each_verb(
    control_plane: ControlPlane, namespace: str
) -> None:
    install(control_plane.kube)
    with nobody(control_plane, namespace) as kubeconfig:
        for verb in ("check", "run"):
            done = subprocess.run(
                command(verb, kubeconfig, namespace),
                capture_output=True,
                text=True,
                check=False,
                env=os.environ,
            )
            assert done.returncode == 2
            assert (
                f"may not create pods in namespace {namespace}; add it to the operator's role" in done.stderr
            )
            assert "may not patch trainingjobs/status.seedbed.dev in namespace" in done.stderr
            assert "may not list trainingprofiles.seedbed.dev cluster-wide" in done.stderr
            assert "Traceback" not in done.stderr
