"""Datasets: one manifest, shards and indices under any URL; building, opening, checking and exporting them.

The logical rows have one digest, whatever the files that hold them.
"""

from __future__ import annotations

from seedbed.dataset.format import Batch, Manifest, Recipe, Shard
from seedbed.dataset.opening import Dataset, open_dataset
from seedbed.dataset.shards import ShardIndex
from seedbed.dataset.views import View, ViewShard

__all__ = [
    "Batch",
    "Dataset",
    "Manifest",
    "Recipe",
    "Shard",
    "ShardIndex",
    "View",
    "ViewShard",
    "open_dataset",
]
