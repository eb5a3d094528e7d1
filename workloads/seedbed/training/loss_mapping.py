"""The loss of a recipe as the arithmetic has it, and whether it fits the task of a dataset. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from seedbed.arithmetic.arithmetic_config import (
    BinaryCrossEntropy,
    CrossEntropy,
    Focal,
    Huber,
    LossConfig,
    MeanSquaredError,
)
from seedbed_api import training_settings
from seedbed_api.errors import UserError, refusal
from seedbed_api.metric_values import LOSSES, METRICS, SINGLE_LABEL
from seedbed_api.recipe import Recipe

_FIELD = "spec.training.loss"


def loss_of(loss: training_settings.Loss, classes: Sequence[str]) -> LossConfig:
    """Return the loss; `UserError` where it weighs a class that the dataset does not have."""
    if loss.cross_entropy is not None:
        weights = _weights(loss.cross_entropy.class_weights, classes, "crossEntropy.classWeights")
        return CrossEntropy(label_smoothing=float(loss.cross_entropy.label_smoothing), class_weights=weights)
    if loss.binary_cross_entropy is not None:
        positive = loss.binary_cross_entropy.positive_weights
        weights = _weights(positive, classes, "binaryCrossEntropy.positiveWeights")
        smoothing = float(loss.binary_cross_entropy.label_smoothing or 0)
        return BinaryCrossEntropy(positive_weights=weights, label_smoothing=smoothing)
    if loss.focal is not None:
        return Focal(gamma=float(loss.focal.gamma))
    return MeanSquaredError() if loss.huber is None else Huber(delta=float(loss.huber.delta))


def _weights(
    listed: Sequence[training_settings.ClassWeight], classes: Sequence[str], field: str
) -> tuple[float, ...] | None:
    """Return one factor per class; None for ones."""
    named = {weight.name: float(weight.weight) for weight in listed}
    for name in named:
        if name not in classes:
            fix = f"use one of {', '.join(classes[:20])}"
            line = refusal(f"{_FIELD}.{field}", name, "the dataset has no such class", fix)
            raise UserError("InvalidSpec", line)
    return tuple(named.get(name, 1.0) for name in classes) if named else None


def require_fitting_loss(recipe: Recipe, *, task: str) -> None:
    """Refuse a loss that does not fit the task of the dataset; user code may have a loss of its own."""
    if recipe.model.entrypoint is None:
        require_fitting_type(recipe.training.loss.type, task=task)


def require_fitting_type(kind: str, *, task: str) -> None:
    """Refuse a type of loss that does not fit the task of the dataset."""
    if kind not in LOSSES[task]:
        problem = f"does not fit the dataset, whose task is {task}"
        raise UserError(
            "InvalidSpec", refusal(f"{_FIELD}.type", kind, problem, f"use {' or '.join(LOSSES[task])}")
        )


def require_fitting_task(recipe: Recipe, *, task: str, classes: int) -> None:
    """Refuse a loss, a metric to stop by or a top k that does not fit the task of the dataset."""
    require_fitting_loss(recipe, task=task)
    _require_fitting_top(recipe.evaluation.top_k, task=task, classes=classes)
    rule = recipe.training.early_stopping
    if rule is not None:
        require_metric(rule.metric, task=task, field="spec.training.earlyStopping.metric")


def _require_fitting_top(top_k: int | None, *, task: str, classes: int) -> None:
    if top_k is None:
        return
    problem = f"does not fit the dataset, whose task is {task}" if task != SINGLE_LABEL else ""
    if not problem and top_k >= classes:
        problem = f"is not less than the {classes} classes of the dataset: every row would count"
    if problem:
        fix = "remove it" if task != SINGLE_LABEL or classes < 3 else f"use at most {classes - 1}"
        raise UserError("InvalidSpec", refusal("spec.evaluation.topK", top_k, problem, fix))


def require_metric(metric: str, *, task: str, field: str) -> None:
    """Refuse a metric that the task of the dataset does not have."""
    if metric.removeprefix("validation/") not in METRICS[task]:
        problem = f"is no metric of the dataset, whose task is {task}"
        fix = f"use one of {', '.join(f'validation/{name}' for name in METRICS[task])}"
        raise UserError("InvalidSpec", refusal(field, metric, problem, fix))
