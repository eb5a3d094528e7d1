"""An evaluation of a run, counted by all workers together."""

from __future__ import annotations

from seedbed.arithmetic.evaluation import evaluate
from seedbed.arithmetic.evaluation_counts import Counts
from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.feed import open_evaluation
from seedbed.training.worker_config import WorkerConfig


def evaluate_split(program: WorkerConfig, replica: Replica, exchange: Exchange, *, split: str) -> Counts:
    """Return the counts of a split, the same on every worker; without rows all are 0."""
    with open_evaluation(
        program.stream,
        split,
        rank=exchange.rank,
        world=exchange.world,
        batch_rows=program.evaluation_rows,
        threads=program.decode_threads,
    ) as batches:
        return evaluate(replica, batches, exchange, split=split)
