"""The operator's signature in the status of a job, against a real API server: who verifies it, and who cannot forge it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.operator_process import Process, Scene
from seedbed_api.attestations.dsse_envelope import parse_envelope
from seedbed_api.attestations.receipt_attestation import ClusterRun, parse_attestation
from seedbed_api.attestations.signing_keys import load_signing_key
from seedbed_api.pod_contract.signature_messages import SignatureUploadOutcome
from support.operator.builders import RUN, an_outcome
from support.signing import private_pem
from testbed.control_plane import ControlPlane
from testbed.kube import Json

pytestmark = pytest.mark.cluster

ALL = ("seedlings-1-driver", "seedlings-1-worker-0", "seedlings-1-worker-1")
UPLOADER = "seedlings-1-signature-uploader"
RECEIPT = "sha256:" + "9" * 64


def container_of(pod: Json) -> Json:
    (box,) = pod["spec"]["containers"]
    return box


def signed(job: Json) -> Json:
    return next(each for each in job["status"]["conditions"] if each["type"] == "Signed")


def test_the_operator_signs_what_its_driver_reported_and_a_restart_changes_nothing(
    operator: Callable[..., Process], scene: Scene, control_plane: ControlPlane, tmp_path: Path
) -> None:
    file = tmp_path / "signing.key"
    file.write_bytes(private_pem("ecdsa-p256"))
    key = load_signing_key(file.read_bytes(), shown="key").public
    running = operator(control_plane.kubeconfig, f"--signing-key={file}")
    running.wait_to_say(f"receipts are signed by key {key.key_id}")
    scene.apply_job()
    scene.wait_for_pods(*ALL)
    scene.run(*ALL)
    scene.end(
        ALL[0], 0, an_outcome().replace('"digest":"' + RECEIPT, '"signature":"forged","digest":"' + RECEIPT)
    )
    job = scene.wait_for("Complete")
    envelope = parse_envelope(job["status"]["receipt"]["signature"].encode())
    assert envelope.signed_by([key]) == (key,)
    attestation = parse_attestation(envelope.payload)
    assert attestation.receipt_digest == job["status"]["receipt"]["digest"] == RECEIPT
    assert isinstance(attestation.predicate, ClusterRun)
    assert attestation.predicate.run_id == RUN
    found = attestation.predicate.job
    assert (found.namespace, found.name, found.uid) == (scene.namespace, "seedlings", job["metadata"]["uid"])
    assert (signed(job)["status"], signed(job)["message"]) == ("True", f"by key {key.key_id}")
    uploader = scene.wait_for_pods(UPLOADER)
    told = {each["name"]: each.get("value") for each in container_of(scene.pods()[UPLOADER])["env"]}
    assert told["SEEDBED_SIGNATURE"] == job["status"]["receipt"]["signature"]
    assert running.end() == 0
    again = operator(control_plane.kubeconfig, f"--signing-key={file}")
    again.wait_to_say("first relist")
    same = scene.wait_for("Complete")
    assert same["status"]["receipt"] == job["status"]["receipt"], "a job is signed once"
    assert scene.wait_for_pods(UPLOADER) == uploader, "its pod is created once"
    outcome = SignatureUploadOutcome(result="Stored", message="beside it", receipt_digest=RECEIPT)
    scene.end(UPLOADER, 0, outcome.encode().decode())
    same = scene.wait_for("SignatureStored")
    assert same["status"]["receipt"] == job["status"]["receipt"]
    scene.wait_for_pods()
    secret = file.read_text().splitlines()[1]
    assert secret not in json.dumps(same)
    assert not running.says(secret)


def test_without_a_key_the_status_says_that_nothing_is_signed(
    operator: Callable[..., Process], scene: Scene
) -> None:
    operator()
    scene.apply_job()
    scene.wait_for_pods(*ALL)
    scene.run(*ALL)
    scene.end(ALL[0], 0, an_outcome())
    job = scene.wait_for("Complete")
    assert (signed(job)["status"], signed(job)["reason"]) == ("False", "NoSigningKey")
    assert "signature" not in job["status"]["receipt"]
