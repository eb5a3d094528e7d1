"""The state of a run on one worker: what is fixed while it trains, and what each step changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.optimizer_step import StepResult
from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.runs.ledger import LedgerBuffer
from seedbed.training.replica_builder import build_replica
from seedbed.training.step_timing import Stopwatch, TimedExchange
from seedbed.training.worker_config import WorkerConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """What one worker trains with, from its start to its end."""

    config: WorkerConfig
    exchange: Exchange
    replica: Replica
    """Parameters, buffers and optimizer state; steps and checkpoints write into its tensors."""
    stopwatch: Stopwatch

    @staticmethod
    def build(config: WorkerConfig, exchange: Exchange) -> RunContext:
        """Return a context whose replica has its first weights."""
        stopwatch = Stopwatch()
        return RunContext(
            config=config,
            exchange=TimedExchange(exchange, stopwatch),
            replica=build_replica(config.model, config.arithmetic, device=config.device),
            stopwatch=stopwatch,
        )

    @property
    def writes(self) -> bool:
        """Whether this worker writes the run folder; rank 0 alone does."""
        return self.exchange.rank == 0


@dataclass(kw_only=True, slots=True)
class RunState:
    """What each step changes besides the replica."""

    completed: int = 0
    """Completed steps, over all attempts."""
    ledger: LedgerBuffer = field(default_factory=LedgerBuffer)
    """What this worker consumed since the last checkpoint."""
    last: StepResult | None = None

    def add_step(self, result: StepResult) -> None:
        """Count a completed step and record its loss and witness in the ledger."""
        self.ledger.add_step(self.completed, loss=result.loss, witness=result.witness)
        self.completed += 1
        self.last = result
