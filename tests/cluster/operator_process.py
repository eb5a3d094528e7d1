"""An operator as a process of this machine that serves one namespace, and the jobs and pods of that namespace."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.eventually import eventually
from support.operator.builders import IMAGE, a_recipe
from testbed.kube import Json, Kube

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
        eventually(
            self.log.read_text,
            lambda text: words in text,
            what=f"{words!r} in the operator's log",
            seconds=seconds,
            shown=str,
        )

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


def command(verb: str, kubeconfig: Path, namespace: str, *more: str) -> list[str]:
    program = f"{sys.prefix}/bin/seedbed-operator"
    return [program, verb, f"--kubeconfig={kubeconfig}", f"--namespace={namespace}", *more]


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
        eventually(
            lambda: set(self.pods()),
            lambda found: found == set(names),
            what=f"exactly the pods {names}",
            seconds=seconds,
            shown=sorted,
        )
        return {name: pod["metadata"]["uid"] for name, pod in self.pods().items()}

    def wait_for_replacement(self, lost: str, *, count: int) -> list[str]:
        """Return the names of so many pods, once none is the lost one; a name that still ends is not used again."""

        def replaced(pods: dict[str, Json]) -> bool:
            uids = [pod["metadata"]["uid"] for pod in pods.values()]
            return len(uids) == count and lost not in uids

        return list(eventually(self.pods, replaced, what=f"{count} pods without {lost}", shown=list))

    def run(self, *names: str) -> None:
        for name in names:
            box = _container(_role(name), {"running": {"startedAt": _now()}})
            self._tell(name, phase="Running", podIP="127.0.0.1", containerStatuses=[box])

    def end(self, name: str, code: int, message: str) -> None:
        state = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
        state |= {"startedAt": _now(), "finishedAt": _now()}
        phase = "Failed" if code else "Succeeded"
        self._tell(name, phase=phase, containerStatuses=[_container(_role(name), {"terminated": state})])

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


def _role(pod: str) -> str:
    """Return the role in the name of a pod, which its container has as name."""
    return next((role for role in ("driver", "signature-uploader") if pod.endswith(role)), "worker")


def _container(name: str, state: Json) -> Json:
    fields = {"image": IMAGE, "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"name": name, **fields}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
