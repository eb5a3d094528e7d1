"""The line between workers and driver: in the same process, or through one actor of the driver's Ray."""

from __future__ import annotations

import threading
import time
from typing import Any

from seedbed.training.progress import Progress
from seedbed_api.errors import SeedbedError

_ACTOR_SECONDS = 0.2
"""Distance of two messages: a bar needs no more, and a step may take milliseconds."""
_LAST_WORD_SECONDS = 10.0


class Board:
    """What the driver reads and writes; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._failure: SeedbedError | None = None
        self._stop = False

    def post(self, progress: Progress) -> bool:
        """Keep the newest progress; return whether the run was told to stop."""
        with self._lock:
            self._progress = progress
            return self._stop

    def fail(self, error: SeedbedError) -> None:
        """Keep the first failure."""
        with self._lock:
            self._failure = self._failure or error

    def stop(self) -> None:
        """Ask the training to stop after the step that it is in."""
        with self._lock:
            self._stop = True

    def look(self) -> tuple[Progress | None, SeedbedError | None]:
        """Return the newest progress and the first failure."""
        with self._lock:
            return self._progress, self._failure


class LocalLink:
    """A training in the driver's own process."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._stop = False

    def tell(self, progress: Progress) -> None:
        """Hand over the newest progress."""
        self._stop = self._board.post(progress)

    def stop_requested(self) -> bool:
        """Say whether the driver was told to stop."""
        return self._stop

    def fail(self, error: SeedbedError) -> None:
        """Tell of a failure that no restart can mend."""
        self._board.fail(error)

    def failure(self) -> SeedbedError | None:
        """Return the failure that was told of, if any."""
        return self._board.look()[1]


class ActorLink:
    """A training in a worker of Ray Train; `board` is the handle of an actor made of `Board`."""

    def __init__(self, board: Any) -> None:
        self._board = board
        self._answer: Any = None
        self._told = float("-inf")
        self._stop = False

    def tell(self, progress: Progress) -> None:
        """Hand over the newest progress, some times a second, without waiting for the answer."""
        now = time.monotonic()
        if now - self._told < _ACTOR_SECONDS and progress.phase == "Training":
            return
        last = progress.phase == "Done"
        self._collect(wait=last)
        if self._answer is None:
            self._told = now
            self._answer = self._board.post.remote(progress)
        if last:
            self._collect(wait=True)

    def stop_requested(self) -> bool:
        """Return what the answer to the last message said."""
        return self._stop

    def fail(self, error: SeedbedError) -> None:
        """Tell of a failure and wait until it is known."""
        import ray

        ray.get(self._board.fail.remote(error))

    def failure(self) -> SeedbedError | None:
        """Ask for the failure that some worker told of."""
        import ray

        failure: SeedbedError | None = ray.get(self._board.look.remote())[1]
        return failure

    def _collect(self, *, wait: bool) -> None:
        import ray

        if self._answer is None:
            return
        done, _ = ray.wait([self._answer], timeout=_LAST_WORD_SECONDS if wait else 0)
        if done:
            self._stop = bool(ray.get(done[0]))
            self._answer = None
