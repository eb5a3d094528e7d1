"""The line between a worker and its driver: one port. Losing a message on it is harmless."""

from __future__ import annotations

from typing import Protocol

from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import SeedbedError


class DriverLink(Protocol):
    """What a training needs of the process that watches it."""

    def tell(self, progress: RunProgress) -> None:
        """Hand over the newest progress without waiting."""

    def stop_requested(self) -> bool:
        """Say whether the driver was told to stop; asked once per step, so it must be cheap."""

    def fail(self, error: SeedbedError) -> None:
        """Tell of a failure that no restart of the worker can mend, and wait until it is known."""

    def excuse(self, error: SeedbedError) -> None:
        """Tell of a failure that a restart may mend, so that its reason is known should restarts run out."""

    def failure(self) -> SeedbedError | None:
        """Return the failure that some worker told of, if any."""
