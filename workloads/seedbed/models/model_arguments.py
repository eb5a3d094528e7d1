"""Arguments of built-in networks: strings in a manifest, parsed by the type of their default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Value = str | int | float


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """Default, choices and range of an argument; its type is that of the default."""

    default: Value
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    below: float | None = None


def parse_arguments(
    model: str, known: Mapping[str, Argument], given: Mapping[str, Value]
) -> dict[str, Value]:
    """Return every known argument with its given or default value. Raises ValueError naming the bad one."""
    for name in given:
        if name not in known:
            raise ValueError(f"{model} has no argument {name!r}: known are {', '.join(known)}")
    return {name: _value(name, argument, given.get(name)) for name, argument in known.items()}


def _value(name: str, argument: Argument, given: Value | None) -> Value:
    if given is None:
        return argument.default
    try:
        value = type(argument.default)(given)
    except ValueError:
        kind = type(argument.default).__name__
        raise ValueError(f"argument {name}: {given!r} is no {kind}") from None
    if argument.choices and value not in argument.choices:
        raise ValueError(f"argument {name}: {value!r} is not one of {', '.join(argument.choices)}")
    if isinstance(value, int | float) and not _in_range(argument, value):
        raise ValueError(f"argument {name}: {value!r} is out of range {_range(argument)}")
    return value


def _in_range(argument: Argument, value: float) -> bool:
    above = argument.minimum is None or value >= argument.minimum
    return above and (argument.below is None or value < argument.below)


def _range(argument: Argument) -> str:
    return f"[{argument.minimum}, {'…' if argument.below is None else argument.below})"
