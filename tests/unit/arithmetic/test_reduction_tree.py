"""The tree over global leaf indices: what it is, and that any split into workers evaluates the same additions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.arithmetic.reduction_tree import (
    CarryStack,
    children,
    fold,
    largest_power_below,
    leaf_ranges,
    subtrees,
)


def pair(left: str, right: str) -> str:
    return f"({left}{right})"


def tree_text(leaves: list[str]) -> str:
    """The tree written down once more, over a list."""
    if len(leaves) == 1:
        return leaves[0]
    middle = largest_power_below(len(leaves))
    return pair(tree_text(leaves[:middle]), tree_text(leaves[middle:]))


@pytest.mark.parametrize(("count", "power"), [(2, 1), (3, 2), (4, 2), (5, 4), (8, 4), (9, 8), (16, 8)])
def test_a_node_splits_at_the_largest_power_of_two_below(count: int, power: int) -> None:
    assert largest_power_below(count) == power
    assert children((3, 3 + count)) == ((3, 3 + power), (3 + power, 3 + count))


@pytest.mark.parametrize(
    ("leaves", "text"),
    [(1, "a"), (2, "(ab)"), (3, "((ab)c)"), (5, "(((ab)(cd))e)"), (6, "(((ab)(cd))(ef))")],
)
def test_the_tree_over_a_few_leaves_reads(leaves: int, text: str) -> None:
    assert tree_text(list("abcdef"[:leaves])) == text


@pytest.mark.parametrize(
    ("leaves", "world", "expected"),
    [
        (8, 1, [range(0, 8)]),
        (8, 3, [range(0, 3), range(3, 6), range(6, 8)]),
        (4, 4, [range(0, 1), range(1, 2), range(2, 3), range(3, 4)]),
    ],
)
def test_workers_own_contiguous_ranges(leaves: int, world: int, expected: list[range]) -> None:
    assert leaf_ranges(leaves, world) == expected


@pytest.mark.parametrize("world", [0, 9])
def test_more_workers_than_leaves_are_refused(world: int) -> None:
    with pytest.raises(ValueError, match="1 <= W <= L"):
        leaf_ranges(8, world)


@given(leaves=st.integers(1, 70), data=st.data())
@settings(max_examples=60, deadline=None)
def test_ranges_cover_all_leaves_once_and_differ_by_one_at_most(leaves: int, data: st.DataObject) -> None:
    world = data.draw(st.integers(1, leaves))
    owned = leaf_ranges(leaves, world)
    assert [leaf for own in owned for leaf in own] == list(range(leaves))
    assert max(map(len, owned)) - min(map(len, owned)) <= 1


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ((0, 3), [(0, 2), (2, 3)]),
        ((3, 6), [(3, 4), (4, 6)]),
        ((6, 8), [(6, 8)]),
        ((1, 8), [(1, 2), (2, 4), (4, 8)]),
        ((0, 8), [(0, 8)]),
    ],
)
def test_maximal_subtrees_of_eight_leaves(own: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    assert subtrees(*own, 8) == expected


@given(leaves=st.integers(1, 40), data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_split_into_workers_evaluates_the_same_expression(leaves: int, data: st.DataObject) -> None:
    world = data.draw(st.integers(1, leaves))
    parts: dict[tuple[int, int], str] = {}
    for own in leaf_ranges(leaves, world):
        stack = CarryStack(leaves, pair)
        for leaf in own:
            stack.push(leaf, f"<{leaf}>")
        assert list(stack.parts()) == subtrees(own.start, own.stop, leaves)
        parts |= stack.parts()
    assert fold((0, leaves), parts, pair) == tree_text([f"<{leaf}>" for leaf in range(leaves)])


def test_a_counter_that_starts_at_the_range_would_pair_other_leaves() -> None:
    """The check of the check: pairing leaves 3 and 4 first, as a local count does, is another expression."""
    local = {(0, 3): "((<0><1>)<2>)", (3, 6): "((<3><4>)<5>)", (6, 8): "(<6><7>)"}
    assert "".join(local.values()) not in tree_text([f"<{leaf}>" for leaf in range(8)])


@pytest.mark.parametrize(
    ("missing", "expected"),
    [({2}, "((ab)d)"), ({0, 1}, "(cd)"), ({0, 3}, "(bc)"), ({1, 2, 3}, "a"), ({0, 1, 2, 3}, None)],
)
def test_missing_leaves_are_skipped(missing: set[int], expected: str | None) -> None:
    parts = {(i, i + 1): "abcd"[i] for i in range(4) if i not in missing}
    assert fold((0, 4), parts, pair) == expected
