"""The policy of a verifier: whose signatures count, of which namespaces and images, and how many."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from seedbed_api.attestations.receipt_attestation import SignerRole
from seedbed_api.attestations.signing_keys import PublicKey, load_public_key
from seedbed_api.base_model import Block
from seedbed_api.errors import UserError
from seedbed_api.scalar_types import Matches, ResourceName, Time, text
from seedbed_api.timestamps import parse_time
from seedbed_api.validation_errors import error_lines
from seedbed_api.yaml_documents import parse

REASON = "InvalidPolicy"
NamespacePattern = Annotated[
    str,
    Matches(
        r"^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$",
        63,
        "must be a namespace, where * stands for any characters",
        "write for example vision or team-*",
    ),
]
ImagePattern = Annotated[
    str,
    Matches(
        r"^[A-Za-z0-9*][-A-Za-z0-9*._:/@]*$",
        512,
        "must be an image or a digest, where * stands for any characters",
        "write for example sha256:<64 digits> or registry.example/seedbed@sha256:*",
    ),
]


class AcceptedKey(Block):
    """A public key whose signatures count."""

    name: ResourceName
    """Name of the signer, for messages."""
    role: SignerRole
    """Operator: the key of a cluster's operator; User: a person's own key."""
    public_key: Annotated[str, text(16_384)]
    """The key in PEM, as `openssl pkey -in KEY -pubout` prints it."""
    valid_until: Time | None = None
    """From then on its signatures do not count, whenever they were made."""
    namespaces: Annotated[tuple[NamespacePattern, ...], Field(max_length=64)] = ("*",)
    """Of an operator: namespaces whose jobs count."""
    images: Annotated[tuple[ImagePattern, ...], Field(max_length=64)] = ("*",)
    """Of an operator: images whose jobs count; a pattern matches a whole image or its digest."""

    @property
    def key(self) -> PublicKey:
        """Return the key. Raises UserError InvalidKey."""
        return load_public_key(self.public_key.encode(), shown=f"key {self.name}")

    def expired(self, now: datetime) -> bool:
        """Return whether its signatures do not count any more."""
        until = parse_time(self.valid_until)
        return until is not None and now >= until

    def accepts_namespace(self, namespace: str) -> bool:
        """Return whether jobs of a namespace count."""
        return any(matches(pattern, namespace) for pattern in self.namespaces)

    def accepts_image(self, image: str) -> bool:
        """Return whether jobs with an image count."""
        names = (image, image.rpartition("@")[2])
        return any(matches(pattern, name) for pattern in self.images for name in names)


class SignaturePolicy(Block):
    """Whose signatures make a receipt count as signed."""

    keys: Annotated[tuple[AcceptedKey, ...], Field(max_length=64)] = ()
    """Accepted keys; several at once while a key is replaced."""
    minimum: Annotated[int, Field(ge=1, le=64, strict=True)] = 1
    """Number of different signers that are needed."""

    @model_validator(mode="after")
    def _refuse_what_never_accepts(self) -> SignaturePolicy:
        names = [key.name for key in self.keys]
        if len(names) < self.minimum:
            text = f"minimum is {self.minimum}, and {len(names)} signers are listed"
            raise PydanticCustomError("policy", "{text}; list more of them", {"text": text})
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise PydanticCustomError("policy", "{text}", {"text": f"two signers are called {repeated}"})
        return self


def parse_policy(text: str, *, shown: str) -> SignaturePolicy:
    """Return the policy in a YAML text; `shown` names it in errors. Raises UserError InvalidPolicy."""
    documents = parse(text, shown)
    if len(documents) != 1:
        raise UserError(REASON, f"{shown}: holds {len(documents)} documents; write one policy")
    try:
        policy = SignaturePolicy.model_validate(documents[0])
    except ValidationError as error:
        line = next(error_lines(error, SignaturePolicy))
        raise UserError(REASON, f"{shown}: {line}") from None
    _refuse_one_key_twice(policy, shown)
    return policy


def matches(pattern: str, value: str) -> bool:
    """Return whether a value matches a pattern in which * stands for any characters."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), value) is not None


def _refuse_one_key_twice(policy: SignaturePolicy, shown: str) -> None:
    """A key under two names would count as two signers."""
    seen: dict[str, str] = {}
    for entry in policy.keys:
        try:
            key_id = entry.key.key_id
        except UserError as error:
            raise UserError(REASON, f"{shown}: {error.message}") from error
        if key_id in seen:
            line = f"{shown}: keys {seen[key_id]} and {entry.name} are one key, {key_id}; remove one of them"
            raise UserError(REASON, line)
        seen[key_id] = entry.name
