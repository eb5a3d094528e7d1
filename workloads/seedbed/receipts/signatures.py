"""Decide whether a receipt is signed by a signer that a policy accepts; pure, for whoever reuses a run.

Anyone may add files to a store, so an envelope that is not accepted never hides one that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from seedbed.receipts.identity_signatures import (
    Identity,
    TrustedIdentity,
    is_bundle,
    verified_statement,
)
from seedbed.receipts.receipt_store import verify_receipt
from seedbed_api.accepted_signers import (
    AcceptedIdentity,
    AcceptedKey,
    SignaturePolicy,
    SignerRole,
    is_expired,
)
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

MOST_ENVELOPES = 256
MOST_PROBLEMS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedBy:
    """A signature that counts."""

    name: str
    """Name of the signer in the policy; of an identity its subject."""
    role: SignerRole
    statement: ClusterRun | SelfSigned
    """What was signed."""
    key_id: str = ""
    """Identity of the key; empty for an identity."""
    issuer: str = ""
    """Who vouched for an identity; empty for a key."""


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
_Signer: TypeAlias = str | Identity
"""The name of a key, or who the certificate of a bundle names: each counts once."""
_Entry: TypeAlias = AcceptedKey | AcceptedIdentity


def signature_status(
    receipt: bytes,
    envelopes: Iterable[bytes],
    policy: SignaturePolicy,
    *,
    now: datetime,
    identities: Sequence[TrustedIdentity] = (),
) -> SignatureStatus:
    """Return whether a receipt, in the bytes that are stored, has the signatures that a policy asks for.

    `envelopes` are the candidate files beside it, envelopes of keys and bundles of identities; at most
    MOST_ENVELOPES are read. `identities` are those of the policy with their trusted roots. Raises UserError
    for a receipt that does not verify.
    """
    run = verify_receipt(receipt, shown="receipt.json").decided.run_id
    accepted: dict[_Signer, SignedBy] = {}
    problems: list[str] = []
    given = list(envelopes)
    candidate = _Candidate(digest=digest_of(receipt), run=run, now=now)
    for data in given[:MOST_ENVELOPES]:
        try:
            signatures = _valid_signatures(data, policy, identities)
        except EnvelopeError as error:
            problems.append(f"{'a bundle' if is_bundle(data) else 'an envelope'} {error}")
            continue
        for signer, entry, attestation in signatures:
            if problem := _objection(attestation, entry, candidate):
                problems.append(f"the signature of {_shown(signer, entry)} does not count: {problem}")
            else:
                accepted[signer] = _signed_by(signer, entry, attestation)
    if len(given) > MOST_ENVELOPES:
        problems.append(f"{len(given)} envelopes were given, and {MOST_ENVELOPES} are read")
    return _status(accepted, problems, policy)


def _status(
    accepted: dict[_Signer, SignedBy], problems: list[str], policy: SignaturePolicy
) -> SignatureStatus:
    if len(accepted) >= policy.minimum:
        keys = [accepted[key.name] for key in policy.keys if key.name in accepted]
        people = sorted(signer for signer in accepted if isinstance(signer, Identity))
        return Signed(by=(*keys, *(accepted[signer] for signer in people)))
    found = f"{len(accepted)} of {policy.minimum} signatures that the policy asks for"
    why = "; ".join(dict.fromkeys(problems[:MOST_PROBLEMS])) or "there is no envelope beside the receipt"
    return Unsigned(reason=f"{found}: {why}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    """What a signature must be about, and when it is looked at."""

    digest: str
    run: str
    now: datetime


def _valid_signatures(
    data: bytes, policy: SignaturePolicy, identities: Sequence[TrustedIdentity]
) -> list[tuple[_Signer, _Entry, Attestation]]:
    """Return the valid signatures of signers of the policy. Raises EnvelopeError."""
    if not is_bundle(data):
        keys, attestation = _valid_keys(data, policy)
        return [(entry.name, entry, attestation) for entry in keys]
    if not identities:
        raise EnvelopeError("is of an identity, and the policy lists none")
    return [verified_statement(data, identities)]


def _valid_keys(data: bytes, policy: SignaturePolicy) -> tuple[list[AcceptedKey], Attestation]:
    """Return the keys of the policy that signed an envelope, and its Statement. Raises EnvelopeError."""
    envelope = parse_envelope(data)
    by_id = {entry.key.key_id: entry for entry in policy.keys}
    signers = [by_id[key.key_id] for key in envelope.signed_by(entry.key for entry in policy.keys)]
    if not signers:
        claimed = ", ".join(dict.fromkeys(name[:80] or "an unnamed key" for name, _ in envelope.signatures))
        raise EnvelopeError(f"by {claimed} has no valid signature of a key in the policy")
    return signers, parse_attestation(envelope.payload)  # looked at only where a known key signed it


def _signed_by(signer: _Signer, entry: _Entry, attestation: Attestation) -> SignedBy:
    statement = attestation.predicate
    if isinstance(signer, Identity):
        return SignedBy(name=signer.subject, role="User", issuer=signer.issuer, statement=statement)
    assert isinstance(entry, AcceptedKey)
    return SignedBy(name=signer, role=entry.role, key_id=entry.key.key_id, statement=statement)


def _shown(signer: _Signer, entry: _Entry) -> str:
    return f"{signer} ({entry.key.key_id})" if isinstance(entry, AcceptedKey) else str(signer)


def _objection(attestation: Attestation, entry: _Entry, candidate: _Candidate) -> str | None:
    """Return the first reason why a valid signature does not count."""
    predicate, about = attestation.predicate, attestation.subjects[0]
    kind, role = ("key", entry.role) if isinstance(entry, AcceptedKey) else ("identity", "User")
    if is_expired(entry, candidate.now):
        return f"the {kind} was valid until {entry.valid_until}"
    if attestation.role != role:
        return f"it is a statement of role {attestation.role}, and the policy accepts {role} of this {kind}"
    if about != subject(RECEIPT_NAME, candidate.digest):
        return f"it is about {about.name} {attestation.receipt_digest}, this receipt is {candidate.digest}"
    if predicate.run_id != candidate.run:
        return f"it is about run {predicate.run_id}, this receipt is of {candidate.run}"
    if isinstance(predicate, ClusterRun) and isinstance(entry, AcceptedKey):
        return _objection_to_cluster_run(predicate, entry)
    return None


def _objection_to_cluster_run(predicate: ClusterRun, entry: AcceptedKey) -> str | None:
    namespace = predicate.job.namespace
    if not entry.accepts_namespace(namespace):
        return f"namespace {namespace} is none of {', '.join(entry.namespaces)} in the policy"
    other = next((image for image in predicate.images if not entry.accepts_image(image)), None)
    if other is not None:
        return f"image {other[:160]} is none of {', '.join(entry.images)} in the policy"
    return None
