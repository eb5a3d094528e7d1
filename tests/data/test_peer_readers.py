"""Datasets built from files that other libraries wrote hold the labels and pixels that those libraries read."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedbed.images.image_decoder import decode
from support.datasets.image_files import build, jpeg, opened, png, write_files

datasets = pytest.importorskip("datasets", reason="the extra dev is not installed")
NAMES = ("dog", "cat", "ant")
"""In another order than that of the alphabet."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write train and test as folders of classes, with photos and drawings."""
    files = {
        f"{split}/{name}/{number}.{kind}": (jpeg if kind == "jpg" else png)(
            1000 * at + 100 * len(split) + number
        )
        for split in ("train", "test")
        for at, name in enumerate(NAMES)
        for number, kind in enumerate(("jpg", "png") * 4)
    }
    return write_files(tmp_path_factory.mktemp("images"), files)


@pytest.fixture(scope="module")
def peer(images: Path) -> datasets.DatasetDict:
    """Return the images as `datasets` has them, with their bytes in its own files."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})

    def rows(split: str) -> Iterable[dict[str, object]]:
        for path in sorted((images / split).rglob("*.*")):
            yield {"image": {"bytes": path.read_bytes(), "path": path.name}, "label": path.parent.name}

    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_list(list(rows(split)), features=features)
            for split in ("train", "test")
        }
    )


def seen(rows: Iterable[tuple[np.ndarray, int]]) -> list[tuple[bytes, int]]:
    """Return pixels and labels in an order that does not depend on who reads."""
    return sorted((np.ascontiguousarray(pixels).tobytes(), label) for pixels, label in rows)


def of_seedbed(folder: Path, split: str) -> list[tuple[bytes, int]]:
    dataset = opened(folder)
    rows = []
    for number, shard in enumerate(dataset.manifest.shards):
        labels = dataset.index(number).label
        if shard.split == split:
            rows += [
                (np.asarray(Image.open(io.BytesIO(image)).convert("RGB")), int(labels[at]))
                for at, image in dataset.images(number)
            ]
    return seen(rows)


def of_datasets(split: datasets.Dataset) -> list[tuple[bytes, int]]:
    return seen((np.asarray(row["image"].convert("RGB")), row["label"]) for row in split)


@pytest.mark.parametrize("layout", ["hub", "saved", "one file"])
def test_labels_and_pixels_are_those_of_datasets(
    layout: str, images: Path, peer: datasets.DatasetDict, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    if layout == "saved":
        peer.save_to_disk(source, num_shards={"train": 2, "test": 1})
        read = datasets.load_from_disk(source)
    else:
        (source / "data").mkdir(parents=True)
        for split, rows in peer.items():
            for number in range(2):
                rows.shard(2, number).to_parquet(source / f"data/{split}-{number:05d}-of-00002.parquet")
        read = datasets.load_dataset(
            "parquet", data_dir=str(source / "data"), cache_dir=str(tmp_path / "cache")
        )
    built = build(source, tmp_path / "ds").manifest
    assert built.classes == NAMES
    for split in ("train", "test"):
        assert of_seedbed(tmp_path / "ds", split) == of_datasets(read[split])
    assert built.digest == build(images, tmp_path / "folders", classes=NAMES).manifest.digest


def test_labels_and_pixels_are_those_of_webdataset(images: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="the extra dev is not installed")
    paths = sorted((images / "train").rglob("*.*"))
    (tmp_path / "source").mkdir()
    with webdataset.ShardWriter(f"{tmp_path}/source/train-%06d.tar", maxcount=7, verbose=0) as writer:
        for number, path in enumerate(paths):
            kind, label = path.suffix[1:], NAMES.index(path.parent.name)
            writer.write({"__key__": f"deep/{number:05d}", kind: path.read_bytes(), "cls": label})
    shards = f"{tmp_path}/source/train-{{000000..000003}}.tar"
    read = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8").to_tuple("jpg;png", "cls")
    build(tmp_path / "source", tmp_path / "ds", classes=NAMES)
    assert of_seedbed(tmp_path / "ds", "train") == seen((pixels, label) for pixels, label in read)


def test_photos_decode_for_training_as_they_do_for_the_check() -> None:
    data = jpeg(3)
    assert np.abs(decode(data).astype(int) - np.asarray(Image.open(io.BytesIO(data)))).max() <= 2
