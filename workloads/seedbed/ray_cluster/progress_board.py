"""The line between workers and driver: in the same process, or through one actor of the driver's Ray."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from seedbed.feed.io_counters import IoTotals
from seedbed.training.resource_usage import Gauge, Usage
from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import SeedbedError

_ACTOR_SECONDS = 0.2
"""Distance of two messages: a bar needs no more, and a step may take milliseconds."""
_LAST_WORD_SECONDS = 10.0
_REST_SECONDS = 0.1


class ProgressBoard:
    """What the driver reads and writes; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: RunProgress | None = None
        self._failure: SeedbedError | None = None
        self._excuse: SeedbedError | None = None
        self._stop = False
        self._hold = False
        self._resting = 0
        self._waiting = False
        self._usages: dict[int, Usage] = {}
        self._traffic = IoTotals()
        """Of the groups before."""

    def post(self, progress: RunProgress) -> None:
        """Keep the newest progress."""
        with self._lock:
            self._progress = progress

    def fail(self, error: SeedbedError) -> None:
        """Keep the first failure that no restart mends."""
        with self._lock:
            self._failure = self._failure or error

    def excuse(self, error: SeedbedError) -> None:
        """Keep the newest failure that a restart may mend: the reason, should restarts run out."""
        with self._lock:
            self._excuse = error

    def excused(self) -> SeedbedError | None:
        """Return the newest failure that a restart might have mended."""
        with self._lock:
            return self._excuse

    def stopping(self, usage: Usage | None = None) -> bool:
        """Say whether the group is to keep its state after the present step and end.

        A rank that asks tells now and then what it uses.
        """
        with self._lock:
            if usage is not None:
                self._usages[usage.rank] = usage
            return self._stop or self._hold

    def hold(self) -> None:
        """Ask the group to keep its state and to rest: one of another size will take its place."""
        with self._lock:
            self._hold = True

    def holding(self) -> bool:
        """Say whether a group that rests is going to be replaced."""
        with self._lock:
            return self._hold and not self._stop

    def rest(self) -> None:
        """Note that a worker of a group rests; its state is kept by then."""
        with self._lock:
            self._resting += 1

    def resting(self) -> bool:
        """Say whether the group rests."""
        with self._lock:
            return self._resting > 0

    def begin(self) -> None:
        """Note that a new group is going to train."""
        with self._lock:
            self._hold, self._resting, self._waiting = False, 0, False
            self._traffic, self._usages = self._read(), {}
            self._starting()

    def wait(self) -> None:
        """Note that no group trains, for there are too few machines."""
        with self._lock:
            self._waiting = True
            self._starting()

    def _starting(self) -> None:
        """Until a new group has done a step, what the one before told is where the run stands."""
        if self._progress is not None:
            self._progress = replace(self._progress, phase="Starting")

    def waiting(self) -> bool:
        """Say whether too few machines are there for a group."""
        with self._lock:
            return self._waiting

    def stop(self) -> None:
        """Ask the training to stop after the step that it is in."""
        with self._lock:
            self._stop = True

    def look(self) -> tuple[RunProgress | None, SeedbedError | None]:
        """Return the newest progress and the first failure."""
        with self._lock:
            return self._progress and self._with_usage(self._progress), self._failure

    def _with_usage(self, progress: RunProgress) -> RunProgress:
        usages = tuple(self._usages[rank] for rank in sorted(self._usages))
        return replace(progress, usages=usages, traffic=self._read())

    def _read(self) -> IoTotals:
        return sum((usage.traffic for usage in self._usages.values()), self._traffic)


class InProcessLink:
    """A training in the driver's own process."""

    def __init__(self, board: ProgressBoard) -> None:
        self._board = board
        self._gauge = Gauge()

    def tell(self, progress: RunProgress) -> None:
        """Hand over the newest progress."""
        self._board.post(progress)

    def stop_requested(self) -> bool:
        """Say whether the driver was told to stop."""
        return self._board.stopping(self._gauge.due())

    def fail(self, error: SeedbedError) -> None:
        """Tell of a failure that no restart can mend."""
        self._board.fail(error)

    def excuse(self, error: SeedbedError) -> None:
        """Tell of a failure that a restart may mend."""
        self._board.excuse(error)

    def failure(self) -> SeedbedError | None:
        """Return the failure that was told of, if any."""
        return self._board.look()[1]


class RayActorLink:
    """A training in a worker of Ray Train; `board` is the handle of an actor made of `ProgressBoard`."""

    def __init__(self, board: Any, *, rank: int = 0) -> None:
        self._board = board
        self._gauge = Gauge(rank)
        self._report = _Call()
        self._question = _Call()
        self._stop = False

    def tell(self, progress: RunProgress) -> None:
        """Hand over the newest progress, some times a second, without waiting; the last one is waited for."""
        last = progress.phase in ("Done", "Stopped")
        if last:
            self._report.answer(wait=_LAST_WORD_SECONDS)
        self._report.answer()
        if last or self._report.is_due(every=0.0 if progress.phase != "Training" else _ACTOR_SECONDS):
            self._report.send(self._board.post, progress)
        if last:
            self._report.answer(wait=_LAST_WORD_SECONDS)

    def stop_requested(self) -> bool:
        """Say whether the driver was told to stop, as of a moment ago: one question is always under way."""
        self._stop = self._stop or bool(self._question.answer())
        if self._question.is_due(every=_ACTOR_SECONDS):
            self._question.send(self._board.stopping, self._gauge.due())
        return self._stop

    def rest(self) -> None:
        """Wait to be replaced by a group of another size, for as long as that is planned."""
        import ray

        ray.get(self._board.rest.remote())
        while ray.get(self._board.holding.remote()):
            time.sleep(_REST_SECONDS)

    def fail(self, error: SeedbedError) -> None:
        """Tell of a failure and wait until it is known."""
        import ray

        ray.get(self._board.fail.remote(error))

    def excuse(self, error: SeedbedError) -> None:
        """Tell of a failure that a restart may mend, and wait until it is known."""
        import ray

        ray.get(self._board.excuse.remote(error))

    def failure(self) -> SeedbedError | None:
        """Ask for the failure that some worker told of."""
        import ray

        failure: SeedbedError | None = ray.get(self._board.look.remote())[1]
        return failure


class _Call:
    """One call of an actor at a time, never waited for unless that is asked for."""

    def __init__(self) -> None:
        self._pending: Any = None
        self._sent = float("-inf")

    def is_due(self, *, every: float) -> bool:
        """Say whether no call is under way and the last one was long enough ago."""
        return self._pending is None and time.monotonic() - self._sent >= every

    def send(self, method: Any, *arguments: object) -> None:
        """Call a method of the actor."""
        self._pending, self._sent = method.remote(*arguments), time.monotonic()

    def answer(self, *, wait: float = 0.0) -> object:
        """Return the answer if it came, else None."""
        import ray

        if self._pending is None:
            return None
        done, _ = ray.wait([self._pending], timeout=wait)
        if not done:
            return None
        self._pending = None
        answer: object = ray.get(done[0])
        return answer
