"""An image is compared with its row digest each time, wherever its bytes come from."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedbed.augmentation import Resize
from seedbed.feed.decoded_cache import Slot
from seedbed.feed.io_counters import IO_COUNTERS
from seedbed.feed.sample_stream import SampleStream, open_stream
from seedbed.feed.shard_index_cache import ImageLocation
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.small_datasets import a_stream, write_dataset
from support.datasets.tampering import load, sealed

ROWS = np.arange(30)
SIZED = (Resize(size=16),)
ONCE = {"transforms": SIZED, "total_steps": 2}
"""Less than an epoch, so that decoded images are not cached."""


def plain_png(number: int) -> bytes:
    """Return an image of a length that does not depend on its pixels."""
    pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG", compress_level=0)
    return sink.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dataset(open_storage(str(tmp_path / "data")), rows={"train": 30}, image=plain_png)
    return tmp_path / "data"


def pixels(stream: SampleStream) -> bytes:
    return stream.images(ROWS, np.zeros_like(ROWS), SIZED)[1].tobytes()


def alter(file: Path, at: int) -> None:
    """Change a byte in place, as no writer of ours does."""
    with file.open("r+b") as opened:
        byte = os.pread(opened.fileno(), 1, at)
        os.pwrite(opened.fileno(), bytes([byte[0] ^ 1]), at)


def image_place(stream: SampleStream, row: int) -> tuple[str, int]:
    """Return the shard file of a row and where the middle of its image lies there."""
    (location,) = stream.indices.locate(np.array([row]))
    shard = stream.dataset.manifest.shards[location.shard]
    return shard.path, shard.batches[location.batch].offset + location.start + location.length // 2


def test_a_local_file_that_changes_while_it_is_read_is_refused(folder: Path) -> None:
    stream = open_stream(a_stream(folder, transforms=SIZED))
    pixels(stream)
    path, at = image_place(stream, 17)
    alter(folder / path, at)
    with pytest.raises(UserError, match="differs from") as caught:
        pixels(stream)
    assert caught.value.reason == "InvalidDataset"
    assert path in caught.value.message


def test_a_cached_batch_that_changes_while_it_is_read_is_fetched_again(folder: Path, tmp_path: Path) -> None:
    spec = a_stream(folder, **ONCE, read_in_place=False, cache_folder=tmp_path / "cache")
    stream = open_stream(spec)
    want = pixels(stream)
    entries = list((tmp_path / "cache" / "entries").glob("*/*"))
    assert entries
    for file in entries:
        alter(file, file.stat().st_size // 2)
    IO_COUNTERS.drain()
    assert pixels(stream) == want
    assert IO_COUNTERS.drain().rejected >= len(entries) - 1


def test_a_cached_batch_of_other_rows_is_fetched_again(folder: Path, tmp_path: Path) -> None:
    """A process has found an entry sound, and then another file takes its name."""
    spec = a_stream(folder, **ONCE, read_in_place=False, cache_folder=tmp_path / "cache")
    stream = open_stream(spec)
    want = pixels(stream)
    one, other = sorted((tmp_path / "cache" / "entries").glob("*/*"), key=lambda file: -file.stat().st_size)[
        :2
    ]
    one.write_bytes(other.read_bytes())
    assert pixels(stream) == want


def test_a_decoded_image_of_another_row_is_not_served(folder: Path, tmp_path: Path) -> None:
    spec = a_stream(folder, transforms=SIZED, cache_folder=tmp_path / "cache", total_steps=60)
    stream = open_stream(spec)
    want = pixels(stream)
    (location, following) = stream.indices.locate(np.array([3, 4]))
    assert location.batch == following.batch
    stride = 16 + 16 * 16 * 3
    for file in (tmp_path / "cache" / "decoded").glob("??/*"):
        data = bytearray(file.read_bytes())
        data[:stride], data[stride : 2 * stride] = data[stride : 2 * stride], data[:stride]
        file.write_bytes(data)
    assert pixels(open_stream(spec)) == want


def test_a_dataset_that_names_batches_of_another_gets_none_of_its_pixels(
    folder: Path, tmp_path: Path
) -> None:
    """Names of batches are no part of the dataset digest; decoded images are filed by them."""
    other = tmp_path / "other"
    write_dataset(open_storage(str(other)), rows={"train": 30}, image=lambda n: plain_png(n + 1000))
    document = load(other)
    for mine, theirs in zip(document["shards"], load(folder)["shards"], strict=True):
        for batch, named in zip(mine["batches"], theirs["batches"], strict=True):
            assert (batch["offset"], batch["length"]) == (named["offset"], named["length"])
            batch["sha256"] = named["sha256"]
    (other / "manifest.json").write_bytes(sealed(document))
    cache = {"cache_folder": tmp_path / "cache", "transforms": SIZED, "total_steps": 60}
    pixels(open_stream(a_stream(folder, **cache)))
    assert list((tmp_path / "cache" / "decoded").glob("??/*"))
    with pytest.raises(UserError) as caught:
        pixels(open_stream(a_stream(other, **cache)))
    assert caught.value.reason == "InvalidDataset"


def test_a_slot_is_that_of_one_row() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    slots = [Slot(file="ab" * 32, place=1, start=7, length=7, shape=(4, 4), row_digest=bytes([n]) * 32) for n in (1, 2)]  # fmt: skip
    assert slots[0].digest(image) != slots[1].digest(image)


@pytest.mark.parametrize(
    "without",
    [
        test_a_local_file_that_changes_while_it_is_read_is_refused,
        test_a_cached_batch_that_changes_while_it_is_read_is_fetched_again,
        test_a_cached_batch_of_other_rows_is_fetched_again,
    ],
)
def test_a_feed_that_compares_no_row_would_be_noticed(
    without, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageLocation, "holds", lambda _self, _image: True)
    needed = {"folder": folder, "tmp_path": tmp_path}
    names = without.__code__.co_varnames[: without.__code__.co_argcount]
    with pytest.raises((AssertionError, UserError, pytest.fail.Exception)):
        without(**{name: needed[name] for name in names})
