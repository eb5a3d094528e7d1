"""Find images whose perceptual hashes differ in few bits, in time and memory that grow as the rows do.

Two hashes that differ in at most d bits agree in one of d + 1 parts of them. Hashes are sorted by each part,
and each is compared with the next ones that have the same part: with at most `MOST_COMPARED`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

MOST_DISTANCE: Final = 7
MOST_COMPARED: Final = 1024
"""Hashes that one is compared with for each part of it; not all pairs are where more share a part."""
_CHUNKS: Final = 8

Words = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicates:
    """Which of n rows have near-duplicates."""

    group: Positions
    """For each row the first row of its group, shape (n,); a row alone is its own group.

    Groups are closed over chains: two rows of one may differ in more bits than were allowed."""
    neighbour_marks: npt.NDArray[np.uint8]
    """For each row the marks of the rows that it is near to itself, shape (n,), combined by or."""
    incomplete: bool
    """Whether a part was shared by more hashes than are compared: some pairs may be missing."""


def find_near_duplicates(
    hashes_n2: Words, marks_n: npt.NDArray[np.uint8], *, distance: int
) -> NearDuplicates:
    """Find pairs of 128-bit hashes, shape (n, 2), that differ in at most `distance` bits, 0 to 7."""
    assert 0 <= distance <= MOST_DISTANCE
    unique, first, inverse = _unique(hashes_n2)
    marks = np.zeros(len(unique), np.uint8)
    np.bitwise_or.at(marks, inverse, marks_n)
    near, parent = marks.copy(), np.arange(len(unique))
    incomplete = False
    for part in _parts(unique, distance):
        order = np.lexsort((unique[:, 1], unique[:, 0], part))
        incomplete |= _search(unique, part, order, distance, marks, near, parent)
    root = first[roots_of(parent, np.arange(len(unique)))][inverse]
    return NearDuplicates(group=_first_rows(root), neighbour_marks=near[inverse], incomplete=incomplete)


def _unique(hashes_n2: Words) -> tuple[Words, Positions, Positions]:
    """Return the different hashes, the first row of each, and for each row the position of its hash."""
    order = np.lexsort((hashes_n2[:, 1], hashes_n2[:, 0]))
    ordered = hashes_n2[order]
    starts = np.ones(len(order), bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    inverse = np.empty(len(order), np.int64)
    inverse[order] = np.cumsum(starts) - 1
    return ordered[starts], order[starts], inverse


def _parts(hashes: Words, distance: int) -> list[Words]:
    """Return d + 1 parts of each hash, that together are all of it; none where only equal hashes count."""
    if distance == 0:
        return []
    chunks = [hashes[:, n // 4] >> np.uint64(16 * (n % 4)) & np.uint64(0xFFFF) for n in range(_CHUNKS)]
    parts = []
    for numbers in np.array_split(np.arange(_CHUNKS), distance + 1):
        part = np.zeros(len(hashes), np.uint64)
        for number in numbers:
            part = part << np.uint64(16) | chunks[number]
        parts.append(part)
    return parts


def _search(
    hashes: Words,
    part: Words,
    order: Positions,
    distance: int,
    marks: npt.NDArray[np.uint8],
    near: npt.NDArray[np.uint8],
    parent: Positions,
) -> bool:
    """Join hashes that are near and share a part; return whether some were left out."""
    ordered, keys = hashes[order], part[order]
    active = np.arange(len(order) - 1)
    for ahead in range(1, MOST_COMPARED + 1):
        active = active[active + ahead < len(order)]
        active = active[keys[active] == keys[active + ahead]]
        if not len(active):
            return False
        bits = np.bitwise_count(ordered[active] ^ ordered[active + ahead]).sum(axis=1)
        pairs = active[bits <= distance]
        one, other = order[pairs], order[pairs + ahead]
        np.bitwise_or.at(near, one, marks[other])
        np.bitwise_or.at(near, other, marks[one])
        join_pairs(parent, one, other)
    return True


def join_pairs(parent: Positions, one: Positions, other: Positions) -> None:
    """Make one tree of the trees of each pair; a root is the smallest of its tree."""
    while True:
        roots = roots_of(parent, one), roots_of(parent, other)
        apart = roots[0] != roots[1]
        if not apart.any():
            return
        np.minimum.at(parent, np.maximum(*roots)[apart], np.minimum(*roots)[apart])


def roots_of(parent: Positions, nodes: Positions) -> Positions:
    """Return the root of each node, and shorten the paths to it."""
    found = parent[nodes]
    while (parent[found] != found).any():
        found = parent[found]
    parent[nodes] = found
    return found


def _first_rows(root: Positions) -> Positions:
    """Return for each row the first row of those with the same root."""
    first = np.full(len(root), len(root), np.int64)
    np.minimum.at(first, root, np.arange(len(root)))
    return first[root]
