"""Quantities of Kubernetes: as many times, and in bytes."""

from __future__ import annotations

import pytest

from seedbed_api.resource_quantities import multiply_quantity, quantity_bytes


@pytest.mark.parametrize(
    ("quantity", "count", "product"),
    [
        ("500m", 3, "1500m"),
        ("1.5Gi", 2, "3Gi"),
        ("1.25", 2, "2.5"),
        ("2Gi", 1, "2Gi"),
        ("10", 10, "100"),
        ("0.1", 3, "0.3"),
        ("100", 1, "100"),
        ("1e3", 2, "2000"),
        ("5E-1", 3, "1.5"),
        ("1E", 2, "2E"),
        ("+1Ei", 2, "2Ei"),
        (".5", 2, "1"),
    ],
)
def test_a_quantity_as_many_times(quantity: str, count: int, product: str) -> None:
    assert multiply_quantity(quantity, count) == product


@pytest.mark.parametrize(
    ("quantity", "count"),
    [
        ("10Gi", 10 * 2**30),
        ("1.5Mi", 3 * 2**19),
        ("2G", 2 * 10**9),
        ("123", 123),
        ("1k", 1000),
        ("1e3", 1000),
        ("1E", 10**18),
        ("+1Ei", 2**60),
    ],
)
def test_a_quantity_in_bytes(quantity: str, count: int) -> None:
    assert quantity_bytes(quantity) == count
