"""Datasets: one manifest, shards and indices under any URL; building, opening, checking and exporting them.

The logical rows have one digest, whatever the files that hold them.
"""

from __future__ import annotations

from seedbed.dataset.file_format import Batch, Manifest, Recipe, Shard
from seedbed.dataset.reader import Dataset, open_dataset
from seedbed.dataset.row_view import View, ViewShard
from seedbed.dataset.shard_io import ShardIndex

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
