"""Check the signatures of a located receipt by the verifier's own policy."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from seedbed.receipts.identity_signatures import trusted_identities
from seedbed.receipts.model_signature import check_model_signature
from seedbed.receipts.signature_store import MOST_SIGNATURE_BYTES, read_policy, stored_envelopes
from seedbed.receipts.signatures import Signed, SignedBy, signature_status
from seedbed.receipts.small_files import read_small_file
from seedbed.replay.receipt_location import LocatedReceipt
from seedbed_api.attestations.receipt_attestation import ClusterRun


def accepted_signers(
    located: LocatedReceipt, policy_file: Path, envelope_files: Iterable[Path]
) -> tuple[tuple[str, ...], str]:
    """Return the signers that the policy accepts, and one line about them, or about what is missing.

    Envelopes are those of the given files, then those beside the receipt.
    """
    policy = read_policy(policy_file)
    identities = trusted_identities(policy, str(policy_file))
    envelopes = [
        read_small_file(file, MOST_SIGNATURE_BYTES, reason="InvalidSignature").strip()
        for file in envelope_files
    ]
    if located.place is not None:
        envelopes += stored_envelopes(located.place, policy)
    now = datetime.now(UTC)
    status = signature_status(located.receipt.data, envelopes, policy, now=now, identities=identities)
    if not isinstance(status, Signed):
        return (), status.reason
    if located.place is not None:
        for entry in policy.keys:
            check_model_signature(located.place, located.receipt, entry)
    return tuple(by.name for by in status.by), "; ".join(map(_described, status.by))


def _described(by: SignedBy) -> str:
    if isinstance(by.statement, ClusterRun):
        job = by.statement.job
        where = f"{job.kind} {job.namespace}/{job.name} ran {', '.join(by.statement.images)}"
        return f"operator {by.name} ({by.key_id}): {where}"
    return f"user {by.name} ({by.key_id or by.issuer}), who vouches for it"
