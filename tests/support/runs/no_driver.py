"""The link of a worker that has no driver."""

from __future__ import annotations

from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import SeedbedError


class NoDriver:
    """Drops what a worker reports; never asks it to stop."""

    def tell(self, progress: RunProgress) -> None:
        """Drop it."""

    def stop_requested(self) -> bool:
        """Never."""
        return False

    def fail(self, error: SeedbedError) -> None:
        """Leave it to the caller, who sees the exception."""

    def excuse(self, error: SeedbedError) -> None:
        """Leave it to the caller, who sees the exception."""

    def failure(self) -> SeedbedError | None:
        """Return none."""
        return None
