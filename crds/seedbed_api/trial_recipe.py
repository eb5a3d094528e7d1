"""The recipe of a trial, from the template of a sweep and values of its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from seedbed_api.base_model import Block, Choice, block_in, camel
from seedbed_api.field_lookup import is_string, named_fields
from seedbed_api.recipe import Recipe
from seedbed_api.sweepjob import Parameter, SearchSpace, SweepJobSpec
from seedbed_api.validation_errors import error_lines
from seedbed_api.yaml_documents import parse_value


def trial_recipe(spec: SweepJobSpec, values: Mapping[str, str]) -> Recipe:
    """Return the recipe of a trial; `values` are strings by parameter name, absent where its condition fails.

    Raises pydantic.ValidationError where the values make no valid recipe.
    """
    recipe = spec.trial_template.spec.plain()
    by_name = {parameter.name: parameter for parameter in spec.parameters}
    for name in (parameter.name for parameter in spec.parameters if parameter.name in values):
        _assign(recipe, by_name[name], values[name])
    return Recipe.model_validate(recipe)


def impossible_trials(spec: SweepJobSpec) -> list[str]:
    """Return one line for each bound or value of a search space that makes no valid recipe."""
    return [
        line for number, parameter in enumerate(spec.parameters) for line in _refused(spec, number, parameter)
    ]


def corner_values(space: SearchSpace) -> tuple[str, ...]:
    """Return the bounds of a range, or all values of a categorical space."""
    if space.categorical is not None:
        return space.categorical.values
    bounds = space.uniform or space.log_uniform or space.int_
    assert bounds is not None
    return (str(bounds.min), str(bounds.max))


def _refused(spec: SweepJobSpec, number: int, parameter: Parameter) -> Iterator[str]:
    for value in corner_values(parameter.search_space):
        try:
            trial_recipe(spec, {**dict(_needed(spec, parameter)), parameter.name: value})
        except ValidationError as error:
            line = next(error_lines(error, Recipe))
            yield f"spec.parameters[{number}].searchSpace: with {value} a trial has a mistake at spec.{line}"


def _needed(spec: SweepJobSpec, parameter: Parameter) -> Iterator[tuple[str, str]]:
    if parameter.when is None:
        return
    other = next(entry for entry in spec.parameters if entry.name == parameter.when.parameter)
    yield from _needed(spec, other)
    yield other.name, parameter.when.in_[0]


def _assign(recipe: dict[str, Any], parameter: Parameter, value: str) -> None:
    if parameter.model_arg is not None:
        _assign_argument(recipe, parameter.model_arg, value)
        return
    assert parameter.field_path is not None
    place: dict[str, Any] = recipe
    block: type[Block] = Recipe
    names = parameter.field_path.split(".")[1:]
    for parent in names[:-1]:
        place, block = place.setdefault(parent, {}), _inner(block, parent)
    field = named_fields(block)[names[-1]]
    place[names[-1]] = _typed(field, value)
    if names[-1] == "type" and issubclass(block, Choice):
        _drop_other_members(place, block)


def _assign_argument(recipe: dict[str, Any], name: str, value: str) -> None:
    others = [argument for argument in recipe["model"].get("args", []) if argument["name"] != name]
    recipe["model"]["args"] = [*others, {"name": name, "value": value}]


def _inner(block: type[Block], name: str) -> type[Block]:
    inner = block_in(named_fields(block)[name].annotation)
    assert inner is not None
    return inner


def _typed(field: FieldInfo, value: str) -> Any:
    return value if is_string(field.annotation) else parse_value(value)


def _drop_other_members(place: dict[str, Any], choice: type[Choice]) -> None:
    for kind, member in choice.members.items():
        if kind != place["type"]:
            place.pop(camel(member), None)
