"""Run leases: which driver trains a run. A second one waits for the result or takes over from a dead one.

Clocks of different machines are never compared: a heartbeat is stale if the waiting driver has read it
unchanged for long enough. Time in which the store did not answer does not count: the holder could not write
either.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, TypeAlias

from seedbed.periodic_thread import PeriodicThread
from seedbed.runs.attempt_claims import AttemptClaim, claim_attempt, highest_attempt, read_claim
from seedbed.runs.process_identity import is_known_dead
from seedbed.runs.run_folder import RunFolder
from seedbed.storage import OversizedObject
from seedbed.storage.object_limits import HEARTBEAT
from seedbed_api.errors import InfrastructureError, SeedbedError
from seedbed_api.strict_json import parse_json

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
STALE_SECONDS = 30.0
POLL_SECONDS = 1.0
_POLLS_APART = 5
_STALE_PART = 0.25

LeaseState: TypeAlias = Literal["held", "free"]
WaitCallback: TypeAlias = Callable[[AttemptClaim], None]
"""Called with the holder's claim at each poll of a held lease."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeartbeatObservation:
    """A heartbeat as a waiting driver has read it, by its own monotonic clock."""

    attempt: int
    heartbeat: bytes | None
    """Bytes of the heartbeat; None until it is written."""
    since: float
    """When this heartbeat was first read, or first after a gap between polls."""
    last_read: float
    """When it was last read."""


def observe_heartbeat(
    before: HeartbeatObservation | None, *, attempt: int, beat: bytes | None, now: float, gap: float
) -> HeartbeatObservation:
    """Return the observation after a poll: an unchanged heartbeat keeps its `since`.

    After more than `gap` seconds between two polls the time starts anew: the store may have been away.
    """
    unchanged = before is not None and (before.attempt, before.heartbeat) == (attempt, beat)
    if before is not None and unchanged and now - before.last_read <= gap:
        return replace(before, last_read=now)
    return HeartbeatObservation(attempt=attempt, heartbeat=beat, since=now, last_read=now)


def max_poll_gap(*, poll: float, stale_after: float) -> float:
    """Return the seconds between two polls above which the store counts as away."""
    return max(_POLLS_APART * poll, _STALE_PART * stale_after)


def lease_state(
    observation: HeartbeatObservation, *, holder_dead: bool, now: float, stale_after: float
) -> LeaseState:
    """Return 'free' if the holder has released the lease, is dead, or its heartbeat is stale."""
    if holder_dead or is_released(observation.heartbeat):
        return "free"
    return "free" if now - observation.since >= stale_after else "held"


def is_released(beat: bytes | None) -> bool:
    """Say whether a heartbeat is that of a released lease."""
    try:
        return beat is not None and parse_json(beat).get("state") == "released"
    except (ValueError, AttributeError):
        return False


def acquire_lease(
    folder: RunFolder,
    *,
    workers: int,
    version: str,
    on_wait: WaitCallback = lambda _holder: None,
    stale_after: float = STALE_SECONDS,
    poll: float = POLL_SECONDS,
    beat_every: float = BEAT_SECONDS,
) -> RunLease | None:
    """Claim a new attempt and return its lease; None once the run has its result.

    Waits while another driver trains the run, and calls `on_wait(holder)` at each poll.
    """
    observation: HeartbeatObservation | None = None
    gap = max_poll_gap(poll=poll, stale_after=stale_after)
    while not folder.finished():
        number = highest_attempt(folder)
        now = time.monotonic()  # before the read: one that blocks for long is a gap before the next poll
        if number:
            beat = read_heartbeat(folder, number)
            observation = observe_heartbeat(observation, attempt=number, beat=beat, now=now, gap=gap)
        if observation is None or _free(
            folder, observation, now=now, stale_after=stale_after, waiting=on_wait
        ):
            attempt = claim_attempt(folder, number + 1, workers=workers, version=version)
            if attempt is not None:
                return RunLease(folder=folder, attempt=attempt, beat_every=beat_every).started()
            continue
        time.sleep(poll)
    return None


def _free(
    folder: RunFolder,
    observation: HeartbeatObservation,
    *,
    now: float,
    stale_after: float,
    waiting: WaitCallback,
) -> bool:
    holder = read_claim(folder, observation.attempt)
    dead = is_known_dead(holder.process)
    if lease_state(observation, holder_dead=dead, now=now, stale_after=stale_after) == "free":
        return True
    waiting(holder)
    return False


@dataclass(kw_only=True, slots=True)
class RunLease:
    """The right to write a run folder, with a thread that renews the heartbeat until `release`."""

    folder: RunFolder
    attempt: AttemptClaim
    beat_every: float = BEAT_SECONDS
    _count: int = 0
    _heartbeat: PeriodicThread | None = None

    def started(self) -> RunLease:
        """Write the first heartbeat and start the thread."""
        self._beat("held")
        self._heartbeat = PeriodicThread(self._renew, seconds=self.beat_every, name="lease")
        self._heartbeat.start()
        return self

    def release(self) -> None:
        """Stop the heartbeat and let the next driver take over at once."""
        if self._heartbeat is None:
            return
        self._heartbeat.stop()
        self._heartbeat = None
        self._beat("released")

    def __enter__(self) -> RunLease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.release()
        except SeedbedError as failure:
            if error is None:
                raise
            logger.warning("the lease was not released: %s", failure.message)

    def _renew(self) -> None:
        try:
            if highest_attempt(self.folder) <= self.attempt.number:
                self._beat("held")
        except SeedbedError as failure:  # the next heartbeat tries again
            logger.warning("the lease was not renewed: %s", failure.message)

    def _beat(self, state: str) -> None:
        self._count += 1
        document = {"token": self.attempt.token, "beat": self._count, "state": state}
        self.folder.leases.put(str(self.attempt.number), json.dumps(document, sort_keys=True).encode())


def read_heartbeat(folder: RunFolder, number: int) -> bytes | None:
    """Return the newest heartbeat of an attempt; None where it has not written one yet."""
    try:
        return folder.leases.read(str(number), HEARTBEAT)
    except FileNotFoundError:
        return None
    except OversizedObject as error:
        raise InfrastructureError("RunFolderDamaged", f"{folder.leases.url}/{number}: {error}") from error
