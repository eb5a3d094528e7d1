"""Decisions about one job: pure functions from an observation to a plan."""

from seedbed_operator.planning.kubernetes_events import events_between
from seedbed_operator.planning.planner import (
    plan,
    status_after_failed_write,
    status_after_internal_error,
    status_after_rejection,
)

__all__ = [
    "events_between",
    "plan",
    "status_after_failed_write",
    "status_after_internal_error",
    "status_after_rejection",
]
