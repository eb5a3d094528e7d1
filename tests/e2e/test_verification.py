"""A complete job on real pods: its signature is stored, it is recomputed, and a change of what it stored is found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from e2e.chart_release import NAMESPACE, Release
from e2e.jobs import PATIENCE_SECONDS, Job, Jobs, condition, holds
from e2e.kubectl_output import left_of
from seedbed.receipts import read_receipt
from seedbed.receipts.signature_store import envelope_path
from seedbed.receipts.signatures import Signed, signature_status
from seedbed_api.attestations.dsse_envelope import parse_envelope
from seedbed_api.attestations.signature_policy import parse_policy
from seedbed_api.attestations.signing_keys import SigningKey, load_signing_key
from support.eventually import eventually
from support.signing import a_policy, private_pem
from testbed.kube import Json
from testbed.testbeds import Testbed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

SETTLED = ("True", "False")


@pytest.fixture
def signing(release: Release, testbed: Testbed) -> Iterator[SigningKey]:
    """Let the operator sign, as docs/operations.md tells."""
    pem, before = private_pem(), release.values
    metadata = {"name": "seedbed-signing", "namespace": NAMESPACE}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    testbed.kube.apply({**secret, "stringData": {"signing.key": pem.decode()}}, namespace=NAMESPACE)
    release.upgrade({**before, "signing": {"existingSecret": metadata["name"]}})
    yield load_signing_key(pem, shown="key")
    release.upgrade(before)


@pytest.mark.exhaustive
def test_the_signature_of_a_complete_job_is_stored_beside_its_receipt(
    testbed: Testbed, jobs: Jobs, signing: SigningKey
) -> None:
    """Two upgrades of the chart: the daily tier has `tests/cluster/test_signatures.py`, with pods that nobody runs."""
    with testbed.network_policies():
        job = jobs.apply(workers=(1, 1), every=100)
        job.await_complete()
        check_the_signature_is_beside_the_receipt(job, signing)
        job.await_no_pods()


def test_a_complete_job_is_reproduced_until_its_model_is_exchanged(testbed: Testbed, jobs: Jobs) -> None:
    with testbed.network_policies():
        job = jobs.apply(workers=(1, 1), every=100)
        trained = job.await_complete()
        found = verified(job, "first")
        assert condition(found, "Reproduced") == "True:Reproduced", said(found)
        assert trained["receipt"]["digest"] in said(found)
        assert "reproduced: steps 0..362" in said(found)
        job.await_no_pods()

        model = model_of(job)
        kept = model.read_bytes()
        model.write_bytes(kept[:-4] + bytes(4))
        found = verified(job, "the model was exchanged")
        assert (condition(found, "Reproduced") or "").startswith("False:"), said(found)
        assert "model.safetensors" in said(found)
        assert condition(found, "Complete") == "True:Trained", "the job stays what it was"
        job.await_no_pods()

        model.write_bytes(kept)
        check_a_deletion_takes_the_verifier_along(jobs, job)


def check_the_signature_is_beside_the_receipt(job: Job, key: SigningKey) -> None:
    """A pod has stored it, and nobody else did anything."""
    status = job.wait_for(lambda seen: holds(seen, "SignatureStored"), what="SignatureStored")
    folder = model_of(job).parent.parent
    envelope = (folder / envelope_path(key.public.key_id)).read_bytes()
    assert envelope.decode() == status["receipt"]["signature"]
    assert parse_envelope(envelope).signed_by([key.public]) == (key.public,)
    policy = parse_policy(a_policy(("cluster", key)), shown="policy")
    found = signature_status(read_receipt(folder).data, [envelope], policy, now=datetime.now(UTC))
    assert isinstance(found, Signed), found


def check_a_deletion_takes_the_verifier_along(jobs: Jobs, job: Job) -> None:
    """Delete the job while its verifier runs: nothing of both is left."""
    uid = job.testbed.kube.get(job.path)["metadata"]["uid"]
    ask(job, "deleted meanwhile")
    eventually(
        lambda: [pod["status"]["phase"] for pod in job.pods("verifier")],
        lambda phases: phases == ["Running"],
        what="a verifier that runs",
        seconds=PATIENCE_SECONDS,
        every=0.2,
    )
    job.testbed.kube.kubectl("delete", "trainingjob", job.name, "-n", job.namespace, "--timeout=240s")
    eventually(
        lambda: left_of(jobs, uid), lambda left: not left, what="the end of it all", seconds=300, every=0.5
    )


def ask(job: Job, value: str) -> None:
    """Annotate the job as docs/operations.md tells."""
    named = ("trainingjob", job.name, "-n", job.namespace)
    job.testbed.kube.kubectl("annotate", *named, "--overwrite", f"seedbed.dev/verify={value}")


def verified(job: Job, value: str) -> Json:
    """Ask for a verification and return the status with its result."""
    ask(job, value)

    def settled(status: Json) -> bool:
        asked = status.get("verification", {}).get("request") == value
        return asked and (condition(status, "Reproduced") or "").partition(":")[0] in SETTLED

    return job.wait_for(settled, what=f"the result of the verification {value!r}")


def said(status: Json) -> str:
    """Return the message of the condition Reproduced."""
    return str(next(each["message"] for each in status["conditions"] if each["type"] == "Reproduced"))


def model_of(job: Job) -> Path:
    """Return the file of the weights, behind the S3 server's back."""
    root = job.testbed.s3.outside.root / job.output.removeprefix("s3://")
    (model,) = root.glob("runs/*/model/model.safetensors")
    return model
