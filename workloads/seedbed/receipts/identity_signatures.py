"""Signatures by identity: Sigstore bundles, verified by the library `sigstore` without a network.

A bundle holds a DSSE envelope, the certificate in which an authority names who signed, and the transparency
log's proof of when. The library is of the extra `sign` and imported when a policy names identities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from seedbed.receipts.trusted_roots import TrustedRootFile, parse_trusted_root, words_of
from seedbed_api.accepted_signers import AcceptedIdentity, SignaturePolicy
from seedbed_api.attestations.dsse_envelope import (
    PAYLOAD_TYPE,
    DsseEnvelope,
    EnvelopeError,
    parse_envelope,
)
from seedbed_api.attestations.receipt_attestation import Attestation, parse_attestation
from seedbed_api.canonical_json import canonical_json, digest_of
from seedbed_api.errors import UserError
from seedbed_api.printable_text import on_one_line
from seedbed_api.strict_json import parse_json

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Extensions
    from sigstore.models import Bundle

BUNDLE_SUFFIX = ".sigstore.json"
MOST_BUNDLE_BYTES = 256 * 2**10
MEDIA_TYPES = (
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
)
_LONGEST_NAME = 2048
_ISSUER_V1, _ISSUER_V2 = "1.3.6.1.4.1.57264.1.1", "1.3.6.1.4.1.57264.1.8"


@dataclass(frozen=True, order=True, slots=True)
class Identity:
    """Who signed, as a certificate names it."""

    issuer: str
    subject: str

    def __str__(self) -> str:
        return on_one_line(f"{self.subject[:300]} of {self.issuer[:300]}")

    @property
    def file_name(self) -> str:
        """Return the name of its bundle beside a receipt."""
        digest = digest_of(canonical_json([self.issuer, self.subject]))
        return digest.removeprefix("sha256:") + BUNDLE_SUFFIX


@dataclass(frozen=True, slots=True)
class TrustedIdentity:
    """An identity of a policy with the root that its certificates must come from."""

    entry: AcceptedIdentity
    root: TrustedRootFile
    index: int
    """Its place in the policy, for messages."""


def trusted_identities(policy: SignaturePolicy, shown: str = "policy") -> tuple[TrustedIdentity, ...]:
    """Return the identities of a policy; `shown` names it in errors. Raises UserError InvalidPolicy.

    A trusted root is parsed once in a process, however often its policy is looked at.
    """
    if policy.identities:
        require_library(f"{shown}: identities")
    return tuple(
        TrustedIdentity(entry, parse_trusted_root(entry.trusted_root, root_field(shown, index)), index)
        for index, entry in enumerate(policy.identities)
    )


def root_field(shown: str, index: int) -> str:
    """Return the name of a trusted root of a policy in errors."""
    return f"{shown}: identities[{index}].trustedRoot"


def require_library(field: str) -> None:
    """Raise UserError InvalidUsage where `sigstore` is not installed."""
    if find_spec("sigstore") is None:
        line = f"{field}: signatures by identity need the package sigstore; install seedbed[sign]"
        raise UserError("InvalidUsage", line)


def is_bundle(data: bytes) -> bool:
    """Return whether a file is a Sigstore bundle rather than an envelope."""
    return b"verificationMaterial" in data[:MOST_BUNDLE_BYTES]


def parse_bundle(data: bytes) -> Bundle:
    """Return the bundle in a file, of which nothing is verified. Raises EnvelopeError."""
    from sigstore.models import Bundle

    if len(data) > MOST_BUNDLE_BYTES:
        raise EnvelopeError(f"has more than {MOST_BUNDLE_BYTES} bytes")
    try:
        fields = parse_json(data, most_bytes=MOST_BUNDLE_BYTES)
    except ValueError as error:
        raise EnvelopeError(f"is no JSON ({on_one_line(str(error))[:120]})") from error
    kind = fields.get("mediaType") if isinstance(fields, dict) else None
    if kind not in MEDIA_TYPES:
        raise EnvelopeError(f"is no Sigstore bundle of version 0.3 (mediaType: {repr(kind)[:100]})")
    try:
        return Bundle.from_json(data)
    except Exception as error:  # as above
        raise EnvelopeError(f"is no Sigstore bundle that can be verified ({words_of(error)})") from error


def claimed_signature(data: bytes) -> tuple[Identity, DsseEnvelope]:
    """Return who has signed what, as a bundle claims it; nothing is verified. Raises EnvelopeError."""
    identity = identity_of(parse_bundle(data).signing_certificate)
    fields = parse_json(data, most_bytes=MOST_BUNDLE_BYTES).get("dsseEnvelope")
    if fields is None:
        raise EnvelopeError("holds the signature of a message, not of a Statement")
    return identity, parse_envelope(canonical_json(fields))


def verified_statement(
    data: bytes, trusted: Sequence[TrustedIdentity]
) -> tuple[Identity, AcceptedIdentity, Attestation]:
    """Return who signed a bundle, whom of the policy that is, and the Statement. Raises EnvelopeError."""
    bundle = parse_bundle(data)
    claimed = identity_of(bundle.signing_certificate)
    listed = [each for each in trusted if each.entry.accepts(claimed.issuer, claimed.subject)]
    if not listed:
        raise EnvelopeError(f"by {claimed} is of no identity in the policy{_nearest(claimed, trusted)}")
    problems = []
    for each in listed:
        try:
            payload = verified_payload(bundle, each.root, each.entry.accepts)
        except EnvelopeError as error:
            problems.append(f"{error} (by the root of identities[{each.index}])")
        else:
            return claimed, each.entry, parse_attestation(payload)
    raise EnvelopeError(f"by {claimed} {'; '.join(dict.fromkeys(problems))}")


def verified_payload(bundle: Bundle, root: TrustedRootFile, accepts: Callable[[str, str], bool]) -> bytes:
    """Return the payload that an issuer's subject signed whom `accepts` takes. Raises EnvelopeError."""
    verifier = root.verifier_at(bundle.signing_certificate.not_valid_before_utc)
    try:
        kind, payload = verifier.verify_dsse(bundle, _Accepted(accepts))
    except Exception as error:  # as above
        raise EnvelopeError(f"does not verify: {words_of(error)}") from error
    if kind != PAYLOAD_TYPE:
        raise EnvelopeError(f"signs a payload of type {kind[:100]!r}, not {PAYLOAD_TYPE}")
    return payload


def identity_of(certificate: Certificate) -> Identity:
    """Return whom a certificate names: one subject, and one issuer in one or both spellings of Fulcio.

    Raises EnvelopeError.
    """
    issuers, subjects = set(_issuers(certificate)), tuple(_subjects(certificate))
    if len(issuers) != 1 or len(subjects) != 1:
        problem = f"names {len(issuers)} issuers and {len(subjects)} subjects, not one of each"
        raise EnvelopeError(f"has a certificate that {problem}")
    found = Identity(issuer=issuers.pop(), subject=subjects[0])
    if max(len(found.issuer), len(found.subject)) > _LONGEST_NAME:
        raise EnvelopeError(f"has a certificate with a name of more than {_LONGEST_NAME} characters")
    return found


class _Accepted:
    """What the library asks about a certificate that it has verified."""

    def __init__(self, accepts: Callable[[str, str], bool]) -> None:
        self._accepts = accepts

    def verify(self, cert: Certificate) -> None:
        """Raise EnvelopeError for a certificate of somebody else."""
        found = identity_of(cert)
        if not self._accepts(found.issuer, found.subject):
            raise EnvelopeError(f"the certificate is that of {found}")


def _nearest(claimed: Identity, trusted: Iterable[TrustedIdentity]) -> str:
    """Return what the policy lists: subjects of the same issuer, or issuers."""
    subjects = [each.entry.subject for each in trusted if each.entry.issuer == claimed.issuer]
    listed = subjects or [each.entry.issuer for each in trusted]
    return f", which lists {', '.join(dict.fromkeys(listed))[:300]}" if listed else ""


def _issuers(certificate: Certificate) -> Iterator[str]:
    for extension in _extensions(certificate):
        value: Any = extension.value
        if extension.oid.dotted_string == _ISSUER_V1:
            yield value.value.decode(errors="backslashreplace")
        elif extension.oid.dotted_string == _ISSUER_V2:
            yield _utf8_string(value.value)


def _subjects(certificate: Certificate) -> Iterator[str]:
    from cryptography.x509 import OtherName, SubjectAlternativeName

    for extension in _extensions(certificate):
        names = extension.value
        for name in names if isinstance(names, SubjectAlternativeName) else ():
            yield _utf8_string(name.value) if isinstance(name, OtherName) else str(name.value)


def _extensions(certificate: Certificate) -> Extensions:
    try:
        return certificate.extensions
    except Exception as error:  # of several kinds, some without words
        raise EnvelopeError(f"has a certificate that cannot be read ({words_of(error)})") from error


def _utf8_string(der: bytes) -> str:
    from cryptography.hazmat import asn1

    try:
        return asn1.decode_der(str, der)
    except ValueError as error:
        raise EnvelopeError("has a certificate with a name that is no text") from error
