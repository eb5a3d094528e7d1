"""What is tried in a trial: one value for each parameter whose condition holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from hashlib import sha256
from typing import Final, TypeAlias

from seedbed_api.decimal_strings import canonical
from seedbed_api.sweepjob import IntegerRange, LogUniform, Parameter, SearchSpace, Uniform

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


DIGITS: Final = 5
"""Significant digits of a value on a logarithmic scale."""
_LONGEST: Final = 13
"""Significant digits of any value but the ends: more do not fit the spelling of a fraction."""
_SMALLEST: Final = -99
"""Exponent of the finest step that can be spelled."""
_EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, Emin=-999, Emax=999)


def word(purpose: str, *labels: int | str) -> int:
    """Return 64 random bits, a function of what they are for: sha256, as rows are drawn into splits."""
    tag = "\0".join(("seedbed search", purpose, *map(str, labels)))
    return int.from_bytes(sha256(tag.encode()).digest()[:8], "big")


def below(bits: int, bound: int) -> int:
    """Return an integer in [0, bound) that rises with the 64 bits."""
    return (bits * bound) >> 64


def value_at(space: SearchSpace, bits: int) -> str:
    """Return the value at a place of the space, 0 <= bits < 2**64, in canonical spelling."""
    if space.categorical is not None:
        return space.categorical.values[below(bits, len(space.categorical.values))]
    if space.int_ is not None:
        return str(space.int_.min + space.int_.step * below(bits, size(space.int_)))
    if space.log_uniform is not None:
        return logarithmic(space.log_uniform, _share(bits))
    assert space.uniform is not None
    return linear(space.uniform, _share(bits))


def size(space: IntegerRange) -> int:
    """Return how many values a range of integers has."""
    return (space.max - space.min) // space.step + 1


def linear(space: Uniform, share: Decimal) -> str:
    """Return the value at a share of the range, 0 to 1."""
    low, high = Decimal(space.min), Decimal(space.max)
    return nearest(space, _EXACT.fma(share, _EXACT.subtract(high, low), low))


def logarithmic(space: LogUniform, share: Decimal) -> str:
    """Return the value at a share of the logarithm of the range, 0 to 1."""
    low, high = _EXACT.ln(Decimal(space.min)), _EXACT.ln(Decimal(space.max))
    return nearest(space, _EXACT.exp(_EXACT.fma(share, _EXACT.subtract(high, low), low)))


def nearest(space: Uniform, value: Decimal) -> str:
    """Return the canonical spelling of the value next to a number that the space can take."""
    low, high = Decimal(space.min), Decimal(space.max)
    step = Decimal((0, (1,), _finest(space, value)))
    rounded = value.quantize(step, context=_EXACT)
    if not low < rounded < high:
        return space.min if _EXACT.subtract(value, low) < _EXACT.subtract(high, value) else space.max
    return canonical(f"{rounded:e}")


def _share(bits: int) -> Decimal:
    return _EXACT.divide(Decimal(bits), Decimal(2**64))


def _finest(space: Uniform, value: Decimal) -> int:
    high = Decimal(space.max)
    reach = value if isinstance(space, LogUniform) else _EXACT.subtract(high, Decimal(space.min))
    return max(reach.adjusted() - DIGITS + 1, high.adjusted() - _LONGEST + 1, _SMALLEST)
