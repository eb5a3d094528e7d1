"""Which runs of an output store sweeps need: those of their ledgers, and those that they have begun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seedbed.search.sweep_record import Account, read_ledger
from seedbed.storage import Storage
from seedbed_api.errors import InfrastructureError

SWEEPS = "sweeps"
LEDGER = "ledger.json"
_RUN = "runs/"


def note_begun(sweep: Storage, run_id: str) -> None:
    """Enter a run that a sweep is going to train; it is needed from now on."""
    sweep.create(f"{_RUN}{run_id.removeprefix('sha256:')}", b"")


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepFolder:
    """What lies in the folder of a sweep, by names alone."""

    name: str
    """Hex digits of its identity."""
    begun: frozenset[str]
    """Hex digits of the runs that it was going to train."""
    over: bool
    """Its ledger is there."""


def sweep_folders(output: Storage) -> list[SweepFolder]:
    """Return the sweeps of a store by identity."""
    names: dict[str, set[str]] = {}
    for path in output.list(SWEEPS):
        sweep, _, name = path.removeprefix(f"{SWEEPS}/").partition("/")
        names.setdefault(sweep, set()).add(name)
    return [
        SweepFolder(
            name=sweep,
            begun=frozenset(name.removeprefix(_RUN) for name in inside if name.startswith(_RUN)),
            over=LEDGER in inside,
        )
        for sweep, inside in sorted(names.items())
    ]


def needed_by_sweeps(output: Storage) -> Mapping[str, str]:
    """Return for each run that a sweep needs, by hex digits, the sweep that does.

    A ledger that cannot be read might need any, so nothing is to be removed: InfrastructureError.
    """
    needed: dict[str, str] = {}
    for folder in sweep_folders(output):
        if folder.over:
            account = account_of(output, folder.name)
            runs = [run for evidence in account.evidence for run in evidence.run_ids]
            needed |= {run.removeprefix("sha256:"): folder.name for run in runs}
        for run in folder.begun:
            needed.setdefault(run, folder.name)
    return needed


def account_of(output: Storage, sweep: str) -> Account:
    """Return what the ledger of a sweep says; InfrastructureError where it is damaged."""
    path = f"{SWEEPS}/{sweep}/{LEDGER}"
    try:
        return read_ledger(output.read(path))
    except ValueError as error:
        problem = f"{output.url}/{path}: {error}; run its sweep again, which restores it, or remove it"
        raise InfrastructureError("RunFolderDamaged", problem) from error
