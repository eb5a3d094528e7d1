"""Configuration of a worker: one picklable value that the driver makes for all workers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.arithmetic.arithmetic_config import ARITHMETIC_VERSION, Arithmetic
from seedbed.arithmetic.learning_rate import learning_rates
from seedbed.feed import FeedKind, StreamSpec
from seedbed.runs.owner_records import read_owner
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_output
from seedbed.training.early_stopping import EarlyStopping
from seedbed.training.initial_weights import WeightsSource
from seedbed.training.step_schedule import StepSchedule
from seedbed.usercode.code_source import CodeArchive
from seedbed.usercode.library_networks import library_of
from seedbed_api.metric_values import DIRECTIONS, SELECTION
from seedbed_api.run_identity import trajectory_id

STORAGE_RETRY_SECONDS = 60.0
"""How long reads and writes of the output store are retried; equal to that of the dataset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSource:
    """Source of the network: the model registry, or an object of user code."""

    name: str | None
    """Name in the registry, or `library/name`; None for user code."""
    args: Mapping[str, str]
    entrypoint: str | None = None
    """`module:Object` of the user's code."""
    code: CodeArchive | None = None
    """The packed code; None where it is installed."""
    code_digest: str | None = None
    """Digest of the source files, of user code or library, that name the run."""
    weights: WeightsSource | None = None
    """Where the first weights are; None for random ones."""

    @property
    def external(self) -> str | None:
        """Return the entrypoint or `library/name`: what is probed before it trains; None if built in."""
        return self.name if library_of(self.name) else self.entrypoint


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerConfig:
    """One attempt of a run, equal for all workers: no worker count, rank or clock."""

    run_id: str
    attempt: int
    output_url: str
    output_secret: Path | None
    output_folder: str
    """Folder of the output below which the run folder lies; empty for the output itself."""
    owner_key: Path | None
    """Key file of the owner whose checkpoints alone are believed; None believes all that agree."""
    resolved: Mapping[str, Any]
    """The resolved recipe, from which trajectory identities are made."""
    environment_class: str
    probe: Mapping[str, Any]
    """The driver's arithmetic probe; a worker whose probe differs is rejected."""
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
    """Rows of an evaluation batch; part of the arithmetic version."""
    decode_threads: int = 2
    pause_after: int | None = None
    """Completed steps after which this attempt saves its state and ends; a later one resumes the run.
    Never part of an identity."""

    def run_folder(self) -> RunFolder:
        """Return the folder of the run."""
        output = open_output(self.output_url, secret=self.output_secret, retry_seconds=STORAGE_RETRY_SECONDS)
        owner = None if self.owner_key is None else read_owner(self.owner_key)
        place = output.child(self.output_folder) if self.output_folder else output
        return open_run(place, self.run_id, owner=owner)

    @property
    def selection_metric(self) -> tuple[str, bool]:
        """The metric that early stopping and model selection use, and whether larger is better."""
        rule = self.early_stopping
        if rule:
            return rule.metric, rule.maximize
        name = SELECTION[self.arithmetic.task]
        return f"validation/{name}", DIRECTIONS[name] == "Maximize"

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
