"""Snapshots of the runs and sweeps of an output store, refreshed by polling.

A run without an active attempt (complete, released, or of a dead process) is read again only after a new
claim. New claims appear in the list of leases, of which a store returns a thousand per request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from seedbed.runs.attempt_claims import AttemptClaim, highest_attempt, read_claim
from seedbed.runs.attempt_event_log import newest_events
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.runs.process_identity import is_known_dead
from seedbed.runs.result_file import Result, read_result
from seedbed.runs.run_folder import RECIPE, RunFolder, open_run, run_names
from seedbed.runs.run_lease import (
    STALE_SECONDS,
    HeartbeatObservation,
    is_released,
    lease_state,
    max_poll_gap,
    observe_heartbeat,
    read_heartbeat,
)
from seedbed.runs.run_retention import model_name
from seedbed.runs.sweep_record import SweepFolder, SweepRecord, list_sweep_folders, read_sweep_record
from seedbed.storage import Storage
from seedbed_api.errors import InfrastructureError

_PARALLEL_READS = 16
"""Number of runs that are read in parallel."""
_EVENT_FILES = 3
"""Event files per run: the end of an attempt and two checkpoints before it, for outcome and speed."""

RunStatus = Literal["complete", "training", "stale", "idle", "damaged"]
"""`stale`: the heartbeat of the attempt has stopped. `idle`: no attempt trains the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSnapshot:
    """State of a run when it was last read."""

    folder: RunFolder
    status: RunStatus
    result: Result | None = None
    model: str = ""
    """Name of the model; empty if the run failed before its recipe was stored."""
    step: int = 0
    """Of the newest event or checkpoint, or of the complete run."""
    attempt: AttemptClaim | None = None
    """The newest claim; None for a complete run."""
    events: tuple[Mapping[str, Any], ...] = ()
    """The newest events; none for a complete run."""
    heartbeat: HeartbeatObservation | None = None
    """Heartbeat of the attempt that trains the run."""
    damage: str = ""

    @property
    def may_change(self) -> bool:
        """Return whether the run may change without a new claim."""
        return self.status in {"training", "stale"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSnapshot:
    """State of a sweep when it was last read."""

    folder: SweepFolder
    record: SweepRecord | None = None
    """None until the sweep has ended."""
    damage: str = ""


@dataclass(kw_only=True, slots=True)
class StoreSnapshot:
    """Reads a store repeatedly; each time only runs and sweeps that may have changed."""

    output: Storage
    poll_seconds: float = 0.0
    """Seconds between two calls."""
    clock: Callable[[], float] = time.monotonic
    _runs: dict[str, tuple[int, RunSnapshot | None]] = field(default_factory=dict)
    """By name: the newest lease, and the snapshot at that time; None if the run was removed."""
    _ended: dict[str, SweepSnapshot] = field(default_factory=dict)

    def runs(self) -> list[RunSnapshot]:
        """Return the runs of the store by identity, without removed runs, whose claims remain."""
        leases = _newest_leases(self.output)
        names = leases.keys() | (self._runs.keys() or run_names(self.output))
        changed = [name for name in sorted(names) if self._may_have_changed(name, leases.get(name, 0))]
        with ThreadPoolExecutor(_PARALLEL_READS) as executor:
            for name, found in zip(changed, executor.map(self._snapshot, changed), strict=True):
                self._runs[name] = leases.get(name, 0), found
        return [found for _, (_, found) in sorted(self._runs.items()) if found is not None]

    def sweeps(self) -> list[SweepSnapshot]:
        """Return the sweeps of the store by identity; each sweep record is read once."""
        return [self._sweep(folder) for folder in list_sweep_folders(self.output)]

    def _sweep(self, folder: SweepFolder) -> SweepSnapshot:
        if not folder.finished:
            return SweepSnapshot(folder=folder)
        if folder.name not in self._ended:
            try:
                found = SweepSnapshot(folder=folder, record=read_sweep_record(self.output, folder.name))
            except InfrastructureError as error:
                found = SweepSnapshot(folder=folder, damage=_damage(error))
            self._ended[folder.name] = found
        return self._ended[folder.name]

    def _may_have_changed(self, name: str, lease: int) -> bool:
        before, found = self._runs.get(name, (None, None))
        return before != lease or (found is not None and found.may_change)

    def _snapshot(self, name: str) -> RunSnapshot | None:
        folder, (_, before) = open_run(self.output, f"sha256:{name}"), self._runs.get(name, (0, None))
        try:
            return self._read(folder, before)
        except FileNotFoundError:
            return None  # the run was removed during the read
        except InfrastructureError as error:
            return RunSnapshot(folder=folder, status="damaged", damage=_damage(error))

    def _read(self, folder: RunFolder, before: RunSnapshot | None) -> RunSnapshot | None:
        result = read_result(folder)
        if result is not None:
            return _complete(folder, result)
        number, now = highest_attempt(folder), self.clock()
        attempt = read_claim(folder, number) if number else None
        heartbeat = None if attempt is None else self._heartbeat(folder, attempt, before, now=now)
        if heartbeat is None and (result := read_result(folder)) is not None:
            return _complete(folder, result)  # the result was stored before the release of the lease
        model = before.model if before is not None and heartbeat is not None else ""
        model = model or _model(folder)
        if heartbeat is None and not model:
            return None
        events = tuple(newest_events(folder, files=_EVENT_FILES))
        return RunSnapshot(
            folder=folder,
            status=_status(heartbeat),
            model=model,
            step=_step(folder, events),
            attempt=attempt,
            events=events,
            heartbeat=heartbeat,
        )

    def _heartbeat(
        self, folder: RunFolder, attempt: AttemptClaim, before: RunSnapshot | None, *, now: float
    ) -> HeartbeatObservation | None:
        beat = read_heartbeat(folder, attempt.number)
        if is_released(beat) or is_known_dead(attempt.process):
            return None
        gap = max_poll_gap(poll=self.poll_seconds, stale_after=STALE_SECONDS)
        last = None if before is None else before.heartbeat
        return observe_heartbeat(last, attempt=attempt.number, beat=beat, now=now, gap=gap)


def _complete(folder: RunFolder, result: Result) -> RunSnapshot:
    model, step = _model(folder), result.outcome.step
    return RunSnapshot(folder=folder, status="complete", result=result, model=model, step=step)


def _status(heartbeat: HeartbeatObservation | None) -> RunStatus:
    if heartbeat is None:
        return "idle"
    state = lease_state(heartbeat, holder_dead=False, now=heartbeat.last_read, stale_after=STALE_SECONDS)
    return "training" if state == "held" else "stale"


def _step(folder: RunFolder, events: tuple[Mapping[str, Any], ...]) -> int:
    steps = [event["step"] for event in events if "step" in event]
    return int(steps[-1]) if steps else max(checkpoint_steps(folder), default=0)


def _model(folder: RunFolder) -> str:
    try:
        return model_name(folder.read_json(RECIPE))
    except FileNotFoundError:
        return ""


def _damage(error: InfrastructureError) -> str:
    """Return the message of a damaged run folder, so that other runs are shown; raise other errors again."""
    if error.reason != "RunFolderDamaged":
        raise error
    return error.message


def _newest_leases(output: Storage) -> dict[str, int]:
    newest: dict[str, int] = {}
    for path in output.list("leases"):
        _, name, number = path.split("/", maxsplit=2)
        newest[name] = max(newest.get(name, 0), int(number))
    return newest
