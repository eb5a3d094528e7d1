"""How many ranks a group should have, and when a running group gives way to one of another size. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seedbed.ray_cluster.cluster_interface import WorkerRange


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """What a machine of the cluster offers."""

    name: str
    cpus: float
    gpus: float = 0.0
    leaving: bool = False
    """It still works, and has said that it will go."""


def rank_capacity(nodes: Iterable[Node], *, gpus_per_rank: float = 0.0) -> int:
    """Return how many ranks the machines hold that are going to stay: one CPU slot each, and their GPUs."""
    return sum(_ranks(node, gpus_per_rank) for node in nodes if not node.leaving)


def _ranks(node: Node, gpus_per_rank: float) -> int:
    slots = int(node.cpus)
    return min(slots, int(node.gpus // gpus_per_rank)) if gpus_per_rank else slots


def target_size(ranks: int, workers: WorkerRange, *, leaves: int) -> int | None:
    """Return how many of the ranks that are there should train, None where they are too few.

    A rank that does not lower the leaves of the busiest one, ceil(L / W), only adds messages.
    """
    size = min(ranks, workers.most)
    if size < workers.least:
        return None
    while size > workers.least and _busiest(leaves, size - 1) == _busiest(leaves, size):
        size -= 1
    return size


def should_resize(current: int, wanted: int | None, *, leaving: bool) -> bool:
    """Say whether a healthy group should keep its state and be replaced.

    It grows into machines that came, and leaves those that said they would go; ranks that are simply gone
    end the group by themselves.
    """
    if leaving:
        return wanted != current
    return wanted is not None and wanted > current


def _busiest(leaves: int, size: int) -> int:
    return -(-leaves // size)
