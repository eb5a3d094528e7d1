"""A plan in the making: each step returns a new draft."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from seedbed_api.conditions import Condition, ConditionType, RunningReason, one_line, with_condition
from seedbed_api.timestamps import written
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.plan import Action, Need


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """Status, actions and needs so far."""

    now: datetime
    generation: int
    status: LifecycleStatus
    actions: tuple[Action, ...] = ()
    needs: tuple[Need, ...] = ()
    wake_at: datetime | None = None

    def does(self, *actions: Action) -> Draft:
        """Add actions."""
        return replace(self, actions=(*self.actions, *actions))

    def asks(self, *needs: Need) -> Draft:
        """Add needs."""
        return replace(self, needs=(*self.needs, *needs))

    def wakes(self, *moments: datetime | None) -> Draft:
        """Look again at the earliest of the moments, if none is earlier."""
        due = [moment for moment in (self.wake_at, *moments) if moment is not None]
        return replace(self, wake_at=min(due, default=None))

    def tells(self, **fields: Any) -> Draft:
        """Set fields of the status."""
        return replace(self, status=self.status.model_copy(update=fields))

    def finds(
        self, kind: str, status: Literal["True", "False", "Unknown"], reason: str, message: str = ""
    ) -> Draft:
        """Set a condition."""
        condition = Condition(
            type=str(kind),
            status=status,
            reason=str(reason),
            message=one_line(message),
            last_transition_time=written(self.now),
            observed_generation=self.generation,
        )
        return self.tells(conditions=with_condition(self.status.conditions, condition))

    def has(self, kind: str, *, status: str = "True") -> bool:
        """Tell whether the status has a condition in a state."""
        return any(found.type == kind and found.status == status for found in self.status.conditions)

    def waits(self, reason: str, message: str) -> Draft:
        """Say why the job does not run although the operator is at work on it."""
        return self._moving(reason, message).finds(ConditionType.RUNNING, "False", reason, message)

    def stalls(self, reason: str, message: str) -> Draft:
        """Say why the job does not run and what a person must change first."""
        draft = self.finds(ConditionType.RUNNING, "False", reason, message)
        return draft.finds(ConditionType.RECONCILING, "False", reason, message).finds(
            ConditionType.STALLED, "True", reason, message
        )

    def runs(self, reason: str, message: str) -> Draft:
        """Say that the job trains."""
        draft = self.settles(RunningReason.TRAINING)
        return draft.finds(ConditionType.RUNNING, "True", reason, message)

    def settles(self, reason: str) -> Draft:
        """Say that the object is what it should be for now."""
        return self._unstalled(reason).finds(ConditionType.RECONCILING, "False", reason)

    def _moving(self, reason: str, message: str) -> Draft:
        return self._unstalled(reason).finds(ConditionType.RECONCILING, "True", reason, message)

    def _unstalled(self, reason: str) -> Draft:
        if not self.has(ConditionType.STALLED):
            return self
        return self.finds(ConditionType.STALLED, "False", reason)
