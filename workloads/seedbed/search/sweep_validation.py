"""Checks of a SweepJob's search before anything runs: one line per error, with field, value and fix."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import combinations
from typing import Final

from pydantic import ValidationError

from seedbed.search.samplers import count_grid
from seedbed.search.search_space import conditions, enabling_values, has_value
from seedbed_api.errors import UserError, refusal
from seedbed_api.field_lookup import every_path, is_string, nearest
from seedbed_api.recipe import Recipe
from seedbed_api.sweepjob import Parameter, SweepJobSpec
from seedbed_api.trial_recipe import corner_values, trial_recipe
from seedbed_api.validation_errors import error_lines

MOST_TRIALS: Final = 100_000
"""Largest maxTrialCount."""

_HORIZON: Final = ("spec.training.epochs", "spec.training.steps")
_KINDS: Final = ("spec.model.name", "spec.training.optimizer.type", "spec.training.learningRateSchedule.type")
"""Sweepable fields that decide which other fields there are."""


def require_possible_search(spec: SweepJobSpec) -> None:
    """Raise UserError InvalidSpec with all lines of `search_errors`."""
    lines = search_errors(spec)
    if lines:
        raise UserError("InvalidSpec", "\n".join(lines))


def search_errors(spec: SweepJobSpec) -> list[str]:
    """Return a line for each reason why this sweep cannot be searched.

    `impossible_trials` of the API comes first: it checks the ends of each search space by itself.
    """
    shape = [
        *_wrong_conditions(spec),
        *_broken_steps(spec),
        *_set_twice(spec),
        *_target(spec),
        *_rungs(spec),
        *_horizon(spec),
    ]
    return shape or [*_size(spec), *_missing_conditions(spec)]


def _size(spec: SweepJobSpec) -> Iterator[str]:
    if not spec.parameters and spec.cross_validation is None:
        fix = "add parameters or crossValidation, or write a TrainingJob"
        yield refusal("spec.parameters", [], "leaves nothing to search", fix)
    if spec.algorithm.type != "Grid":
        return
    points = count_grid(spec.parameters, MOST_TRIALS + 1)
    if points > MOST_TRIALS:
        names = [parameter.name for parameter in spec.parameters]
        fix = "remove values, or choose Random, Sobol or TPE"
        yield refusal("spec.parameters", names, f"make a grid of more than {MOST_TRIALS} points", fix)
    elif points > spec.max_trial_count:
        problem = f"is less than the {points} points of the grid"
        yield refusal("spec.maxTrialCount", spec.max_trial_count, problem, f"set {points}, or remove values")


def _wrong_conditions(spec: SweepJobSpec) -> Iterator[str]:
    by_name = {parameter.name: parameter for parameter in spec.parameters}
    for number, parameter in enumerate(spec.parameters):
        if parameter.when is None:
            continue
        field, other = f"spec.parameters[{number}].when", by_name[parameter.when.parameter]
        if other.search_space.categorical is None and other.search_space.int_ is None:
            fix = "name a categorical or int parameter"
            problem = "names a parameter of fractions, which has no values to compare"
            yield refusal(f"{field}.parameter", other.name, problem, fix)
            continue
        for value in parameter.when.in_:
            if not has_value(other.search_space, value):
                fix = nearest(value, corner_values(other.search_space))
                yield refusal(f"{field}.in", value, f"is never a value of {other.name}", fix)


def _broken_steps(spec: SweepJobSpec) -> Iterator[str]:
    """A range of fractions on a field of whole numbers: its ends may fit while nothing between them does."""
    fields = dict(every_path(Recipe, "spec."))
    for number, parameter in enumerate(spec.parameters):
        space = parameter.search_space
        if parameter.field_path is None or not (space.uniform or space.log_uniform):
            continue
        if not is_string(fields[parameter.field_path].annotation):
            kind = "uniform" if space.uniform else "logUniform"
            problem = f"draws fractions for {parameter.field_path}, which takes whole numbers"
            field = f"spec.parameters[{number}].searchSpace"
            yield refusal(field, kind, problem, "use int or categorical")


def _set_twice(spec: SweepJobSpec) -> Iterator[str]:
    """Two parameters may set one field where their conditions exclude each other, and only there."""
    for (_, first), (number, second) in combinations(enumerate(spec.parameters), 2):
        if _place(first) != _place(second) or _exclude_each_other(spec, first, second):
            continue
        fix = "remove one of the two, or give them conditions of which never both hold"
        problem = f"sets what {first.name} sets too"
        yield refusal(f"spec.parameters[{number}].{_place(second)[0]}", _place(second)[1], problem, fix)


def _place(parameter: Parameter) -> tuple[str, str]:
    if parameter.field_path is not None:
        return "fieldPath", parameter.field_path
    return "modelArg", str(parameter.model_arg)


def _exclude_each_other(spec: SweepJobSpec, first: Parameter, second: Parameter) -> bool:
    one, other = conditions(spec.parameters, first), conditions(spec.parameters, second)
    return any(not set(one[name]) & set(other[name]) for name in one.keys() & other.keys())


def _missing_conditions(spec: SweepJobSpec) -> Iterator[str]:
    """A parameter that fits only some values of another that decides which fields there are."""
    for kind in spec.parameters:
        if kind.field_path not in _KINDS or kind.search_space.categorical is None:
            continue
        for number, parameter in enumerate(spec.parameters):
            if parameter is kind or kind.name in conditions(spec.parameters, parameter):
                continue
            yield from _misfits(spec, kind, number, parameter)


def _misfits(spec: SweepJobSpec, kind: Parameter, number: int, parameter: Parameter) -> Iterator[str]:
    assert kind.search_space.categorical is not None
    mistake = {}
    for value in kind.search_space.categorical.values:
        line = _mistake(spec, kind, value, parameter)
        if line is not None:
            mistake[value] = line
    fits = [value for value in kind.search_space.categorical.values if value not in mistake]
    if mistake and fits:
        value, line = next(iter(mistake.items()))
        fix = f"add when: {{parameter: {kind.name}, in: [{', '.join(fits)}]}}"
        problem = (
            f"does not go with {kind.name} {value}: a trial has a mistake at spec.{line.split(' (got')[0]}"
        )
        yield refusal(f"spec.parameters[{number}]", parameter.name, problem, fix)


def _mistake(spec: SweepJobSpec, kind: Parameter, value: str, parameter: Parameter) -> str | None:
    chosen = {**enabling_values(spec.parameters, kind), **enabling_values(spec.parameters, parameter)}
    values = {parameter.name: corner_values(parameter.search_space)[0], **chosen, kind.name: value}
    try:
        trial_recipe(spec, values)
    except ValidationError as error:
        return next(error_lines(error, Recipe))
    return None


def _target(spec: SweepJobSpec) -> Iterator[str]:
    target = spec.objective.target
    name = spec.objective.metric.removeprefix("validation/")
    if target is None or name in {"loss", "mae", "rmse"}:
        return
    if Decimal(target) > 1:
        yield refusal("spec.objective.target", target, f"is more than any {name}", 'use at most "1"')
    elif Decimal(target) == 0:
        fix = "choose a larger one, or leave it out"
        yield refusal("spec.objective.target", target, "is reached by every trial", fix)


def _horizon(spec: SweepJobSpec) -> Iterator[str]:
    if spec.early_stopping is None:
        return
    for number, parameter in enumerate(spec.parameters):
        if parameter.field_path in _HORIZON:
            problem = "cannot be swept with earlyStopping, whose rungs all trials share"
            fix = "remove the parameter or earlyStopping"
            yield refusal(f"spec.parameters[{number}].fieldPath", parameter.field_path, problem, fix)


def _rungs(spec: SweepJobSpec) -> Iterator[str]:
    rule, recipe = spec.early_stopping, spec.trial_template.spec
    if rule is None:
        return
    horizon, every = recipe.training.epochs, recipe.evaluation.every_epochs
    assert horizon is not None, "the API rejects early stopping without it"
    assert every is not None, "the API rejects early stopping without it"
    halving = rule.prefix_asha
    member = halving or rule.median
    assert member is not None
    least, field = member.min_epochs, "prefixASHA" if halving else "median"
    first = least if halving else -(-least // every) * every
    if first >= horizon:
        problem = f"leaves no evaluation to judge at before the last epoch, {horizon}"
        fix = f"choose less than {horizon}, or a smaller evaluation.everyEpochs"
        yield refusal(f"spec.earlyStopping.{field}.minEpochs", least, problem, fix)
    elif first % every:
        problem = f"gives no evaluation at the rung of epoch {first}"
        fix = f"set 1, or prefixASHA.minEpochs to a multiple of {every}"
        yield refusal("spec.trialTemplate.spec.evaluation.everyEpochs", every, problem, fix)
