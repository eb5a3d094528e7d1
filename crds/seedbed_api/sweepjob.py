"""SweepJob: many runs of one recipe; only functions of the spec decide which wins."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from seedbed_api.base_model import Block, Choice, Rule
from seedbed_api.bounded_lists import BoundedList, ListRule
from seedbed_api.decimal_strings import Number
from seedbed_api.execution_settings import Execution
from seedbed_api.field_lookup import every_path, is_sweepable
from seedbed_api.object_metadata import ObjectMeta
from seedbed_api.recipe import (
    UNCOUNTED_METRIC,
    UNCOUNTED_METRIC_FIX,
    UNFIT_METRIC,
    UNFIT_METRIC_FIX,
    Recipe,
    metric_fits_loss,
    metric_fits_loss_cel,
    metric_is_counted,
    metric_is_counted_cel,
)
from seedbed_api.scalar_types import Identifier, Integer, OneOf, Seed, text
from seedbed_api.sweepjob_status import SweepJobStatus
from seedbed_api.training_settings import DIRECTIONS, MINIMIZED, WRONG_DIRECTION, Direction, MetricName

FIELD_PATHS = tuple(sorted(path for path, field in every_path(Recipe, "spec.") if is_sweepable(field)))
FieldPath = Annotated[str, OneOf(FIELD_PATHS)]
ParameterValue = Annotated[str, text(256)]
Values = Annotated[tuple[ParameterValue, ...], BoundedList(least=1, most=64, unique=True)]
TrialCount = Annotated[Integer, Field(ge=1, le=100_000)]


class Objective(Block):
    """Objective that ranks the trials."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="direction",
            cel=f"(self.metric in {list(MINIMIZED)}) == (self.direction == 'Minimize')",
            holds=lambda objective: DIRECTIONS[objective.metric] == objective.direction,
            problem=WRONG_DIRECTION,
            fix="change direction or metric",
        ),
    )

    metric: MetricName
    """Metric on the validation rows."""
    direction: Direction
    """Direction of improvement."""
    target: Number | None = None
    """Target value: the trial of lowest index that reaches it ends the sweep."""


class TPE(Block):
    """Parameters of TPE."""

    generation_size: Annotated[Integer, Field(ge=1, le=256)] = 8
    """Number of trials that are proposed at a time, from the results of all earlier generations."""


class Algorithm(Choice):
    """Search algorithm that proposes trials."""

    members: ClassVar = {"TPE": "tpe"}

    type: Literal["Random", "Grid", "Sobol", "TPE"]
    """Type of the algorithm."""
    seed: Seed = 0
    """Seed of the proposals, which are functions of this seed and the trial's index; not the seed of the
    training."""
    tpe: TPE | None = None
    """Parameters of TPE."""


class CrossValidation(Block):
    """Each trial is trained once per fold; its objective is the mean."""

    folds: Annotated[Integer, Field(ge=2, le=20)]
    """Number of folds."""


class PrefixASHA(Block):
    """Parameters of PrefixASHA: at a rung a trial is judged against the trials of lower index only."""

    reduction_factor: Annotated[Integer, Field(ge=2, le=16)] = 3
    """One of this many trials continues after a rung."""
    min_epochs: Annotated[Integer, Field(ge=1, le=1_000_000)] = 1
    """Epochs to the first rung."""


class Median(Block):
    """Parameters of Median: a trial ends when it is worse than the median of the trials of lower index."""

    min_epochs: Annotated[Integer, Field(ge=1, le=1_000_000)] = 1
    """Epochs that every trial trains."""
    min_trials: Annotated[Integer, Field(ge=1, le=10_000)] = 5
    """Least number of trials for a median."""


class TrialStopping(Choice):
    """When a trial is ended early."""

    members: ClassVar = {"PrefixASHA": "prefix_asha", "Median": "median"}

    type: Literal["PrefixASHA", "Median"]
    """Type of the rule."""
    prefix_asha: PrefixASHA | None = None
    """Parameters of PrefixASHA."""
    median: Median | None = None
    """Parameters of Median."""


class Uniform(Block):
    """Fractions, uniformly distributed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="min",
            cel="double(self.min) < double(self.max)",
            holds=lambda space: Decimal(space.min) < Decimal(space.max),
            problem="must be less than max",
            fix="exchange or correct the two",
        ),
    )

    min: Number
    """Smallest value."""
    max: Number
    """Largest value."""


class LogUniform(Uniform):
    """Fractions, uniformly distributed on a logarithmic scale."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="min",
            cel="double(self.min) > 0.0",
            holds=lambda space: Decimal(space.min) > 0,
            problem="must be more than 0",
            fix="choose a positive minimum",
        ),
    )


class IntegerRange(Block):
    """Integers, uniformly distributed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="min",
            cel="self.min <= self.max",
            holds=lambda space: space.min <= space.max,
            problem="must not be more than max",
            fix="exchange or correct the two",
        ),
    )

    min: Seed
    """Smallest value."""
    max: Seed
    """Largest value."""
    step: Annotated[Integer, Field(ge=1, le=2**31 - 1)] = 1
    """Step between values, from the smallest one."""


class Categorical(Block):
    """One of some values."""

    values: Values
    """The values, as strings."""


class SearchSpace(Block):
    """From which values a parameter is drawn: exactly one of the members."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="",
            cel="[has(self.uniform), has(self.logUniform), has(self.int), has(self.categorical)]"
            ".filter(x, x).size() == 1",
            holds=lambda space: len(space.model_fields_set) == 1,
            problem="must have exactly one of uniform, logUniform, int and categorical",
            fix="keep one of them",
        ),
    )

    uniform: Uniform | None = None
    """Fractions, uniformly distributed."""
    log_uniform: LogUniform | None = None
    """Fractions, uniformly distributed on a logarithmic scale."""
    int_: Annotated[IntegerRange | None, Field(alias="int")] = None
    """Integers, uniformly distributed."""
    categorical: Categorical | None = None
    """One of some values."""


class When(Block):
    """A parameter exists only where another one has certain values."""

    parameter: Identifier
    """The other parameter, which must be earlier in the list."""
    in_: Annotated[Values, Field(alias="in")]
    """Its values."""


class Parameter(Block):
    """Parameters that vary between trials."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="",
            cel="has(self.fieldPath) != has(self.modelArg)",
            holds=lambda parameter: (parameter.field_path is None) != (parameter.model_arg is None),
            problem="must have exactly one of fieldPath and modelArg",
            fix="keep one of them",
        ),
    )

    name: Identifier
    """Name of the parameter."""
    field_path: FieldPath | None = None
    """Field of the trial that the parameter sets; set exactly one of fieldPath and modelArg."""
    model_arg: Identifier | None = None
    """Argument of the model that the parameter sets; set exactly one of fieldPath and modelArg."""
    search_space: SearchSpace
    """Values of the parameter."""
    when: When | None = None
    """Condition: use the parameter only if another one has certain values."""


def _conditions_point_back(parameters: Sequence[Any]) -> bool:
    earlier: set[str] = set()
    for parameter in parameters:
        if parameter.when is not None and parameter.when.parameter not in earlier:
            return False
        earlier.add(parameter.name)
    return True


def _is_countable(parameter: Any) -> bool:
    return parameter.search_space.categorical is not None or parameter.search_space.int_ is not None


# Comparing positions is beyond the API server's budget (its estimate of the cost is a hundredfold of it): it
# sees only that the other parameter exists; that it stands earlier is left to the models.
Parameters = Annotated[
    tuple[Parameter, ...],
    BoundedList(
        most=32,
        key="name",
        rules=(
            ListRule(
                cel="self.all(p, !has(p.when) || self.exists(q, q.name == p.when.parameter))",
                holds=_conditions_point_back,
                problem="has a condition on a parameter that does not stand earlier in the list",
                fix="name an earlier parameter in when.parameter",
            ),
        ),
    ),
]


class TrialTemplate(Block):
    """Template of all trials."""

    spec: Recipe
    """The recipe blocks of a TrainingJob: dataset, model, training, evaluation."""


class SweepJobSpec(Execution):
    """What is asked for."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="parallelTrialCount",
            cel="self.parallelTrialCount <= self.maxTrialCount",
            holds=lambda spec: spec.parallel_trial_count <= spec.max_trial_count,
            problem="must not be more than maxTrialCount",
            fix="lower it",
        ),
        Rule(
            field="workersPerTrial",
            cel="self.workersPerTrial <= self.trialTemplate.spec.training.batch.globalSize"
            " / self.trialTemplate.spec.training.batch.microSize",
            holds=lambda spec: spec.workers_per_trial <= spec.trial_template.spec.training.batch.leaves,
            problem="must not be more than training.batch.globalSize / microSize of the template",
            fix="lower it, or choose a smaller microSize",
        ),
        Rule(
            field="parameters",
            cel="self.algorithm.type != 'Grid' || "
            "self.parameters.all(p, has(p.searchSpace.categorical) || has(p.searchSpace.int))",
            holds=lambda spec: spec.algorithm.type != "Grid" or all(map(_is_countable, spec.parameters)),
            problem="must all be int or categorical for Grid",
            fix="change the search spaces or the algorithm",
        ),
        Rule(
            field="crossValidation",
            cel="!has(self.crossValidation) || !has(self.trialTemplate.spec.dataset.fold)",
            holds=lambda spec: spec.cross_validation is None or spec.trial_template.spec.dataset.fold is None,
            problem="cannot be combined with dataset.fold of the template",
            fix="remove one of the two",
        ),
        Rule(
            field="earlyStopping",
            cel="!has(self.earlyStopping) || (has(self.trialTemplate.spec.training.epochs)"
            " && has(self.trialTemplate.spec.evaluation.everyEpochs))",
            holds=lambda spec: (
                spec.early_stopping is None
                or (
                    spec.trial_template.spec.training.epochs is not None
                    and spec.trial_template.spec.evaluation.every_epochs is not None
                )
            ),
            problem="needs training.epochs and evaluation.everyEpochs in the template",
            fix="set them, or remove earlyStopping",
        ),
        Rule(
            field="objective.metric",
            cel=metric_fits_loss_cel("self.trialTemplate.spec", "self.objective.metric"),
            holds=lambda spec: metric_fits_loss(spec.trial_template.spec, spec.objective.metric),
            problem=UNFIT_METRIC,
            fix=UNFIT_METRIC_FIX,
        ),
        Rule(
            field="objective.metric",
            cel=metric_is_counted_cel("self.trialTemplate.spec", "self.objective.metric"),
            holds=lambda spec: metric_is_counted(spec.trial_template.spec, spec.objective.metric),
            problem=UNCOUNTED_METRIC,
            fix=UNCOUNTED_METRIC_FIX,
        ),
    )

    objective: Objective
    """Objective that ranks the trials."""
    algorithm: Algorithm
    """Search algorithm that proposes trials."""
    cross_validation: CrossValidation | None = None
    """Train each trial once per fold."""
    early_stopping: TrialStopping | None = None
    """Early stopping of trials. Default: none."""
    parameters: Parameters = ()
    """Parameters that vary between trials."""
    trial_template: TrialTemplate
    """Template of all trials."""
    max_trial_count: TrialCount
    """Trials of the sweep."""
    parallel_trial_count: TrialCount = 1
    """Number of parallel trials; it never changes the result. On a cluster the sweep wants one training
    rank per parallel trial, whatever cluster.workers.max says; with fewer ranks, down to
    cluster.workers.min, fewer trials run at a time."""
    workers_per_trial: Annotated[Integer, Field(ge=1, le=4096)] = 1
    """Training ranks of each trial. Trials with several ranks, or with the feed RayData, are trained one
    after the other."""
    max_failed_trial_count: Annotated[Integer, Field(ge=0, le=100_000)] = 5
    """Number of trials that may fail before the sweep fails."""
    recipe_path: ClassVar[str] = "spec.trialTemplate.spec"
    """Where the recipe stands in the manifest."""

    @property
    def recipe(self) -> Recipe:
        """Return the recipe that all trials share."""
        return self.trial_template.spec

    @property
    def has_lone_trials(self) -> bool:
        """Return whether a run needs one process only."""
        return self.workers_per_trial == 1 and self.cluster.feed != "RayData"

    @property
    def trials_at_a_time(self) -> int:
        """Return how many runs train at the same time; a run of several ranks has its own worker group."""
        return self.parallel_trial_count if self.has_lone_trials else 1

    @property
    def fewest_ranks(self) -> int:
        """Return the fewest ranks with which the sweep starts and continues."""
        return min(max(self.cluster.workers.min, self.workers_per_trial), self.most_ranks)

    @property
    def most_ranks(self) -> int:
        """Return the most ranks that the trials use at the same time."""
        return self.trials_at_a_time * self.workers_per_trial


class SweepJob(Block):
    """Search for the best values of some fields of a recipe."""

    api_version: Literal["seedbed.dev/v1alpha1"]
    """Version of the language."""
    kind: Literal["SweepJob"]
    """Kind of the resource."""
    metadata: ObjectMeta
    """Name and labels."""
    spec: SweepJobSpec
    """What is asked for."""
    status: SweepJobStatus | None = None
    """What became of it."""
