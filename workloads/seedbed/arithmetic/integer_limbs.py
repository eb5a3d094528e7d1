"""Integers of any size as vectors of int64 that add up: the exact sums of an evaluation. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

LIMBS, LIMB_BITS = 8, 30
"""2^33 vectors can be added before a limb overflows; their sum stays below 2^242."""
_EXACT_IN_JSON = 1 << 53


def limbs(value: int) -> list[int]:
    """Return an integer as `LIMBS` digits of 30 bits, the lowest first; the highest has the sign."""
    shifts = [LIMB_BITS * at for at in range(LIMBS)]
    low = [(value >> shift) & ((1 << LIMB_BITS) - 1) for shift in shifts[:-1]]
    return [*low, value >> shifts[-1]]


def value_of(digits: Sequence[int]) -> int:
    """Return the integer of digits, which may be larger than 30 bits: the inverse of `limbs`."""
    return sum(digit << (LIMB_BITS * at) for at, digit in enumerate(digits))


def json_integer(value: int) -> int | str:
    """Return an integer as a record has it: a string where canonical JSON cannot hold the number."""
    return value if abs(value) < _EXACT_IN_JSON else str(value)
