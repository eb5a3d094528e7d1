"""Quantities of Kubernetes resources: their values, multiplication, and conversion to bytes."""

from __future__ import annotations

import re
from decimal import Decimal

_FACTORS: dict[str, Decimal | int] = {
    "": 1,
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
}


def multiply_quantity(quantity: str, count: int) -> str:
    """Return a quantity times `count` in the same unit: 1.5Gi twice is 3Gi, 1e3 twice is 2000."""
    number, unit = _split(quantity)
    return f"{_plain(number * count)}{unit}"


def quantity_bytes(quantity: str) -> int:
    """Return a quantity in bytes, rounded down."""
    return int(quantity_value(quantity))


def quantity_value(quantity: str) -> Decimal:
    """Return the number that a quantity stands for: 500m is 0.5, 1Ki is 1024."""
    number, unit = _split(quantity)
    return number * _FACTORS[unit]


def _split(quantity: str) -> tuple[Decimal, str]:
    match = re.fullmatch(r"\+?([0-9.]+)(?:([eE][-+]?[0-9]+)|([A-Za-z]*))", quantity)
    assert match, "the API has checked that it is a quantity"
    return Decimal(match[1] + (match[2] or "")), match[3] or ""


def _plain(number: Decimal) -> str:
    return f"{number:f}".rstrip("0").rstrip(".") if "." in f"{number:f}" else f"{number:f}"
