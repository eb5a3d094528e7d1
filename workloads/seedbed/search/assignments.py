"""What is tried in a trial: one value for each parameter whose condition holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from seedbed_api.sweepjob import Parameter, SearchSpace

Point: TypeAlias = tuple[tuple[str, str], ...]
"""(name, value) by the order of the spec; canonical spellings. `dict(point)` is what `trial_recipe` takes."""


def is_active(parameter: Parameter, values: Mapping[str, str]) -> bool:
    """Tell whether a parameter exists, given the values of those earlier ones that do."""
    when = parameter.when
    return when is None or values.get(when.parameter) in when.in_


def assembled(parameters: Sequence[Parameter], choose: Callable[[Parameter], str]) -> Point:
    """Return the point of which `choose` gives the values; it is asked for active parameters alone."""
    values: dict[str, str] = {}
    for parameter in parameters:
        if is_active(parameter, values):
            values[parameter.name] = choose(parameter)
    return tuple(values.items())


def conditions(parameters: Sequence[Parameter], parameter: Parameter) -> dict[str, tuple[str, ...]]:
    """Return the values of other parameters under which one exists, along its chain of conditions."""
    by_name = {entry.name: entry for entry in parameters}
    found: dict[str, tuple[str, ...]] = {}
    while parameter.when is not None:
        found[parameter.when.parameter] = parameter.when.in_
        parameter = by_name[parameter.when.parameter]
    return found


def needed_values(parameters: Sequence[Parameter], parameter: Parameter) -> dict[str, str]:
    """Return values of other parameters with which one exists."""
    return {name: options[0] for name, options in conditions(parameters, parameter).items()}


def is_possible(space: SearchSpace, value: str) -> bool:
    """Tell whether a space that can be counted has a value."""
    if space.categorical is not None:
        return value in space.categorical.values
    whole = space.int_
    assert whole is not None
    if not value.isascii() or not value.isdecimal() or str(int(value)) != value:
        return False
    return whole.min <= int(value) <= whole.max and (int(value) - whole.min) % whole.step == 0
