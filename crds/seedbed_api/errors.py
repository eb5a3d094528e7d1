"""The two expected errors and their one-line message.

`UserError` is a mistake that a retry cannot fix; after an `InfrastructureError` a retry may succeed.
Both have a CamelCase reason, which the conditions `Failed` and `Running` show.
"""

from __future__ import annotations

import re
from typing import ClassVar

from seedbed_api.printable_text import on_one_line, without_credentials

LONGEST_LINE = 1500
"""More characters of a line nobody reads; a stranger's text may be of any length."""


class SeedbedError(Exception):
    """An expected failure: one line for a person, a reason for a machine, an exit code for a pod."""

    exit_code: ClassVar[int]

    def __init__(self, reason: str, message: str) -> None:
        message = "\n".join(map(_shortened, without_credentials(message).split("\n")))
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.reason, self.message))


class UserError(SeedbedError):
    """The user's mistake (spec, dataset, model code, non-finite loss); exit code 2, no retry."""

    exit_code = 2


class InfrastructureError(SeedbedError):
    """Start-up, CUDA, storage or network trouble; exit code 75, a retry may help."""

    exit_code = 75


def _shortened(line: str) -> str:
    """Return a line without its middle where it is too long: what and where it begins, the fix ends it."""
    half = (LONGEST_LINE - len(" … ")) // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} … {line[-half:]}"


def refusal(field: str, value: object, problem: str, fix: str) -> str:
    """Return one line with field, problem, value and fix."""
    shown = repr(_without_credentials(value) if isinstance(value, str) else value)
    if len(shown) > 120:  # of a path the end matters most
        shown = f"{shown[:40]}...{shown[-77:]}"
    return on_one_line(f"{field}: {problem} (got {shown}); {fix}")


def _without_credentials(value: str) -> str:
    """Return a value without the credentials of a URL, in which a user may have written anything."""
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value):
        return value
    scheme, _, rest = value.partition("://")
    host, slash, path = re.split(r"([/?#]|$)", rest, maxsplit=1)
    return without_credentials(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")
