"""The link of a worker that has no driver."""

from __future__ import annotations

from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import SeedbedError


class NoDriver:
    """Drops what a worker reports; never asks it to stop."""

    def send_progress(self, progress: RunProgress) -> None:
        """Drop it."""

    def stop_requested(self) -> bool:
        """Never."""
        return False

    def report_fatal(self, error: SeedbedError) -> None:
        """Leave it to the caller, who sees the exception."""

    def report_retryable(self, error: SeedbedError) -> None:
        """Leave it to the caller, who sees the exception."""

    def fatal_error(self) -> SeedbedError | None:
        """Return none."""
        return None
