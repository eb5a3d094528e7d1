"""The training loop of one worker: load the newest checkpoint, run steps, evaluate, checkpoint, export.

Ray Train calls `run_worker` on every rank; `Worker.train` is the loop; `run_steps` feeds the optimizer step,
also in a replay. All workers decide from the same values, so no decision is sent between them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TypeAlias

import torch.distributed as dist

from seedbed.arithmetic.optimizer_step import StepResult, run_step
from seedbed.arithmetic.reduction_tree import leaf_ranges
from seedbed.arithmetic.subtree_exchange import Exchange, PointToPointExchange, SingleProcessExchange
from seedbed.arithmetic.torch_determinism import enforce_determinism
from seedbed.environment.arithmetic_probe import check_probe
from seedbed.environment.environment_pins import assert_pinned, pinned_threads
from seedbed.feed import MicroBatch, open_feed
from seedbed.runs.ledger import leaf_digest
from seedbed.training.checkpointer import Checkpointer
from seedbed.training.driver_link import DriverLink, ProgressReporter
from seedbed.training.early_stopping import should_stop
from seedbed.training.error_attribution import attribute_errors
from seedbed.training.evaluator import Evaluator
from seedbed.training.model_export import ModelExporter
from seedbed.training.rank_agreement import RankAgreement
from seedbed.training.run_state import RunContext, RunState
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError
from seedbed_api.metric_values import REGRESSION

_FINAL_REASONS = {"Superseded", "RunFolderConflict", "RunFolderDamaged", "EnvironmentChanged"}


def run_worker(config: WorkerConfig, link: DriverLink, *, group_key: bytes | None = None) -> bool:
    """Train as one worker of the torch.distributed process group, or alone where there is none.

    `group_key` seals the messages of a group over gloo. Returns whether the run is finished, with its result
    in the run folder. Every failure is reported over the link and raised, so that Ray Train restarts the
    worker group or gives up.
    """
    if link.fatal_error() is not None:
        return True
    try:
        enforce_determinism(threads=pinned_threads())
        assert_pinned()
        check_probe(config.probe, device=config.device)
        with attribute_errors(config):
            return Worker(config, exchange=_exchange(config.device, group_key), link=link).train()
    except (UserError, InfrastructureError) as error:
        report = link.report_retryable if _restart_may_help(error) else link.report_fatal
        report(error)
        raise


def _exchange(device: str, group_key: bytes | None) -> Exchange:
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return PointToPointExchange(device, key=group_key)
    return SingleProcessExchange()


def _restart_may_help(error: SeedbedError) -> bool:
    """A new worker group may find peers and storage again; a user's mistake or a lost claim stays."""
    return isinstance(error, InfrastructureError) and error.reason not in _FINAL_REASONS


class Worker:
    """One worker of a run: replica and state, and the parts that evaluate, checkpoint, export, report."""

    def __init__(self, config: WorkerConfig, *, exchange: Exchange, link: DriverLink) -> None:
        self.config, self.link = config, link
        folder = config.run_folder()
        self.context = context = RunContext.build(config, exchange)
        self.state = state = RunState()
        agreement = RankAgreement(context, state)
        self.evaluator = Evaluator(context, state, agreement, folder)
        self.checkpointer = Checkpointer(context, state, self.evaluator, agreement, folder)
        self.exporter = ModelExporter(context, state, self.evaluator, self.checkpointer, folder)
        self.reporter = ProgressReporter(context, state, self.evaluator, self.checkpointer, link)

    def train(self) -> bool:
        """Train from the newest checkpoint to the end, to the config's pause or to a stop by the driver.

        Returns whether the run is finished, with its result in the run folder; otherwise its state is saved
        and a later attempt resumes it.
        """
        state, schedule, end = self.state, self.config.schedule, self.config.end_step
        self.checkpointer.load_newest()
        finished, paused = self._is_finished(), state.completed >= end
        steps = run_steps(self.context, state, until=end, stop_requested=self.link.stop_requested)
        with closing(steps):
            while not finished and not paused:
                result = next(steps)
                if schedule.is_evaluation(state.completed):
                    self.reporter.report("Evaluating")
                    self.evaluator.evaluate()
                finished = self._is_finished()
                paused = result.stop or state.completed == end
                if schedule.is_checkpoint(state.completed) or finished or paused:
                    self.reporter.report("Checkpointing")
                    self.checkpointer.save()
                self.reporter.report("Training")
        if finished:
            self.reporter.report("Finishing")
            self.exporter.export()
        self.reporter.report("Done" if finished else "Stopped")
        return finished

    def _is_finished(self) -> bool:
        """Say whether the run has all its steps, or early stopping ends it at the present evaluation."""
        completed, schedule = self.state.completed, self.config.schedule
        if completed == schedule.total_steps:
            return True
        at_evaluation = completed > 0 and schedule.is_evaluation(completed)
        return at_evaluation and should_stop(self.config.early_stopping, self.evaluator.scores())


Steps: TypeAlias = Generator[StepResult, None, None]


def run_steps(
    context: RunContext, state: RunState, *, until: int, stop_requested: Callable[[], bool]
) -> Steps:
    """Run the steps from `state.completed` to `until`; the caller may act on the state between two steps.

    Close the iterator to end early. Raises UserError NonFiniteLoss.
    """
    config, exchange = context.config, context.exchange
    own_leaves = leaf_ranges(config.arithmetic.leaves, exchange.world)[exchange.rank]
    with open_feed(
        config.feed,
        config.stream,
        leaves=own_leaves,
        steps=range(state.completed, until),
        threads=config.decode_threads,
    ) as batches:
        while state.completed < until:
            result = run_step(
                context.replica,
                state.completed,
                _recorded(context, state, batches, count=len(own_leaves)),
                exchange,
                total_steps=config.schedule.total_steps,
                stop=stop_requested(),
                twice=config.model.external is not None and _checks_determinism(state.completed),
            )
            _require_finite(result, step=state.completed, task=config.arithmetic.task)
            state.add_step(result)
            context.stopwatch.record_step()
            yield result


def _recorded(
    context: RunContext, state: RunState, batches: Iterator[MicroBatch], *, count: int
) -> Iterator[MicroBatch]:
    """Yield the next micro-batches; record each in the ledger as its leaf takes it."""
    for _ in range(count):
        with context.stopwatch.part("data"):
            batch = next(batches)
        context.stopwatch.record_batch()
        assert batch.step == state.completed, f"step {batch.step} came where {state.completed} was due"
        digest = leaf_digest(batch.rows_m, batch.labels_m, batch.pixels_mhwc)
        state.ledger.add_leaf(batch.step, batch.leaf, rows_m=batch.rows_m, digest=digest)
        yield batch


def _checks_determinism(step: int) -> bool:
    """Say whether the last leaf of a 0-based step is computed twice: the 1st, 2nd, 4th … and each 1024th."""
    return step & (step + 1) == 0 or (step + 1) % 1024 == 0


def _require_finite(result: StepResult, *, step: int, task: str) -> None:
    if result.finite:
        return
    fix = "lower spec.training.optimizer.learningRate, or add warmupSteps or gradientClipping"
    if step == 0:
        fix = "no weight has changed yet: check the network, its first weights and its loss"
    if task == REGRESSION:
        fix += (
            "; or the numbers of the dataset are too large: build it with each column divided by its spread, "
            "so that numbers are about -1 to 1, or set spec.training.loss.type: Huber"
        )
    raise UserError(
        "NonFiniteLoss",
        f"loss {result.loss} with gradient norm {result.gradient_norm} at step {step}, learning rate "
        f"{result.learning_rate:g}; {fix}",
    )
