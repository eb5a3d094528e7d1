"""The reduction tree: the order in which leaves are added, a binary tree over global leaf indices.

A node is a half-open range of leaves; a node of n > 1 leaves splits at the largest power of two below n. The
tree depends on L alone, so every worker count evaluates the same additions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Generic, TypeAlias, TypeVar

Node: TypeAlias = tuple[int, int]
T = TypeVar("T")


def largest_power_below(count: int) -> int:
    """Return the largest power of two strictly below `count` (>= 2)."""
    return 1 << ((count - 1).bit_length() - 1)


def children(node: Node) -> tuple[Node, Node]:
    """Return the two halves of a node of at least two leaves."""
    start, stop = node
    middle = start + largest_power_below(stop - start)
    return (start, middle), (middle, stop)


def leaf_ranges(leaves: int, world: int) -> list[range]:
    """Return the contiguous leaf range of each worker; sizes differ by at most one, larger ones first."""
    if not 1 <= world <= leaves:
        raise ValueError(f"{world} workers cannot share {leaves} leaves: 1 <= W <= L")
    size, larger = divmod(leaves, world)
    starts = [rank * size + min(rank, larger) for rank in range(world + 1)]
    return [range(start, stop) for start, stop in pairwise(starts)]


def subtrees(start: int, stop: int, leaves: int) -> list[Node]:
    """Return the maximal nodes of the tree over `leaves` inside [start, stop), in leaf order."""
    return _inside((0, leaves), start, stop)


def _inside(node: Node, start: int, stop: int) -> list[Node]:
    if start <= node[0] and node[1] <= stop:
        return [node]
    if stop <= node[0] or node[1] <= start:
        return []
    left, right = children(node)
    return _inside(left, start, stop) + _inside(right, start, stop)


@lru_cache(maxsize=64)
def parents(leaves: int) -> Mapping[tuple[Node, Node], Node]:
    """Return the parent of each pair of siblings."""
    found: dict[tuple[Node, Node], Node] = {}
    pending = [(0, leaves)]
    while pending:
        node = pending.pop()
        if node[1] - node[0] > 1:
            pair = children(node)
            found[pair] = node
            pending.extend(pair)
    return found


def fold(node: Node, parts: Mapping[Node, T], combine: Callable[[T, T], T]) -> T | None:
    """Add up `parts` in tree order below `node`; None if there are none.

    A missing side is skipped: adding 0.0 instead would turn -0.0 into 0.0.
    """
    if node in parts:
        return parts[node]
    if node[1] - node[0] == 1:
        return None
    left, right = (fold(child, parts, combine) for child in children(node))
    if left is None or right is None:
        return right if left is None else left
    return combine(left, right)


class CarryStack(Generic[T]):
    """Takes the leaves of one worker in ascending order and holds only the maximal subtrees.

    Neighbours are combined as soon as they are siblings in the *global* tree. Counting leaves from the start
    of the worker's range would pair the wrong ones where W does not divide L.
    """

    def __init__(self, leaves: int, combine: Callable[[T, T], T]) -> None:
        self._parents = parents(leaves)
        self._combine = combine
        self._stack: list[tuple[Node, T]] = []

    def push(self, leaf: int, contribution: T) -> None:
        """Add the next leaf and combine complete subtrees."""
        self._stack.append(((leaf, leaf + 1), contribution))
        while len(self._stack) > 1:
            (left, left_part), (right, right_part) = self._stack[-2:]
            node = self._parents.get((left, right))
            if node is None:
                return
            del self._stack[-2:]
            self._stack.append((node, self._combine(left_part, right_part)))

    def parts(self) -> dict[Node, T]:
        """Return the subtrees held, in leaf order."""
        return dict(self._stack)
