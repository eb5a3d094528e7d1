"""Which failures no retry mends, what to do about them, and which field of the manifest they mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from seedbed_api.errors import InfrastructureError, SeedbedError, UserError

_BY_HAND = {
    "RunFolderDamaged": "; restore the object from a copy, or remove the run folder to train again",
    "RunFolderConflict": "",
}
"""What is appended to the message."""


def classify_error(error: SeedbedError) -> SeedbedError:
    """Return a failure as a job tells it: by its field, and with exit code 2 where a retry is no help."""
    message = f"spec.{error.message}" if error.message.startswith(("dataset.", "output.")) else error.message
    if isinstance(error, InfrastructureError) and error.reason not in _BY_HAND:
        return InfrastructureError(error.reason, message)
    return UserError(error.reason, message + _BY_HAND.get(error.reason, ""))


@contextmanager
def errors_name_field(field: str) -> Iterator[None]:
    """Let failures of a storage, which knows a URL alone, name the field that holds it."""
    try:
        yield
    except UserError as error:
        if not error.message.startswith("uri: "):
            raise
        raise UserError(error.reason, f"{field}{error.message.removeprefix('uri')}") from error
