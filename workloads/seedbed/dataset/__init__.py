"""Datasets: building, opening, checking and exporting them. A manifest, shards and indices under any URL.

The digest is over the logical rows, not over the files that hold them.
"""

from __future__ import annotations

from seedbed.dataset.file_format import BuildRecipe, Manifest, RecordBatch, Shard
from seedbed.dataset.reader import Dataset, open_dataset
from seedbed.dataset.row_view import RowView, ViewShard
from seedbed.dataset.shard_io import ShardIndex

__all__ = [
    "BuildRecipe",
    "Dataset",
    "Manifest",
    "RecordBatch",
    "RowView",
    "Shard",
    "ShardIndex",
    "ViewShard",
    "open_dataset",
]
