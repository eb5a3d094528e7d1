"""What is tried in a trial: one value for each parameter whose condition holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from seedbed_api.sweepjob import Parameter

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
