"""Evaluation of a run: count a split on all workers, store the record, return scores and metrics."""

from __future__ import annotations

from typing import Any

from seedbed.arithmetic.evaluation import evaluate
from seedbed.arithmetic.target_counting import AnyCounts
from seedbed.arithmetic.tensor_digests import weights_digest
from seedbed.feed import open_evaluation
from seedbed.runs.evaluation_records import Evaluation, read_evaluations, save_evaluation
from seedbed.runs.run_folder import RunFolder
from seedbed.training.early_stopping import Score, best_score
from seedbed.training.evaluation_metrics import evaluation_document, scores_of
from seedbed.training.rank_agreement import RankAgreement
from seedbed.training.run_state import RunContext, RunState
from seedbed_api.metric_values import reported_metrics


class Evaluator:
    """Evaluates the present weights and holds the records of the run so far."""

    def __init__(
        self, context: RunContext, state: RunState, agreement: RankAgreement, folder: RunFolder
    ) -> None:
        self._context, self._state = context, state
        self._agreement, self._folder = agreement, folder
        self._metrics: tuple[Evaluation, dict[str, float]] | None = None
        self.records: list[Evaluation] = []

    def load(self) -> None:
        """Read the stored validation records up to the completed step."""
        self.records = read_evaluations(self._folder, split="validation", up_to=self._state.completed)

    def evaluate(self, split: str = "validation") -> None:
        """Evaluate the present weights on a split and store the record, if the split has rows."""
        with self._context.stopwatch.part("evaluation"):
            self._agreement.require()
            counts = evaluate_split(self._context, split=split)
            if counts.samples == 0:
                return
            digest = weights_digest(self._context.replica.model_weights())
            self.records.append(self._store(split, evaluation_document(counts, weights_digest=digest)))

    def _store(self, split: str, document: dict[str, Any]) -> Evaluation:
        step = self._state.completed
        if self._context.writes:
            return save_evaluation(self._folder, split=split, step=step, document=document)
        return Evaluation(split=split, step=step, document=document, digest="")

    def scores(self) -> list[Score]:
        """Return the exact values of the selection metric so far."""
        return scores_of(self.records, self._context.config.selection_metric[0])

    def best_step(self) -> int | None:
        """Return the completed steps of the best validation; None without one."""
        scores = self.scores()
        maximize = self._context.config.selection_metric[1]
        return best_score(scores, maximize=maximize).completed if scores else None

    def is_evaluated(self) -> bool:
        """Say whether the newest record is of the present weights."""
        return any(record.step == self._state.completed for record in self.records[-1:])

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the newest validation, computed once; none before the first."""
        newest = next((record for record in reversed(self.records) if record.split == "validation"), None)
        if newest is None:
            return {}
        if self._metrics is None or self._metrics[0] is not newest:
            self._metrics = newest, reported_metrics(newest.document)
        return self._metrics[1]


def evaluate_split(context: RunContext, *, split: str) -> AnyCounts:
    """Return the counts of a split, the same on every worker; without rows all are 0."""
    config, exchange = context.config, context.exchange
    with open_evaluation(
        config.stream,
        split,
        rank=exchange.rank,
        world=exchange.world,
        batch_rows=config.evaluation_rows,
        threads=config.decode_threads,
    ) as batches:
        return evaluate(context.replica, batches, exchange, split=split)
