"""The termination message of a verifier pod."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ValidationError

from seedbed_api.base_model import StatusBlock
from seedbed_api.conditions import LONGEST_MESSAGE
from seedbed_api.scalar_types import Digest, text


class VerificationOutcome(StatusBlock):
    """How a verification ended; what a retry may fix has no outcome."""

    schema_version: Literal[1] = 1
    """Version of this message."""
    result: Literal["Reproduced", "Differs", "Unverified", "Refused"]
    """Every step has the same bits; one differs; nothing to compare with; the inputs were refused."""
    message: Annotated[str, text(LONGEST_MESSAGE)] = ""
    """Result in one sentence."""
    receipt_digest: Digest
    """Digest of the receipt that was verified."""

    def encode(self) -> bytes:
        """Return JSON of at most 4,000 bytes."""
        message = self.message.encode()[:2000].decode(errors="ignore")
        short = self.model_copy(update={"message": message})
        content = short.model_dump_json(by_alias=True, exclude_none=True).encode()
        if len(content) <= 4000:
            return content
        return short.model_copy(update={"message": ""}).model_dump_json(by_alias=True).encode()


def parse_verification(message: str) -> VerificationOutcome | None:
    """Return the outcome in a termination message; None for log text or another version."""
    try:
        return VerificationOutcome.model_validate_json(message)
    except ValidationError:
        return None
