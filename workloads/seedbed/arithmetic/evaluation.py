"""Evaluation of a split: losses are quantised per sample and summed as integers, so any W gives equal counts.

Shapes: b rows of a batch, k classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from seedbed.arithmetic.batch_protocols import EvaluationRows
from seedbed.arithmetic.generator_seeding import preserve_generators, seed_evaluation, seed_mode_change
from seedbed.arithmetic.leaf_gradient import forward, images_of
from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.read_only_tensors import ReadOnlyTensors
from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.arithmetic.target_counting import AnyCounts, counter_of
from seedbed.arithmetic.torch_determinism import enable_denormals
from seedbed.arithmetic.train_eval_mode import evaluation_mode

Rows = TypeVar("Rows", bound=EvaluationRows)


def evaluate(
    replica: Replica,
    batches: Iterable[EvaluationRows],
    exchange: Exchange,
    *,
    split: str = "validation",
) -> AnyCounts:
    """Count over this worker's fixed batches (b, b + W, …), then over all workers.

    Random layers draw by (seed, split, batch). Raises ModelOutputError if the model's output has the
    wrong shape, or if the model changes state of its own.
    """
    counter = counter_of(replica.arithmetic)
    sums = np.zeros(counter.size, dtype=np.int64)
    for batch, logits_bk in evaluation_logits(replica, batches, split=split):
        sums += counter.count(batch, logits_bk.cpu())
    return counter.counts(exchange.sum_counts(sums))


def evaluation_logits(
    replica: Replica, batches: Iterable[Rows], *, split: str
) -> Generator[tuple[Rows, torch.Tensor], None, None]:
    """Yield each batch with its float32 logits (b, k); meanwhile the model is in evaluation mode, and has its
    averages in place of its parameters.

    Each batch starts from the model as eval() left it, whatever batches this worker computed before.
    """
    seed, device = replica.arithmetic.seed, replica.device
    with contextlib.ExitStack() as stack:
        stack.enter_context(replica.averaged())
        stack.callback(replica.statistics.remember)
        stack.enter_context(preserve_generators(device))
        seed_mode_change(seed, device=device)
        stack.enter_context(evaluation_mode(replica.model))
        stack.callback(seed_mode_change, seed, device=device)
        replica.statistics.remember()
        read_only = ReadOnlyTensors(replica.model, writable=replica.statistics.tensors)
        for batch in batches:
            replica.statistics.restore()
            enable_denormals()
            seed_evaluation(seed, split, batch.index, device=device)
            logits_bk = logits(replica, batch.pixels_bhwc)
            read_only.check("a forward pass in evaluation mode")
            yield batch, logits_bk


@torch.no_grad()
def logits(replica: Replica, pixels_bhwc: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Return float32 logits (b, k) on the replica's device; the model's mode is the caller's."""
    return forward(replica, images_of(replica, pixels_bhwc))
