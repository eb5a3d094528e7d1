"""What a status says while the operator itself fails at a job, and what it says when that is over.

A job that trains still counts as running: its driver needs no operator, and deadlines follow from that.
"""

from __future__ import annotations

from seedbed_api.conditions import Condition, ConditionType, RunningReason
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.failure_accounting import reason_of_back_off
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.terminal_state import over, verdict_of

NOT_CARRIED_OUT = "the API server does not carry out"
"""How a message begins that tells of writes which come to nothing again and again."""


def unwritten(draft: PlanBuilder, message: str) -> PlanBuilder:
    """Say which write comes to nothing, and leave all else as it was last known."""
    if draft.has(ConditionType.RUNNING):
        return draft.finds(ConditionType.RUNNING, "True", RunningReason.TRAINING, message)
    return draft.waits(RunningReason.ADMISSION_DENIED, message)


def troubled(draft: PlanBuilder, message: str) -> PlanBuilder:
    """Say that the operator fails, and leave all else as it was last known."""
    if draft.has(ConditionType.RUNNING):
        return draft.finds(ConditionType.RUNNING, "True", RunningReason.INTERNAL_ERROR, message)
    return draft.waits(RunningReason.INTERNAL_ERROR, message)


def healed(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Take back that operator or API server failed: what is decided after this may have nothing to say."""
    found = scene.condition(ConditionType.RUNNING)
    if found is None or not _tells_of_trouble(found):
        return draft
    if found.status == "True":
        return draft.runs(RunningReason.TRAINING, "")
    if verdict := verdict_of(scene.status):
        return over(draft, verdict.type, verdict.reason, verdict.message)
    if scene.status.retry_time is not None:
        return _backs_off(scene, draft)
    return draft.waits(RunningReason.PENDING, "planned again after a failure")


def _tells_of_trouble(found: Condition) -> bool:
    return found.reason == RunningReason.INTERNAL_ERROR or found.message.startswith(NOT_CARRIED_OUT)


def _backs_off(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    failure = scene.status.last_failure
    known = failure is not None and failure.attempt == scene.accounted
    reason = reason_of_back_off(failure.reason) if failure and known else RunningReason.BACKING_OFF
    why = f"attempt {failure.attempt} ended: {failure.reason}; " if failure and known else ""
    return draft.waits(reason, f"{why}the next attempt begins at {scene.status.retry_time}")
