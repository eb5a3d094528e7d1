"""Whose signatures of receipts count: of a verifier's policy file, and of a TrainingProfile.

Loading a key takes cryptography, which is imported only where there are keys.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from seedbed_api.base_model import Block, Rule
from seedbed_api.bounded_lists import BoundedList
from seedbed_api.errors import UserError
from seedbed_api.scalar_types import Matches, ResourceName, Time, text
from seedbed_api.strict_json import parse_json
from seedbed_api.timestamps import parse_time

if TYPE_CHECKING:
    from seedbed_api.attestations.signing_keys import PublicKey

MOST_BYTES = 65_536
"""Pods get the policy of a profile in one environment variable, for which Linux allows 128 KiB."""

_ROOT_LISTS = ("certificateAuthorities", "tlogs", "ctlogs")

SignerRole: TypeAlias = Literal["Operator", "User"]
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


_PART = "[!-.0-?A-~]*"
"""Printable ASCII but / and @, which separate the parts of a subject."""

Issuer = Annotated[
    str,
    Matches(
        r"^[!-)+-~]+$",
        512,
        "must be the whole issuer of the tokens, in printable ASCII without *",
        "write for example https://token.actions.githubusercontent.com",
    ),
]
SubjectPattern = Annotated[
    str,
    Matches(
        r"^[!-~]*[A-Za-z0-9][!-~]*$",
        512,
        "must be a subject in printable ASCII, where * stands for characters other than / and @",
        "write for example anna@example.com or https://kubernetes.io/namespaces/vision/serviceaccounts/*",
    ),
]


class AcceptedKey(Block):
    """A public key whose signatures count."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="name",
            cel="!self.publicKey.contains('PRIVATE KEY')",
            holds=lambda block: "PRIVATE KEY" not in block.public_key,
            problem="is that of a private key, which nobody else may read",
            fix="write its public half: `openssl pkey -in KEY -pubout`",
        ),
    )

    name: ResourceName
    """Name of the signer, for messages."""
    role: SignerRole
    """Operator: the key of a cluster's operator; User: a person's own key."""
    public_key: Annotated[str, text(4096)]
    """The key in PEM, as `openssl pkey -in KEY -pubout` prints it."""
    valid_until: Time | None = None
    """From then on its signatures do not count, whenever they were made."""
    namespaces: Annotated[tuple[NamespacePattern, ...], BoundedList(most=64, unique=True)] = ("*",)
    """Of an operator: namespaces whose jobs count; * stands for any characters."""
    images: Annotated[tuple[ImagePattern, ...], BoundedList(most=64, unique=True)] = ("*",)
    """Of an operator: images whose jobs count; a pattern matches a whole image or its digest."""

    @property
    def key(self) -> PublicKey:
        """Return the key. Raises UserError InvalidKey."""
        from seedbed_api.attestations.signing_keys import load_public_key

        return load_public_key(self.public_key.encode(), shown=f"key {self.name}")

    def accepts_namespace(self, namespace: str) -> bool:
        """Return whether jobs of a namespace count."""
        return any(matches(pattern, namespace) for pattern in self.namespaces)

    def accepts_image(self, image: str) -> bool:
        """Return whether jobs with an image count."""
        names = (image, image.rpartition("@")[2])
        return any(matches(pattern, name) for pattern in self.images for name in names)

    @model_validator(mode="after")
    def _refuse_what_is_no_key(self) -> Self:
        try:
            _ = self.key
        except UserError as error:
            raise _refused("publicKey", error.message.removeprefix(f"key {self.name}: ")) from error
        return self


class AcceptedIdentity(Block):
    """Whom an OIDC issuer vouched for, by a certificate of a Sigstore instance; signs as User."""

    issuer: Issuer
    """Issuer of the token, as the certificate names it."""
    subject: SubjectPattern
    """Subject of the certificate: an e-mail address or a URI. * stands for characters other than / and @."""
    trusted_root: Annotated[str, text(MOST_BYTES)]
    """The instance's `trusted_root.json` as text; in a policy file also its path, from the folder of that."""
    valid_until: Time | None = None
    """From then on its signatures do not count, whenever they were made."""

    @property
    def has_document(self) -> bool:
        """Return whether the trusted root is a document and not a path."""
        return self.trusted_root.startswith("{")

    @property
    def is_pattern(self) -> bool:
        """Return whether it may accept several subjects."""
        return "*" in self.subject

    def accepts(self, issuer: str, subject: str) -> bool:
        """Return whether signatures of a subject count."""
        return issuer == self.issuer and matches(self.subject, subject, wildcard=_PART)

    @model_validator(mode="after")
    def _refuse_what_is_no_root(self) -> Self:
        if self.has_document and (problem := _root_problem(self.trusted_root)):
            raise _refused("trustedRoot", f"{problem}; write the trusted_root.json of the Sigstore instance")
        return self


class SignaturePolicy(Block):
    """Whose signatures make a receipt count as signed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="minimum",
            cel="self.minimum <= (has(self.keys) ? size(self.keys) : 0)"
            " + (has(self.identities) ? size(self.identities) : 0)"
            " || has(self.identities) && self.identities.exists(entry, entry.subject.contains('*'))",
            holds=lambda block: block.minimum <= block.most_signers,
            problem="is more than there are keys and identities",
            fix="list more signers, or lower it",
        ),
        Rule(
            field="identities",
            cel="!has(self.identities) || self.identities.all(entry, entry.trustedRoot.startsWith('{'))",
            holds=lambda block: block.takes_files or all(entry.has_document for entry in block.identities),
            problem="have a trustedRoot that is no JSON document",
            fix="write the content of the Sigstore instance's trusted_root.json",
        ),
    )

    keys: Annotated[tuple[AcceptedKey, ...], BoundedList(most=64, key="name")] = ()
    """Accepted keys; several at once while a key is replaced."""
    identities: Annotated[tuple[AcceptedIdentity, ...], BoundedList(most=64)] = ()
    """Accepted identities, for signatures in the form of Sigstore bundles."""
    minimum: Annotated[int, Field(ge=1, le=64, strict=True)] = 1
    """Number of different signers that are needed."""

    @property
    def most_signers(self) -> int:
        """Return how many different signers may count, which a pattern does not bound."""
        if any(entry.is_pattern for entry in self.identities):
            return self.minimum
        return len(self.keys) + len(self.identities)

    @property
    def takes_files(self) -> bool:
        """Return whether a trusted root may be the path of a file: pods have none."""
        return False

    @model_validator(mode="after")
    def _refuse_one_key_twice(self) -> Self:
        """A key under two names would count as two signers."""
        seen: dict[str, str] = {}
        for entry in self.keys:
            other = seen.setdefault(entry.key.key_id, entry.name)
            if other != entry.name:
                line = f"{other} and {entry.name} are one key, {entry.key.key_id}; remove one of them"
                raise _refused("keys", line)
        return self

    @model_validator(mode="after")
    def _refuse_what_no_variable_holds(self) -> Self:
        size = len(json.dumps(self.plain()))
        if size > MOST_BYTES:
            name = "identities" if self.identities else "keys"
            raise _refused(name, f"take {size} bytes, {MOST_BYTES} are the most; shorten their lists")
        return self


def is_expired(signer: AcceptedKey | AcceptedIdentity, now: datetime) -> bool:
    """Return whether the signatures of a signer do not count any more."""
    until = parse_time(signer.valid_until)
    return until is not None and now >= until


def matches(pattern: str, value: str, *, wildcard: str = ".*") -> bool:
    """Return whether a value matches a pattern in which * stands for what `wildcard` matches.

    Each part is looked for once (atomic groups), so many stars take no longer than one.
    """
    first, *others = map(re.escape, pattern.split("*"))
    middle = "".join(f"(?>{wildcard}?{part})" for part in others[:-1])
    last = f"{wildcard}{others[-1]}" if others else ""
    return re.fullmatch(first + middle + last, value) is not None


def _root_problem(text: str) -> str | None:
    """Return why a document is no trusted root; `sigstore` looks closer, where it is installed."""
    try:
        document = parse_json(text, most_bytes=MOST_BYTES)
    except ValueError as error:
        return f"is no JSON ({error})"
    missing = [name for name in _ROOT_LISTS if not isinstance(document.get(name), list) or not document[name]]
    return f"lists no {' and no '.join(missing)}" if missing else None


def _refused(field: str, line: str) -> PydanticCustomError:
    """Return the error of a field whose value is not shown: it may be a private key."""
    problem, _, fix = line.partition("; ")
    rule = Rule(field=field, cel="", holds=lambda _: False, problem=problem, fix=fix)
    context: dict[str, Any] = {"text": problem, "broken": [rule], "block": {field: "…"}}
    return PydanticCustomError("rules", "{text}", context)
