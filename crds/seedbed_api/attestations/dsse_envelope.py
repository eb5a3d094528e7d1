"""DSSE envelopes (github.com/secure-systems-lab/dsse): a payload, and signatures over its type and bytes.

Reading is strict, since anyone may write an envelope into a store: bounded, one spelling of Base64, no
unknown and no repeated field. What was signed is encoded by securesystemslib.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from securesystemslib.dsse import Envelope as EncodedEnvelope

from seedbed_api.attestations.signing_keys import PublicKey, SigningKey
from seedbed_api.canonical_json import canonical_json
from seedbed_api.strict_json import parse_json
from seedbed_api.validation_errors import first_problem

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MOST_BYTES = 64 * 2**10
MOST_SIGNATURES = 16


class EnvelopeError(ValueError):
    """An envelope that is not read; the message says why."""


class _SignatureField(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    keyid: Annotated[str, Field(max_length=256)] = ""
    sig: Annotated[str, Field(min_length=1, max_length=1024)]


class _EnvelopeFields(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    payload: str
    payloadType: Literal["application/vnd.in-toto+json"]  # noqa: N815 - the spelling of DSSE
    signatures: Annotated[list[_SignatureField], Field(min_length=1, max_length=MOST_SIGNATURES)]


@dataclass(frozen=True, kw_only=True, slots=True)
class DsseEnvelope:
    """A payload that may be signed by the keys that its signatures claim."""

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]
    """(claimed identity of the key, signature)."""

    def signed_by(self, keys: Iterable[PublicKey]) -> tuple[PublicKey, ...]:
        """Return the keys with a valid signature, each once; a signature names its key or no key."""
        message = pre_authentication_encoding(self.payload)
        return tuple(
            key
            for key in keys
            if any(
                claimed in ("", key.key_id) and key.verifies(signature, message)
                for claimed, signature in self.signatures
            )
        )


def pre_authentication_encoding(payload: bytes) -> bytes:
    """Return what is signed: type and payload with their lengths."""
    return EncodedEnvelope(payload, PAYLOAD_TYPE, {}).pae()


def sign_payload(payload: bytes, key: SigningKey) -> bytes:
    """Return the envelope of a payload with one signature, as canonical JSON."""
    signature = key.sign(pre_authentication_encoding(payload))
    fields = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key.public.key_id, "sig": base64.b64encode(signature).decode()}],
    }
    envelope = canonical_json(fields)
    assert len(envelope) <= MOST_BYTES, "a statement about a receipt has few and bounded fields"
    return envelope


def parse_envelope(data: bytes) -> DsseEnvelope:
    """Return the envelope in a file. Raises EnvelopeError."""
    if len(data) > MOST_BYTES:
        raise EnvelopeError(f"has more than {MOST_BYTES} bytes")
    try:
        fields = _EnvelopeFields.model_validate(strict_json(data))
    except ValidationError as error:
        field, problem = first_problem(error)
        line = f"is no DSSE envelope of an in-toto Statement ({field or 'envelope'}: {problem})"
        raise EnvelopeError(line) from error
    signatures = [
        (entry.keyid, _from_base64(entry.sig, f"signatures.{index}.sig"))
        for index, entry in enumerate(fields.signatures)
    ]
    if len(set(signatures)) < len(signatures):
        raise EnvelopeError("has the same signature twice")
    return DsseEnvelope(payload=_from_base64(fields.payload, "payload"), signatures=tuple(signatures))


def strict_json(data: bytes) -> Any:
    """Return the value of a bounded JSON text without repeated fields. Raises EnvelopeError."""
    try:
        return parse_json(data, most_bytes=MOST_BYTES)
    except ValueError as error:
        raise EnvelopeError(f"is no JSON ({' '.join(str(error).split())[:120]})") from error


def _from_base64(text: str, field: str) -> bytes:
    """Decode standard, padded Base64 alone: other spellings would give one signature many forms."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EnvelopeError(f"{field} is no standard Base64") from error
    if base64.b64encode(decoded).decode() != text:
        raise EnvelopeError(f"{field} is no canonical Base64")
    return decoded
