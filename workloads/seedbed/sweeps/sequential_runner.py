"""Runs trial segments one after the other in this process, and ends the process if one hangs.

Ray Tune must give the same sweep record, byte for byte.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from seedbed.periodic_thread import PeriodicThread
from seedbed.ray_cluster.cluster_interface import Cluster, StopRequested
from seedbed.search.trial_segment import TrialSegment
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.trial_runner import ProgressCallback, run_segment
from seedbed.sweeps.trial_scheduler import BACKOFF, SweepState
from seedbed.training.run_progress import RunProgress
from seedbed_api.conditions import ExitCode
from seedbed_api.errors import InfrastructureError
from seedbed_api.sweepjob import SweepJobSpec

_TICK_SECONDS = 0.5


def run_sequentially(
    state: SweepState, *, stopping: threading.Event, display: SweepDisplay, cluster: Cluster | None = None
) -> None:
    """Train segments until the search has ended, on `cluster` or on this machine.

    Raises StopRequested, and the UserError of a run.
    """
    while (segment := next(state.pending_segments(), None)) is not None:
        if stopping.is_set():
            raise StopRequested
        display.begin(segment)
        _try_segment(state, segment, stopping=stopping, display=display, cluster=cluster)
        display.end(segment)
        display.show(state)


def _try_segment(
    state: SweepState,
    segment: TrialSegment,
    *,
    stopping: threading.Event,
    display: SweepDisplay,
    cluster: Cluster | None,
) -> None:
    try:
        with _progress_callback(state, segment, display=display, cluster=cluster) as tell:
            result = run_segment(state.sweep, segment, stopping=stopping, tell=tell, cluster=cluster)
    except InfrastructureError as error:
        display.notice(f"trial {segment.trial}: {error.reason}: {error.message}")
        if state.record_failed_try(segment, error):
            stopping.wait(BACKOFF.delay(state.failed_tries[segment.key]))
    else:
        state.record_result(segment, result)
        display.show_problem(segment, result)


@contextmanager
def _progress_callback(
    state: SweepState, segment: TrialSegment, *, display: SweepDisplay, cluster: Cluster | None
) -> Iterator[ProgressCallback]:
    """Yield a callback that shows progress and, on this machine, watches for a hang."""
    if cluster is not None:
        yield lambda progress: display.update(segment, progress)
        return
    with HangWatchdog(state.sweep.spec, tell=display.notice) as watchdog:

        def tell(progress: RunProgress) -> None:
            watchdog.update(progress)
            display.update(segment, progress)

        yield tell


class HangWatchdog:
    """Ends this process if a run makes no step for longer than the spec allows. A context manager.

    A thread cannot be ended, so the process is, and with it the lease of the run: the same command retries
    it.
    """

    def __init__(
        self,
        spec: SweepJobSpec,
        *,
        tell: Callable[[str], None],
        end: Callable[[int], object] = os._exit,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec, self._tell, self._end, self._now = spec, tell, end, now
        self._last: RunProgress | None = None
        self._moved = now()
        self._thread = PeriodicThread(self._check, seconds=_TICK_SECONDS, name="hang-watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.stop()

    def update(self, progress: RunProgress) -> None:
        """Note the progress of the run."""
        if progress != self._last:
            self._last, self._moved = progress, self._now()

    def problem(self) -> str | None:
        """Return the message of a hang; None while the run makes steps."""
        began = self._last is not None
        name = "progressDeadlineSeconds" if began else "preRunningDeadlineSeconds"
        patience = self._spec.progress_deadline_seconds if began else self._spec.pre_running_deadline_seconds
        if self._now() - self._moved <= patience:
            return None
        return (
            f"ProgressDeadlineExceeded: no step came for spec.{name} ({patience} s); this process ends, "
            "and the same command tries the run again from its newest checkpoint"
        )

    def _check(self) -> None:
        problem = self.problem()
        if problem is not None:
            self._thread.cancel()
            self._tell(problem)
            self._end(int(ExitCode.INFRASTRUCTURE))
