"""Near-duplicates are those that comparing every pair finds, and cost what sorting costs."""

from __future__ import annotations

import numpy as np
import pytest

from seedbed.dataset import near_duplicates
from seedbed.dataset.near_duplicates import find_near_duplicates


def hashes(count: int, *, seed: int, copies: int) -> np.ndarray:
    """Return random hashes, among them `copies` with up to 9 flipped bits of another."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 2**64, (count, 2), dtype=np.uint64)
    for copy in rng.choice(count, copies, replace=False):
        made[copy] = made[rng.integers(count)]
        for bit in rng.choice(128, rng.integers(0, 10), replace=False):
            made[copy, bit // 64] ^= np.uint64(1 << int(bit % 64))
    return made


def every_pair(made: np.ndarray, marks: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Return groups and marks by comparing every pair."""
    bits = np.bitwise_count(made[:, None] ^ made[None]).sum(axis=2)
    near = bits <= distance
    found = np.array([np.bitwise_or.reduce(marks[row]) for row in near])
    group = np.arange(len(made))
    while True:
        joined = np.array([group[row].min() for row in near])
        if (joined == group).all():
            return group, found
        group = joined


@pytest.mark.parametrize("distance", range(8))
@pytest.mark.parametrize("seed", range(4))
def test_all_pairs_are_found(distance: int, seed: int) -> None:
    made = hashes(400, seed=seed, copies=200)
    marks = np.random.default_rng(seed).choice(np.array([1, 2, 4], np.uint8), 400)
    found = find_near_duplicates(made, marks, distance=distance)
    group, near = every_pair(made, marks, distance)
    assert np.array_equal(found.group, group)
    assert np.array_equal(found.neighbour_marks, near)
    assert not found.incomplete


def test_hashes_that_all_share_a_part_are_compared_with_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worst case is said, not paid: equal halves, so that each part of one half is shared by all."""
    monkeypatch.setattr(near_duplicates, "MOST_COMPARED", 16)
    made = hashes(3000, seed=1, copies=0)
    made[:, 0] = 0
    compared: list[int] = []
    counted = np.bitwise_count

    def counting(words: np.ndarray) -> np.ndarray:
        compared.append(len(words))
        return counted(words)

    monkeypatch.setattr(np, "bitwise_count", counting)
    found = find_near_duplicates(made, np.ones(3000, np.uint8), distance=3)
    assert found.incomplete
    assert sum(compared) <= 4 * 16 * 3000


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_rows(count: int) -> None:
    found = find_near_duplicates(np.zeros((count, 2), np.uint64), np.ones(count, np.uint8), distance=3)
    assert found.group.tolist() == [0] * count
