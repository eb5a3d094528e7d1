"""Everything that a worker needs to train: one picklable value, made by the driver, given to every worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.arithmetic.arithmetic_config import ARITHMETIC_VERSION, Arithmetic
from seedbed.arithmetic.learning_rate import learning_rates
from seedbed.feed import FeedKind, StreamSpec
from seedbed.training.early_stopping import EarlyStopping
from seedbed.training.step_schedule import StepSchedule
from seedbed.usercode.code_source import CodeArchive
from seedbed_api.run_identity import trajectory_id

STORAGE_RETRY_SECONDS = 60.0
"""How long a run puts up with an output store that does not answer, as long as with that of the dataset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSource:
    """Where the network comes from: the registry, or an object of the user's code."""

    name: str | None
    """Name in the registry; None for user code."""
    args: Mapping[str, str]
    entrypoint: str | None = None
    """`module:Object` of the user's code."""
    code: CodeArchive | None = None
    """The packed code, where it is not installed."""
    code_digest: str | None = None
    """Digest of the source files that name the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerConfig:
    """One run, as a worker sees it: no worker count, no rank, no clock."""

    run_id: str
    attempt: int
    output_url: str
    output_secret: Path | None
    resolved: Mapping[str, Any]
    """The resolved recipe, from which trajectory identities are made."""
    environment_class: str
    probe: Mapping[str, Any]
    """The driver's probe; a worker whose own differs is refused."""
    device: str
    """`cpu` or `cuda`."""
    model: ModelSource
    classes: tuple[str, ...]
    samples: int
    """N, the train rows of one epoch."""
    arithmetic: Arithmetic
    stream: StreamSpec
    feed: FeedKind
    schedule: StepSchedule
    early_stopping: EarlyStopping | None
    select_best: bool
    keep_checkpoints: int
    evaluation_rows: int = 64
    """Rows of an evaluation batch; part of the arithmetic version, never of the execution."""
    decode_threads: int = 2
    pause_after: int | None = None
    """Completed steps after which this attempt keeps its state and ends, the run itself going on later;
    execution, never part of an identity."""

    @property
    def selection_metric(self) -> tuple[str, bool]:
        """The metric that early stopping and model selection use, and whether larger is better."""
        rule = self.early_stopping
        return (rule.metric, rule.maximize) if rule else ("validation/accuracy", True)

    @property
    def end_step(self) -> int:
        """The completed steps at which this attempt ends at the latest."""
        total = self.schedule.total_steps
        return total if self.pause_after is None else min(self.pause_after, total)

    def trajectory_id(self, completed: int) -> str:
        """Return the identity of the state after so many steps; runs that share it share the state."""
        rates = learning_rates(self.arithmetic.learning_rate, completed, self.schedule.total_steps)
        return trajectory_id(
            dict(self.resolved),
            arithmetic_version=ARITHMETIC_VERSION,
            environment_class=self.environment_class,
            learning_rates=rates,
        )
