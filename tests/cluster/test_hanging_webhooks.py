"""Admission webhooks that take a request and answer nothing: the job says which write is tried, and that nobody answers."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from cluster.operator_process import JOBS, Process, Scene
from support.eventually import eventually
from support.operator.builders import an_outcome
from testbed.control_plane import ControlPlane
from testbed.kube import Json

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

ALL = ("seedlings-1-driver", "seedlings-1-worker-0", "seedlings-1-worker-1")
PATIENCE_SECONDS = 900
"""Three tries of 35 s, with pauses, on a busy machine."""
SILENT = """
import socket, ssl, sys, threading, time

certificate, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
if certificate:
    context.load_cert_chain(certificate, key)
held = []

def hold(connection):
    held.append(context.wrap_socket(connection, server_side=True))

with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        held.append(connection)
        if certificate:
            threading.Thread(target=hold, args=(connection,), daemon=True).start()
"""
"""Takes each connection, with a certificate also the request in it, and answers nothing."""
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


@contextmanager
def hanging(
    control: ControlPlane, namespace: str, resource: str, *, seconds: tuple[int, ...], deaf: bool = False
) -> Iterator[None]:
    """Let the writes of one resource in one namespace wait for webhooks, one after the other, that never answer."""
    made = control.authority.sign(f"webhook-{namespace}", user="webhook", addresses=("IP:127.0.0.1",))
    files = ("", "") if deaf else (str(made.certificate), str(made.key))
    silent = control.box.start(f"webhook-{namespace}", sys.executable, "-c", SILENT, *files)
    log = control.box.folder / "logs" / f"webhook-{namespace}.log"
    port = eventually(log.read_text, str.strip, what="the port of the webhook", servers=(silent,)).strip()
    trusted = base64.b64encode(control.authority.own.certificate.read_bytes()).decode()
    rule = {
        "apiGroups": ["", "seedbed.dev"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": [resource],
    }
    hooks = [
        {
            "name": f"silent-{number}.example.org",
            "clientConfig": {"url": f"https://127.0.0.1:{port}/admit", "caBundle": trusted},
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Ignore" if number < len(seconds) - 1 else "Fail",
            "timeoutSeconds": wait,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        for number, wait in enumerate(seconds)
    ]
    path = f"{CONFIGURATIONS}/silent-{namespace}"
    control.kube.create(CONFIGURATIONS, {"metadata": {"name": f"silent-{namespace}"}, "webhooks": hooks})
    try:
        yield
    finally:
        control.kube.delete(path)
        silent.stop(seconds=60)


def running(scene: Scene) -> Json:
    """Return the condition Running of the job; an empty one while there is none."""
    job = scene.kube.get(f"{JOBS.format(scene.namespace)}/seedlings")
    conditions = job.get("status", {}).get("conditions", [])
    return next((found for found in conditions if found["type"] == "Running"), {"reason": "", "message": ""})


@dataclass(frozen=True, kw_only=True)
class Silence:
    """How webhooks are silent, and what the job says of it."""

    seconds: tuple[int, ...]
    said: tuple[str, ...]
    deaf: bool = False


# the API server answers 504 after 34 s, and the operator waits for 35: on a busy machine either comes first
SILENCES = {
    "longer than the operator waits": Silence(
        seconds=(30, 30),
        said=("the creation of Pod seedlings-1-driver after repeated tries", "an admission webhook hangs"),
    ),
    "shorter": Silence(seconds=(2,), said=("silent-0.example.org", "context deadline exceeded")),
    "without a handshake": Silence(seconds=(30,), said=("silent-0.example.org", "timeout"), deaf=True),
}


@pytest.mark.parametrize("silence", SILENCES.values(), ids=SILENCES.keys())
def test_a_job_says_what_is_tried_and_who_is_silent_and_starts_once_somebody_answers(
    operator: Callable[..., Process], scene: Scene, control_plane: ControlPlane, silence: Silence
) -> None:
    operator()
    with hanging(control_plane, scene.namespace, "pods", seconds=silence.seconds, deaf=silence.deaf):
        scene.apply_job()
        told = eventually(
            lambda: running(scene),
            lambda found: all(part in found["message"] for part in silence.said),
            what=str(silence.said),
            seconds=PATIENCE_SECONDS,
        )
        assert told["reason"] == "AdmissionDenied"
        assert scene.pods() == {}
    scene.wait_for_pods(*ALL, seconds=PATIENCE_SECONDS)
    eventually(
        lambda: running(scene)["reason"], lambda reason: reason != "AdmissionDenied", what="another reason"
    )


def events(scene: Scene) -> list[str]:
    """Return the Events about the job: type, reason and note."""
    found = scene.kube.items(f"/apis/events.k8s.io/v1/namespaces/{scene.namespace}/events")
    return [f"{each['type']} {each['reason']}: {each['note']}" for each in found]


def await_warning(scene: Scene, said: tuple[str, ...]) -> None:
    """Wait for a Warning that names the write and who is silent."""
    parts = ("Warning AdmissionDenied", "the status of TrainingJob seedlings", *said)
    eventually(
        lambda: [line for line in events(scene) if all(part in line for part in parts)],
        bool,
        what=str(parts),
        seconds=PATIENCE_SECONDS,
    )


STATUS_SILENCES = {
    "shorter": SILENCES["shorter"],
    "longer than the operator waits": Silence(seconds=(30, 30), said=("after repeated tries", "hangs")),
}


@pytest.mark.parametrize(
    "silence",
    [
        pytest.param(silence, id=name, marks=pytest.mark.exhaustive if max(silence.seconds) > 2 else ())
        for name, silence in STATUS_SILENCES.items()
    ],
)
def test_a_status_that_cannot_be_written_is_told_by_an_event_and_written_once_somebody_answers(
    operator: Callable[..., Process], scene: Scene, control_plane: ControlPlane, silence: Silence
) -> None:
    operator()
    with hanging(control_plane, scene.namespace, "trainingjobs/status", seconds=silence.seconds):
        scene.apply_job()
        await_warning(scene, silence.said)
        assert running(scene)["reason"] == "", "nothing was written"
    scene.wait_for_pods(*ALL, seconds=PATIENCE_SECONDS)
    eventually(lambda: running(scene)["reason"], bool, what="a first status", seconds=PATIENCE_SECONDS)
    assert running(scene)["reason"] != "AdmissionDenied"


def test_the_end_of_a_job_that_cannot_be_written_is_told_and_written_once_somebody_answers(
    operator: Callable[..., Process], scene: Scene, control_plane: ControlPlane
) -> None:
    """Its condition Running was True, and no status can say that anything is wrong."""
    operator()
    scene.apply_job()
    scene.wait_for_pods(*ALL)
    scene.run(*ALL)
    silence = STATUS_SILENCES["shorter"]
    with hanging(control_plane, scene.namespace, "trainingjobs/status", seconds=silence.seconds):
        scene.end(ALL[0], 0, an_outcome())
        await_warning(scene, silence.said)
    job = scene.wait_for("Complete", seconds=PATIENCE_SECONDS)
    assert job["status"]["receipt"]["digest"]
    scene.wait_for_pods(seconds=PATIENCE_SECONDS)
