"""How many workers make a step faster: arithmetic of logical shards. Pure numbers."""

from __future__ import annotations


def shards_of_the_busiest(leaves: int, workers: int) -> int:
    """Return the logical shards of the worker that has most: it sets the pace of a step."""
    return -(-leaves // workers)


def fewest_workers_as_fast_as(leaves: int, workers: int) -> int:
    """Return the smallest number of workers with which a step takes no longer."""
    return shards_of_the_busiest(leaves, shards_of_the_busiest(leaves, workers))
