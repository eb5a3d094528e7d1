"""Walking through the steps of a run: feed, leaves, tree, update. A replay walks just as a training does."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.optimizer_step import StepResult, run_step
from seedbed.arithmetic.reduction_tree import ranges
from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.feed import MicroBatch, open_feed
from seedbed.runs.ledger import LedgerBuffer, leaf_digest
from seedbed.training.step_timing import Stopwatch
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.errors import UserError


@dataclass(kw_only=True, slots=True)
class Walk:
    """Where one worker is on its way through a run; it writes nothing."""

    program: WorkerConfig
    exchange: Exchange
    replica: Replica
    watch: Stopwatch
    ledger: LedgerBuffer = field(default_factory=LedgerBuffer)
    completed: int = 0
    """Completed steps."""
    last: StepResult | None = None

    def note(self, result: StepResult) -> None:
        """Count a step that is done."""
        self.ledger.add_step(self.completed, loss=result.loss, witness=result.witness)
        self.completed += 1
        self.last = result
        self.watch.note_step()


Steps: TypeAlias = Generator[StepResult, None, None]


def walk(state: Walk, *, until: int, stop_requested: Callable[[], bool]) -> Steps:
    """Run the steps from `state.completed` to `until`; between two of them the caller may act on the state.

    Close the iterator to end early. Raises UserError NonFiniteLoss.
    """
    program, exchange = state.program, state.exchange
    own = ranges(program.arithmetic.leaves, exchange.world)[exchange.rank]
    with open_feed(
        program.feed,
        program.stream,
        leaves=own,
        steps=range(state.completed, until),
        threads=program.decode_threads,
    ) as batches:
        while state.completed < until:
            rows = _consumed(state, batches, count=len(own))
            result = run_step(
                state.replica,
                state.completed,
                rows,
                exchange,
                total_steps=program.milestones.total_steps,
                stop=stop_requested(),
                twice=program.model.entrypoint is not None and _is_probed(state.completed),
            )
            state.note(_finite(result, step=state.completed))
            yield result


def _is_probed(step: int) -> bool:
    """Say whether a leaf of a 0-based step is computed twice: the first, second, fourth … and each 1024th."""
    return step & (step + 1) == 0 or (step + 1) % 1024 == 0


def _consumed(state: Walk, batches: Iterator[MicroBatch], *, count: int) -> Iterator[MicroBatch]:
    """Yield the next micro-batches, each written into the ledger as the leaf gets it."""
    for _ in range(count):
        with state.watch.part("data"):
            batch = next(batches)
        state.watch.note_batch()
        assert batch.step == state.completed, f"step {batch.step} came where {state.completed} was due"
        digest = leaf_digest(batch.rows_m, batch.labels_m, batch.pixels_mhwc)
        state.ledger.add_leaf(batch.step, batch.leaf, rows_m=batch.rows_m, digest=digest)
        yield batch


def _finite(result: StepResult, *, step: int) -> StepResult:
    if result.finite:
        return result
    fix = "lower spec.training.optimizer.learningRate, or add warmupSteps or gradientClipping"
    if step == 0:
        fix = "no weight has changed yet: look for it in the network, its first weights, or its loss"
    raise UserError(
        "NonFiniteLoss",
        f"loss {result.loss} with gradient norm {result.gradient_norm} at step {step}, learning rate "
        f"{result.learning_rate:g}; {fix}",
    )
