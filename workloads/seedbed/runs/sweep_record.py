"""The record of a finished sweep, and the folder `sweeps/<sweep>` of an output store that holds it.

The record lists all trials as canonical JSON, equal for every parallelism, timing and cache: no times, no
attempts, nothing above the trial that ended the sweep. It is written last and never with other bytes. Its
object is called `ledger.json`, and fields of the CRD call it `ledger`; everywhere else *ledger* means the
record of consumed rows. The folder also names the runs that the sweep has started (`runs/<run>`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seedbed.search.objective_values import format_objective, parse_objective
from seedbed.search.trial_decisions import DecidedTrial, EndReason, SweepEnd, TrialRuns, TrialState
from seedbed.storage import Storage
from seedbed.storage.object_limits import SWEEP_RECORD
from seedbed_api.canonical_json import canonical_json
from seedbed_api.errors import InfrastructureError
from seedbed_api.strict_json import parse_json

SCHEMA_VERSION = 1
SWEEPS = "sweeps"
RECORD = "ledger.json"
_RUN = "runs/"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRecord:
    """The trials of a sweep that has ended."""

    sweep: Mapping[str, Any]
    """What identifies the sweep: `sweep_identity.sweep_document`."""
    ended: SweepEnd
    trials: tuple[DecidedTrial, ...]
    """By index, from 0 without a gap."""
    trial_runs: tuple[TrialRuns, ...]

    def to_bytes(self) -> bytes:
        """Return the record as stored."""
        end = {"reason": str(self.ended.reason), "trial": self.ended.index, "detail": self.ended.detail}
        return canonical_json(
            {
                "schemaVersion": SCHEMA_VERSION,
                "sweep": dict(self.sweep),
                "end": _without_none(end),
                "trials": [_entry(*row) for row in zip(self.trials, self.trial_runs, strict=True)],
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedSweep:
    """A sweep that has ended, and where its record is stored."""

    ended: SweepEnd
    trials: tuple[DecidedTrial, ...]
    trial_runs: Mapping[int, TrialRuns]
    record_uri: str
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepFolder:
    """The folder of a sweep, by the names of its objects alone."""

    name: str
    """Hex digits of the sweep's identity."""
    started_runs: frozenset[str]
    """Hex digits of the runs that the sweep has started or was about to start."""
    finished: bool
    """The record is there."""


def sweep_record(
    trials: Iterable[DecidedTrial],
    *,
    sweep: Mapping[str, Any],
    ended: SweepEnd,
    trial_runs: Mapping[int, TrialRuns],
) -> SweepRecord:
    """Return the record of a sweep, without trials above the one that ended it."""
    counted = tuple(
        trial for trial in sorted(trials, key=lambda trial: trial.index) if trial.index <= ended.index
    )
    return SweepRecord(
        sweep=sweep,
        ended=ended,
        trials=counted,
        trial_runs=tuple(trial_runs.get(trial.index, TrialRuns()) for trial in counted),
    )


def parse_sweep_record(data: bytes) -> SweepRecord:
    """Undo `SweepRecord.to_bytes`; ValueError in one line for bytes that no record has."""
    try:
        document = parse_json(data)
        version = document["schemaVersion"]
        if version != SCHEMA_VERSION:
            raise ValueError(f"its schemaVersion is {version!r}, this program reads {SCHEMA_VERSION}")
        record = _record_of(document)
        again = sweep_record(
            record.trials,
            sweep=record.sweep,
            ended=record.ended,
            trial_runs=dict(enumerate(record.trial_runs)),
        ).to_bytes()
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(f"not the record of a sweep: {type(error).__name__} {error}") from error
    if again != data:
        raise ValueError("not the record of a sweep: it has more than its trials, or is not canonical JSON")
    return record


def _record_of(document: Mapping[str, Any]) -> SweepRecord:
    trials, end = document["trials"], document["end"]
    indices = [trial["index"] for trial in trials]
    if indices != list(range(len(trials))):
        raise ValueError("its trials have a gap, or another order than that of their index")
    return SweepRecord(
        sweep=document["sweep"],
        ended=SweepEnd(reason=EndReason(end["reason"]), index=end["trial"], detail=end.get("detail")),
        trials=tuple(_trial(trial) for trial in trials),
        trial_runs=tuple(
            TrialRuns(run_ids=tuple(trial["runIDs"]), weights=tuple(trial["weights"])) for trial in trials
        ),
    )


def _entry(trial: DecidedTrial, runs: TrialRuns) -> dict[str, Any]:
    """Return the JSON object of a trial, without fields that are None."""
    fields: dict[str, Any] = {
        "index": trial.index,
        "parameters": [{"name": name, "value": value} for name, value in trial.assignments],
        "state": str(trial.state),
        "rungs": [{"epoch": epoch, "objective": format_objective(value)} for epoch, value in trial.rungs],
        "folds": [format_objective(value) for value in trial.folds],
        "objective": None if trial.objective is None else format_objective(trial.objective),
        "deviation": None if trial.deviation is None else format_objective(trial.deviation),
        "reason": trial.reason,
        "runIDs": list(runs.run_ids),
        "weights": list(runs.weights),
    }
    return _without_none(fields)


def _trial(entry: Mapping[str, Any]) -> DecidedTrial:
    return DecidedTrial(
        index=entry["index"],
        assignments=tuple((parameter["name"], parameter["value"]) for parameter in entry["parameters"]),
        state=TrialState(entry["state"]),
        rungs=tuple((rung["epoch"], parse_objective(rung["objective"])) for rung in entry["rungs"]),
        folds=tuple(map(parse_objective, entry["folds"])),
        objective=_parsed(entry.get("objective")),
        deviation=_parsed(entry.get("deviation")),
        reason=entry.get("reason"),
    )


def _parsed(text: str | None) -> int | None:
    return None if text is None else parse_objective(text)


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def add_started_run(sweep: Storage, run_id: str) -> None:
    """Name a run that a sweep is about to train: from now on the sweep needs it."""
    sweep.create(f"{_RUN}{run_id.removeprefix('sha256:')}", b"")


def list_sweep_folders(output: Storage) -> list[SweepFolder]:
    """Return the sweeps of a store by identity."""
    names: dict[str, set[str]] = {}
    for path in output.list(SWEEPS):
        sweep, _, name = path.removeprefix(f"{SWEEPS}/").partition("/")
        names.setdefault(sweep, set()).add(name)
    return [
        SweepFolder(
            name=sweep,
            started_runs=frozenset(name.removeprefix(_RUN) for name in inside if name.startswith(_RUN)),
            finished=RECORD in inside,
        )
        for sweep, inside in sorted(names.items())
    ]


def runs_needed_by_sweeps(output: Storage) -> Mapping[str, str]:
    """Return run -> sweep, both in hex digits, for each run that a sweep needs.

    A record that cannot be read might need any run: InfrastructureError, so that nothing is removed.
    """
    needed: dict[str, str] = {}
    for folder in list_sweep_folders(output):
        if folder.finished:
            record = read_sweep_record(output, folder.name)
            run_ids = [run for runs in record.trial_runs for run in runs.run_ids]
            needed |= {run.removeprefix("sha256:"): folder.name for run in run_ids}
        for run in folder.started_runs:
            needed.setdefault(run, folder.name)
    return needed


def read_sweep_record(output: Storage, sweep: str) -> SweepRecord:
    """Return the record of a finished sweep; InfrastructureError where it is damaged."""
    path = f"{SWEEPS}/{sweep}/{RECORD}"
    try:
        return parse_sweep_record(output.read(path, SWEEP_RECORD))
    except ValueError as error:
        problem = f"{output.url}/{path}: {error}; run its sweep again, which restores it, or remove it"
        raise InfrastructureError("RunFolderDamaged", problem) from error
