"""Mapping of a recipe to the configuration of feed, arithmetic, schedule and early stopping. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from seedbed.arithmetic.arithmetic_config import (
    SGD,
    AdamW,
    Arithmetic,
    MovingAverage,
    Normalisation,
    ParameterGroup,
)
from seedbed.arithmetic.learning_rate import Constant, Cosine, LearningRate, Step
from seedbed.augmentation.color_jitter import ColorJitter
from seedbed.augmentation.crop_resize import RandomResizedCrop, Resize
from seedbed.augmentation.flip import HorizontalFlip, VerticalFlip
from seedbed.augmentation.rotation import Rotation
from seedbed.augmentation.transform_pipeline import Transform
from seedbed.order.batch_plan import total_steps
from seedbed.training.early_stopping import EarlyStopping
from seedbed.training.loss_mapping import loss_of
from seedbed.training.step_schedule import EveryEpochs, EverySteps, StepSchedule
from seedbed_api import augmentation_transforms, recipe, training_settings
from seedbed_api.errors import UserError, refusal
from seedbed_api.metric_values import SINGLE_LABEL
from seedbed_api.trainingjob import TrainingJobSpec


def transforms_of(chain: Sequence[augmentation_transforms.Transform]) -> tuple[Transform, ...]:
    """Return the pixel transforms of an augmentation chain; mixup is part of the leaf."""
    return tuple(_transform(entry.member()) for entry in chain if entry.type != "Mixup")


def _transform(block: object) -> Transform:
    match block:
        case augmentation_transforms.Resize():
            return Resize(size=block.size)
        case augmentation_transforms.RandomResizedCrop():
            scale = (float(block.scale_min), float(block.scale_max))
            return RandomResizedCrop(
                size=block.size, scale=scale, ratio=(float(block.ratio_min), float(block.ratio_max))
            )
        case augmentation_transforms.HorizontalFlip():
            return HorizontalFlip(probability=float(block.probability))
        case augmentation_transforms.VerticalFlip():
            return VerticalFlip(probability=float(block.probability))
        case augmentation_transforms.Rotation():
            return Rotation(degrees=float(block.degrees))
        case augmentation_transforms.ColorJitter():
            return ColorJitter(
                brightness=float(block.brightness),
                contrast=float(block.contrast),
                saturation=float(block.saturation),
            )
    raise AssertionError(f"no transform for {type(block).__name__}")


def steps_of(block: training_settings.Training, *, samples: int) -> int:
    """Return the steps of the whole run; UserError for a batch larger than the dataset."""
    batch = block.batch
    if batch.global_size > samples:
        problem = f"a global batch is larger than the {samples} training rows"
        fix = f"use at most {samples}, or a larger subset or fold"
        raise UserError(
            "InvalidSpec", refusal("spec.training.batch.globalSize", batch.global_size, problem, fix)
        )
    if block.steps is not None:
        return block.steps
    assert block.epochs is not None
    return steps_of_epochs(batch, block.epochs, samples=samples)


def steps_of_epochs(batch: training_settings.Batch, epochs: int, *, samples: int) -> int:
    """Return the number of steps that consume so many epochs."""
    return total_steps(epochs=epochs, count=samples, leaves=batch.leaves, leaf_rows=batch.micro_size)


def arithmetic_of(
    block: training_settings.Training,
    *,
    classes: Sequence[str],
    samples: int,
    task: str = SINGLE_LABEL,
    top_k: int | None = None,
) -> Arithmetic:
    """Return the configuration of the arithmetic."""
    clipping = block.gradient_clipping
    mixup = [entry.mixup for entry in block.augmentation if entry.mixup is not None]
    return Arithmetic(
        leaves=block.batch.leaves,
        leaf_rows=block.batch.micro_size,
        classes=len(classes),
        seed=block.seed,
        learning_rate=_learning_rate(block, samples=samples),
        precision=block.precision,
        task=task,
        loss=loss_of(block.loss, classes),
        optimizer=_optimizer(block.optimizer),
        normalisation=_normalisation(block.normalization),
        mixup_alpha=float(mixup[0].alpha) if mixup else 0.0,
        groups=tuple(map(_group, block.parameter_groups or ())),
        frozen=block.freeze or (),
        gradient_clip_norm=None if clipping is None else float(clipping.max_norm),
        top_k=top_k,
        average=None if block.ema is None else _average(block.ema),
    )


def _average(block: training_settings.MovingAverage) -> MovingAverage:
    return MovingAverage(decay=float(block.decay), start_step=block.start_step)


def _learning_rate(block: training_settings.Training, *, samples: int) -> LearningRate:
    schedule = block.learning_rate_schedule
    decay: Constant | Cosine | Step = Constant()
    if schedule.cosine is not None:
        decay = Cosine(minimum=float(schedule.cosine.minimum))
    if schedule.step is not None:
        decay = Step(
            every_steps=_step_distance(schedule.step, block, samples), factor=float(schedule.step.factor)
        )
    return LearningRate(
        base=float(block.optimizer.learning_rate), warmup_steps=schedule.warmup_steps, decay=decay
    )


def _step_distance(step: training_settings.Step, block: training_settings.Training, samples: int) -> int:
    if step.every_steps is not None:
        return step.every_steps
    assert step.every_epochs is not None
    return steps_of_epochs(block.batch, step.every_epochs, samples=samples)


def _optimizer(block: training_settings.Optimizer) -> SGD | AdamW:
    decay = float(block.weight_decay)
    if block.sgd is not None:
        return SGD(momentum=float(block.sgd.momentum), nesterov=block.sgd.nesterov, weight_decay=decay)
    assert block.adam_w is not None
    return AdamW(
        beta1=float(block.adam_w.beta1),
        beta2=float(block.adam_w.beta2),
        epsilon=float(block.adam_w.epsilon),
        weight_decay=decay,
    )


def _group(block: training_settings.ParameterGroup) -> ParameterGroup:
    decay = None if block.weight_decay is None else float(block.weight_decay)
    factor = float(block.learning_rate_factor)
    return ParameterGroup(match=block.match, learning_rate_factor=factor, weight_decay=decay)


def _normalisation(block: training_settings.Normalization) -> Normalisation:
    red, green, blue = (float(value) for value in block.mean)
    red_std, green_std, blue_std = (float(value) for value in block.std)
    return Normalisation(mean=(red, green, blue), std=(red_std, green_std, blue_std))


def step_schedule_of(spec: TrainingJobSpec, *, samples: int) -> StepSchedule:
    """Return when the run evaluates and writes checkpoints."""
    return StepSchedule(
        total_steps=steps_of(spec.training, samples=samples),
        evaluation=_evaluation(spec.evaluation, samples=samples, rows=spec.training.batch.global_size),
        checkpoint_every_steps=spec.checkpoint.every_steps,
        checkpoint_at_evaluations=spec.training.model_selection == "Best",
    )


def _evaluation(block: recipe.Evaluation, *, samples: int, rows: int) -> EveryEpochs | EverySteps | None:
    if block.every_steps is not None:
        return EverySteps(steps=block.every_steps)
    if block.every_epochs is not None:
        return EveryEpochs(epochs=block.every_epochs, samples=samples, global_rows=rows)
    return None


def early_stopping_of(block: training_settings.Training) -> EarlyStopping | None:
    """Return the stop rule, exact; None without early stopping."""
    rule = block.early_stopping
    if rule is None:
        return None
    return EarlyStopping(
        metric=rule.metric,
        maximize=rule.direction == "Maximize",
        patience=rule.patience_evaluations,
        min_delta=Fraction(rule.min_delta),
    )
