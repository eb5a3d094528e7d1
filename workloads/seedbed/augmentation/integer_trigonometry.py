"""Sine and cosine in integers; results of the C library differ between machines."""

from __future__ import annotations

from typing import Final

_BITS: Final = 40
_PI: Final = 3454217652358  # round(pi * 2**40)
_TERMS: Final = 14


def sine_cosine(degrees_q16: int) -> tuple[int, int]:
    """Return (sine, cosine) in Q16 of an angle in 1/65536 degrees (at most 360 degrees), by Taylor series."""
    angle = degrees_q16 * _PI // (180 << 16)
    square = angle * angle >> _BITS
    sine = sine_term = angle
    cosine = cosine_term = 1 << _BITS
    for n in range(1, _TERMS):
        cosine_term = -(cosine_term * square >> _BITS) // ((2 * n - 1) * 2 * n)
        sine_term = -(sine_term * square >> _BITS) // (2 * n * (2 * n + 1))
        cosine += cosine_term
        sine += sine_term
    return _to_q16(sine), _to_q16(cosine)


def _to_q16(value: int) -> int:
    return (value + (1 << (_BITS - 17))) >> (_BITS - 16)
