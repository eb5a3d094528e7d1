"""The target size of a worker group, and when a running group should be resized. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seedbed.ray_cluster.cluster_interface import WorkerRange


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """The resources of a node of the cluster."""

    name: str
    cpus: float
    gpus: float = 0.0
    leaving: bool = False
    """It still works, and has announced that it will end."""


def rank_capacity(nodes: Iterable[Node], *, gpus_per_rank: float = 0.0) -> int:
    """Return how many ranks the nodes that stay have room for: one CPU slot and the GPUs of a rank each."""
    return sum(_ranks(node, gpus_per_rank) for node in nodes if not node.leaving)


def _ranks(node: Node, gpus_per_rank: float) -> int:
    slots = int(node.cpus)
    return min(slots, int(node.gpus // gpus_per_rank)) if gpus_per_rank else slots


def target_size(ranks: int, workers: WorkerRange, *, leaves: int) -> int | None:
    """Return how many of the available ranks should train; None where there are too few.

    A rank that does not lower the leaves of the busiest rank, ceil(L / W), only adds messages.
    """
    size = min(ranks, workers.most)
    if size < workers.least:
        return None
    while size > workers.least and _busiest(leaves, size - 1) == _busiest(leaves, size):
        size -= 1
    return size


def should_resize(current: int, wanted: int | None, *, leaving: bool) -> bool:
    """Say whether a healthy group should save a checkpoint and be replaced by one of another size.

    It grows when nodes join, and shrinks when a node announces its end. A rank that is lost ends the group
    without this.
    """
    if leaving:
        return wanted != current
    return wanted is not None and wanted > current


def _busiest(leaves: int, size: int) -> int:
    return -(-leaves // size)
