"""The training program: what every worker does from the newest checkpoint to the model.

`train` is the whole of it. All workers take every decision from the same values, so none has to be told.
"""

from __future__ import annotations

from collections.abc import Iterator

from seedbed.arithmetic.exchange import Exchange
from seedbed.arithmetic.step import StepResult, run_step
from seedbed.arithmetic.tree import ranges
from seedbed.feed import MicroBatch, open_feed
from seedbed.runs.ledger import leaf_digest
from seedbed.training.links import Link
from seedbed.training.programs import TrainingProgram
from seedbed.training.states import RunState, open_state
from seedbed.training.stopping import should_stop
from seedbed_api.errors import UserError


def train(program: TrainingProgram, *, exchange: Exchange, link: Link) -> None:
    """Train from the newest checkpoint to the end, or to the end of the step in which a stop was asked for.

    The outcome is stored in the run folder; without it the training was stopped and can be resumed.
    """
    state = open_state(program, exchange=exchange)
    state.resume()
    stopped = not _over(state) and _train_steps(state, link)
    if not stopped:
        state.tell(link, phase="Finishing")
        state.finish()
    state.tell(link, phase="Done" if not stopped else "Checkpointing")


def _train_steps(state: RunState, link: Link) -> bool:
    """Run steps until the run is over or stopped; return whether it was stopped."""
    program, exchange = state.program, state.exchange
    total = program.milestones.total_steps
    own = ranges(program.arithmetic.leaves, exchange.world)[exchange.rank]
    with open_feed(
        program.feed,
        program.stream,
        leaves=own,
        steps=range(state.completed, total),
        threads=program.decode_threads,
    ) as batches:
        while not _over(state):
            rows = _consumed(state, batches, count=len(own))
            stop = link.stop_requested()
            result = run_step(state.replica, state.completed, rows, exchange, total_steps=total, stop=stop)
            state.note(_finite(result, step=state.completed))
            if program.milestones.is_evaluation(state.completed):
                state.tell(link, phase="Evaluating")
                state.evaluate()
            if program.milestones.is_checkpoint(state.completed) or result.stop or _over(state):
                state.checkpoint()
            state.tell(link, phase="Training")
            if result.stop and not _over(state):
                return True
    return False


def _over(state: RunState) -> bool:
    """Say whether the run has all its steps, or its stop rule ended it after the present one."""
    milestones = state.program.milestones
    if state.completed == milestones.total_steps:
        return True
    at_evaluation = state.completed > 0 and milestones.is_evaluation(state.completed)
    return at_evaluation and should_stop(state.program.early_stopping, state.scores())


def _consumed(state: RunState, batches: Iterator[MicroBatch], *, count: int) -> Iterator[MicroBatch]:
    """Yield the next micro-batches, each written into the ledger as the leaf gets it."""
    for _ in range(count):
        with state.watch.part("data"):
            batch = next(batches)
        assert batch.step == state.completed, f"step {batch.step} came where {state.completed} was due"
        digest = leaf_digest(batch.rows_m, batch.labels_m, batch.pixels_mhwc)
        state.ledger.add_leaf(batch.step, batch.leaf, rows_m=batch.rows_m, digest=digest)
        yield batch


def _finite(result: StepResult, *, step: int) -> StepResult:
    if result.finite:
        return result
    raise UserError(
        "NonFiniteLoss",
        f"loss {result.loss} with gradient norm {result.gradient_norm} at step {step}, learning rate "
        f"{result.learning_rate:g}; lower spec.training.optimizer.learningRate, or add warmupSteps "
        "or gradientClipping",
    )
