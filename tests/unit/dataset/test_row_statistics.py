"""Statistics equal those that numpy computes of the decoded images, and leakage that of the planted copies."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedbed.dataset.row_statistics import measure_dataset
from seedbed.dataset.statistics_report import statistics_document
from seedbed.images.image_decoder import decode
from seedbed_api.errors import UserError
from support.datasets.image_files import build, encoded, opened, png, two_classes, write_files
from support.datasets.small_datasets import photo


def stats(folder: Path, **options: object) -> dict:
    options = {"distance": 3, "threads": 2} | options
    return statistics_document(measure_dataset(opened(folder), **options), listed=20)


def test_mean_and_deviation_are_those_of_numpy(tmp_path: Path) -> None:
    source = two_classes(tmp_path / "source")
    write_files(source, {"cat/gray.png": png(77, channels=1), "dog/photo.jpg": photo(3)})
    build(source, tmp_path / "data")
    dataset, document = opened(tmp_path / "data"), stats(tmp_path / "data")
    for split in ("train", "validation", "test"):
        numbers = [n for n, shard in enumerate(dataset.manifest.shards) if shard.split == split]
        images = [decode(image) for number in numbers for _, image in dataset.images(number)]
        pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64) / 255
        found = document["splits"][split]
        assert found["rows"] == len(images)
        assert found["width"]["most"] == max(image.shape[1] for image in images)
        assert [float(c["mean"]) for c in found["channels"]] == pytest.approx(pixels.mean(0), abs=6e-7)
        assert [float(c["deviation"]) for c in found["channels"]] == pytest.approx(pixels.std(0), abs=6e-7)
    counts = {row["name"]: row["train"] + row["validation"] + row["test"] for row in document["classes"]}
    assert counts == {"cat": 21, "dog": 21}
    assert sum(found["formats"].get("JPEG", 0) for found in document["splits"].values()) == 1


def test_copies_by_bytes_and_near_copies_are_leakage_between_splits(tmp_path: Path) -> None:
    def recompressed(seed: int) -> bytes:
        sink = io.BytesIO()
        Image.fromarray(decode(photo(seed, width=200, height=160))).resize((160, 128)).save(sink, "JPEG")
        return sink.getvalue()

    files = {f"train/{'cat' if n % 2 else 'dog'}/{n}.jpg": photo(n, width=200, height=160) for n in range(12)}
    files |= {
        "test/cat/a.jpg": recompressed(1),
        "test/dog/b.jpg": recompressed(2),
        "test/dog/c.jpg": photo(90),
    }
    files |= {"validation/cat/d.jpg": recompressed(4)}
    picture = Image.fromarray(decode(photo(95)))
    files |= {"train/cat/x.bmp": encoded(picture, "BMP"), "test/cat/x.tif": encoded(picture, "TIFF")}
    build(write_files(tmp_path / "source", files), tmp_path / "data")
    document = stats(tmp_path / "data")
    near = document["nearDuplicates"]
    assert (document["sameBytes"]["groups"], document["sameBytes"]["acrossSplits"]) == (1, 1)
    assert (near["groups"], near["acrossSplits"], near["rows"], near["acrossClasses"]) == (4, 4, 8, 1)
    leaked = {(pair["of"], pair["in"]): pair["rows"] for pair in document["leakage"]}
    assert leaked == {("validation", "train"): 1, ("test", "train"): 3, ("test", "validation"): 0}
    assert {row["split"] for row in near["listed"][0]["listed"]} >= {"train"}


def test_threads_and_shards_change_no_number(tmp_path: Path) -> None:
    source = two_classes(tmp_path / "source")
    build(source, tmp_path / "a")
    build(source, tmp_path / "b", shard_bytes=10**6)
    one, other = stats(tmp_path / "a", threads=1), stats(tmp_path / "b", threads=5)
    assert one["splits"] == other["splits"]


def test_a_tampered_shard_is_refused_by_name(tmp_path: Path) -> None:
    build(two_classes(tmp_path / "source"), tmp_path / "data")
    file = next((tmp_path / "data/shards").glob("train-*.arrow"))
    file = file.with_name(
        file.name.split("-")[0] + "-" + "-".join(file.name.split("-")[1:3]).split(".")[0] + ".arrow"
    )
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=file.name):
        stats(tmp_path / "data")
