"""The ledger of a sweep: all its trials as canonical JSON, equal for every parallelism, timing and memo.

No times, no attempts, no word of what was looked up; nothing above the trial that ended the sweep.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seedbed.search.objective_values import parsed, spelled
from seedbed.search.trial_decisions import Decided, Ended, State, Why
from seedbed_api.canonical_json import canonical_json, digest_of

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What a ledger says."""

    sweep: Mapping[str, Any]
    """What identifies the sweep."""
    ended: Ended
    trials: tuple[Decided, ...]
    """By index, from 0 without a gap."""
    evidence: tuple[Evidence, ...]


def ledger(
    trials: Iterable[Decided], *, sweep: Mapping[str, Any], ended: Ended, evidence: Mapping[int, Evidence]
) -> Ledger:
    """Return the ledger of a sweep that ended. `sweep` is what identifies it: `identity.sweep_document`."""
    document = {
        "schemaVersion": SCHEMA_VERSION,
        "sweep": dict(sweep),
        "end": _without_nothing({"reason": str(ended.why), "trial": ended.index, "detail": ended.detail}),
        "trials": [
            _entry(trial, evidence.get(trial.index, Evidence()))
            for trial in sorted(trials, key=lambda trial: trial.index)
            if trial.index <= ended.index
        ],
    }
    data = canonical_json(document)
    return Ledger(data=data, digest=digest_of(data))


def read_ledger(data: bytes, *, digest: str | None = None) -> Account:
    """Undo `ledger`; ValueError with one line for bytes that no ledger has, or not those of the digest."""
    if digest is not None and digest_of(data) != digest:
        raise ValueError(f"the ledger's digest is {digest_of(data)}, not {digest}")
    try:
        document = json.loads(data)
        version = document["schemaVersion"]
        if version != SCHEMA_VERSION:
            raise ValueError(f"its schemaVersion is {version!r}, this program reads {SCHEMA_VERSION}")
        account = _account(document)
        again = ledger(
            account.trials,
            sweep=account.sweep,
            ended=account.ended,
            evidence=dict(enumerate(account.evidence)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(f"not the ledger of a sweep: {type(error).__name__} {error}") from error
    if again.data != data:
        raise ValueError("not the ledger of a sweep: it has more than its trials, or is not canonical JSON")
    return account


def _account(document: Mapping[str, Any]) -> Account:
    trials, end = document["trials"], document["end"]
    indices = [trial["index"] for trial in trials]
    if indices != list(range(len(trials))):
        raise ValueError("its trials have a gap, or another order than that of their index")
    return Account(
        sweep=document["sweep"],
        ended=Ended(why=Why(end["reason"]), index=end["trial"], detail=end.get("detail")),
        trials=tuple(_trial(trial) for trial in trials),
        evidence=tuple(
            Evidence(run_ids=tuple(trial["runIDs"]), weights=tuple(trial["weights"])) for trial in trials
        ),
    )


def _entry(trial: Decided, evidence: Evidence) -> dict[str, Any]:
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
    return _without_nothing(fields)


def _trial(entry: Mapping[str, Any]) -> Decided:
    return Decided(
        index=entry["index"],
        point=tuple((parameter["name"], parameter["value"]) for parameter in entry["parameters"]),
        state=State(entry["state"]),
        rungs=tuple((rung["epoch"], parsed(rung["objective"])) for rung in entry["rungs"]),
        folds=tuple(map(parsed, entry["folds"])),
        objective=_parsed(entry.get("objective")),
        deviation=_parsed(entry.get("deviation")),
        reason=entry.get("reason"),
    )


def _parsed(text: str | None) -> int | None:
    return None if text is None else parsed(text)


def _without_nothing(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
