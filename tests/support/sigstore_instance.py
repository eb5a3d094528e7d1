"""A Sigstore instance of the tests: certificate authority, certificate log and transparency log with own keys.

What it issues has the form of Fulcio's and Rekor's answers, so that the library `sigstore` verifies it as such.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from support.signing import edited

ISSUER = "https://kubernetes.default.svc"
SUBJECT = "https://kubernetes.io/namespaces/vision/serviceaccounts/trainer"
BEGAN = datetime(2020, 1, 1, tzinfo=UTC)
"""Beginning of the validity of all keys."""
SIGNED = datetime(2026, 11, 21, 2, 5, 1, tzinfo=UTC)
"""When a signature is made that names no time."""
_SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER_V1 = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_ECDSA = ec.ECDSA(hashes.SHA256())


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_public(key)).digest()


def _der_text(text: str) -> bytes:
    """Return a DER UTF8String."""
    data = text.encode()
    size = bytes([len(data)]) if len(data) < 128 else bytes([0x82, *len(data).to_bytes(2, "big")])
    return b"\x0c" + size + data


def _octets(data: bytes) -> bytes:
    assert len(data) < 256
    return b"\x04" + (bytes([len(data)]) if len(data) < 128 else bytes([0x81, len(data)])) + data


@dataclass
class MerkleTree:
    """A log's tree of RFC 6962."""

    leaves: list[bytes] = field(default_factory=list)

    def append(self, leaf: bytes) -> int:
        """Return the index of the new leaf."""
        self.leaves.append(hashlib.sha256(b"\0" + leaf).digest())
        return len(self.leaves) - 1

    def root(self) -> bytes:
        """Return the hash over all leaves."""
        return _root(self.leaves)

    def proof(self, index: int) -> list[bytes]:
        """Return the hashes beside the way from a leaf to the root, lowest first."""
        return _path(index, self.leaves)


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    half = _half(len(leaves))
    return hashlib.sha256(b"\1" + _root(leaves[:half]) + _root(leaves[half:])).digest()


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    half = _half(len(leaves))
    if index < half:
        return [*_path(index, leaves[:half]), _root(leaves[half:])]
    return [*_path(index - half, leaves[half:]), _root(leaves[:half])]


def _half(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


class SigstoreInstance:
    """Issues certificates and log entries; `trusted_root` is what a verifier needs of it."""

    def __init__(self, name: str = "example") -> None:
        self.name = name
        self.ca_key, self.ct_key, self.log_key = _new_key(), _new_key(), _new_key()
        self.ca = self._root_certificate()
        self.tree = MerkleTree()
        for number in range(5):  # entries of others
            self.tree.append(f"entry {number}".encode())

    def trusted_root(self, **changes: Any) -> bytes:
        """Return trusted_root.json."""
        fields = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._log("rekor", self.log_key)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": self.name, "commonName": f"{self.name} CA"},
                    "uri": f"https://fulcio.{self.name}.test",
                    "certChain": {"certificates": [{"rawBytes": _b64(_der(self.ca))}]},
                    "validFor": {"start": _time(BEGAN)},
                }
            ],
            "ctlogs": [self._log("ctfe", self.ct_key)],
        }
        return json.dumps({**fields, **changes}).encode()

    def certificate(
        self,
        key: ec.EllipticCurvePublicKey,
        *,
        issuer: str = ISSUER,
        subject: str | tuple[str, ...] = SUBJECT,
        start: datetime = SIGNED,
        sct: bool = True,
        versions: tuple[int, ...] = (1, 2),
    ) -> x509.Certificate:
        """Return a certificate for ten minutes, which the certificate log has promised to list."""
        names = (subject,) if isinstance(subject, str) else subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.ca.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - timedelta(seconds=1))
            .not_valid_after(start + timedelta(minutes=10))
            .add_extension(_leaf_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca_key.public_key()), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=True
            )
        )
        if 1 in versions:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(_ISSUER_V1, issuer.encode()), critical=False
            )
        if 2 in versions:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(_ISSUER_V2, _der_text(issuer)), critical=False
            )
        if not sct:
            return builder.sign(self.ca_key, hashes.SHA256())
        listed = self._sct(builder.sign(self.ca_key, hashes.SHA256()), start)
        return builder.add_extension(x509.UnrecognizedExtension(_SCT_LIST, listed), critical=False).sign(
            self.ca_key, hashes.SHA256()
        )

    def entry(self, body: bytes, when: datetime) -> dict[str, Any]:
        """Return the log's entry of a body, with a proof and a promise."""
        index = self.tree.append(body)
        root, seconds = self.tree.root(), int(when.timestamp())
        note = f"rekor.{self.name}.test - 1\n{len(self.tree.leaves)}\n{_b64(root)}\n"
        signed = _b64(_id(self.log_key)[:4] + self.log_key.sign(note.encode(), _ECDSA))
        promise = rfc8785.dumps(
            {
                "body": _b64(body),
                "integratedTime": seconds,
                "logID": _id(self.log_key).hex(),
                "logIndex": index,
            }
        )
        return {
            "logIndex": str(index),
            "logId": {"keyId": _b64(_id(self.log_key))},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(seconds),
            "inclusionPromise": {"signedEntryTimestamp": _b64(self.log_key.sign(promise, _ECDSA))},
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": _b64(root),
                "treeSize": str(len(self.tree.leaves)),
                "hashes": [_b64(each) for each in self.tree.proof(index)],
                "checkpoint": {"envelope": f"{note}\n\u2014 rekor.{self.name}.test {signed}\n"},
            },
            "canonicalizedBody": _b64(body),
        }

    def bundle(
        self,
        payload: bytes,
        *,
        when: datetime = SIGNED,
        payload_type: str = "application/vnd.in-toto+json",
        **certificate: Any,
    ) -> bytes:
        """Return the bundle of a payload, signed by a new key with a certificate of this instance."""
        key = _new_key()
        issued = self.certificate(key.public_key(), **{"start": when, **certificate})
        message = b" ".join(
            [
                b"DSSEv1",
                str(len(payload_type)).encode(),
                payload_type.encode(),
                str(len(payload)).encode(),
                payload,
            ]
        )
        envelope = {
            "payload": _b64(payload),
            "payloadType": payload_type,
            "signatures": [{"sig": _b64(key.sign(message, _ECDSA))}],
        }
        return bundle_of(issued, envelope, self.entry(dsse_body(envelope, issued), when))

    def _root_certificate(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{self.name} CA")])
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.ca_key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.ca_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(BEGAN)
            .not_valid_after(BEGAN + timedelta(days=40 * 365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_ca_usage(), critical=True)
            .add_extension(identifier, critical=False)
            .sign(self.ca_key, hashes.SHA256())
        )

    def _sct(self, precertificate: x509.Certificate, when: datetime) -> bytes:
        """Return the list with the certificate log's promise, as the extension holds it (RFC 6962)."""
        signed = precertificate.tbs_certificate_bytes
        milliseconds = int(when.timestamp() * 1000)
        entry = _id(self.ca_key) + len(signed).to_bytes(3, "big") + signed
        message = struct.pack("!BBQH", 0, 0, milliseconds, 1) + entry + b"\0\0"
        signature = self.ct_key.sign(message, _ECDSA)
        promise = (
            b"\0"
            + _id(self.ct_key)
            + struct.pack("!QHBBH", milliseconds, 0, 4, 3, len(signature))
            + signature
        )
        return _octets(struct.pack("!HH", len(promise) + 2, len(promise)) + promise)

    def _log(self, kind: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
        return {
            "baseUrl": f"https://{kind}.{self.name}.test",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": _b64(_public(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": _time(BEGAN)},
            },
            "logId": {"keyId": _b64(_id(key))},
        }


def bundle_of(certificate: x509.Certificate, envelope: dict[str, Any], entry: dict[str, Any]) -> bytes:
    """Return the parts as a bundle of version 0.3."""
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": _b64(_der(certificate))},
                "tlogEntries": [entry],
            },
            "dsseEnvelope": envelope,
        }
    ).encode()


def dsse_body(envelope: dict[str, Any], certificate: x509.Certificate) -> bytes:
    """Return what the log stores of an envelope."""
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    payload = base64.b64decode(envelope["payload"])
    spec = {
        "envelopeHash": _hash(json.dumps(envelope).encode()),
        "payloadHash": _hash(payload),
        "signatures": [{"signature": each["sig"], "verifier": _b64(pem)} for each in envelope["signatures"]],
    }
    return rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})


def with_entry(bundle: bytes, **changes: Any) -> bytes:
    """Return a bundle whose log entry has other fields; None removes one."""
    material = json.loads(bundle)["verificationMaterial"]
    entry = {**material["tlogEntries"][0], **changes}
    kept = {name: value for name, value in entry.items() if value is not None}
    return edited(bundle, verificationMaterial={**material, "tlogEntries": [kept]})


def _hash(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _general_name(subject: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(subject) if "://" in subject else x509.RFC822Name(subject)


def _leaf_usage() -> x509.KeyUsage:
    return _usage(digital_signature=True)


def _ca_usage() -> x509.KeyUsage:
    return _usage(key_cert_sign=True, crl_sign=True)


def _usage(**granted: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: granted.get(name, False) for name in names})
