"""Measure the rows of a dataset: sizes, formats, sums of channels, copies, near-duplicates between splits.

Every image is read once and compared with its row digest. Beside one record batch and tables of bounded size,
memory holds about 40 bytes per row, and 150 while near-duplicates are searched.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from seedbed.dataset.file_format import SPLITS, invalid_dataset
from seedbed.dataset.near_duplicates import NearDuplicates, find_near_duplicates
from seedbed.dataset.ordered_images import require_single_label
from seedbed.dataset.reader import Dataset
from seedbed.dataset.shard_reader import row_name
from seedbed.images.image_decoder import JPEG_START, UndecodableImageError, decode_reduced
from seedbed.images.pixel_measurement import PixelMeasurement, measure_pixels

_IMAGES_AT_ONCE: Final = 64
_MOST_SIZES: Final = 4096
"""Different sizes that are counted one by one."""


@dataclass(kw_only=True, slots=True)
class SplitStatistics:
    """What was measured of the images of a split."""

    rows: int = 0
    bytes: int = 0
    pixels: int = 0
    sums: list[int] = field(default_factory=lambda: [0, 0, 0])
    squares: list[int] = field(default_factory=lambda: [0, 0, 0])
    formats: Counter[str] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Rows per width and height, of the first 4,096 different sizes."""
    other_sizes: int = 0
    """Rows of further sizes."""

    def add(self, image: MeasuredImage) -> None:
        """Count an image."""
        found = image.found
        self.rows += 1
        self.bytes += image.size
        self.pixels += found.width * found.height
        for channel in range(3):
            self.sums[channel] += found.sums[channel]
            self.squares[channel] += found.squares[channel]
        self.formats[image.format] += 1
        self.widths[found.width] += 1
        self.heights[found.height] += 1
        size = (found.width, found.height)
        if size in self.sizes or len(self.sizes) < _MOST_SIZES:
            self.sizes[size] += 1
        else:
            self.other_sizes += 1


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredImage:
    """An image of a dataset, measured."""

    format: str
    sha256: bytes
    size: int
    """In bytes."""
    found: PixelMeasurement


@dataclass(kw_only=True, slots=True)
class RowStatistics:
    """What was measured of a dataset; rows are counted through the dataset."""

    dataset: Dataset
    splits: dict[str, SplitStatistics]
    split_n: npt.NDArray[np.uint8]
    """1, 2 or 4 for train, validation and test, per row."""
    label_n: npt.NDArray[np.int32]
    same_bytes: npt.NDArray[np.int64]
    """For each row the first row with the same stored bytes."""
    near: NearDuplicates
    distance: int


def measure_dataset(
    dataset: Dataset,
    *,
    distance: int,
    threads: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> RowStatistics:
    """Read and measure all rows. Near-duplicates differ in at most `distance` of 128 bits.

    `UserError("InvalidDataset")` names the shard, index or row that is not what the digest commits to.
    """
    require_single_label(dataset)
    splits = {split: SplitStatistics() for split in SPLITS}
    marks, labels, hashes, contents = [], [], [], []
    done = 0
    with ThreadPoolExecutor(threads) as pool:
        for number, shard in enumerate(dataset.manifest.shards):
            measured = list(_measure_shard(dataset, number, pool, splits[shard.split]))
            hashes.append(np.frombuffer(b"".join(row[0] for row in measured), ">u8").astype(np.uint64))
            contents.append(np.frombuffer(b"".join(row[1] for row in measured), np.uint64))
            marks.append(np.full(shard.rows, 1 << SPLITS.index(shard.split), np.uint8))
            labels.append(dataset.index(number).label)
            done += shard.rows
            progress("measuring", done, dataset.manifest.total)
    split_n = np.concatenate([np.empty(0, np.uint8), *marks])
    empty = np.empty(0, np.uint64)
    words = np.concatenate([empty, *hashes]).reshape(-1, 2)
    copies = find_near_duplicates(np.concatenate([empty, *contents]).reshape(-1, 2), split_n, distance=0)
    return RowStatistics(
        dataset=dataset,
        splits=splits,
        split_n=split_n,
        label_n=np.concatenate([np.empty(0, np.int32), *labels]),
        same_bytes=copies.group,
        near=find_near_duplicates(words, split_n, distance=distance),
        distance=distance,
    )


def _measure_shard(
    dataset: Dataset, number: int, pool: ThreadPoolExecutor, split: SplitStatistics
) -> Iterator[tuple[bytes, bytes]]:
    """Yield hash and first half of the sha256 of each image of a shard."""

    def measured(row: tuple[int, bytes]) -> MeasuredImage:
        try:
            return measure_image(row[1])
        except UndecodableImageError as error:
            name = row_name(dataset.manifest.shards[number], row[0])
            problem = f"{name} cannot be decoded"
            raise invalid_dataset(dataset.storage.url, problem, detail=str(error)) from error

    rows = dataset.images(number)
    while some := list(islice(rows, _IMAGES_AT_ONCE)):
        for image in pool.map(measured, some):
            split.add(image)
            yield image.found.hash, image.sha256[:16]


def measure_image(data: bytes) -> MeasuredImage:
    """Measure an encoded image; raises UndecodableImageError."""
    return MeasuredImage(
        format="JPEG" if data.startswith(JPEG_START) else "PNG",
        sha256=hashlib.sha256(data).digest(),
        size=len(data),
        found=measure_pixels(decode_reduced(data, 1)),
    )
