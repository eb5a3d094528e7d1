"""The policy file of a verifier: whose signatures count, of which namespaces and images, and how many.

Beside the keys that a TrainingProfile may list, it lists identities, for which files and a library are needed
that pods do not have.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import ValidationError

from seedbed_api.accepted_signers import SignaturePolicy, matches
from seedbed_api.base_model import Block, Rule
from seedbed_api.bounded_lists import BoundedList
from seedbed_api.errors import UserError
from seedbed_api.scalar_types import Matches, Time, text
from seedbed_api.timestamps import parse_time
from seedbed_api.validation_errors import error_lines
from seedbed_api.yaml_documents import parse

REASON = "InvalidPolicy"
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


class AcceptedIdentity(Block):
    """Whom an OIDC issuer vouched for, by a certificate of a Sigstore instance; signs as User."""

    issuer: Issuer
    """Issuer of the token, as the certificate names it."""
    subject: SubjectPattern
    """Subject of the certificate: an e-mail address or a URI. * stands for characters other than / and @."""
    trusted_root: Annotated[str, text(4096)]
    """Path of the instance's `trusted_root.json`, from the folder of the policy."""
    valid_until: Time | None = None
    """From then on its signatures do not count, whenever they were made."""

    @property
    def is_pattern(self) -> bool:
        """Return whether it may accept several subjects."""
        return "*" in self.subject

    def accepts(self, issuer: str, subject: str) -> bool:
        """Return whether signatures of a subject count."""
        return issuer == self.issuer and matches(self.subject, subject, wildcard=_PART)

    def expired(self, now: datetime) -> bool:
        """Return whether its signatures do not count any more."""
        until = parse_time(self.valid_until)
        return until is not None and now >= until


class VerifierPolicy(SignaturePolicy):
    """Whose signatures make a receipt count as signed: keys, and identities in Sigstore bundles."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="minimum",
            cel="",  # in no CustomResourceDefinition
            holds=lambda block: not block.identities or block.minimum <= block.most_signers,
            problem="is more than there are keys and identities",
            fix="list more signers, or lower it",
        ),
    )

    identities: Annotated[tuple[AcceptedIdentity, ...], BoundedList(most=64)] = ()
    """Accepted identities, for signatures in the form of Sigstore bundles."""

    @property
    def most_signers(self) -> int:
        """Return how many different signers may count, which a pattern does not bound."""
        if any(entry.is_pattern for entry in self.identities):
            return self.minimum
        return len(self.keys) + len(self.identities)

    @property
    def lists_keys_alone(self) -> bool:
        """Return whether its keys must suffice for the minimum."""
        return not self.identities


def identities_of(policy: SignaturePolicy) -> tuple[AcceptedIdentity, ...]:
    """Return the identities of a policy, of which that of a profile has none."""
    return policy.identities if isinstance(policy, VerifierPolicy) else ()


def with_roots(policy: VerifierPolicy, located: Callable[[str], str]) -> VerifierPolicy:
    """Return a policy with other paths of its trusted roots."""
    entries = (
        entry.model_copy(update={"trusted_root": located(entry.trusted_root)}) for entry in policy.identities
    )
    return policy.model_copy(update={"identities": tuple(entries)})


def parse_policy(text: str, *, shown: str) -> VerifierPolicy:
    """Return the policy in a YAML text; `shown` names it in errors. Raises UserError InvalidPolicy."""
    documents = parse(text, shown)
    if len(documents) != 1:
        raise UserError(REASON, f"{shown}: holds {len(documents)} documents; write one policy")
    try:
        return VerifierPolicy.model_validate(documents[0])
    except ValidationError as error:
        line = next(error_lines(error, VerifierPolicy))
        raise UserError(REASON, f"{shown}: {line}") from None
