"""Which runs of an output store sweeps need: those of their ledgers, and those that they have begun."""

from __future__ import annotations

from collections.abc import Mapping

from seedbed.search.ledger import read_ledger
from seedbed.storage import Storage
from seedbed_api.errors import InfrastructureError

SWEEPS = "sweeps"
LEDGER = "ledger.json"
_BEGUN = "runs"


def note_begun(sweep: Storage, run_id: str) -> None:
    """Enter a run that a sweep is going to train; it is needed from now on."""
    sweep.create(f"{_BEGUN}/{run_id.removeprefix('sha256:')}", b"")


def needed_by_sweeps(output: Storage) -> Mapping[str, str]:
    """Return for each run that a sweep needs, by hex digits, the sweep that does."""
    needed: dict[str, str] = {}
    for path in output.list(SWEEPS):
        sweep, _, name = path.removeprefix(f"{SWEEPS}/").partition("/")
        if name == LEDGER:
            needed |= dict.fromkeys(_of_ledger(output, path), sweep)
        elif name.startswith(f"{_BEGUN}/"):
            needed.setdefault(name.removeprefix(f"{_BEGUN}/"), sweep)
    return needed


def _of_ledger(output: Storage, path: str) -> list[str]:
    """Return the runs of a ledger; one that cannot be read might need any, so nothing is to be removed."""
    try:
        account = read_ledger(output.read(path))
    except ValueError as error:
        problem = f"{output.url}/{path}: {error}; run its sweep again, which restores it, or remove it"
        raise InfrastructureError("RunFolderDamaged", problem) from error
    return [run.removeprefix("sha256:") for evidence in account.evidence for run in evidence.run_ids]
