"""What a sweep cannot do, found before anything runs: one line each, with field, value and fix."""

from __future__ import annotations

from seedbed_api.errors import UserError
from seedbed_api.sweepjob import SweepJobSpec


def impossible_search(spec: SweepJobSpec) -> list[str]:
    """Return a line for each reason why this sweep cannot be searched; empty where it can."""
    del spec
    return []


def refuse_impossible_search(spec: SweepJobSpec) -> None:
    """Raise UserError InvalidSpec with all lines of `impossible_search`."""
    lines = impossible_search(spec)
    if lines:
        raise UserError("InvalidSpec", "\n".join(lines))
