"""Search spaces: conditions between parameters, and the value of a space at 64 random bits.

Exact decimal arithmetic, so that values are equal on every machine; no float takes part. A value on a linear
scale is a multiple of a power of ten that cuts its range into 10,000 to 100,000 steps, one on a logarithmic
scale has five significant digits: short to type, and finer than a training can tell apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from hashlib import sha256
from typing import Final, TypeAlias

from seedbed_api.decimal_strings import canonical
from seedbed_api.sweepjob import IntegerRange, LogUniform, Parameter, SearchSpace, Uniform

Assignments: TypeAlias = tuple[tuple[str, str], ...]
"""The values of a trial: (parameter, value) in the order of the spec, in canonical spelling."""

DIGITS: Final = 5
"""Significant digits of a value on a logarithmic scale."""
_LONGEST: Final = 13
"""Significant digits of any value but the ends: more do not fit the format of a fraction."""
_SMALLEST: Final = -99
"""Exponent of the finest step that can be written."""
_EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, Emin=-999, Emax=999)


def is_active(parameter: Parameter, values: Mapping[str, str]) -> bool:
    """Say whether the condition of a parameter holds, given the values of the parameters before it."""
    when = parameter.when
    return when is None or values.get(when.parameter) in when.in_


def assign_values(parameters: Sequence[Parameter], choose: Callable[[Parameter], str]) -> Assignments:
    """Return a value from `choose` for each parameter whose condition holds."""
    values: dict[str, str] = {}
    for parameter in parameters:
        if is_active(parameter, values):
            values[parameter.name] = choose(parameter)
    return tuple(values.items())


def conditions(parameters: Sequence[Parameter], parameter: Parameter) -> dict[str, tuple[str, ...]]:
    """Return the values of other parameters that a parameter needs, along its chain of conditions."""
    by_name = {entry.name: entry for entry in parameters}
    found: dict[str, tuple[str, ...]] = {}
    while parameter.when is not None:
        found[parameter.when.parameter] = parameter.when.in_
        parameter = by_name[parameter.when.parameter]
    return found


def enabling_values(parameters: Sequence[Parameter], parameter: Parameter) -> dict[str, str]:
    """Return one value of each parameter that a parameter needs."""
    return {name: options[0] for name, options in conditions(parameters, parameter).items()}


def has_value(space: SearchSpace, value: str) -> bool:
    """Say whether a categorical or integer space has a value."""
    if space.categorical is not None:
        return value in space.categorical.values
    whole = space.int_
    assert whole is not None
    if not value.isascii() or not value.isdecimal() or str(int(value)) != value:
        return False
    return whole.min <= int(value) <= whole.max and (int(value) - whole.min) % whole.step == 0


def random_bits(purpose: str, *labels: int | str) -> int:
    """Return 64 random bits, a function of purpose and labels (sha256)."""
    tag = "\0".join(("seedbed search", purpose, *map(str, labels)))
    return int.from_bytes(sha256(tag.encode()).digest()[:8], "big")


def scale_to(bits: int, bound: int) -> int:
    """Scale 64 bits to an integer in [0, bound)."""
    return (bits * bound) >> 64


def value_at(space: SearchSpace, bits: int) -> str:
    """Return the value of a space at a position 0 <= bits < 2**64, in canonical spelling."""
    if space.categorical is not None:
        return space.categorical.values[scale_to(bits, len(space.categorical.values))]
    if space.int_ is not None:
        return str(space.int_.min + space.int_.step * scale_to(bits, count_values(space.int_)))
    if space.log_uniform is not None:
        return logarithmic_value(space.log_uniform, _share(bits))
    assert space.uniform is not None
    return linear_value(space.uniform, _share(bits))


def count_values(space: IntegerRange) -> int:
    """Return how many values a range of integers has."""
    return (space.max - space.min) // space.step + 1


def linear_value(space: Uniform, share: Decimal) -> str:
    """Return the value at a share of the range, 0 to 1."""
    low, high = Decimal(space.min), Decimal(space.max)
    return nearest_value(space, _EXACT.fma(share, _EXACT.subtract(high, low), low))


def logarithmic_value(space: LogUniform, share: Decimal) -> str:
    """Return the value at a share of the logarithm of the range, 0 to 1."""
    low, high = _EXACT.ln(Decimal(space.min)), _EXACT.ln(Decimal(space.max))
    return nearest_value(space, _EXACT.exp(_EXACT.fma(share, _EXACT.subtract(high, low), low)))


def nearest_value(space: Uniform, value: Decimal) -> str:
    """Return the value of the space nearest to a number, in canonical spelling."""
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
