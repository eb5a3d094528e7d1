"""The operator's signature in the status: one of its key, of bounded size; without a key a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seedbed_api.attestations.dsse_envelope import parse_envelope
from seedbed_api.attestations.receipt_attestation import (
    MOST_IMAGES,
    Attestation,
    ClusterRun,
    SignedJob,
    parse_attestation,
    subject,
)
from seedbed_api.attestations.signing_keys import load_signing_key
from seedbed_api.conditions import SignedReason
from seedbed_api.errors import UserError
from seedbed_api.trainingjob_status import LONGEST_SIGNATURE, ObjectStatus, TrainingJobStatus
from seedbed_operator.job_observation import JobObservation
from seedbed_operator.plan import SigningRequest
from seedbed_operator.receipt_signer import ReceiptSigner
from support.operator.builders import NOON, RUN, UID, a_training_job, condition
from support.signing import IMAGE, private_pem

RECEIPT = "sha256:" + "9" * 64


def an_attestation(images: tuple[str, ...] = (IMAGE,)) -> Attestation:
    job = SignedJob(kind="TrainingJob", namespace="n" * 63, name="j" * 253, uid=UID)
    run = ClusterRun(
        run_id=RUN,
        job=job,
        attempt=2**31 - 1,
        images=images,
        pinned_image=IMAGE,
        dataset_digest=RUN,
        signed_on="2030-01-02T12:00:00Z",
    )
    return Attestation(role="Operator", subjects=(subject("receipt.json", RECEIPT),), predicate=run)


def signed(signer: ReceiptSigner, attestation: Attestation | None) -> TrainingJobStatus:
    observation = JobObservation(now=NOON, job=a_training_job().build(), profile=None)
    reason = SignedReason.SIGNED if attestation else SignedReason.ALREADY_COMPUTED
    request = SigningRequest(attestation=attestation, reason=reason, message="" if attestation else "why")
    status = TrainingJobStatus(receipt=ObjectStatus(uri="s3://runs/receipt.json", digest=RECEIPT))
    found = signer.sign(observation, request, status)
    assert isinstance(found, TrainingJobStatus)
    return found


@pytest.fixture(params=["ed25519", "ecdsa-p256"])
def key_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "signing.key").write_bytes(private_pem(request.param))
    return tmp_path / "signing.key"


def test_the_status_gets_an_envelope_of_the_key(key_file: Path) -> None:
    status = signed(ReceiptSigner(key_file), an_attestation())
    assert status.receipt is not None
    assert status.receipt.signature is not None
    envelope = parse_envelope(status.receipt.signature.encode())
    key = load_signing_key(key_file.read_bytes(), shown="key").public
    assert envelope.signed_by([key]) == (key,)
    assert parse_attestation(envelope.payload) == an_attestation()
    found = condition(status, "Signed")
    assert found is not None
    assert (found.status, found.reason, found.message) == ("True", "Signed", f"by key {key.key_id}")


def test_the_largest_statement_fits_the_field(key_file: Path) -> None:
    images = tuple(f"{number}".rjust(512, "x") for number in range(MOST_IMAGES))
    status = signed(ReceiptSigner(key_file), an_attestation(images))
    assert status.receipt is not None
    assert status.receipt.signature is not None
    assert len(status.receipt.signature) <= LONGEST_SIGNATURE
    TrainingJobStatus.model_validate(json.loads(json.dumps(status.plain())))


def test_without_a_key_the_condition_names_the_value_of_the_chart() -> None:
    status = signed(ReceiptSigner(None), an_attestation())
    found = condition(status, "Signed")
    assert found is not None
    assert (found.status, found.reason) == ("False", "NoSigningKey")
    assert "signing.existingSecret" in found.message
    assert status.receipt is not None
    assert status.receipt.signature is None


def test_without_a_statement_nothing_is_signed(key_file: Path) -> None:
    found = condition(signed(ReceiptSigner(key_file), None), "Signed")
    assert found is not None
    assert (found.status, found.reason, found.message) == ("False", "AlreadyComputed", "why")


def test_a_new_key_in_the_secret_signs_what_follows(key_file: Path) -> None:
    signer = ReceiptSigner(key_file)
    key_file.write_bytes(private_pem())
    new = load_signing_key(key_file.read_bytes(), shown="key").public.key_id
    found = condition(signed(signer, an_attestation()), "Signed")
    assert found is not None
    assert found.message == f"by key {new}"


@pytest.mark.parametrize("damage", [b"", b"no key", None], ids=["empty", "text", "gone"])
def test_a_key_that_cannot_be_read_again_leaves_the_last_good_one(
    key_file: Path, damage: bytes | None
) -> None:
    signer, old = ReceiptSigner(key_file), load_signing_key(key_file.read_bytes(), shown="key").public.key_id
    if damage is None:
        key_file.unlink()
    else:
        key_file.write_bytes(damage)
    found = condition(signed(signer, an_attestation()), "Signed")
    assert found is not None
    assert found.message == f"by key {old}"


@pytest.mark.parametrize("damage", [b"", None], ids=["empty", "gone"])
def test_an_operator_does_not_start_with_a_wrong_key(tmp_path: Path, damage: bytes | None) -> None:
    file = tmp_path / "signing.key"
    if damage is not None:
        file.write_bytes(damage)
    with pytest.raises(UserError) as caught:
        ReceiptSigner(file)
    assert caught.value.message.startswith("--signing-key")
    assert str(file) in caught.value.message
