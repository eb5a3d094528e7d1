"""The envelopes beside a receipt: `signatures/<key>.dsse.json`, one per key.

A reader asks for the names of the keys that it accepts, so files that others add are never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seedbed.receipts.receipt_store import Receipt
from seedbed.storage import DamagedObject, Storage, UnreadableObject
from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.attestations.dsse_envelope import MOST_BYTES, EnvelopeError, parse_envelope
from seedbed_api.attestations.receipt_attestation import (
    RECEIPT_NAME,
    Attestation,
    SelfSigned,
    parse_attestation,
    subject,
)
from seedbed_api.attestations.signature_policy import parse_policy
from seedbed_api.attestations.signing_keys import MOST_KEY_BYTES, SigningKey, load_signing_key
from seedbed_api.canonical_json import digest_of
from seedbed_api.errors import UserError, refusal

SIGNATURES = "signatures"
_MOST_POLICY_BYTES = 2**20


def envelope_path(key_id: str) -> str:
    """Return the path of a key's envelope beside the receipt."""
    return f"{SIGNATURES}/{key_id.removeprefix('sha256:')}.dsse.json"


def stored_envelopes(storage: Storage, policy: SignaturePolicy) -> Iterator[bytes]:
    """Yield the stored envelopes of the keys of a policy; of one that is too large its beginning."""
    for entry in policy.keys:
        envelope = _read_bounded(storage, envelope_path(entry.key.key_id))
        if envelope is not None:
            yield envelope


def store_envelope(storage: Storage, receipt: Receipt, envelope: bytes) -> str:
    """Store an envelope beside its receipt, in place of an earlier one of the same key; return its path.

    Raises UserError InvalidSignature for one that is not about this receipt.
    """
    try:
        parsed = parse_envelope(envelope)
        about = parse_attestation(parsed.payload).subjects[0]
    except EnvelopeError as error:
        fix = "give an envelope as the operator writes it into status.receipt.signature"
        raise UserError("InvalidSignature", f"envelope: {error}; {fix}") from error
    digest = digest_of(receipt.data)
    if about != subject(RECEIPT_NAME, digest):
        problem = f"is about {about.name} sha256:{about.digest.sha256}, this receipt is {digest}"
        raise UserError("InvalidSignature", f"envelope: {problem}; give the envelope of this run")
    path = envelope_path(_key_id(parsed.signatures[0][0]))
    if not storage.create(path, envelope):
        storage.put(path, envelope)
    return path


def self_signed(receipt: Receipt, *, signed_on: str) -> Attestation:
    """Return a user's statement about a receipt and the model files that it names."""
    files = [subject(name, f"sha256:{digest}") for name, digest in sorted(receipt.decided.subjects.items())]
    return Attestation(
        role="User",
        subjects=(subject(RECEIPT_NAME, digest_of(receipt.data)), *files[:32]),
        predicate=SelfSigned(run_id=receipt.decided.run_id, signed_on=signed_on),
    )


def read_signing_key(path: Path) -> SigningKey:
    """Return the private key in a file. Raises UserError InvalidKey."""
    return load_signing_key(read_small_file(path, MOST_KEY_BYTES, reason="InvalidKey"), shown=str(path))


def read_policy(path: Path) -> SignaturePolicy:
    """Return the policy in a file. Raises UserError InvalidPolicy."""
    data = read_small_file(path, _MOST_POLICY_BYTES, reason="InvalidPolicy")
    try:
        return parse_policy(data.decode(), shown=str(path))
    except UnicodeDecodeError as error:
        raise UserError("InvalidPolicy", f"{path}: is not UTF-8; save it as UTF-8") from error


def read_small_file(path: Path, most_bytes: int, *, reason: str) -> bytes:
    """Return the bytes of a regular file, and of a larger one the first that are too many."""
    try:
        if not path.is_file():
            raise UserError(reason, refusal("file", str(path), "is no regular file", "name one that exists"))
        with path.open("rb") as file:
            return file.read(most_bytes + 1)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise UserError(
            reason, refusal("file", str(path), problem, "name a file that you may read")
        ) from error


def _read_bounded(storage: Storage, path: str) -> bytes | None:
    try:
        size = storage.size(path)
        return storage.read_range(path, 0, min(size, MOST_BYTES + 1))
    except FileNotFoundError:
        return None
    except (DamagedObject, UnreadableObject, OSError):
        return b""  # refused by its reader, like any other damage


def _key_id(claimed: str) -> str:
    digits = claimed.removeprefix("sha256:")
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        problem = f"names the key {claimed[:80]!r}, not by sha256 of its public half"
        raise UserError("InvalidSignature", f"envelope: {problem}; sign with `seedbed sign` or the operator")
    return claimed
