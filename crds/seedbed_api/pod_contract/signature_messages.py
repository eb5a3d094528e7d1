"""The termination message of a pod that stores a signature."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ValidationError

from seedbed_api.base_model import StatusBlock
from seedbed_api.conditions import LONGEST_MESSAGE
from seedbed_api.scalar_types import Digest, text


class SignatureUploadOutcome(StatusBlock):
    """How an upload ended; what a retry may fix has no outcome."""

    schema_version: Literal[1] = 1
    """Version of this message."""
    result: Literal["Stored", "Refused"]
    """The envelope is beside the receipt; or it never will be, for the reason in the message."""
    message: Annotated[str, text(LONGEST_MESSAGE)] = ""
    """Where it is, or why it was refused."""
    receipt_digest: Digest
    """Digest of the receipt that the pod was told."""

    def encode(self) -> bytes:
        """Return JSON of at most 4,000 bytes."""
        message = self.message.encode()[:1500].decode(errors="ignore")
        short = self.model_copy(update={"message": message})
        content = short.model_dump_json(by_alias=True).encode()
        if len(content) <= 4000:
            return content
        return self.model_copy(update={"message": ""}).model_dump_json(by_alias=True).encode()


def parse_signature_upload(message: str) -> SignatureUploadOutcome | None:
    """Return the outcome in a termination message; None for log text or another version."""
    try:
        return SignatureUploadOutcome.model_validate_json(message)
    except ValidationError:
        return None
