"""Files that a user names: keys, policies, envelopes, tokens."""

from __future__ import annotations

from pathlib import Path

from seedbed_api.errors import UserError, refusal


def read_small_file(path: Path, most_bytes: int, *, reason: str, field: str = "file") -> bytes:
    """Return the bytes of a regular file, and of a larger one the first that are too many.

    Raises UserError with the reason for a file that is missing, special or not readable.
    """
    try:
        if not path.is_file():
            raise UserError(reason, refusal(field, str(path), "is no regular file", "name one that exists"))
        with path.open("rb") as file:
            return file.read(most_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        problem = f"cannot be read ({getattr(error, 'strerror', error)})"
        raise UserError(
            reason, refusal(field, str(path), problem, "name a file that you may read")
        ) from error
