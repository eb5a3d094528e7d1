"""Keys that sign and verify: Ed25519 and ECDSA on P-256, in PEM; what signs is securesystemslib.

The identity of a key is the SHA-256 of its public half in DER: `openssl pkey -in KEY -pubout -outform DER`.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import (  # type: ignore[attr-defined]
    CryptoSigner,
    Signature,
    SSlibKey,
)

from seedbed_api.canonical_json import digest_of
from seedbed_api.errors import UserError

MOST_KEY_BYTES = 16 * 2**10
REASON = "InvalidKey"
_FIX = (
    "write one with `openssl genpkey -algorithm ed25519`, or `-algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
)
_NO_KEY = (ValueError, TypeError, UnsupportedAlgorithm)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures."""

    key_id: str
    """`sha256:<hex>` of the key in DER."""
    kind: str
    """`ed25519` or `ecdsa-p256`."""
    _key: SSlibKey

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether a signature of a message is by this key."""
        try:
            self._key.verify_signature(Signature(self.key_id, signature.hex()), message)
        except (UnverifiedSignatureError, VerificationError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key; it is never printed."""

    public: PublicKey
    public_pem: str
    _signer: CryptoSigner

    def __repr__(self) -> str:
        return f"SigningKey({self.public.key_id})"

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message."""
        return bytes.fromhex(self._signer.sign(message).signature)


def load_signing_key(pem: bytes, *, shown: str) -> SigningKey:
    """Return the private key in a PEM; `shown` names it in errors. Raises UserError InvalidKey."""
    _check_size(pem, shown)
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except _NO_KEY as error:
        problem = "is encrypted" if b"ENCRYPTED" in pem else "holds no private key in PEM (PKCS #8)"
        raise UserError(REASON, f"{shown}: {problem}; {_FIX}") from error
    if not isinstance(private, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise _wrong_kind(private, shown)
    public = _public_key(private.public_key(), shown)
    text = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return SigningKey(public, text.decode(), CryptoSigner(private, public._key))


def load_public_key(pem: bytes, *, shown: str) -> PublicKey:
    """Return the public key in a PEM; `shown` names it in errors. Raises UserError InvalidKey."""
    _check_size(pem, shown)
    if b"PRIVATE KEY" in pem:
        fix = "write its public half: `openssl pkey -in KEY -pubout`"
        raise UserError(REASON, f"{shown}: is a private key, which nobody else may read; {fix}")
    try:
        return _public_key(serialization.load_pem_public_key(pem), shown)
    except _NO_KEY as error:
        fix = "write what `openssl pkey -in KEY -pubout` prints"
        raise UserError(REASON, f"{shown}: holds no public key in PEM; {fix}") from error


def _public_key(public: object, shown: str) -> PublicKey:
    match public:
        case ed25519.Ed25519PublicKey():
            kind = "ed25519"
        case ec.EllipticCurvePublicKey() if isinstance(public.curve, ec.SECP256R1):
            kind = "ecdsa-p256"
        case _:
            raise _wrong_kind(public, shown)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    key_id = digest_of(der)
    return PublicKey(key_id, kind, SSlibKey.from_crypto(public, keyid=key_id))


def _check_size(pem: bytes, shown: str) -> None:
    if len(pem) > MOST_KEY_BYTES:
        raise UserError(REASON, f"{shown}: has {len(pem)} bytes, which is no key; {_FIX}")


def _wrong_kind(key: object, shown: str) -> UserError:
    curve = f" on {key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else ""
    kind = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")
    return UserError(
        REASON, f"{shown}: is a key of kind {kind}{curve}, not Ed25519 or ECDSA on P-256; {_FIX}"
    )
