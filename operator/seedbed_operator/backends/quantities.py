"""Quantities of Kubernetes: as many times, and in bytes."""

from __future__ import annotations

import re
from decimal import Decimal

_FACTORS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
}


def times(quantity: str, count: int) -> str:
    """Return a quantity as many times, in the same unit: 1.5Gi twice is 3Gi."""
    number, unit = _split(quantity)
    return f"{_plain(number * count)}{unit}"


def in_bytes(quantity: str) -> int:
    """Return how many bytes a quantity is, rounded down."""
    number, unit = _split(quantity)
    return int(number * _FACTORS[unit])


def _split(quantity: str) -> tuple[Decimal, str]:
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity)
    assert match, "the API has checked that it is a quantity"
    return Decimal(match[1]), match[2]


def _plain(number: Decimal) -> str:
    return f"{number:f}".rstrip("0").rstrip(".") if "." in f"{number:f}" else f"{number:f}"
