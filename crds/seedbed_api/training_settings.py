"""The `training` block: how long, which batches, loss, optimizer, schedule, transforms and stop rules."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from seedbed_api import metric_values
from seedbed_api.augmentation_transforms import Augmentation, Resize, Transform
from seedbed_api.base_model import Block, Choice, Rule
from seedbed_api.bounded_lists import BoundedList
from seedbed_api.decimal_strings import Decay, DecimalRange, NotNegative, Positive, Probability, Share
from seedbed_api.scalar_types import (
    Count,
    Epochs,
    Flag,
    Integer,
    OneOf,
    ParameterPattern,
    Seed,
    Steps,
    Sweepable,
    text,
)

MOST_LEAVES = 4096
DIRECTIONS: dict[str, str] = {
    f"validation/{name}": direction for name, direction in metric_values.DIRECTIONS.items()
}
MetricName = Annotated[str, OneOf(tuple(DIRECTIONS))]
Direction = Literal["Maximize", "Minimize"]
MINIMIZED = tuple(name for name, direction in DIRECTIONS.items() if direction == "Minimize")
WRONG_DIRECTION = f"must be Minimize for {', '.join(MINIMIZED)} and Maximize for other metrics"
SWEEPABLE = Sweepable()

Rate = Annotated[str, DecimalRange(low="0", high="1000", low_open=True)]
Channels = Annotated[tuple[Probability, ...], BoundedList(least=3, most=3)]
Spreads = Annotated[tuple[Share, ...], BoundedList(least=3, most=3)]


class Batch(Block):
    """The global batch and its cut into logical shards of equal size."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="globalSize",
            cel="self.globalSize % self.microSize == 0",
            holds=lambda batch: batch.global_size % batch.micro_size == 0,
            problem="must be a multiple of microSize",
            fix="change one of the two",
        ),
        Rule(
            field="globalSize",
            cel=f"self.globalSize / self.microSize <= {MOST_LEAVES}",
            holds=lambda batch: batch.global_size // batch.micro_size <= MOST_LEAVES,
            problem=f"must be at most {MOST_LEAVES} times microSize",
            fix="choose a larger microSize",
        ),
    )

    global_size: Annotated[Integer, Field(ge=1, le=1_048_576)] = 128
    """Rows per optimizer step."""
    micro_size: Annotated[Integer, Field(ge=1, le=65_536)] = 16
    """Rows per leaf. globalSize / microSize leaves are added in one order, for any number of workers."""

    @property
    def leaves(self) -> int:
        """Logical shards per step."""
        return self.global_size // self.micro_size


class ClassWeight(Block):
    """The weight of one class in the loss."""

    name: Annotated[str, text(253)]
    """Name of the class in the dataset."""
    weight: Positive
    """Factor of the loss of its rows; 1 for classes that are not listed."""


class CrossEntropy(Block):
    """Parameters of CrossEntropy."""

    label_smoothing: Annotated[Decay, SWEEPABLE] = "0"
    """Fraction of each label that is spread evenly over all classes."""
    class_weights: Annotated[tuple[ClassWeight, ...], BoundedList(most=1000, key="name", ordered=False)] = ()
    """Weights of classes in the loss."""


class BinaryCrossEntropy(Block):
    """Parameters of BinaryCrossEntropy: of each label by itself, the mean over labels."""

    positive_weights: Annotated[
        tuple[ClassWeight, ...], BoundedList(most=1000, key="name", ordered=False)
    ] = ()
    """Weights of the rows that have a label; 1 for labels that are not listed."""
    label_smoothing: Annotated[Decay, SWEEPABLE] | None = None
    """Fraction of each 0 and 1 that is replaced by one half. Default: none."""


class Huber(Block):
    """Parameters of Huber: half the square of small errors, linear in large ones."""

    delta: Annotated[str, DecimalRange(low="0.000001", high="1000000")] = "1"
    """Error from which the loss is linear, in the unit of the numbers."""


class Focal(Block):
    """Parameters of Focal: cross-entropy times (1 - p) to the power of gamma, p of the right answer."""

    gamma: Annotated[str, DecimalRange(low="0", high="10"), SWEEPABLE] = "2"
    """Exponent; 0 is plain cross-entropy."""


class Loss(Choice):
    """Loss to minimize; it must fit the task of the dataset."""

    members: ClassVar = {
        "CrossEntropy": "cross_entropy",
        "BinaryCrossEntropy": "binary_cross_entropy",
        "Huber": "huber",
        "Focal": "focal",
    }

    type: Literal["CrossEntropy", "BinaryCrossEntropy", "MeanSquaredError", "Huber", "Focal"] = "CrossEntropy"
    """Type of the loss: CrossEntropy or Focal for one label per image, BinaryCrossEntropy or Focal for
    several, MeanSquaredError or Huber for numbers. User code with a loss of its own ignores it."""
    cross_entropy: CrossEntropy | None = None
    """Parameters of CrossEntropy."""
    binary_cross_entropy: BinaryCrossEntropy | None = None
    """Parameters of BinaryCrossEntropy."""
    huber: Huber | None = None
    """Parameters of Huber."""
    focal: Focal | None = None
    """Parameters of Focal."""


class SGD(Block):
    """Parameters of SGD."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="nesterov",
            cel="!self.nesterov || double(self.momentum) > 0.0",
            holds=lambda sgd: not sgd.nesterov or Decimal(sgd.momentum) > 0,
            problem="needs a momentum above 0",
            fix='set momentum, for example "0.9"',
        ),
    )

    momentum: Annotated[Decay, SWEEPABLE] = "0"
    """Factor of the running sum of gradients."""
    nesterov: Flag = False
    """Use Nesterov momentum."""


class AdamW(Block):
    """Parameters of AdamW."""

    beta1: Annotated[Decay, SWEEPABLE] = "0.9"
    """Factor of the running mean of gradients."""
    beta2: Annotated[Decay, SWEEPABLE] = "0.999"
    """Factor of the running mean of squared gradients."""
    epsilon: Share = "0.00000001"
    """Added to the denominator."""


class Optimizer(Choice):
    """Optimizer of the parameters."""

    members: ClassVar = {"SGD": "sgd", "AdamW": "adam_w"}

    type: Annotated[Literal["SGD", "AdamW"], SWEEPABLE]
    """Type of the optimizer; its own parameters are in the field of that name."""
    learning_rate: Annotated[Rate, SWEEPABLE]
    """Initial learning rate of the schedule, after the warm-up."""
    weight_decay: Annotated[NotNegative, SWEEPABLE] = "0"
    """SGD adds it to the gradient (L2), AdamW applies it to the parameters (decoupled)."""
    sgd: SGD | None = None
    """Parameters of SGD."""
    adam_w: AdamW | None = None
    """Parameters of AdamW."""


class Cosine(Block):
    """Parameters of Cosine: half a cosine wave from the learning rate to the minimum at the last step."""

    minimum: Annotated[str, DecimalRange(low="0", high="1000")] = "0"
    """Learning rate at the last step."""


class Step(Block):
    """Parameters of Step: the learning rate is multiplied by a factor at regular distances."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="",
            cel="has(self.everyEpochs) != has(self.everySteps)",
            holds=lambda step: (step.every_epochs is None) != (step.every_steps is None),
            problem="must have exactly one of everyEpochs and everySteps",
            fix="keep one of them",
        ),
    )

    every_epochs: Epochs | None = None
    """Interval in epochs."""
    every_steps: Steps | None = None
    """Interval in optimizer steps."""
    factor: Annotated[Share, SWEEPABLE]
    """Factor of the learning rate after each interval."""


class ParameterGroup(Block):
    """Parameters with a learning rate or weight decay of their own."""

    match: ParameterPattern
    """Pattern of names as in the model's state_dict, such as backbone.* or *.bias; a parameter belongs to the
    first group that matches it."""
    learning_rate_factor: Positive = "1"
    """Factor of the learning rate of the schedule."""
    weight_decay: NotNegative | None = None
    """Weight decay instead of that of the optimizer."""


Frozen = Annotated[tuple[ParameterPattern, ...], BoundedList(least=1, most=64, unique=True, ordered=False)]
ParameterGroups = Annotated[tuple[ParameterGroup, ...], BoundedList(least=1, most=64, key="match")]


class LearningRateSchedule(Choice):
    """Learning rate over the steps."""

    members: ClassVar = {"Cosine": "cosine", "Step": "step"}

    type: Annotated[Literal["Constant", "Cosine", "Step"], SWEEPABLE] = "Constant"
    """Type of the schedule; its own parameters are in the field of that name."""
    warmup_steps: Annotated[Count, SWEEPABLE] = 0
    """Steps in which the learning rate rises linearly to its initial value."""
    cosine: Cosine | None = None
    """Parameters of Cosine."""
    step: Step | None = None
    """Parameters of Step."""


class MovingAverage(Block):
    """Exponential moving average of the parameters: average += (1 - decay) * (parameter - average)."""

    decay: Annotated[Decay, SWEEPABLE]
    """Share of the average that stays at each step; 0 gives the parameters themselves."""
    start_step: Annotated[Count, SWEEPABLE] = 0
    """Steps in which the average is the parameters themselves; averaging begins after them. With 0 the
    average begins with the first weights."""


class Normalization(Block):
    """What is subtracted from and divided out of each colour channel, on a scale from 0 to 1."""

    mean: Channels = ("0.485", "0.456", "0.406")
    """Subtracted from red, green and blue. Default: the mean of ImageNet."""
    std: Spreads = ("0.229", "0.224", "0.225")
    """Divisor of red, green and blue. Default: the standard deviation of ImageNet."""


class GradientClipping(Block):
    """A bound of the gradient."""

    max_norm: Annotated[Positive, SWEEPABLE]
    """Largest Euclidean norm over all parameters; larger gradients are scaled down to it."""


class EarlyStopping(Block):
    """End the training when a metric has not improved for a while; a function of the evaluation records."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="direction",
            cel=f"(self.metric in {list(MINIMIZED)}) == (self.direction == 'Minimize')",
            holds=lambda stop: DIRECTIONS[stop.metric] == stop.direction,
            problem=WRONG_DIRECTION,
            fix="change direction or metric",
        ),
    )

    metric: MetricName
    """Metric to watch."""
    direction: Direction
    """Direction of improvement."""
    patience_evaluations: Annotated[Integer, Field(ge=1, le=10_000)]
    """Evaluations in a row without improvement after which the training ends."""
    min_delta: NotNegative = "0"
    """Smallest change that counts as an improvement."""


class Training(Block):
    """How the model is trained."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="",
            cel="has(self.epochs) != has(self.steps)",
            holds=lambda training: (training.epochs is None) != (training.steps is None),
            problem="must have exactly one of epochs and steps",
            fix="keep one of them",
        ),
        Rule(
            field="learningRateSchedule.cosine.minimum",
            cel="!has(self.learningRateSchedule.cosine) || "
            "double(self.learningRateSchedule.cosine.minimum) <= double(self.optimizer.learningRate)",
            holds=lambda training: (
                training.learning_rate_schedule.cosine is None
                or Decimal(training.learning_rate_schedule.cosine.minimum)
                <= Decimal(training.optimizer.learning_rate)
            ),
            problem="must not be more than optimizer.learningRate",
            fix="choose a smaller minimum",
        ),
        Rule(
            field="augmentation",
            cel="!(self.loss.type in ['MeanSquaredError', 'Huber']) || "
            "!self.augmentation.exists(entry, entry.type == 'Mixup')",
            holds=lambda training: (
                training.loss.type not in ("MeanSquaredError", "Huber")
                or all(entry.type != "Mixup" for entry in training.augmentation)
            ),
            problem="Mixup blends labels and does not go with a loss of numbers",
            fix="remove Mixup",
        ),
    )

    epochs: Annotated[Epochs, SWEEPABLE] | None = None
    """Passes over the training rows; set exactly one of epochs and steps."""
    steps: Annotated[Steps, SWEEPABLE] | None = None
    """Optimizer steps; set exactly one of epochs and steps."""
    seed: Annotated[Seed, SWEEPABLE] = 0
    """Seed of all random numbers of the training: order, augmentation, dropout, initial weights."""
    batch: Batch = Batch()
    """Global batch, and its division into leaves (micro-batches)."""
    precision: Literal["Float32", "BFloat16"] = "Float32"
    """Number format of the forward and backward pass; gradients and weights are always float32."""
    loss: Loss = Loss(crossEntropy=CrossEntropy())
    """Loss to minimize."""
    optimizer: Optimizer
    """Optimizer of the parameters."""
    learning_rate_schedule: LearningRateSchedule = LearningRateSchedule()
    """Learning rate over the steps."""
    freeze: Frozen | None = None
    """Patterns of parameters that keep their values, by names as in the model's state_dict, such as
    features.*; a BatchNorm whose parameters are all frozen keeps its statistics too."""
    parameter_groups: ParameterGroups | None = None
    """Learning rates and weight decay of parts of the model. Default: those of the optimizer for all."""
    gradient_clipping: GradientClipping | None = None
    """Clipping of the gradient. Default: none."""
    ema: MovingAverage | None = None
    """Moving average of the parameters, which is evaluated and becomes the model in their place; BatchNorm
    statistics are not averaged. Default: none."""
    augmentation: Augmentation = (Transform(type="Resize", resize=Resize(size=224)),)
    """Transforms of a training image, in order; evaluation only resizes to the same size."""
    normalization: Normalization = Normalization()
    """Mean and standard deviation of each colour channel."""
    shuffle_window: Annotated[Integer, Field(ge=1, le=1024)] = 4
    """Consecutive shards whose rows are shuffled together."""
    early_stopping: EarlyStopping | None = None
    """End the training when a metric stops improving; needs regular evaluations."""
    model_selection: Literal["Last", "Best"] = "Last"
    """Weights that become the model: the last ones, or those of the best evaluation by the metric of
    earlyStopping. Default: accuracy for one label, average-precision for several, rmse for numbers. Best
    needs regular evaluations."""
