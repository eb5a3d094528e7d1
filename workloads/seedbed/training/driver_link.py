"""The connection from a worker to its driver: progress out, stop requests in. Lost messages do no harm."""

from __future__ import annotations

from typing import Protocol

from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import SeedbedError


class DriverLink(Protocol):
    """What a worker needs of its driver."""

    def send_progress(self, progress: RunProgress) -> None:
        """Send the newest progress without waiting."""

    def stop_requested(self) -> bool:
        """Say whether the driver requests a stop; called once per step, so it must be cheap."""

    def report_fatal(self, error: SeedbedError) -> None:
        """Report an error that no restart of the worker can mend; return when the driver has it."""

    def report_retryable(self, error: SeedbedError) -> None:
        """Report an error that a restart may mend: the reason of the failure should restarts run out."""

    def fatal_error(self) -> SeedbedError | None:
        """Return the first fatal error that a worker reported, if any."""
