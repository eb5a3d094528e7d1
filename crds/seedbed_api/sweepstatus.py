"""The status of a SweepJob: counts, the best trial and at most twenty rows; the ledger holds all trials."""

from __future__ import annotations

from typing import Annotated

from seedbed_api.blocks import StatusBlock
from seedbed_api.conditions import Conditions
from seedbed_api.lists import Bounded
from seedbed_api.scalars import Count, Digest, Identifier, Measured, ObservedGeneration, Time, text
from seedbed_api.status import ModelStatus, ObjectStatus

MOST_TOP_TRIALS = 20


class TrialCounts(StatusBlock):
    """How many trials are in which state."""

    total: Count = 0
    """Trials that were proposed."""
    running: Count = 0
    """Trials that are trained now."""
    succeeded: Count = 0
    """Trials that were trained to the end."""
    pruned: Count = 0
    """Trials that were ended early."""
    failed: Count = 0
    """Trials that failed by their own fault."""
    reused: Count = 0
    """Trials that were looked up and not trained."""


class Assignment(StatusBlock):
    """The value of one parameter in a trial."""

    name: Identifier
    """Name of the parameter."""
    value: Annotated[str, text(256)]
    """Its value."""


Assignments = Annotated[tuple[Assignment, ...], Bounded(most=32, key="name")]


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
    """The model that came out."""


class SweepJobStatus(StatusBlock):
    """What became of the sweep."""

    observed_generation: ObservedGeneration | None = None
    """Generation of the spec that this status is about; -1 until the operator has looked."""
    start_time: Time | None = None
    """When the first attempt began."""
    completion_time: Time | None = None
    """When the sweep was complete or had failed."""
    trials: TrialCounts | None = None
    """How many trials are in which state."""
    best_trial: Trial | None = None
    """The best trial so far; the lower index wins a tie."""
    top_trials: Annotated[tuple[Trial, ...], Bounded(most=MOST_TOP_TRIALS)] = ()
    """The best trials, by rank, then index."""
    ledger: ObjectStatus | None = None
    """All trials; the same bytes for every parallelism."""
    conditions: Conditions = ()
    """Complete, Failed, Suspended, Running, Reconciling, Stalled."""
