"""The operator's own failures, in one line for a status: what and where, never what was in its hands."""

from __future__ import annotations

import traceback
from datetime import datetime

from seedbed_api.times import written
from seedbed_operator.planning.times import rounded_up

_OURS = ("seedbed_operator", "seedbed_api")


def trouble(error: Exception, again_at: datetime) -> str:
    """Return what to tell of an error that a pass has raised."""
    told = f"the operator failed at this job: {type(error).__name__} in {place(error)}; please report it"
    return f"{told}; it tries again at {written(rounded_up(again_at))}"


def place(error: Exception) -> str:
    """Return module and line in which our code raised an error, or called what raised it."""
    frames = (
        (frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__)
    )
    ours = [f"{module}:{line}" for module, line in frames if module.partition(".")[0] in _OURS]
    return ours[-1] if ours else "an unknown place"
