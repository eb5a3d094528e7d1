"""Correctly rounded cosine and power: the float nearest to the exact value, on every machine.

Results of the C library differ by an ulp between versions, processors and settings, and learning rates are
part of identities. Computes in integers with as many bits as the result needs (Ziv's strategy); `int / int`
rounds correctly in Python.
"""

from __future__ import annotations

from typing import Final

_BITS: Final = 96
_HALVINGS: Final = 2


def cosine(angle: float) -> float:
    """Return the cosine of 0 <= angle <= 4, correctly rounded."""
    assert 0.0 <= angle <= 4.0, angle
    bits = _BITS
    while True:
        value, error = _cosine(angle, bits), 1 << 12
        low, high = (value - error) / (1 << bits), (value + error) / (1 << bits)
        if low == high:  # only 0 has an exact cosine, so more bits decide at last
            return low
        bits *= 2


def _cosine(angle: float, bits: int) -> int:
    """Return 2**bits times the cosine, less than 2**12 away: Taylor's series of a quarter, doubled twice."""
    numerator, denominator = angle.as_integer_ratio()
    quarter = (numerator << bits) // (denominator << _HALVINGS)
    square = quarter * quarter >> bits
    total = term = 1 << bits
    n = 0
    while term:
        n += 2
        term = (term * square >> bits) // (n * (n - 1))
        total += term if n % 4 == 0 else -term
    for _ in range(_HALVINGS):
        total = (total * total >> bits - 1) - (1 << bits)
    return total


def power(base: float, exponent: int) -> float:
    """Return base ** exponent for base > 0 and exponent >= 0, correctly rounded. Raises OverflowError."""
    assert base > 0.0, base
    assert exponent >= 0, exponent
    bits = _BITS + exponent.bit_length()
    while True:
        mantissa, scale, exact = _power(base, exponent, bits)
        # each of the roundings below takes less than 2**(1 - bits), all together 2 * exponent times that
        error = 0 if exact else (mantissa * 4 * exponent >> bits - 1) + 1
        low, high = _scaled(mantissa, scale), _scaled(mantissa + error, scale)
        if low == high:
            return low
        bits *= 2


def _power(base: float, exponent: int, bits: int) -> tuple[int, int, bool]:
    """Return a mantissa of so many bits, rounded down, its power of two, and whether it is exact."""
    numerator, denominator = base.as_integer_ratio()
    odd = numerator >> _zeros(numerator)
    own_scale = _zeros(numerator) - _zeros(denominator)
    mantissa, scale, exact = 1, 0, True
    for digit in f"{exponent:b}":
        mantissa, scale = mantissa * mantissa, 2 * scale
        if digit == "1":
            mantissa, scale = mantissa * odd, scale + own_scale
        surplus = max(0, mantissa.bit_length() - bits)
        exact = exact and not surplus
        mantissa, scale = mantissa >> surplus, scale + surplus
    return mantissa, scale, exact


def _zeros(number: int) -> int:
    """Return the number of trailing zero bits."""
    return (number & -number).bit_length() - 1


def _scaled(mantissa: int, scale: int) -> float:
    """Return mantissa * 2**scale, correctly rounded."""
    if scale >= 0:
        return float(mantissa << min(scale, 1100))
    below_all_floats = mantissa.bit_length() + scale < -1080
    return 0.0 if below_all_floats else mantissa / (1 << -scale)
