"""Draw rows of a dataset: by a hash of seed and row id, so the draw depends on neither order nor shards.

A larger draw holds a smaller one, and rows that are added push others out but change no order.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.ordered_images import OrderedImages, require_single_label
from seedbed.dataset.reader import Dataset
from seedbed_api.errors import UserError, refusal


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleOptions:
    """Which rows to draw."""

    rows: int
    seed: int = 0
    splits: tuple[str, ...] = SPLITS
    classes: tuple[str, ...] = ()
    """Names; none means all."""
    per_class: bool = False
    """Draw `rows` of each class instead of `rows` in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledRow:
    """A drawn row and its encoded image."""

    row: int
    id: str
    split: str
    label: int
    name: str
    """Of its class."""
    image: bytes


def sample_rows(dataset: Dataset, options: SampleOptions) -> Iterator[SampledRow]:
    """Yield the drawn rows in order of their numbers; each image has its row digest.

    `UserError` where a class is unknown or no row matches.
    """
    require_single_label(dataset)
    images = OrderedImages(dataset)
    for number, at in _draw(dataset, options):
        index, shard = dataset.index(number), dataset.manifest.shards[number]
        label = int(index.label[at])
        yield SampledRow(
            row=shard.first_row + at,
            id=index.id[at].tobytes().hex(),
            split=shard.split,
            label=label,
            name=dataset.classes[label],
            image=images.read(number, at),
        )


def _draw(dataset: Dataset, options: SampleOptions) -> list[tuple[int, int]]:
    """Return shard and position of the drawn rows, ascending."""
    labels = _wanted_labels(dataset, options.classes)
    best: dict[int, list[tuple[bytes, int, int]]] = {}
    for number, shard in enumerate(dataset.manifest.shards):
        if shard.split not in options.splits:
            continue
        for label, drawn in _drawn_of_shard(dataset, number, labels, options).items():
            best[label] = heapq.nsmallest(options.rows, [*best.get(label, ()), *drawn])
    found = sorted((number, at) for drawn in best.values() for _, number, at in drawn)
    if not found:
        fix = "choose other splits or classes; `seedbed dataset show` prints their rows"
        chosen = ", ".join((*options.splits, *options.classes))
        raise UserError("NoImages", refusal("--split, --class", chosen, "no row is of these", fix))
    return found


def _drawn_of_shard(
    dataset: Dataset, number: int, labels: list[int], options: SampleOptions
) -> dict[int, list[tuple[bytes, int, int]]]:
    """Return draw, shard and position of the rows that may be chosen; by label, or all under 0."""
    index = dataset.index(number)
    start = hashlib.sha256(b"seedbed sample\0" + options.seed.to_bytes(8, "little"))
    found: dict[int, list[tuple[bytes, int, int]]] = {}
    for at in np.flatnonzero(np.isin(index.label, labels)).tolist():
        draw = start.copy()
        draw.update(index.id[at].tobytes())
        label = int(index.label[at]) if options.per_class else 0
        found.setdefault(label, []).append((draw.digest(), number, at))
    return {label: heapq.nsmallest(options.rows, drawn) for label, drawn in found.items()}


def _wanted_labels(dataset: Dataset, names: tuple[str, ...]) -> list[int]:
    for name in names:
        if name not in dataset.classes:
            fix = f"the classes are {', '.join(dataset.classes[:20])}"
            raise UserError("UnknownClass", refusal("--class", name, "the dataset has no such class", fix))
    return [label for label, name in enumerate(dataset.classes) if not names or name in names]
