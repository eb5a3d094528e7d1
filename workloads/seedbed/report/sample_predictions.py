"""Sample predictions: the first rows of a split, mistakes first. Rows are ordered by hash, so classes mix.

Shapes: b rows of a batch, k classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing

import numpy as np
import numpy.typing as npt
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
    words = _words(replica.arithmetic.task, batch, logits_bk, classes)
    samples = [
        SamplePrediction(
            pixels_hwc=batch.pixels_bhwc[row].copy(),
            true_class=true,
            predicted_class=predicted,
            confidence=confidence,
        )
        for row, (true, predicted, confidence) in enumerate(words[: batch.count])
    ]
    return _mistakes_first(samples, most)


def _words(
    task: str, batch: EvaluationBatch, logits_bk: torch.Tensor, classes: Sequence[str]
) -> list[tuple[str, str, float | None]]:
    """Return target, prediction and confidence of each row of a batch, in words."""
    if task == "multi-label":
        pairs = zip(batch.labels_b > 0, logits_bk.cpu().numpy() > 0, strict=True)
        return [(_marked(true, classes), _marked(said, classes), None) for true, said in pairs]
    if task == "regression":
        pairs = zip(batch.labels_b, logits_bk.cpu().numpy(), strict=True)
        return [(_numbers(true), _numbers(said), None) for true, said in pairs]
    confidences_b, predicted_b = torch.softmax(logits_bk, dim=1).max(dim=1)
    found = zip(batch.labels_b.tolist(), predicted_b.tolist(), confidences_b.tolist(), strict=True)
    return [(classes[true], classes[said], confidence) for true, said, confidence in found]


def _marked(marks_k: npt.NDArray[np.bool_], classes: Sequence[str]) -> str:
    return ", ".join(classes[at] for at in np.flatnonzero(marks_k).tolist()) or "no label"


def _numbers(values_k: npt.NDArray[np.floating]) -> str:
    return ", ".join(f"{value:.4g}" for value in values_k.tolist())


def _mistakes_first(found: Sequence[SamplePrediction], most: int) -> list[SamplePrediction]:
    wrong = [sample for sample in found if sample.true_class != sample.predicted_class]
    right = [sample for sample in found if sample.true_class == sample.predicted_class]
    mistakes = wrong[: max(most // 2, most - len(right))]
    return [*mistakes, *right[: most - len(mistakes)]]
