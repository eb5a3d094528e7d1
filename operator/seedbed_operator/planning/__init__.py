"""Decisions about one job: pure functions from what is observed to what shall be done."""

from seedbed_operator.planning.deciding import plan, plan_status_after

__all__ = ["plan", "plan_status_after"]
