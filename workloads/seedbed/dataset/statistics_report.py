"""The document of `seedbed dataset stats`: numbers as exact decimals, groups and leakage as bounded lists."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal, localcontext
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.reader import Dataset
from seedbed.dataset.row_statistics import RowStatistics, SplitStatistics

_MEMBERS: Final = 10
"""Rows that are listed of a group."""
_SIZES: Final = 20
_DIGITS: Final = Decimal("0.000001")
Groups = npt.NDArray[np.int64]


def statistics_document(found: RowStatistics, *, listed: int) -> dict[str, Any]:
    """Return the JSON form; at most `listed` groups of each kind, those across splits first."""
    dataset = found.dataset
    return {
        "url": dataset.storage.url,
        "digest": dataset.digest,
        "rows": dataset.manifest.total,
        "classes": _classes(dataset),
        "splits": {split: _split(found.splits[split]) for split in SPLITS},
        "sameBytes": _groups(found, found.same_bytes, listed=listed),
        "nearDuplicates": {
            "distance": found.distance,
            "incomplete": found.near.incomplete,
            **_groups(found, found.near.group, listed=listed),
        },
        "leakage": _leakage(found),
    }


def _classes(dataset: Dataset) -> list[dict[str, Any]]:
    counts = {split: dataset.rows_per_class(split=split).tolist() for split in SPLITS}
    return [
        {"name": name, **{split: counts[split][label] for split in SPLITS}}
        for label, name in enumerate(dataset.classes)
    ]


def _split(found: SplitStatistics) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "bytes": found.bytes,
        "formats": dict(sorted(found.formats.items())),
        "width": _spread(found.widths),
        "height": _spread(found.heights),
        "sizes": _sizes(found),
        "channels": [_channel(found, channel) for channel in range(3)] if found.rows else [],
    }


def _channel(found: SplitStatistics, channel: int) -> dict[str, Any]:
    count, total, squares = found.pixels, found.sums[channel], found.squares[channel]
    with localcontext(prec=60):
        mean = Decimal(total) / (255 * count)
        deviation = Decimal(count * squares - total * total).sqrt() / (255 * count)
        return {
            "name": ("red", "green", "blue")[channel],
            "mean": str(mean.quantize(_DIGITS)),
            "deviation": str(deviation.quantize(_DIGITS)),
            "pixels": count,
            "sum": total,
            "sumOfSquares": squares,
        }


def _spread(counts: Counter[int]) -> dict[str, int]:
    """Return least, median (the lower one of an even number) and most."""
    if not counts:
        return {}
    half, seen = (counts.total() + 1) // 2, 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= half:
            break
    return {"least": min(counts), "median": value, "most": max(counts)}


def _sizes(found: SplitStatistics) -> dict[str, Any]:
    most = sorted(found.sizes.items(), key=lambda item: (-item[1], item[0]))
    return {
        "different": len(found.sizes),
        "uncounted": found.other_sizes,
        "most": [{"width": size[0], "height": size[1], "rows": rows} for size, rows in most[:_SIZES]],
    }


def _groups(found: RowStatistics, group: Groups, *, listed: int) -> dict[str, Any]:
    """Return how many rows are in groups of two and more, and the first groups."""
    rows = np.bincount(group, minlength=len(group))
    firsts = np.flatnonzero(rows > 1)
    marks, labels = np.zeros(len(group), np.uint8), np.zeros(len(group), bool)
    np.bitwise_or.at(marks, group, found.split_n)
    np.logical_or.at(labels, group, found.label_n != found.label_n[group])
    across = np.bitwise_count(marks[firsts]) > 1
    shown = np.concatenate([firsts[across], firsts[~across]])[:listed]
    return {
        "groups": len(firsts),
        "rows": int(rows[firsts].sum()),
        "acrossSplits": int(across.sum()),
        "acrossClasses": int(labels[firsts].sum()),
        "listed": [_group(found, group, int(first)) for first in shown],
    }


def _group(found: RowStatistics, group: Groups, first: int) -> dict[str, Any]:
    members = np.flatnonzero(group == first)
    return {
        "rows": len(members),
        "listed": [describe_row(found.dataset, int(row)) for row in members[:_MEMBERS]],
    }


def describe_row(dataset: Dataset, row: int) -> dict[str, Any]:
    """Return number, id, split and class of a row."""
    starts = [shard.first_row for shard in dataset.manifest.shards]
    number = int(np.searchsorted(starts, row, side="right")) - 1
    index, at = dataset.index(number), row - starts[number]
    return {
        "row": row,
        "id": index.id[at].tobytes().hex(),
        "split": dataset.manifest.shards[number].split,
        "class": dataset.classes[index.label[at]],
    }


def _leakage(found: RowStatistics) -> list[dict[str, Any]]:
    """Return for each two splits how many rows of the second have a near-duplicate in the first."""
    pairs = [("train", "validation"), ("train", "test"), ("validation", "test")]
    result = []
    for known, judged in pairs:
        rows = found.split_n == 1 << SPLITS.index(judged)
        leaked = rows & (found.near.neighbour_marks & (1 << SPLITS.index(known)) > 0)
        result.append({"of": judged, "in": known, "rows": int(leaked.sum())})
    return result
