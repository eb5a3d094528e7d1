"""Events of an attempt: progress of its worker groups, seconds by part, how groups and attempt ended.

They are telemetry for reports and `seedbed top`: an error in storing them does not fail a run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from seedbed.driver.startup_timings import StartupTimings
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.runs.attempt_event_log import FAILED, STOPPED, AttemptEventLog
from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import SeedbedError

logger = logging.getLogger(__name__)

START_UP = (
    "ProgramLoaded",
    "DatasetOpened",
    "EnvironmentProbed",
    "ModelChecked",
    "RayStarted",
    "WorkersStarted",
)
"""Parts of the start-up before a worker group. Waiting for another driver's claim is not among them."""


@dataclass(kw_only=True, slots=True)
class AttemptEvents:
    """The events of one attempt."""

    events: AttemptEventLog
    timings: StartupTimings
    clock: Callable[[], float] = time.time
    _group: int = 0
    """The present worker group, from 1; 0 before the first."""
    _newest: RunProgress | None = None

    def follow(self, progress: RunProgress, *, group: int) -> None:
        """Note that a group began, with what became of the one before, and each checkpoint."""
        before, begins = self._newest, group != self._group
        if before is not None and begins:
            self._add("GroupEnded", outcome=_succession(before, progress), **self._stand())
        self._group, self._newest = group, progress
        if before is None or begins or before.leaves_by_worker != progress.leaves_by_worker:
            self._add("Progress", totalSteps=progress.total_steps, **self._stand())
            self.flush()

    @contextmanager
    def recording_the_end(self, outcome: Callable[[], str]) -> Iterator[None]:
        """Record how the block ends: by an error, or with `outcome()`."""
        try:
            yield
        except StopRequested:
            self._end(STOPPED)
            raise
        except SeedbedError as error:
            self._end(f"{FAILED}{error.reason}")
            raise
        except Exception as error:
            self._end(f"{FAILED}{type(error).__name__}")
            raise
        self._end(outcome())

    def flush(self) -> None:
        """Store what is new."""
        try:
            self.events.flush()
        except SeedbedError as error:
            logger.warning("events were not stored: %s", error.message)

    def _end(self, outcome: str) -> None:
        self._add("Ended", outcome=outcome, **self._stand())
        self.flush()

    def _add(self, kind: str, **fields: Any) -> None:
        parts = dict(self.timings.parts)  # it may grow in another thread
        elapsed = self.clock() - self.timings.began - parts.get("RunClaimed", 0.0)
        start_up = sum(parts.get(part, 0.0) for part in START_UP)
        self.events.add(kind, **fields, startUp=round(start_up, 3), elapsed=round(elapsed, 3))

    def _stand(self) -> dict[str, Any]:
        """Return the progress of the present group; empty before the first."""
        progress = self._newest
        if progress is None:
            return {}
        return {
            "group": self._group,
            "workers": progress.workers,
            "resumedFrom": progress.resumed_from,
            "step": progress.step,
            "leavesByWorker": list(progress.leaves_by_worker),
            "seconds": {part: round(seconds, 3) for part, seconds in asdict(progress.seconds).items()},
        }


def _succession(before: RunProgress, after: RunProgress) -> str:
    """Return what became of a worker group that another one follows in the same attempt."""
    lost = before.step - after.resumed_from
    if lost > 0:
        return f"Lost, and {lost} {'step' if lost == 1 else 'steps'} with it"
    return f"Replaced by {after.workers} {'worker' if after.workers == 1 else 'workers'}"
