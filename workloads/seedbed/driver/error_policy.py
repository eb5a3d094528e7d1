"""Which failures a retry cannot mend, and the field of the manifest that an error is about."""

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
    """Return a failure as the job reports it: with its field, and as UserError where a retry cannot help."""
    message = f"spec.{error.message}" if error.message.startswith(("dataset.", "output.")) else error.message
    if isinstance(error, InfrastructureError) and error.reason not in _BY_HAND:
        return InfrastructureError(error.reason, message)
    return UserError(error.reason, message + _BY_HAND.get(error.reason, ""))


@contextmanager
def errors_name_field(field: str) -> Iterator[None]:
    """Name the field that holds a URL in the errors of a storage, which knows the URL alone."""
    try:
        yield
    except UserError as error:
        if not error.message.startswith("uri: "):
            raise
        raise UserError(error.reason, f"{field}{error.message.removeprefix('uri')}") from error
