"""Passes that fail again and again, in one line for a status.

Of the operator's own failures it says what and where, never what was in its hands; of the API server's, which
write comes to nothing and who is silent.
"""

from __future__ import annotations

import traceback
from datetime import datetime

from seedbed_api.timestamps import written
from seedbed_operator.kube_client.client_interface import ClusterError, Refused
from seedbed_operator.planning.internal_errors import NOT_CARRIED_OUT
from seedbed_operator.planning.status_timestamps import rounded_up

_OURS = ("seedbed_operator", "seedbed_api")


def trouble(error: Exception, again_at: datetime) -> str:
    """Return what to tell of an error that a pass has raised."""
    told = f"the operator failed at this job: {type(error).__name__} in {place(error)}; please report it"
    return f"{told}; it tries again at {written(rounded_up(again_at))}"


def silence(error: ClusterError) -> str:
    """Return what to tell of a write that comes to nothing again and again, in words that stay the same."""
    hint = "an admission webhook that hangs is the usual cause: `kubectl get validatingwebhookconfigurations,"
    told = f"{NOT_CARRIED_OUT} {error.write}, tried again and again: {_answer(error)}"
    return f"{told}; {hint}mutatingwebhookconfigurations`; the next try is at most a minute away"


def _answer(error: ClusterError) -> str:
    if isinstance(error, Refused):
        return f"it answers {error.code} {error.reason}: {error.message.rstrip('.')}"
    return f"no answer came ({str(error).rpartition(': ')[2] or type(error).__name__})"


def place(error: Exception) -> str:
    """Return module and line in which our code raised an error, or called what raised it."""
    frames = (
        (frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__)
    )
    ours = [f"{module}:{line}" for module, line in frames if module.partition(".")[0] in _OURS]
    return ours[-1] if ours else "an unknown place"
