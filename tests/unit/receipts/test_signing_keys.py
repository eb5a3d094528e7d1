"""Keys that sign receipts: made by openssl, verified by a second implementation, never printed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed_api.attestations import dsse_envelope
from seedbed_api.attestations.dsse_envelope import parse_envelope, sign_payload
from seedbed_api.attestations.signing_keys import load_public_key, load_signing_key
from seedbed_api.canonical_json import digest_of
from seedbed_api.errors import UserError
from support.signing import a_key, private_pem

KEY, OTHER, P256 = a_key(), a_key(), a_key("ecdsa-p256")


@pytest.mark.parametrize(
    ("pem", "problem"),
    [
        (private_pem("rsa"), "of kind RSA"),
        (private_pem("ecdsa-p384"), "on secp384r1"),
        (private_pem(password=b"secret"), "is encrypted"),
        (KEY.public_pem.encode(), "holds no private key"),
        (b"", "holds no private key"),
        (b"-" * 20_000, "20000 bytes"),
    ],
    ids=["RSA", "P-384", "encrypted", "public", "empty", "huge"],
)
def test_a_key_that_cannot_sign_is_named_and_never_printed(pem: bytes, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        load_signing_key(pem, shown="signing.key")
    assert caught.value.message.startswith("signing.key: ")
    assert problem in caught.value.message
    assert "openssl genpkey" in caught.value.message
    assert "PRIVATE" not in caught.value.message


def test_the_repr_of_a_key_holds_its_public_identity_alone() -> None:
    assert repr(KEY) == f"SigningKey({KEY.public.key_id})"


def _pae(kind: bytes, payload: bytes) -> bytes:
    """The encoding that DSSE signs, written from its specification."""
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def _verified_independently(envelope: bytes, public_pem: bytes) -> bool:
    """Verify an envelope with the library `cryptography` alone."""
    fields = json.loads(envelope)
    message = _pae(fields["payloadType"].encode(), base64.b64decode(fields["payload"]))
    key, signature = (
        serialization.load_pem_public_key(public_pem),
        base64.b64decode(fields["signatures"][0]["sig"]),
    )
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        else:
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


@settings(deadline=None, max_examples=50)
@given(payload=st.binary(max_size=2000), kind=st.sampled_from(["ed25519", "ecdsa-p256"]))
def test_a_second_implementation_verifies_what_was_signed(payload: bytes, kind: str) -> None:
    key = {"ed25519": KEY, "ecdsa-p256": P256}[kind]
    envelope = sign_payload(payload, key)
    assert _verified_independently(envelope, key.public_pem.encode())
    assert not _verified_independently(envelope, OTHER.public_pem.encode())
    assert dsse_envelope.pre_authentication_encoding(payload) == _pae(
        b"application/vnd.in-toto+json", payload
    )
    assert parse_envelope(envelope).signed_by([key.public, OTHER.public]) == (key.public,)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="not run: no openssl")
@pytest.mark.parametrize(
    "how",
    [["-algorithm", "ed25519"], ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]],
    ids=["ed25519", "ecdsa-p256"],
)
def test_openssl_makes_keys_that_sign_and_knows_their_identity(tmp_path: Path, how: list[str]) -> None:
    private = tmp_path / "signing.key"
    subprocess.run(["openssl", "genpkey", *how, "-out", str(private)], check=True, capture_output=True)
    public = subprocess.run(
        ["openssl", "pkey", "-in", str(private), "-pubout"], check=True, capture_output=True
    ).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-in", str(private), "-pubout", "-outform", "DER"],
        check=True,
        capture_output=True,
    ).stdout
    key = load_signing_key(private.read_bytes(), shown="signing.key")
    assert load_public_key(public, shown="signing.pub").key_id == key.public.key_id
    assert key.public.key_id == digest_of(der)
