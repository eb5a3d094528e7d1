"""The ledger object of a finished sweep: written last, never with other bytes, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seedbed.runs.folder import conflict
from seedbed.search.decisions import Decided, Ended, State, Why
from seedbed.search.ledger import Evidence, Ledger, ledger
from seedbed.search.objectives import parsed
from seedbed.storage import Storage
from seedbed.sweeps.standing import Standing
from seedbed_api.canonical import canonical_json, digest_of
from seedbed_api.errors import InfrastructureError

LEDGER = "ledger.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A sweep that has ended, as its ledger tells it."""

    ended: Ended
    trials: tuple[Decided, ...]
    evidence: Mapping[int, Evidence]
    uri: str
    digest: str


def conclude(standing: Standing) -> Finished:
    """Write the ledger of a sweep that has ended; one that is there must be the same."""
    ended = standing.search.ended
    assert ended is not None
    trials, evidence = standing.decided, standing.evidence()
    written = ledger(trials, sweep=standing.sweep.document, ended=ended, evidence=evidence)
    output = standing.sweep.output()
    _publish(output, written)
    return Finished(
        ended=ended, trials=tuple(trials), evidence=evidence, uri=_uri(output), digest=written.digest
    )


def _publish(output: Storage, written: Ledger) -> None:
    if output.create(LEDGER, written.data):
        return
    theirs = output.read(LEDGER)
    if theirs == written.data:
        return
    if not _is_intact(theirs):
        output.put(LEDGER, written.data)
        return
    raise InfrastructureError("RunFolderConflict", conflict(_uri(output), theirs, written.data))


def read_ledger(output: Storage) -> Finished | None:
    """Return the sweep that ended here before; None where it has not, or where its ledger is damaged."""
    try:
        data = output.read(LEDGER)
    except FileNotFoundError:
        return None
    if not _is_intact(data):
        return None
    document = json.loads(data)
    end = document["end"]
    return Finished(
        ended=Ended(why=Why(end["reason"]), index=end["trial"]),
        trials=tuple(map(_trial, document["trials"])),
        evidence={entry["index"]: _evidence(entry) for entry in document["trials"]},
        uri=_uri(output),
        digest=digest_of(data),
    )


def _is_intact(data: bytes) -> bool:
    """Say whether bytes are canonical JSON; the sweep is searched anew, from its runs, where they are not."""
    try:
        return canonical_json(json.loads(data)) == data
    except (ValueError, AssertionError):
        return False


def _uri(output: Storage) -> str:
    return f"{output.url}/{LEDGER}"


def _trial(entry: Mapping[str, Any]) -> Decided:
    def number(name: str) -> int | None:
        return parsed(entry[name]) if name in entry else None

    return Decided(
        index=entry["index"],
        point=tuple((value["name"], value["value"]) for value in entry["parameters"]),
        state=State(entry["state"]),
        rungs=tuple((rung["epoch"], parsed(rung["objective"])) for rung in entry["rungs"]),
        folds=tuple(map(parsed, entry["folds"])),
        objective=number("objective"),
        deviation=number("deviation"),
        reason=entry.get("reason"),
    )


def _evidence(entry: Mapping[str, Any]) -> Evidence:
    return Evidence(run_ids=tuple(entry["runIDs"]), weights=tuple(entry["weights"]))
