"""Keys, statements and policies for tests of signatures."""

from __future__ import annotations

import base64
import json
import textwrap
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from seedbed_api.attestations.receipt_attestation import (
    Attestation,
    ClusterRun,
    SelfSigned,
    SignedJob,
    subject,
)
from seedbed_api.attestations.signing_keys import SigningKey, load_signing_key
from seedbed_api.canonical_json import digest_of

IMAGE = "registry.example/seedbed@sha256:" + "7" * 64
SIGNED_ON = "2026-11-21T02:05:01Z"
KINDS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


def private_pem(kind: str = "ed25519", *, password: bytes | None = None) -> bytes:
    """Return a new private key in PEM."""
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return KINDS[kind]().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
    )


def a_key(kind: str = "ed25519") -> SigningKey:
    """Return a new key."""
    return load_signing_key(private_pem(kind), shown="key")


def a_cluster_run(receipt: bytes, run_id: str, **changes: Any) -> Attestation:
    """Return the operator's statement about a receipt."""
    job = SignedJob(kind="TrainingJob", namespace="vision", name="digits", uid="1" * 36)
    fields = {
        "run_id": run_id,
        "job": job,
        "attempt": 1,
        "images": (IMAGE,),
        "pinned_image": IMAGE,
        "signed_on": SIGNED_ON,
    }
    predicate = ClusterRun(**{**fields, **changes})
    return Attestation(
        role="Operator", subjects=(subject("receipt.json", digest_of(receipt)),), predicate=predicate
    )


def a_self_signed(receipt: bytes, run_id: str) -> Attestation:
    """Return a user's statement about a receipt."""
    about = (subject("receipt.json", digest_of(receipt)),)
    return Attestation(role="User", subjects=about, predicate=SelfSigned(run_id=run_id, signed_on=SIGNED_ON))


def a_policy(*keys: tuple[str, SigningKey], role: str = "Operator", minimum: int = 1, more: str = "") -> str:
    """Return a policy that accepts keys by name; `more` is added to each of them."""
    lines = [f"minimum: {minimum}", "keys:"]
    for name, key in keys:
        lines += [f"- name: {name}", f"  role: {role}", "  publicKey: |"]
        lines += textwrap.indent(key.public_pem, "    ").splitlines()
        lines += [f"  {line}" for line in more.splitlines()]
    return "\n".join(lines) + "\n"


def edited(envelope: bytes, **fields: Any) -> bytes:
    """Return an envelope with other fields."""
    return json.dumps({**json.loads(envelope), **fields}).encode()


def payload_of(envelope: bytes) -> Any:
    """Return the Statement in an envelope."""
    return json.loads(base64.b64decode(json.loads(envelope)["payload"]))
