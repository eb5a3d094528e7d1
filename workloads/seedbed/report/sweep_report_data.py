"""What the report of a sweep shows, as frozen values: filled by the driver, drawn by `build_sweep_report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seedbed.search.trial_decisions import DecidedTrial, SweepEnd, TrialRuns
from seedbed_api.sweepjob import SweepJobSpec

Curve = Sequence[tuple[int, int]]
"""(epoch, objective in steps of 10^-12)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepInputs:
    """Everything in the report of a sweep that has ended."""

    job: str
    spec: SweepJobSpec
    ended: SweepEnd
    trials: Sequence[DecidedTrial]
    """By index."""
    trial_runs: Mapping[int, TrialRuns] = field(default_factory=dict)
    curves: Mapping[int, Curve] = field(default_factory=dict)
    """By trial, the mean over its folds; the rungs of a trial stand in for one that is missing."""
    importance: Mapping[str, float] = field(default_factory=dict)
    """Share of each parameter, largest first."""
    created: str = ""
    """When, as text; the report asks no clock."""
    sweep: str = ""
    """Identity of the sweep."""
    environment_class: str = ""
    dataset_digest: str = ""
    ledger_uri: str = ""
    ledger_digest: str = ""
    reused: int = 0
    """Trials that were looked up."""
