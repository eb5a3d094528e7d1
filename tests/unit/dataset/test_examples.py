"""The examples draw the same pictures every time, with the counts and sizes that they promise."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from support.datasets.image_files import build

EXAMPLES = Path(__file__).parents[3] / "examples"


def example(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_seedlings_have_the_counts_and_sizes_of_the_real_set() -> None:
    seedlings = example("seedlings/generate_seedlings.py")
    counts = [species.count for species in seedlings.SPECIES.values()]
    assert (len(counts), sum(counts), min(counts), max(counts)) == (12, 5539, 253, 762)
    rng = np.random.default_rng(0)
    sides = [seedlings.side_length(rng, Fraction(1)) for _ in range(5539)]
    assert min(sides) == seedlings.SMALLEST
    assert 2_000 < max(sides) <= seedlings.LARGEST
    assert 200 < np.median(sides) < 350


def test_the_seedlings_are_the_same_pictures_each_time_and_build(tmp_path) -> None:
    seedlings = example("seedlings/generate_seedlings.py")
    for folder in ("one", "two"):
        done = CliRunner().invoke(seedlings.main, [str(tmp_path / folder), "--scale", "0.01"])
        assert done.exit_code == 0, done.output
    one, two = (
        {p.relative_to(tmp_path / f): p.read_bytes() for p in (tmp_path / f).rglob("*.png")}
        for f in ("one", "two")
    )
    assert one == two
    assert len(set(one.values())) == len(one)
    assert len(build(tmp_path / "one", tmp_path / "ds", split="train=1").manifest.classes) == 12


@pytest.mark.slow
def test_the_digits_are_written_as_images(tmp_path) -> None:
    digits = example("digits/write_digits.py")
    done = CliRunner().invoke(digits.main, [str(tmp_path / "digits"), "--size", "16"])
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "digits").glob("[0-9]/*.png"))) == 1797
