"""The ledger of a sweep: all its trials as canonical JSON, equal for every parallelism, timing and memo.

No times, no attempts, no word of what was looked up; nothing above the trial that ended the sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seedbed.search.decisions import Decided, Ended, State
from seedbed.search.objectives import Goal, spelled
from seedbed_api.canonical import canonical_json, digest_of
from seedbed_api.sweepstatus import MOST_TOP_TRIALS, TrialCounts

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the runs of a trial are known by; one entry per fold, empty where there was no recipe to run."""

    run_ids: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    """Digests of the models; of trials that succeeded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """The bytes and their digest."""

    data: bytes
    digest: str


def ledger(
    trials: Iterable[Decided], *, sweep: Mapping[str, Any], ended: Ended, evidence: Mapping[int, Evidence]
) -> Ledger:
    """Return the ledger of a sweep that ended. `sweep` is what identifies it: `identity.sweep_document`."""
    document = {
        "schemaVersion": SCHEMA_VERSION,
        "sweep": dict(sweep),
        "end": {"reason": str(ended.why), "trial": ended.index},
        "trials": [
            entry(trial, evidence.get(trial.index, Evidence()))
            for trial in sorted(trials, key=lambda trial: trial.index)
            if trial.index <= ended.index
        ],
    }
    data = canonical_json(document)
    return Ledger(data=data, digest=digest_of(data))


def entry(trial: Decided, evidence: Evidence) -> dict[str, Any]:
    """Return a trial as it stands in the ledger; what it has not is left out."""
    fields: dict[str, Any] = {
        "index": trial.index,
        "parameters": [{"name": name, "value": value} for name, value in trial.point],
        "state": str(trial.state),
        "rungs": [{"epoch": epoch, "objective": spelled(value)} for epoch, value in trial.rungs],
        "folds": [spelled(value) for value in trial.folds],
        "objective": None if trial.objective is None else spelled(trial.objective),
        "deviation": None if trial.deviation is None else spelled(trial.deviation),
        "reason": trial.reason,
        "runIDs": list(evidence.run_ids),
        "weights": list(evidence.weights),
    }
    return {name: value for name, value in fields.items() if value is not None}


def ranked(trials: Iterable[Decided], goal: Goal) -> list[Decided]:
    """Return the trials that succeeded, best first; the lower index wins a tie."""
    done = [trial for trial in trials if trial.state is State.SUCCEEDED]
    return sorted(done, key=lambda trial: (goal.key(trial.objective or 0), trial.index))


def top(trials: Iterable[Decided], goal: Goal) -> Sequence[Decided]:
    """Return the rows of the status; the first is the best trial."""
    return ranked(trials, goal)[:MOST_TOP_TRIALS]


def counts(trials: Iterable[Decided], *, running: int = 0, reused: int = 0) -> TrialCounts:
    """Return how many trials are in which state."""
    states = [trial.state for trial in trials]
    return TrialCounts(
        total=len(states) + running,
        running=running,
        succeeded=states.count(State.SUCCEEDED),
        pruned=states.count(State.PRUNED),
        failed=states.count(State.FAILED),
        reused=reused,
    )
