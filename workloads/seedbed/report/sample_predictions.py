"""Sample predictions: the first rows of a split, mistakes first. Rows are ordered by hash, so classes mix.

Shapes: b rows of a batch, k classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing

import torch

from seedbed.arithmetic.evaluation import evaluation_logits
from seedbed.arithmetic.model_replica import Replica
from seedbed.feed import EvaluationBatch
from seedbed.report.run_report_data import SamplePrediction


@torch.no_grad()
def sample_predictions(
    replica: Replica, batches: Iterable[EvaluationBatch], *, classes: Sequence[str], most: int = 16
) -> list[SamplePrediction]:
    """Predict the first evaluation batch of a split and return up to `most` rows of it.

    At most half are mistakes if there are enough correct rows; both in row order. [] without rows.
    """
    with closing(evaluation_logits(replica, batches, split="samples")) as evaluated:
        found = next(evaluated, None)
    if found is None:
        return []
    batch, logits_bk = found
    confidences_b, predicted_b = torch.softmax(logits_bk, dim=1).max(dim=1)
    samples = [
        SamplePrediction(
            pixels_hwc=batch.pixels_bhwc[row].copy(),
            true_class=classes[int(batch.labels_b[row])],
            predicted_class=classes[int(predicted_b[row])],
            confidence=float(confidences_b[row]),
        )
        for row in range(batch.count)
    ]
    return _mistakes_first(samples, most)


def _mistakes_first(found: Sequence[SamplePrediction], most: int) -> list[SamplePrediction]:
    wrong = [sample for sample in found if sample.true_class != sample.predicted_class]
    right = [sample for sample in found if sample.true_class == sample.predicted_class]
    mistakes = wrong[: max(most // 2, most - len(right))]
    return [*mistakes, *right[: most - len(mistakes)]]
