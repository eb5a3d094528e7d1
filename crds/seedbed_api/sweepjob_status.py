"""The status of a SweepJob: counts, the best trial and at most twenty rows; the ledger holds all trials."""

from __future__ import annotations

from typing import Annotated

from seedbed_api.base_model import StatusBlock
from seedbed_api.bounded_lists import BoundedList
from seedbed_api.scalar_types import Count, Digest, Identifier, Measured, Time, Whole, text
from seedbed_api.trainingjob_status import LifecycleStatus, ModelStatus, ObjectStatus

MOST_TOP_TRIALS = 20


class TrialCounts(StatusBlock):
    """Number of trials by state."""

    total: Count = 0
    """Trials that were proposed."""
    running: Count = 0
    """Trials in training."""
    succeeded: Count = 0
    """Trials that were trained to the end."""
    pruned: Count = 0
    """Trials that were ended early."""
    failed: Count = 0
    """Trials that failed because of their values."""
    reused: Count = 0
    """Trials whose finished run was reused."""
    finished: Annotated[str, text(16)] | None = None
    """Finished trials of the maximum number of trials: 7/12."""


class Assignment(StatusBlock):
    """The value of one parameter in a trial."""

    name: Identifier
    """Name of the parameter."""
    value: Annotated[str, text(256)]
    """Its value."""


Assignments = Annotated[tuple[Assignment, ...], BoundedList(most=32, key="name")]


class Trial(StatusBlock):
    """One trial."""

    index: Count
    """Index, from 0."""
    run_id: Digest | None = None
    """Identity of its run; with cross-validation that of fold 0."""
    objective: Measured | None = None
    """Its objective."""
    parameters: Assignments = ()
    """Values of its parameters."""
    model: ModelStatus | None = None
    """The trained model."""


TopTrials = Annotated[tuple[Trial, ...], BoundedList(most=MOST_TOP_TRIALS)]


class SweepProgress(StatusBlock):
    """Progress of a sweep, in the messages of its driver."""

    trials: TrialCounts
    """Number of trials by state."""
    best_trial: Trial | None = None
    """The best trial so far; the lower index wins a tie."""
    top_trials: TopTrials = ()
    """The best trials, by rank, then index."""
    ledger: ObjectStatus | None = None
    """Record of all trials; the same bytes for any parallelism."""
    steps: Whole = 0
    """Optimizer steps that the trials of this attempt have shown so far."""
    kept_time: Time | None = None
    """When a trial of this attempt last kept its state, or was decided."""


class SweepJobStatus(LifecycleStatus):
    """What became of the sweep; a cache of what the output store holds."""

    sweep_id: Digest | None = None
    """Identity of the sweep: digest of everything that affects its trials."""
    trials: TrialCounts | None = None
    """Number of trials by state."""
    best_trial: Trial | None = None
    """The best trial so far; the lower index wins a tie."""
    top_trials: TopTrials = ()
    """The best trials, by rank, then index."""
    ledger: ObjectStatus | None = None
    """Record of all trials; the same bytes for any parallelism."""
    last_progress_time: Time | None = None
    """When a trial last wrote a checkpoint or was decided, by the clock of the driver's machine."""

    @property
    def identity(self) -> str | None:
        """Return the identity of the sweep."""
        return self.sweep_id

    @property
    def kept_time(self) -> str | None:
        """Return when a trial last kept its state, or was decided."""
        return self.last_progress_time

    @property
    def kept(self) -> str:
        """Return how many trials are decided."""
        return f"{self.trials.finished} trials are decided" if self.trials and self.trials.finished else ""

    def identified(self, identity: str | None) -> dict[str, str | None]:
        """Return the identity of the sweep."""
        return {"sweep_id": self.sweep_id or identity}
