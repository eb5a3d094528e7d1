"""The operator's own process against a real API server; pods do what the test writes into their status."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.operator.builders import IMAGE, LEDGER, a_recipe, a_search, a_sweeps_end, an_outcome
from testbed.control_plane import ControlPlane
from testbed.faults import fault_proxy
from testbed.kube import Json, Kube

pytestmark = pytest.mark.cluster
REPOSITORY = Path(__file__).parents[2]
JOBS = "/apis/seedbed.dev/v1alpha1/namespaces/{}/trainingjobs"
SWEEPS = "/apis/seedbed.dev/v1alpha1/namespaces/{}/sweepjobs"


@dataclass
class Process:
    """An operator that serves one namespace."""

    process: subprocess.Popen[bytes]
    log: Path

    def says(self, words: str) -> bool:
        return words in self.log.read_text()

    def wait_to_say(self, words: str, seconds: float = 240) -> None:
        until(lambda: self.says(words), f"the operator never said {words!r}: {self.log.read_text()}", seconds)

    @property
    def port(self) -> int:
        found = re.search(r"serving on port (\d+)", self.log.read_text())
        assert found is not None
        return int(found[1])

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=240) as answer:
            text = answer.read().decode()
        return float(re.search(rf"^seedbed_operator_{name} (\S+)$", text, re.MULTILINE)[1])  # type: ignore[index]

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=240)


def until(holds: Callable[[], bool], complaint: str | Callable[[], str], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, complaint if isinstance(complaint, str) else complaint()
        time.sleep(0.1)


def command(verb: str, kubeconfig: Path, namespace: str, *more: str) -> list[str]:
    program = f"{sys.prefix}/bin/seedbed-operator"
    return [program, verb, f"--kubeconfig={kubeconfig}", f"--namespace={namespace}", *more]


@pytest.fixture
def operator(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start operators; each is ended with the test."""
    install(control_plane.kube)
    started: list[Process] = []

    def start(kubeconfig: Path = control_plane.kubeconfig) -> Process:
        log = tmp_path / f"operator-{len(started)}.log"
        options = (
            f"--lease-namespace={namespace}",
            "--health-port=0",
            "--sweep-seconds=5",
            "--log-format=text",
        )
        with log.open("wb") as output:
            process = subprocess.Popen(
                command("run", kubeconfig, namespace, *options), stdout=output, stderr=output
            )
        started.append(Process(process=process, log=log))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)


def install(kube: Kube) -> None:
    """Bring the definitions and a profile."""
    kube.define(REPOSITORY / "crds")
    profile = {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "TrainingProfile",
        "metadata": {"name": "default"},
    }
    kube.apply({**profile, "spec": {"image": IMAGE}})


@dataclass
class Scene:
    """One namespace, and what happens in it."""

    kube: Kube
    namespace: str

    def apply_job(self, name: str = "seedlings", workers: int = 2) -> None:
        spec = {**a_recipe(), "cluster": {"workers": {"min": workers, "max": workers}}}
        self.kube.create(
            JOBS.format(self.namespace),
            {
                "apiVersion": "seedbed.dev/v1alpha1",
                "kind": "TrainingJob",
                "metadata": {"name": name},
                "spec": spec,
            },
        )

    def path(self, kind: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def pods(self) -> dict[str, Json]:
        return {pod["metadata"]["name"]: pod for pod in self.kube.items(self.path("pods"))}

    def wait_for_pods(self, *names: str, seconds: float = 240) -> dict[str, str]:
        """Return the uids of these pods, once there are exactly these."""
        until(
            lambda: set(self.pods()) == set(names),
            lambda: f"{names} awaited, {list(self.pods())} there",
            seconds,
        )
        return {name: pod["metadata"]["uid"] for name, pod in self.pods().items()}

    def wait_for_replacement(self, lost: str, *, count: int) -> list[str]:
        """Return the names of so many pods, once none is the lost one; a name that still ends is not used again."""

        def replaced() -> bool:
            uids = [pod["metadata"]["uid"] for pod in self.pods().values()]
            return len(uids) == count and lost not in uids

        until(replaced, lambda: f"{lost} is to be replaced, {list(self.pods())} there")
        return list(self.pods())

    def run(self, *names: str) -> None:
        for name in names:
            container = "driver" if name.endswith("driver") else "worker"
            state = {"running": {"startedAt": _now()}}
            self._tell(
                name, phase="Running", podIP="127.0.0.1", containerStatuses=[_container(container, state)]
            )

    def end(self, name: str, code: int, message: str) -> None:
        state = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
        state |= {"startedAt": _now(), "finishedAt": _now()}
        phase = "Failed" if code else "Succeeded"
        self._tell(name, phase=phase, containerStatuses=[_container("driver", {"terminated": state})])

    def _tell(self, name: str, **status: Any) -> None:
        self.kube.patch(self.path("pods", f"{name}/status"), {"status": status}, kind="strategic")

    def wait_for(self, condition: str, name: str = "seedlings", seconds: float = 240) -> Json:
        return self.kube.wait_for(
            f"{JOBS.format(self.namespace)}/{name}",
            lambda job: any(
                found["type"] == condition and found["status"] == "True"
                for found in job.get("status", {}).get("conditions", ())
            ),
            seconds=seconds,
            what=condition,
        )


def _container(name: str, state: Json) -> Json:
    fields = {"image": IMAGE, "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"name": name, **fields}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@pytest.fixture
def scene(control_plane: ControlPlane, namespace: str) -> Scene:
    return Scene(kube=control_plane.kube, namespace=namespace)


ALL = ("seedlings-1-driver", "seedlings-1-worker-0", "seedlings-1-worker-1")


def test_from_apply_to_complete(operator: Callable[[], Process], scene: Scene) -> None:
    running = operator()
    running.wait_to_say("first sweep")
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
    assert running.says("gave up the lease")


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
    first.wait_to_say("leading as")
    second = operator()
    second.wait_to_say("standing by")
    scene.apply_job()
    scene.wait_for_pods(*ALL)
    assert not second.says("leading as")
    assert first.end() == 0
    second.wait_to_say("leading as", seconds=240)
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
