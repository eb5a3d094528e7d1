"""Datasets from objects of Python: the digest of the same images in folders, or one line of refusal."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from seedbed.dataset.builder import BuildOptions
from seedbed.dataset.python_rows import build_from_rows
from seedbed.dataset.sources.pixel_arrays import png_of
from seedbed_api.errors import UserError
from support.datasets.image_files import build, pixels, write_files

NAMES = ["cat", "dog"]
OPTIONS = BuildOptions(parallelism=1, shard_bytes=2_000, batch_bytes=500)


class Pictures(Dataset[tuple[Any, int]]):
    """A Dataset as torchvision has them: indexed, with the names of its classes."""

    classes = NAMES

    def __init__(self, form: Callable[[np.ndarray], Any] = lambda array: array) -> None:
        self.form = form

    def __len__(self) -> int:
        return 24

    def __getitem__(self, number: int) -> tuple[Any, int]:
        return self.form(pixels(number)), number % 2


class Named(list):  # type: ignore[type-arg]
    """Rows whose classes have several names each."""

    classes = (("cat", "kitten"), ("dog", "puppy"))


class RowsOfRay:
    """What this reads of a Ray Dataset."""

    def iter_rows(self) -> Any:
        return ({"image": pixels(n), "label": NAMES[n % 2], "other": n} for n in range(24))


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("images")
    write_files(folder / "source", {f"{NAMES[n % 2]}/{n}.png": png_of(pixels(n)) for n in range(24)})
    return build(folder / "source", folder / "ds").manifest.digest


SAME: dict[str, Any] = {
    "pixels": Pictures(),
    "Pillow images": Pictures(Image.fromarray),
    "bytes": Pictures(png_of),
    "tensors": Pictures(lambda array: torch.from_numpy(array).permute(2, 0, 1)),
    "labels as tensors": [(pixels(n), torch.tensor(n % 2)) for n in range(24)],
    "a Ray Dataset": RowsOfRay(),
    "a generator of names": lambda: ((pixels(n), NAMES[n % 2]) for n in range(24)),
}


@pytest.mark.parametrize("name", SAME)
def test_rows_give_the_digest_of_their_images(name: str, digest: str, tmp_path: Path) -> None:
    rows = SAME[name]() if name.startswith("a generator") else SAME[name]
    classes = ("cat", "dog") if name == "labels as tensors" else None
    assert (
        build_from_rows(rows, str(tmp_path / "ds"), options=OPTIONS, classes=classes).manifest.digest
        == digest
    )


def test_splits_by_name(tmp_path: Path) -> None:
    rows = {"train": Pictures(), "test": [(io.BytesIO(png_of(pixels(99))).getvalue(), 1)]}
    manifest = build_from_rows(rows, str(tmp_path / "ds"), options=OPTIONS).manifest
    assert (manifest.rows("train"), manifest.rows("test"), manifest.classes) == (24, 1, ("cat", "dog"))


BAD: dict[str, tuple[Any, str]] = {
    "floats": (Pictures(lambda array: torch.from_numpy(array / 255).permute(2, 0, 1)), r"rows: its image has values of type float64.*\(got 'row 0'\); pass the image before"),
    "no label": ([{"image": b"", "class": 1}], r"rows: has no 'label'; there are \['class', 'image'\] \(got 'row 0'\)"),
    "one value": ([b"x"], r"rows: is a bytes \(got 'row 0'\); pass \(image, label\)"),
    "several labels": ([(pixels(1), [1, 0])], r"rows: its label is a list; a label is a number or text"),
    "a number as split": ([{"image": png_of(pixels(n)), "label": n % 2, "split": 1} for n in range(4)], r"4 of its files are refused: row 0 \(unknown-split\)"),
    "labels that are no text": ([(png_of(pixels(n)), "ab\ud800"[n % 3]) for n in range(6)], r"2 of its files are refused: row 2 \(bad-label\)"),
    "classes that are no text": (Named([(pixels(0), 0), (pixels(1), 1)]), r"classes: of the rows holds a tuple"),
    "a split that is none": ({"dev-set": Pictures()}, r"rows: is no split \(got 'dev-set'\)"),
    "no rows": (3, r"rows: is a int"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_rows_that_do_not_fit(name: str, tmp_path: Path) -> None:
    rows, line = BAD[name]
    with pytest.raises(UserError, match=line):
        build_from_rows(rows, str(tmp_path / "ds"), options=OPTIONS)


def test_rows_have_one_class_each(tmp_path: Path) -> None:
    options = replace(OPTIONS, task="regression", target=())
    with pytest.raises(UserError, match=r"task: does not go with rows of Python \(got 'regression'\)"):
        build_from_rows(Pictures(), str(tmp_path / "ds"), options=options)
    assert not (tmp_path / "ds").exists()


@pytest.mark.parametrize(
    "asked", [{"csv": "t.csv"}, {"source_format": "parquet"}, {"label_column": "kind"}, {"key_column": "id"}]
)
def test_options_of_a_source_are_refused_for_rows(asked: dict[str, Any], tmp_path: Path) -> None:
    (name,) = asked
    with pytest.raises(UserError, match=rf"{name}: does not go with rows of Python .*; leave it away"):
        build_from_rows(Pictures(), str(tmp_path / "ds"), options=replace(OPTIONS, **asked))
    assert not (tmp_path / "ds").exists()
