"""The ledger object of a finished sweep: written last, never with other bytes, read back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from seedbed.runs.run_folder import conflict
from seedbed.search.sweep_record import Account, Evidence, Ledger, ledger, read_ledger
from seedbed.search.sweep_record_check import disagreements
from seedbed.search.trial_decisions import Decided, Ended
from seedbed.storage import Storage
from seedbed.sweeps.resolve_sweep import Sweep
from seedbed.sweeps.run_references import LEDGER
from seedbed.sweeps.sweep_state import Standing
from seedbed_api.canonical_json import digest_of
from seedbed_api.errors import InfrastructureError

logger = logging.getLogger(__name__)


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
    _publish(standing.sweep, written)
    return Finished(
        ended=ended, trials=tuple(trials), evidence=evidence, uri=_uri(output), digest=written.digest
    )


def _publish(sweep: Sweep, written: Ledger) -> None:
    output = sweep.output()
    if output.create(LEDGER, written.data):
        return
    theirs = output.read(LEDGER)
    if theirs == written.data:
        return
    if _account(theirs, sweep) is None:
        output.put(LEDGER, written.data)
        return
    raise InfrastructureError("RunFolderConflict", conflict(_uri(output), theirs, written.data))


def finished_before(sweep: Sweep) -> Finished | None:
    """Return the sweep that ended before; None where it has not, or where its ledger is damaged."""
    output = sweep.output()
    try:
        data = output.read(LEDGER)
    except FileNotFoundError:
        return None
    account = _account(data, sweep)
    if account is None:
        return None
    return Finished(
        ended=account.ended,
        trials=account.trials,
        evidence=dict(enumerate(account.evidence)),
        uri=_uri(output),
        digest=digest_of(data),
    )


def _account(data: bytes, sweep: Sweep) -> Account | None:
    """Return what a ledger says; None for a damaged one: the sweep is then searched anew, from its runs."""
    try:
        account = read_ledger(data)
    except ValueError as error:
        logger.warning("%s is not used: %s", _uri(sweep.output()), error)
        return None
    lines = disagreements(sweep.spec, account) if account.sweep == sweep.document else ["another sweep's"]
    for line in lines:
        logger.warning("%s is not used: %s", _uri(sweep.output()), line)
    return None if lines else account


def _uri(output: Storage) -> str:
    return f"{output.url}/{LEDGER}"
