"""Verify a run as the command does, and a manifest whose rule ends the training early."""

from __future__ import annotations

from pathlib import Path

from seedbed.replay.verification import VerificationObserver, VerificationResult, Window, verify
from seedbed.replay.worker_config_from_receipt import DataSources
from support.runs.small_run import claim_of


def verdict_of(run: Path, first: int | None = None, last: int | None = None, **options) -> VerificationResult:
    claim = claim_of(run, alone=options.pop("alone", False))
    return verify(claim, Window(first=first, last=last), DataSources(**options), VerificationObserver())


STOPPING = {
    "earlyStopping": {
        "metric": "validation/loss",
        "direction": "Minimize",
        "patienceEvaluations": 1,
        "minDelta": "1000",
    }
}
