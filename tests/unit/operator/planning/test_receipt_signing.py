"""What the operator states about a receipt: what it knows itself, and the digest that its own pod reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from seedbed_api.attestations.receipt_attestation import Attestation, ClusterRun
from seedbed_api.trainingjob_status import DatasetStatus, Environment, ObjectStatus
from seedbed_operator.job_observation import JobObservation
from seedbed_operator.plan import Plan
from seedbed_operator.planning import plan
from support.operator.builders import (
    DATASET,
    IMAGE,
    LEDGER,
    NOON,
    RUN,
    UID,
    JobBuilder,
    a_driver,
    a_profile,
    a_sweep_job,
    a_sweeps_end,
    a_training_job,
    a_worker,
    an_outcome,
    ended,
)

RECEIPT = "sha256:" + "9" * 64
KUBELETS = "docker.io/library/seedbed@sha256:" + "5" * 64
SEEN: dict[str, Any] = {
    "attempts": 1,
    "environment": Environment(image=IMAGE),
    "run_id": RUN,
    "dataset": DatasetStatus(digest=DATASET, samples=1000),
}


def planned(
    word: str, *, job: JobBuilder | None = None, image_id: str = KUBELETS, code: int = 0, **seen: Any
) -> Plan:
    """Return the plan once the driver has ended with a word."""
    driver = ended(a_driver(image_id=image_id), code, word)
    worker = a_worker(image_id=image_id)
    built = (job or a_training_job()).with_status(**{**SEEN, **seen}).build()
    return plan(JobObservation(now=NOON, job=built, profile=a_profile(), pods=(driver, worker)))


def stated(word: str, **fields: Any) -> Attestation:
    request = planned(word, **fields).signing
    assert request is not None
    assert request.attestation is not None, request
    return request.attestation


def test_the_statement_holds_what_the_operator_knows_and_one_reported_digest() -> None:
    attestation = stated(an_outcome())
    assert (attestation.role, attestation.receipt_digest) == ("Operator", RECEIPT)
    assert [about.name for about in attestation.subjects] == ["receipt.json"]
    predicate = attestation.predicate
    assert isinstance(predicate, ClusterRun)
    assert predicate.job.plain() == {
        "kind": "TrainingJob",
        "namespace": "team",
        "name": "seedlings",
        "uid": UID,
    }
    assert (predicate.run_id, predicate.attempt, predicate.dataset_digest) == (RUN, 1, DATASET)
    assert (predicate.images, predicate.pinned_image) == ((KUBELETS,), IMAGE)


@pytest.mark.parametrize("image_id", ["", 'sha256:"\n', "x" * 513], ids=["unknown", "odd", "long"])
def test_without_the_kubelets_word_the_pinned_image_is_stated(image_id: str) -> None:
    predicate = stated(an_outcome(), image_id=image_id).predicate
    assert isinstance(predicate, ClusterRun)
    assert predicate.images == (IMAGE,)


def test_an_image_that_a_webhook_exchanged_in_one_pod_is_stated_too() -> None:
    driver = ended(a_driver(image_id=KUBELETS), 0, an_outcome())
    other = "evil.example/seedbed@sha256:" + "0" * 64
    job = a_training_job().with_status(**SEEN).build()
    pods = (driver, a_worker(image_id=other))
    request = plan(JobObservation(now=NOON, job=job, profile=a_profile(), pods=pods)).signing
    assert request is not None
    assert request.attestation is not None
    assert isinstance(request.attestation.predicate, ClusterRun)
    assert request.attestation.predicate.images == (KUBELETS, other)


def test_of_a_sweep_the_record_of_all_trials_is_stated() -> None:
    seen = {"run_id": None, "sweep_id": None}
    job = a_sweep_job()
    driver = ended(replace(a_driver(), name="seedlings-1-sweep-driver", image_id=KUBELETS), 0, a_sweeps_end())
    fields = {name: value for name, value in SEEN.items() if name not in seen}
    built = job.with_status(**fields).build()
    request = plan(JobObservation(now=NOON, job=built, profile=a_profile(), pods=(driver,))).signing
    assert request is not None
    assert request.attestation is not None
    assert request.attestation.subjects[0].name == "ledger.json"
    assert request.attestation.receipt_digest == LEDGER.digest


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (an_outcome(reason="AlreadyComputed"), "AlreadyComputed"),
        (an_outcome(receipt=None), "NoReceipt"),
        (an_outcome(run_id=None), "NoReceipt"),
        (an_outcome(run_id="sha256:" + "1" * 64), "NoReceipt"),
    ],
    ids=["found in the store", "no receipt", "no run", "another run than before"],
)
def test_what_the_operator_cannot_vouch_for_is_not_stated(word: str, reason: str) -> None:
    request = planned(word).signing
    assert request is not None
    assert (request.attestation, str(request.reason)) == (None, reason)
    assert request.message


@pytest.mark.parametrize(
    ("word", "code"),
    [
        (an_outcome("Failed", "ModelError"), 2),
        (an_outcome("Stopped", "Stopped"), 143),
        (an_outcome(), 1),
        ("", 0),
    ],
    ids=["failed", "stopped", "a success with the exit code of a crash", "no word"],
)
def test_an_attempt_that_did_not_complete_the_run_states_nothing(word: str, code: int) -> None:
    assert planned(word, code=code).signing is None


def test_what_a_driver_calls_a_signature_is_dropped() -> None:
    word = an_outcome().replace('"digest":"' + RECEIPT, '"signature":"forged","digest":"' + RECEIPT)
    assert "forged" in word
    status = planned(word).status
    assert status is not None
    assert status.receipt is not None
    assert (status.receipt.digest, status.receipt.signature) == (RECEIPT, None)


def test_a_digest_in_the_status_that_no_pod_reported_is_never_stated() -> None:
    forged = {"uri": "s3://runs/x", "digest": "sha256:" + "0" * 64}
    request = planned(an_outcome(receipt=None), receipt=forged).signing
    assert request is not None
    assert request.attestation is None
    assert stated(an_outcome(), receipt=forged).receipt_digest == RECEIPT


def test_the_statement_is_made_once() -> None:
    first = planned(an_outcome())
    assert first.status is not None
    driver = ended(
        a_driver(image_id=KUBELETS), 0, an_outcome(receipt=ObjectStatus(uri="s3://x", digest=DATASET))
    )
    job = replace(a_training_job().build(), status=first.status)
    again = plan(JobObservation(now=NOON, job=job, profile=a_profile(), pods=(driver,)))
    assert again.signing is None
