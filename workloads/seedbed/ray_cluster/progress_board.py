"""Messages between workers and driver: one board, used in the same process or as an actor of Ray."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import ray

from seedbed.feed.io_counters import IoTotals
from seedbed.training.resource_usage import ResourceMonitor, ResourceUsage
from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import SeedbedError

_CALL_INTERVAL_SECONDS = 0.2
"""Least time between two calls of the actor: a step may take milliseconds, and a bar needs no more."""
_FINAL_CALL_SECONDS = 10.0
_PAUSE_POLL_SECONDS = 0.1


class ProgressBoard:
    """Progress and errors of the workers, and the requests of the driver. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: RunProgress | None = None
        self._fatal: SeedbedError | None = None
        self._retryable: SeedbedError | None = None
        self._stop = False
        self._pause = False
        self._paused_workers = 0
        self._waiting = False
        self._usages: dict[int, ResourceUsage] = {}
        self._earlier_io = IoTotals()
        """Of the worker groups before."""

    def set_progress(self, progress: RunProgress) -> None:
        """Store the newest progress."""
        with self._lock:
            self._progress = progress

    def report_fatal(self, error: SeedbedError) -> None:
        """Store the first error that no restart mends."""
        with self._lock:
            self._fatal = self._fatal or error

    def report_retryable(self, error: SeedbedError) -> None:
        """Store the newest error that a restart may mend: the reason, should restarts run out."""
        with self._lock:
            self._retryable = error

    def retryable_error(self) -> SeedbedError | None:
        """Return the newest error that a restart might have mended."""
        with self._lock:
            return self._retryable

    def should_stop(self, usage: ResourceUsage | None = None) -> bool:
        """Say whether the group is to save a checkpoint after the present step and end.

        A rank passes its resource usage now and then.
        """
        with self._lock:
            if usage is not None:
                self._usages[usage.rank] = usage
            return self._stop or self._pause

    def request_pause(self) -> None:
        """Ask the group to save a checkpoint and pause: a group of another size will replace it."""
        with self._lock:
            self._pause = True

    def pause_requested(self) -> bool:
        """Say whether a paused group is going to be replaced."""
        with self._lock:
            return self._pause and not self._stop

    def mark_paused(self) -> None:
        """Note that a worker of the group has paused; its checkpoint is saved by then."""
        with self._lock:
            self._paused_workers += 1

    def is_paused(self) -> bool:
        """Say whether the group has paused."""
        with self._lock:
            return self._paused_workers > 0

    def start_group(self) -> None:
        """Note that a new group is going to train."""
        with self._lock:
            self._pause, self._paused_workers, self._waiting = False, 0, False
            self._earlier_io, self._usages = self._io_totals(), {}
            self._set_starting()

    def mark_waiting_for_nodes(self) -> None:
        """Note that no group trains, because there are too few nodes."""
        with self._lock:
            self._waiting = True
            self._set_starting()

    def _set_starting(self) -> None:
        """Until a new group has done a step, the last progress of the one before stays the run's."""
        if self._progress is not None:
            self._progress = replace(self._progress, phase="Starting")

    def waits_for_nodes(self) -> bool:
        """Say whether there are too few nodes for a group."""
        with self._lock:
            return self._waiting

    def request_stop(self) -> None:
        """Ask the training to stop after the present step."""
        with self._lock:
            self._stop = True

    def read(self) -> tuple[RunProgress | None, SeedbedError | None]:
        """Return the newest progress and the first fatal error."""
        with self._lock:
            return self._progress and self._with_usage(self._progress), self._fatal

    def _with_usage(self, progress: RunProgress) -> RunProgress:
        usages = tuple(self._usages[rank] for rank in sorted(self._usages))
        return replace(progress, usages=usages, io_totals=self._io_totals())

    def _io_totals(self) -> IoTotals:
        return sum((usage.io_totals for usage in self._usages.values()), self._earlier_io)


class InProcessLink:
    """The driver link of a worker in the driver's own process."""

    def __init__(self, board: ProgressBoard) -> None:
        self._board = board
        self._gauge = ResourceMonitor()

    def send_progress(self, progress: RunProgress) -> None:
        """Store the newest progress."""
        self._board.set_progress(progress)

    def stop_requested(self) -> bool:
        """Say whether the driver requests a stop."""
        return self._board.should_stop(self._gauge.sample_if_due())

    def report_fatal(self, error: SeedbedError) -> None:
        """Report an error that no restart can mend."""
        self._board.report_fatal(error)

    def report_retryable(self, error: SeedbedError) -> None:
        """Report an error that a restart may mend."""
        self._board.report_retryable(error)

    def fatal_error(self) -> SeedbedError | None:
        """Return the fatal error that was reported, if any."""
        return self._board.read()[1]


class RayActorLink:
    """The driver link of a worker of Ray Train; `board` is the handle of an actor of `ProgressBoard`."""

    def __init__(self, board: Any, *, rank: int = 0) -> None:
        self._board = board
        self._gauge = ResourceMonitor(rank)
        self._progress_call = _ActorCall()
        self._stop_call = _ActorCall()
        self._stop = False

    def send_progress(self, progress: RunProgress) -> None:
        """Send the newest progress a few times a second, without waiting; wait for the last one alone."""
        last = progress.phase in ("Done", "Stopped")
        if last:
            self._progress_call.answer(wait=_FINAL_CALL_SECONDS)
        self._progress_call.answer()
        every = 0.0 if progress.phase != "Training" else _CALL_INTERVAL_SECONDS
        if last or self._progress_call.is_due(every=every):
            self._progress_call.send(self._board.set_progress, progress)
        if last:
            self._progress_call.answer(wait=_FINAL_CALL_SECONDS)

    def stop_requested(self) -> bool:
        """Say whether the driver requested a stop, as of a moment ago: a call is always under way."""
        self._stop = self._stop or bool(self._stop_call.answer())
        if self._stop_call.is_due(every=_CALL_INTERVAL_SECONDS):
            self._stop_call.send(self._board.should_stop, self._gauge.sample_if_due())
        return self._stop

    def wait_for_replacement(self) -> None:
        """Pause until a group of another size replaces this one, or that is no longer planned."""
        self._call(self._board.mark_paused)
        while self._call(self._board.pause_requested):
            time.sleep(_PAUSE_POLL_SECONDS)

    def report_fatal(self, error: SeedbedError) -> None:
        """Report an error that no restart can mend; return when the driver has it."""
        self._call(self._board.report_fatal, error)

    def report_retryable(self, error: SeedbedError) -> None:
        """Report an error that a restart may mend; return when the driver has it."""
        self._call(self._board.report_retryable, error)

    def fatal_error(self) -> SeedbedError | None:
        """Return the first fatal error that a worker reported, if any."""
        found: SeedbedError | None = self._call(self._board.read)[1]
        return found

    def _call(self, method: Any, *arguments: object) -> Any:
        return ray.get(method.remote(*arguments))


class _ActorCall:
    """One pending call of an actor at a time; its answer is waited for only on request."""

    def __init__(self) -> None:
        self._pending: Any = None
        self._sent = float("-inf")

    def is_due(self, *, every: float) -> bool:
        """Say whether no call is pending and the last one was sent long enough ago."""
        return self._pending is None and time.monotonic() - self._sent >= every

    def send(self, method: Any, *arguments: object) -> None:
        """Call a method of the actor."""
        self._pending, self._sent = method.remote(*arguments), time.monotonic()

    def answer(self, *, wait: float = 0.0) -> object:
        """Return the answer if it has arrived, else None."""
        if self._pending is None:
            return None
        done, _ = ray.wait([self._pending], timeout=wait)
        if not done:
            return None
        self._pending = None
        answer: object = ray.get(done[0])
        return answer
