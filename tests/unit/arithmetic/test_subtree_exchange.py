"""Which exchange a split into workers takes, and the exchange of one process; the rest needs real processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from seedbed.arithmetic.reduction_tree import children, leaf_ranges, subtrees
from seedbed.arithmetic.subtree_exchange import SingleProcessExchange, is_balanced
from seedbed.arithmetic.torch_determinism import enforce_determinism


@pytest.mark.parametrize(
    ("leaves", "world", "balanced"),
    [
        (8, 1, True),
        (8, 2, True),
        (8, 4, True),
        (8, 8, True),
        (16, 8, True),
        (8, 3, False),
        (8, 5, False),
        (6, 2, False),
        (12, 4, False),
        (3, 3, False),
        (12, 2, False),
    ],
)
def test_halving_and_doubling_needs_one_equal_subtree_per_worker(
    leaves: int, world: int, balanced: bool
) -> None:
    owned = [subtrees(own.start, own.stop, leaves) for own in leaf_ranges(leaves, world)]
    assert is_balanced(owned) == balanced


@pytest.mark.parametrize("leaves", range(1, 65))
def test_balanced_neighbours_are_siblings_at_every_distance(leaves: int) -> None:
    for world in range(1, leaves + 1):
        nodes = [subtrees(own.start, own.stop, leaves) for own in leaf_ranges(leaves, world)]
        if not is_balanced(nodes):
            continue
        level = [node for (node,) in nodes]
        while len(level) > 1:
            pairs = list(zip(level[::2], level[1::2], strict=True))
            level = [(left[0], right[1]) for left, right in pairs]
            assert [children(node) for node in level] == pairs
        assert level == [(0, leaves)]


def test_one_process_talks_to_itself() -> None:
    alone = SingleProcessExchange()
    alone.barrier()
    assert alone.gather_bytes(b"x") == [b"x"]
    assert alone.broadcast_bytes(b"x") == b"x"
    assert [alone.any_of(True), alone.any_of(False)] == [True, False]
    assert alone.sum_counts(np.array([1, 2])).tolist() == [1, 2]
    tensor = torch.ones(2)
    assert alone.reduce({(0, 4): [tensor]}, leaves=4)[0] is tensor


@pytest.fixture
def process_flags() -> Iterator[None]:
    mode, threads = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    yield
    torch.set_deterministic_debug_mode(mode)
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("process_flags")
def test_the_process_is_set_up_to_refuse_operations_without_a_fixed_order() -> None:
    torch.set_deterministic_debug_mode("default")
    enforce_determinism(threads=1, fill_uninitialised=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1
    assert torch.empty(3).isnan().all()
    assert not torch.backends.cudnn.benchmark
    enforce_determinism(threads=1)
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
