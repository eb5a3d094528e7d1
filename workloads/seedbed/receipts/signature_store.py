"""The signatures beside a receipt, one per signer: `<key>.dsse.json` and `<identity>.sigstore.json`.

A reader asks for the names of the signers that it accepts, so files that others add are never looked at. Only
for a pattern of subjects it lists them, a bounded number.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from seedbed.receipts.identity_signatures import (
    BUNDLE_SUFFIX,
    MOST_BUNDLE_BYTES,
    Identity,
    claimed_signature,
    is_bundle,
    require_library,
    root_field,
    trusted_identities,
)
from seedbed.receipts.receipt_store import Receipt
from seedbed.receipts.small_files import read_small_file
from seedbed.receipts.trusted_roots import parse_trusted_root, read_root_text
from seedbed.storage import DamagedObject, Storage, UnreadableObject, iter_paths
from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.attestations.dsse_envelope import MOST_BYTES, EnvelopeError, parse_envelope
from seedbed_api.attestations.receipt_attestation import (
    RECEIPT_NAME,
    Attestation,
    SelfSigned,
    parse_attestation,
    subject,
)
from seedbed_api.attestations.signature_policy import (
    VerifierPolicy,
    parse_policy,
    with_roots,
)
from seedbed_api.attestations.signing_keys import MOST_KEY_BYTES, SigningKey, load_signing_key
from seedbed_api.canonical_json import digest_of
from seedbed_api.errors import UserError

SIGNATURES = "signatures"
MOST_SIGNATURE_BYTES = max(MOST_BYTES, MOST_BUNDLE_BYTES)
MOST_LISTED = 128
"""Files in `signatures/` that are looked at for a pattern of subjects."""
_MOST_POLICY_BYTES = 2**20


def envelope_path(key_id: str) -> str:
    """Return the path of a key's envelope beside the receipt."""
    return f"{SIGNATURES}/{key_id.removeprefix('sha256:')}.dsse.json"


def bundle_path(identity: Identity) -> str:
    """Return the path of the bundle of an identity beside the receipt."""
    return f"{SIGNATURES}/{identity.file_name}"


def stored_envelopes(storage: Storage, policy: SignaturePolicy) -> Iterator[bytes]:
    """Yield the stored envelopes and bundles of the signers of a policy; of one too large its beginning."""
    keys = (envelope_path(entry.key.key_id) for entry in policy.keys)
    for path in dict.fromkeys([*keys, *_bundle_paths(storage, policy)]):
        envelope = _read_bounded(storage, path)
        if envelope is not None:
            yield envelope


def _bundle_paths(storage: Storage, policy: SignaturePolicy) -> Iterator[str]:
    """Yield where bundles of the identities of a policy may be; those of patterns last."""
    for entry in policy.identities:
        if not entry.is_pattern:
            yield bundle_path(Identity(entry.issuer, entry.subject))
    if any(entry.is_pattern for entry in policy.identities):
        names = islice(iter_paths(storage.child(SIGNATURES)), MOST_LISTED)
        yield from (f"{SIGNATURES}/{name}" for name in sorted(names) if name.endswith(BUNDLE_SUFFIX))


def store_envelope(storage: Storage, receipt: Receipt, envelope: bytes) -> str:
    """Store an envelope or bundle beside its receipt; return its path.

    It takes the place of an earlier one of the same signer. Raises UserError InvalidSignature for one that is
    not about this receipt.
    """
    path = _place_of(receipt, envelope)
    if not storage.create(path, envelope):
        storage.put(path, envelope)
    return path


def add_envelope(storage: Storage, receipt: Receipt, envelope: bytes) -> str:
    """Store an envelope beside its receipt where its signer has none that could count; return its path.

    The same bytes count as stored. Another envelope of the signer about this receipt may be valid, and stays:
    UserError InvalidSignature, as for an envelope that is not about this receipt.
    """
    path = _place_of(receipt, envelope)
    if storage.create(path, envelope):
        return path
    stored = _bounded(storage, path)
    if stored == envelope:
        return path
    if stored is not None and _is_about(stored, receipt):
        problem = "holds another signature of this signer about this receipt, which is not replaced"
        fix = "verify it, or replace it by `seedbed sign --envelope`"
        raise UserError("InvalidSignature", f"{storage.url}/{path}: {problem}; {fix}")
    storage.put(path, envelope)
    return path


def _is_about(envelope: bytes, receipt: Receipt) -> bool:
    try:
        _place_of(receipt, envelope)
    except UserError:
        return False
    return True


def _place_of(receipt: Receipt, envelope: bytes) -> str:
    """Return the path of an envelope or bundle about a receipt. Raises UserError InvalidSignature."""
    try:
        path, payload = _claimed(envelope)
        about = parse_attestation(payload).subjects[0]
    except EnvelopeError as error:
        fix = "give an envelope as the operator writes it into status.receipt.signature, or a Sigstore bundle"
        raise UserError("InvalidSignature", f"envelope: {error}; {fix}") from error
    digest = digest_of(receipt.data)
    if about != subject(RECEIPT_NAME, digest):
        problem = f"is about {about.name} sha256:{about.digest.sha256}, this receipt is {digest}"
        raise UserError("InvalidSignature", f"envelope: {problem}; give the envelope of this run")
    return path


def _claimed(data: bytes) -> tuple[str, bytes]:
    """Return where a signature belongs, and its payload; nothing is verified. Raises EnvelopeError."""
    if is_bundle(data):
        require_library("envelope")
        identity, envelope = claimed_signature(data)
        return bundle_path(identity), envelope.payload
    envelope = parse_envelope(data)
    return envelope_path(_key_id(envelope.signatures[0][0])), envelope.payload


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


def read_policy(path: Path) -> VerifierPolicy:
    """Return the policy in a file, with its trusted roots where they are. Raises UserError InvalidPolicy."""
    data = read_small_file(path, _MOST_POLICY_BYTES, reason="InvalidPolicy")
    try:
        policy = parse_policy(data.decode(), shown=str(path))
    except UnicodeDecodeError as error:
        raise UserError("InvalidPolicy", f"{path}: is not UTF-8; save it as UTF-8") from error
    located = with_roots(policy, lambda index, root: _root_text(path, index, root))
    trusted_identities(located, str(path))  # so that a wrong root is found before it is needed
    return located


def _root_text(policy: Path, index: int, root: str) -> str:
    """Return the trusted root in a file that a policy names, once it was looked at."""
    file, field = policy.absolute().parent / root, root_field(str(policy), index)
    require_library(f"{policy}: identities")
    text = read_root_text(file, field)
    parse_trusted_root(text, field, shown=str(file))
    return text


def _read_bounded(storage: Storage, path: str) -> bytes | None:
    try:
        return _bounded(storage, path)
    except (UnreadableObject, OSError):
        return b""  # refused by its reader, like any other damage


def _bounded(storage: Storage, path: str) -> bytes | None:
    """Return what is stored, empty where nobody can read it. Raises what keeps us from reading it."""
    try:
        size = storage.size(path)
        return storage.read_range(path, 0, min(size, MOST_SIGNATURE_BYTES + 1))
    except FileNotFoundError:
        return None
    except DamagedObject:
        return b""
    except UnreadableObject as error:
        if error.reason == "StorageDenied":
            raise
        return b""


def _key_id(claimed: str) -> str:
    digits = claimed.removeprefix("sha256:")
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        problem = f"names the key {claimed[:80]!r}, not by sha256 of its public half"
        raise UserError("InvalidSignature", f"envelope: {problem}; sign with `seedbed sign` or the operator")
    return claimed
