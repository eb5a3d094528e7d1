"""The policy file of a verifier: whose signatures count, of which namespaces and images, and how many.

It has the fields of a TrainingProfile's policy, and may name files for the trusted roots of identities.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.errors import UserError
from seedbed_api.validation_errors import error_lines
from seedbed_api.yaml_documents import parse

REASON = "InvalidPolicy"


class VerifierPolicy(SignaturePolicy):
    """Whose signatures make a receipt count as signed; trusted roots may be files beside the policy."""

    @property
    def takes_files(self) -> bool:
        """Return whether a trusted root may be the path of a file."""
        return True


def with_roots(policy: VerifierPolicy, read: Callable[[int, str], str]) -> VerifierPolicy:
    """Return a policy with the documents of its trusted roots; `read` gets an index and a path."""
    entries = (
        entry
        if entry.has_document
        else entry.model_copy(update={"trusted_root": read(index, entry.trusted_root)})
        for index, entry in enumerate(policy.identities)
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
