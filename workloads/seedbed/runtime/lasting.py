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


def lasting(error: SeedbedError) -> SeedbedError:
    """Return the failure with the exit code of one that lasts, where it does: what is stored stays so."""
    if isinstance(error, InfrastructureError) and error.reason in _BY_HAND:
        return UserError(error.reason, error.message + _BY_HAND[error.reason])
    return error


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Let failures of a storage name the block of the manifest that holds its URL."""
    try:
        yield
    except SeedbedError as error:
        kind, known = type(error), ("uri:", "dataset.uri:", "output.uri:", "dataset.digest:")
        head, separator, rest = error.message.partition(" ")
        if not separator or head not in known:
            raise
        name = head if head == "uri:" else head.partition(".")[2]
        place = f"{field}.{name}"
        raise (UserError if kind is UserError else InfrastructureError)(
            error.reason, f"{place} {rest}"
        ) from error
