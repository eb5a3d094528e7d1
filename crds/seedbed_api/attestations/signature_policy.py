"""The policy file of a verifier: whose signatures count, of which namespaces and images, and how many."""

from __future__ import annotations

from pydantic import ValidationError

from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.errors import UserError
from seedbed_api.validation_errors import error_lines
from seedbed_api.yaml_documents import parse

REASON = "InvalidPolicy"


def parse_policy(text: str, *, shown: str) -> SignaturePolicy:
    """Return the policy in a YAML text; `shown` names it in errors. Raises UserError InvalidPolicy."""
    documents = parse(text, shown)
    if len(documents) != 1:
        raise UserError(REASON, f"{shown}: holds {len(documents)} documents; write one policy")
    try:
        return SignaturePolicy.model_validate(documents[0])
    except ValidationError as error:
        line = next(error_lines(error, SignaturePolicy))
        raise UserError(REASON, f"{shown}: {line}") from None
