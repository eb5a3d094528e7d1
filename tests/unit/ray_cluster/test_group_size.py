"""How many ranks train: those that are there and help; and when a group gives way to another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.ray_cluster.group_size import Node, rank_capacity, should_resize, target_size

HEAD = Node(name="head", cpus=0)


def slots(*counts: int, leaving: bool = False) -> list[Node]:
    return [Node(name=f"n{i}", cpus=count, leaving=leaving) for i, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("nodes", "gpus", "ranks"),
    [
        pytest.param([HEAD], 0, 0, id="a head alone holds nobody"),
        pytest.param([HEAD, *slots(1, 1)], 0, 2, id="two pods of one rank"),
        pytest.param([HEAD, *slots(4)], 0, 4, id="one pod of four ranks"),
        pytest.param([*slots(2), *slots(3, leaving=True)], 0, 2, id="a pod that leaves does not count"),
        pytest.param([Node(name="g", cpus=4, gpus=2)], 1, 2, id="as many as there are GPUs"),
        pytest.param([Node(name="g", cpus=4, gpus=2)], 2, 1, id="two GPUs for a rank"),
        pytest.param([Node(name="c", cpus=4)], 1, 0, id="no GPU, no rank"),
    ],
)
def test_ranks(nodes: list[Node], gpus: int, ranks: int) -> None:
    assert rank_capacity(nodes, gpus_per_rank=gpus) == ranks


@pytest.mark.parametrize(
    ("ranks", "least", "most", "leaves", "size"),
    [
        pytest.param(0, 1, 4, 8, None, id="nobody is there"),
        pytest.param(1, 2, 4, 8, None, id="fewer than the least"),
        pytest.param(3, 1, 4, 8, 3, id="three share eight leaves as 3 3 2"),
        pytest.param(7, 1, 8, 8, 4, id="seven are no faster than four"),
        pytest.param(7, 6, 8, 8, 6, id="but the least is kept"),
        pytest.param(9, 1, 4, 8, 4, id="never more than the most"),
        pytest.param(3, 3, 3, 8, 3, id="a fixed size stays"),
    ],
)
def test_size(ranks: int, least: int, most: int, leaves: int, size: int | None) -> None:
    assert target_size(ranks, WorkerRange(least=least, most=most), leaves=leaves) == size


@given(
    ranks=st.integers(0, 40),
    least=st.integers(1, 20),
    more=st.integers(0, 20),
    leaves=st.integers(1, 64),
)
def test_a_size_is_in_range_and_nobody_is_idle_for_nothing(
    ranks: int, least: int, more: int, leaves: int
) -> None:
    workers = WorkerRange(least=least, most=least + more)
    size = target_size(ranks, workers, leaves=leaves)
    if ranks < least:
        assert size is None
        return
    assert size is not None
    assert least <= size <= min(ranks, workers.most)
    assert -(-leaves // size) == -(-leaves // min(ranks, workers.most)), "leaving ranks out costs no time"


@pytest.mark.parametrize(
    ("current", "wanted", "leaving", "yes"),
    [
        pytest.param(2, 2, False, False, id="nothing changed"),
        pytest.param(1, 2, False, True, id="a pod came"),
        pytest.param(2, 1, False, False, id="a pod is gone: the group fails by itself"),
        pytest.param(2, None, False, False, id="too few are left: it fails by itself"),
        pytest.param(2, 1, True, True, id="a pod is going: leave it before"),
        pytest.param(2, None, True, True, id="a pod is going and too few stay: keep the state before"),
        pytest.param(2, 2, True, False, id="a pod is going that did not train"),
    ],
)
def test_giving_way(current: int, wanted: int | None, leaving: bool, yes: bool) -> None:
    assert should_resize(current, wanted, leaving=leaving) is yes
