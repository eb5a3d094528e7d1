"""The recipe: the blocks that make the run identity, immutable as a whole except for where data lies."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from seedbed_api.base_model import Block, Rule
from seedbed_api.bounded_lists import BoundedList
from seedbed_api.decimal_strings import Share
from seedbed_api.metric_values import METRICS_OF_LOSS, TOP_K
from seedbed_api.model_weights import Weights
from seedbed_api.scalar_types import (
    DatasetTag,
    Digest,
    Entrypoint,
    Epochs,
    Identifier,
    Integer,
    Matches,
    ResourceName,
    Steps,
    Uri,
    text,
)
from seedbed_api.training_settings import SWEEPABLE, Training
from seedbed_api.uri_validation import URI_RULES

BUILT_IN_MODELS = ("simple-cnn", "resnet18", "resnet34", "resnet50")

ModelName = Annotated[
    str,
    Matches(
        rf"^({'|'.join(BUILT_IN_MODELS)}|(torchvision|timm)/[a-z0-9_]+)$",
        100,
        f"must be {', '.join(BUILT_IN_MODELS)}, torchvision/NAME or timm/NAME",
        "write for example resnet18 or torchvision/mobilenet_v2",
        near=BUILT_IN_MODELS,
    ),
]
"""A built-in model, or one of a library: `torchvision/NAME`, `timm/NAME`."""


class SecretRef(Block):
    """A Secret of the job's namespace; known keys are mounted as files for this role only."""

    name: ResourceName
    """Name of the Secret."""


class Subset(Block):
    """A part of the rows, chosen by their content."""

    fraction: Annotated[Share, SWEEPABLE]
    """Fraction of the rows of each split."""


class Fold(Block):
    """One fold of a cross-validation, cut from train and validation, never from test."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="index",
            cel="self.index < self.count",
            holds=lambda fold: fold.index < fold.count,
            problem="must be less than count",
            fix="count folds from 0",
        ),
    )

    index: Annotated[Integer, Field(ge=0, le=99)]
    """Fold that is held out for validation, from 0."""
    count: Annotated[Integer, Field(ge=2, le=100)]
    """Number of folds."""


class Dataset(Block):
    """Dataset to train on."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *URI_RULES,
        Rule(
            field="tag",
            cel="!has(self.tag) || !has(self.digest)",
            holds=lambda dataset: dataset.tag is None or dataset.digest is None,
            problem="does not go with digest, which names the version already",
            fix="keep one of them",
        ),
    )

    uri: Uri
    """Folder of the built dataset: any fsspec URL, pvc://claim/path, or for seedbed run a local path. It
    may change while the job is suspended."""
    secret_ref: SecretRef | None = None
    """Secret with the credentials for reading: known keys, mounted as files. It may change while the job
    is suspended."""
    tag: DatasetTag | None = None
    """Tag of the version to train on, as `seedbed dataset tag` sets it. The first attempt resolves it and
    pins the digest, which alone identifies the run. Default: the newest version."""
    digest: Digest | None = None
    """Digest that the dataset must have. Default: the digest that the first attempt finds, which is then
    pinned."""
    subset: Subset | None = None
    """Train on a part of the rows."""
    fold: Fold | None = None
    """Train on one fold of a cross-validation."""


class ModelArgument(Block):
    """One argument of the model."""

    name: Identifier
    """Name of the argument."""
    value: Annotated[str, text(256)]
    """Its value, as a string."""


class Code(Block):
    """A wheel of pure Python that holds the entrypoint."""

    rules: ClassVar[tuple[Rule, ...]] = URI_RULES

    uri: Uri
    """URL of the wheel; for seedbed run also a folder, which is packed into a wheel."""
    digest: Digest | None = None
    """Digest that the source files must have."""


class Model(Block):
    """What is trained: a model of the registry, or an object of the user's code."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="",
            cel="has(self.name) != has(self.entrypoint)",
            holds=lambda model: (model.name is None) != (model.entrypoint is None),
            problem="must have exactly one of name and entrypoint",
            fix="keep one of them",
        ),
        Rule(
            field="code",
            cel="!has(self.code) || has(self.entrypoint)",
            holds=lambda model: model.code is None or model.entrypoint is not None,
            problem="is only allowed with entrypoint",
            fix="remove it or name the entrypoint",
        ),
    )

    name: Annotated[ModelName, SWEEPABLE] | None = None
    """Built-in model, or one of a library as torchvision/NAME or timm/NAME; set exactly one of name and
    entrypoint."""
    entrypoint: Entrypoint | None = None
    """User's model as module:Object with build(args); set exactly one of name and entrypoint."""
    args: Annotated[tuple[ModelArgument, ...], BoundedList(most=64, key="name", ordered=False)] = ()
    """Arguments of the model."""
    code: Code | None = None
    """Source of the entrypoint's code. Default: the image."""
    weights: Weights | None = None
    """Tensors to start from. Default: random ones, from the seed."""


class Evaluation(Block):
    """When the model is evaluated on the validation rows during training. At the end it always is, on
    validation and on test rows."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="",
            cel="!(has(self.everyEpochs) && has(self.everySteps))",
            holds=lambda evaluation: evaluation.every_epochs is None or evaluation.every_steps is None,
            problem="must have at most one of everyEpochs and everySteps",
            fix="keep one of them",
        ),
    )

    every_epochs: Epochs | None = None
    """Interval in epochs."""
    every_steps: Steps | None = None
    """Interval in optimizer steps."""
    top_k: Annotated[Integer, Field(ge=2, le=1000)] | None = None
    """Count the rows whose class is among so many best, the metric top-k-accuracy. For one label per image;
    less than the number of classes. Default: they are not counted."""


def _evaluates(recipe: Recipe) -> bool:
    return recipe.evaluation.every_epochs is not None or recipe.evaluation.every_steps is not None


_EVALUATES = "has(self.evaluation.everyEpochs) || has(self.evaluation.everySteps)"


def metric_fits_loss(recipe: Recipe, metric: str | None) -> bool:
    """Return whether some task has both the metric and the loss; user code may have a loss of its own."""
    if metric is None or recipe.model.entrypoint is not None:
        return True
    return metric.removeprefix("validation/") in METRICS_OF_LOSS[recipe.training.loss.type]


def metric_fits_loss_cel(recipe: str, metric: str) -> str:
    """Return `metric_fits_loss` in CEL; the arguments are expressions."""
    allowed = (
        f"({recipe}.training.loss.type != '{loss}' || "
        f"{metric} in {[f'validation/{name}' for name in metrics]})"
        for loss, metrics in METRICS_OF_LOSS.items()
    )
    return f"has({recipe}.model.entrypoint) || ({' && '.join(allowed)})"


def metric_is_counted(recipe: Recipe, metric: str | None) -> bool:
    """Return whether evaluations count what the metric needs."""
    return metric != f"validation/{TOP_K}" or recipe.evaluation.top_k is not None


def metric_is_counted_cel(recipe: str, metric: str) -> str:
    """Return `metric_is_counted` in CEL; the arguments are expressions."""
    return f"{metric} != 'validation/{TOP_K}' || has({recipe}.evaluation.topK)"


UNCOUNTED_METRIC = "needs evaluation.topK"
UNCOUNTED_METRIC_FIX = "set it, for example to 5"
UNFIT_METRIC = "is no metric of the task that training.loss.type is for"
UNFIT_METRIC_FIX = "choose a metric of that task, or set training.loss.type to a loss of the dataset's task"


class Recipe(Block):
    """The blocks that decide the bits of the model."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="training.modelSelection",
            cel=f"self.training.modelSelection != 'Best' || {_EVALUATES}",
            holds=lambda recipe: recipe.training.model_selection != "Best" or _evaluates(recipe),
            problem="Best needs a regular evaluation",
            fix="set evaluation.everyEpochs or evaluation.everySteps, or modelSelection: Last",
        ),
        Rule(
            field="training.earlyStopping",
            cel=f"!has(self.training.earlyStopping) || {_EVALUATES}",
            holds=lambda recipe: recipe.training.early_stopping is None or _evaluates(recipe),
            problem="needs a regular evaluation",
            fix="set evaluation.everyEpochs or evaluation.everySteps, or remove earlyStopping",
        ),
        Rule(
            field="training.earlyStopping.metric",
            cel="!has(self.training.earlyStopping) || "
            f"{metric_fits_loss_cel('self', 'self.training.earlyStopping.metric')}",
            holds=lambda recipe: metric_fits_loss(
                recipe, recipe.training.early_stopping and recipe.training.early_stopping.metric
            ),
            problem=UNFIT_METRIC,
            fix=UNFIT_METRIC_FIX,
        ),
        Rule(
            field="training.earlyStopping.metric",
            cel="!has(self.training.earlyStopping) || "
            f"{metric_is_counted_cel('self', 'self.training.earlyStopping.metric')}",
            holds=lambda recipe: metric_is_counted(
                recipe, recipe.training.early_stopping and recipe.training.early_stopping.metric
            ),
            problem=UNCOUNTED_METRIC,
            fix=UNCOUNTED_METRIC_FIX,
        ),
    )

    dataset: Dataset
    """Dataset to train on. Part of the recipe: immutable, except for uri, secretRef and tag, which may change
    while the job is suspended."""
    model: Model
    """Model to train: a built-in one by name, or a user's by entrypoint. Part of the recipe: immutable."""
    training: Training
    """Length, batch, optimizer, schedule and augmentation of the training. Part of the recipe, which
    decides every bit of the model: immutable. Fractions are strings, for example "0.1" or "5e-4"."""
    evaluation: Evaluation = Evaluation(everyEpochs=1)
    """When to evaluate on the validation rows. Default: after each epoch. Part of the recipe: immutable."""
