"""Decisions about one job: pure functions from what is observed to what shall be done."""

from seedbed_operator.planning.kubernetes_events import events_between
from seedbed_operator.planning.planner import plan, plan_status_after, status_in_trouble, status_unwritten

__all__ = ["events_between", "plan", "plan_status_after", "status_in_trouble", "status_unwritten"]
