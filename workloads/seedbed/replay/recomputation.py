"""Recompute a window of a run on every worker and compare each step with the receipt and the run folder.

Rank 0 compares; all workers stop after the same step. Nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.arithmetic.tensor_digests import weights_digest
from seedbed.arithmetic.torch_determinism import enforce_determinism
from seedbed.environment.arithmetic_probe import check_probe
from seedbed.environment.environment_pins import assert_pinned, pinned_threads
from seedbed.receipts import Decided
from seedbed.replay.recomputation_check import ReceiptComparison
from seedbed.replay.run_differences import Difference
from seedbed.runs import Evaluation, RunFolder, load_checkpoint
from seedbed.runs.ledger_exchange import ledger_part_bytes, parse_ledger_part
from seedbed.runs.tensor_serialization import Array, as_array, to_torch
from seedbed.training.early_stopping import best_score, should_stop
from seedbed.training.evaluation_metrics import evaluation_document, scores_of
from seedbed.training.evaluator import evaluate_split
from seedbed.training.rank_agreement import WorkerDigests, require_agreement
from seedbed.training.replica_builder import load_weights
from seedbed.training.run_state import RunContext, RunState
from seedbed.training.worker import run_steps
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.errors import UserError

ProgressCallback = Callable[[int], None]
"""Called on rank 0 with the completed steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecomputationTask:
    """A window of steps to recompute; picklable. Steps are numbers of completed steps."""

    program: WorkerConfig
    decided: Decided
    folder: RunFolder | None
    start: int
    """Completed steps of the first checkpoint; 0 begins with the initial weights."""
    stop: int
    end: int
    """Steps of the whole run."""
    evaluations: tuple[Evaluation, ...]
    """Stored records up to `start`."""
    scored: bool
    """Whether no evaluation up to `start` is missing, so that the stop rule can be applied again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recomputation:
    """Result of a recomputation on one worker."""

    difference: Difference | None
    completed: int
    weights_digest: str
    compared: tuple[str, ...] = ()
    """Names of the stored objects with which the last state was compared; empty if there were none."""
    leaves: int = 0
    """Number of leaves that this worker computed."""


def recompute(task: RecomputationTask, exchange: Exchange, on_progress: ProgressCallback) -> Recomputation:
    """Recompute the window as one of the workers; the result of rank 0 counts."""
    enforce_determinism(threads=pinned_threads())
    assert_pinned()
    check_probe(task.program.probe, device=task.program.device)
    replay = _Replay(task, exchange)
    difference = replay.begin() or replay.run(on_progress)
    return Recomputation(
        difference=difference,
        completed=replay.state.completed,
        weights_digest=weights_digest(replay.replica.model_weights()),
        compared=tuple(replay.comparison.compared),
        leaves=replay.leaves,
    )


class _Replay:
    """Recomputes the window on one worker."""

    def __init__(self, task: RecomputationTask, exchange: Exchange) -> None:
        self.task = task
        self.context = RunContext.build(task.program, exchange)
        self.exchange, self.replica = self.context.exchange, self.context.replica
        self.state = RunState()
        self.names = list(self.replica.witnessed())
        self.comparison = ReceiptComparison(
            program=task.program, decided=task.decided, folder=task.folder, names=self.names
        )
        self.evaluations = list(task.evaluations)
        self.best: dict[str, Array] | None = None
        self.leaves = 0

    def begin(self) -> Difference | None:
        """Load the checkpoint and compare its weights with the ledger."""
        if self.task.start == 0:
            return None
        assert self.task.folder is not None
        record, tensors = load_checkpoint(self.task.folder, self.task.start)
        self.replica.load(to_torch(tensors))
        self.state.completed = self.task.start
        self.comparison.chain = bytes.fromhex(record.ledger_chain)
        return self._agreed(lambda: self.comparison.loaded(self.replica, self.task.start))

    def run(self, on_progress: ProgressCallback) -> Difference | None:
        """Run the steps until one differs."""
        with closing(
            run_steps(self.context, self.state, until=self.task.stop, stop_requested=lambda: False)
        ) as steps:
            while True:
                try:
                    if next(steps, None) is None:
                        break
                except UserError as error:
                    if error.reason != "NonFiniteLoss":
                        raise
                    return self._not_finite(error)
                difference = self._checked()
                if self.exchange.rank == 0:
                    on_progress(self.state.completed)
                if difference is not None:
                    return difference
        return self._finished() if self.task.stop == self.task.end else None

    def _checked(self) -> Difference | None:
        state, done = self.state, self.state.completed
        part = state.ledger.drain()
        self.leaves += len(part.leaves)
        digests = WorkerDigests(steps=part.steps, tensors={})
        require_agreement(self.task.program, self.exchange, digests, witness=self.names)
        parts = self.exchange.gather_bytes(ledger_part_bytes(part))
        difference = self._agreed(
            lambda: self.comparison.step([parse_ledger_part(p) for p in parts], completed=done)
        )
        if difference is None and self.task.program.schedule.is_evaluation(done):
            difference = self._evaluated("validation")
        return (
            difference
            or self._agreed(lambda: self.comparison.checkpoint(self.replica, done))
            or self._agreed(
                lambda: self.comparison.stop_rule(self._stops(), completed=done, end=self.task.end)
            )
        )

    def _stops(self) -> bool | None:
        """Return whether the stop rule ends the run here; None if it cannot be applied."""
        program, done = self.task.program, self.state.completed
        if not self.task.scored or program.early_stopping is None or not program.schedule.is_evaluation(done):
            return None
        return should_stop(program.early_stopping, scores_of(self.evaluations, program.early_stopping.metric))

    def _evaluated(self, split: str) -> Difference | None:
        counts = evaluate_split(self.context, split=split)
        if counts.samples == 0:
            return None
        document = evaluation_document(counts, weights_digest=weights_digest(self.replica.model_weights()))
        step = self.state.completed
        record = Evaluation(split=split, step=step, document=document, digest="")
        self.evaluations.append(record)
        if split == "validation":
            self._copy_if_best()
        return self._agreed(lambda: self.comparison.evaluation(record))

    def _selected(self) -> int | None:
        """Return the completed steps whose weights are the model; None if evaluations are missing."""
        program = self.task.program
        if not program.select_best:
            return self.state.completed
        if not self.task.scored:
            return None
        metric, maximize = program.selection_metric
        return best_score(scores_of(self.evaluations, metric), maximize=maximize).completed

    def _copy_if_best(self) -> None:
        if self.task.program.select_best and self._selected() == self.state.completed:
            weights = self.replica.model_weights()
            self.best = {name: as_array(tensor).copy() for name, tensor in weights.items()}

    def _finished(self) -> Difference | None:
        """Select the model, evaluate it on test rows and compare all with the receipt."""
        difference = self._agreed(lambda: self.comparison.ledger_end(self.task.end))
        selected = self._selected()
        if difference is not None or selected is None or not self._load_selected(selected):
            return difference
        return self._evaluated("test") or self._agreed(
            lambda: self.comparison.model(self.replica, selected=selected, evaluations=self.evaluations)
        )

    def _load_selected(self, selected: int) -> bool:
        """Load the weights of the model; False if neither the window nor the folder has them."""
        if selected == self.state.completed:
            return True
        if self.best is not None and selected > self.task.start:
            load_weights(self.replica, self.best)
            return True
        if self.task.folder is None or selected not in self.comparison.stored_checkpoints:
            return False
        _, tensors = load_checkpoint(self.task.folder, selected)
        self.replica.load(to_torch(tensors))
        return True

    def _agreed(self, compare: Callable[[], Difference | None]) -> Difference | None:
        """Run a comparison on rank 0 and return its result on every worker."""
        found = compare() if self.exchange.rank == 0 else None
        document = json.dumps(None if found is None else found.document()).encode()
        agreed = json.loads(self.exchange.broadcast_bytes(document))
        return None if agreed is None else Difference(**agreed)

    def _not_finite(self, error: UserError) -> Difference:
        text = f"the loss is no longer finite: {error.message.partition(' at step')[0]}"
        return Difference(kind="loss", step=self.state.completed + 1, subject="loss", text=text)
