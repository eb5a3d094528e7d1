"""Decide whether a receipt is signed by a signer that a policy accepts; pure, for whoever reuses a run.

Anyone may add files to a store, so an envelope that is not accepted never hides one that is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from seedbed.receipts.receipt_store import verify_receipt
from seedbed_api.accepted_signers import AcceptedKey, SignaturePolicy, SignerRole
from seedbed_api.attestations.dsse_envelope import EnvelopeError, parse_envelope
from seedbed_api.attestations.receipt_attestation import (
    RECEIPT_NAME,
    Attestation,
    ClusterRun,
    SelfSigned,
    parse_attestation,
    subject,
)
from seedbed_api.canonical_json import digest_of

MOST_ENVELOPES = 32
MOST_PROBLEMS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedBy:
    """A signature that counts."""

    name: str
    """Name of the signer in the policy."""
    role: SignerRole
    key_id: str
    statement: ClusterRun | SelfSigned | None
    """What was signed; None for a signature by identity, which covers the receipt itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """A receipt with enough signatures."""

    by: tuple[SignedBy, ...]
    """Each signer once, in the order of the policy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsigned:
    """A receipt without enough signatures."""

    reason: str
    """One line: what was found, and what would count."""


SignatureStatus: TypeAlias = Signed | Unsigned


def signature_status(
    receipt: bytes, envelopes: Iterable[bytes], policy: SignaturePolicy, *, now: datetime
) -> SignatureStatus:
    """Return whether a receipt, in the bytes that are stored, has the signatures that a policy asks for.

    `envelopes` are the candidate files beside it; at most MOST_ENVELOPES are read. Raises UserError for a
    receipt that does not verify.
    """
    run = verify_receipt(receipt, shown="receipt.json").decided.run_id
    accepted: dict[str, SignedBy] = {}
    problems: list[str] = []
    given = list(envelopes)
    candidate = _Candidate(digest=digest_of(receipt), run=run, now=now)
    for data in given[:MOST_ENVELOPES]:
        try:
            signers, attestation = _valid_signers(data, policy)
        except EnvelopeError as error:
            problems.append(f"an envelope {error}")
            continue
        for entry in signers:
            if problem := _objection(attestation, entry, candidate):
                problems.append(
                    f"the signature of {entry.name} ({entry.key.key_id}) does not count: {problem}"
                )
            else:
                accepted[entry.name] = _signed_by(entry, attestation)
    if len(given) > MOST_ENVELOPES:
        problems.append(f"{len(given)} envelopes were given, and {MOST_ENVELOPES} are read")
    return _status(accepted, problems, policy)


def _status(accepted: dict[str, SignedBy], problems: list[str], policy: SignaturePolicy) -> SignatureStatus:
    if len(accepted) >= policy.minimum:
        return Signed(by=tuple(accepted[key.name] for key in policy.keys if key.name in accepted))
    found = f"{len(accepted)} of {policy.minimum} signatures that the policy asks for"
    why = "; ".join(dict.fromkeys(problems[:MOST_PROBLEMS])) or "there is no envelope beside the receipt"
    return Unsigned(reason=f"{found}: {why}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    """What a signature must be about, and when it is looked at."""

    digest: str
    run: str
    now: datetime


def _valid_signers(data: bytes, policy: SignaturePolicy) -> tuple[list[AcceptedKey], Attestation]:
    """Return the keys of the policy that signed an envelope, and its Statement. Raises EnvelopeError."""
    envelope = parse_envelope(data)
    by_id = {entry.key.key_id: entry for entry in policy.keys}
    signers = [by_id[key.key_id] for key in envelope.signed_by(entry.key for entry in policy.keys)]
    if not signers:
        claimed = ", ".join(dict.fromkeys(name[:80] or "an unnamed key" for name, _ in envelope.signatures))
        raise EnvelopeError(f"by {claimed} has no valid signature of a key in the policy")
    return signers, parse_attestation(envelope.payload)  # looked at only where a known key signed it


def _signed_by(entry: AcceptedKey, attestation: Attestation) -> SignedBy:
    return SignedBy(
        name=entry.name, role=entry.role, key_id=entry.key.key_id, statement=attestation.predicate
    )


def _objection(attestation: Attestation, entry: AcceptedKey, candidate: _Candidate) -> str | None:
    """Return the first reason why a valid signature does not count."""
    predicate, about = attestation.predicate, attestation.subjects[0]
    if entry.expired(candidate.now):
        return f"the key was valid until {entry.valid_until}"
    if attestation.role != entry.role:
        return (
            f"it is a statement of role {attestation.role}, and the policy accepts {entry.role} of this key"
        )
    if about != subject(RECEIPT_NAME, candidate.digest):
        return f"it is about {about.name} {attestation.receipt_digest}, this receipt is {candidate.digest}"
    if predicate.run_id != candidate.run:
        return f"it is about run {predicate.run_id}, this receipt is of {candidate.run}"
    return _objection_to_cluster_run(predicate, entry) if isinstance(predicate, ClusterRun) else None


def _objection_to_cluster_run(predicate: ClusterRun, entry: AcceptedKey) -> str | None:
    namespace = predicate.job.namespace
    if not entry.accepts_namespace(namespace):
        return f"namespace {namespace} is none of {', '.join(entry.namespaces)} in the policy"
    other = next((image for image in predicate.images if not entry.accepts_image(image)), None)
    if other is not None:
        return f"image {other[:160]} is none of {', '.join(entry.images)} in the policy"
    return None
