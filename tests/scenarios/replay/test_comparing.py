from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seedbed.replay.run_comparison import RunComparison, compare_runs, lines
from seedbed.replay.run_record import open_run_record
from seedbed.runs import LedgerSegment
from seedbed_api.errors import UserError
from support.runs.small_run import a_dataset, a_manifest, rewrite, train_run


def comparison_of(a: Path, b: Path) -> RunComparison:
    return compare_runs(open_run_record(str(a)), open_run_record(str(b)))


def found(comparison: RunComparison) -> dict[str, tuple[int | None, str]]:
    return {
        category.category: (category.found[0].step, category.found[0].subject)
        for category in comparison.categories
        if category.found
    }


def test_equal_runs_in_two_stores_with_other_cadence_and_data_elsewhere(
    finished: Path, tmp_path: Path
) -> None:
    manifest = a_manifest(a_dataset(tmp_path / "copied"), tmp_path / "other")
    manifest["spec"]["checkpoint"] = {"everySteps": 2, "keep": 2}
    comparison = comparison_of(finished, train_run(manifest))
    assert comparison.equal
    (line,) = lines(comparison)
    assert line.startswith("equal: recipe (all fields); dataset (digest); environment (class); ")
    assert (
        "rows, pixels, tensors, loss, steps (8 steps); checkpoints (steps 6, 8); evaluations (3 records)"
        in line
    )


def test_another_seed_is_told_from_recipe_to_weights(finished: Path, data: Path, tmp_path: Path) -> None:
    other = train_run(a_manifest(data, tmp_path, seed=6))
    comparison = comparison_of(finished, other)
    assert found(comparison)["recipe"] == (None, "training.seed")
    assert found(comparison)["rows"] == (1, "leaf 0")
    assert found(comparison)["tensors"] == (1, "conv1.weight")
    assert found(comparison)["loss"] == (1, "loss")
    assert found(comparison)["checkpoints"][0] == 3
    assert found(comparison)["evaluations"][0] == 4
    assert "weights" in found(comparison)
    assert not {"dataset", "environment", "pixels", "steps"} & found(comparison).keys()


def test_another_augmentation_parts_in_pixels_not_in_rows(finished: Path, data: Path, tmp_path: Path) -> None:
    other = train_run(a_manifest(data, tmp_path, augmentation=[{"type": "Resize", "resize": {"size": 16}}]))
    parted = found(comparison_of(finished, other))
    assert parted["pixels"] == (1, "leaf 0")
    assert "rows" not in parted


def test_a_shorter_run_of_constant_rate_is_a_prefix(finished: Path, data: Path, tmp_path: Path) -> None:
    other = train_run(a_manifest(data, tmp_path, steps=6))
    parted = found(comparison_of(finished, other))
    assert parted.keys() == {"recipe", "steps", "weights"}


def test_another_dataset_is_told(finished: Path, tmp_path: Path) -> None:
    from seedbed.storage import open_storage
    from support.datasets.small_datasets import write_dataset

    write_dataset(open_storage(str(tmp_path / "d")), rows={"train": 40, "validation": 9, "test": 7})
    parted = found(comparison_of(finished, train_run(a_manifest(tmp_path / "d", tmp_path))))
    assert "dataset" in parted
    assert "recipe" not in parted


@pytest.mark.parametrize("step", [0, 7])
@pytest.mark.parametrize(
    ("part", "category", "subject"),
    [("rows", "rows", "leaf 1"), ("digests", "pixels", "leaf 1"), ("witness", "tensors", "norm1.weight"), ("loss", "loss", "loss")],
)  # fmt: skip
def test_one_change_is_named_with_its_step(
    finished: Path, run: Path, step: int, part: str, category: str, subject: str
) -> None:
    def changed(segment: LedgerSegment, offset: int) -> LedgerSegment:
        array = getattr(segment, part).copy()
        place = (offset, 1, 0)[: array.ndim]
        array[place] = np.nextafter(array[place], 9.0) if part == "loss" else array[place] ^ 1
        return replace(segment, **{part: array})

    rewrite(run, step, changed)
    assert found(comparison_of(finished, run)) == {category: (step + 1, subject)}


def test_receipts_alone_are_compared(finished: Path, data: Path, tmp_path: Path) -> None:
    other = train_run(a_manifest(data, tmp_path / "out", seed=6))
    for name, run in (("a.json", finished), ("b.json", other)):
        shutil.copy(run / "receipt.json", tmp_path / name)
    assert comparison_of(finished, tmp_path / "a.json").equal
    parted = found(comparison_of(tmp_path / "a.json", tmp_path / "b.json"))
    assert parted.keys() == {"recipe", "ledger", "checkpoints", "weights"}
    assert parted["checkpoints"] == (4, "weights")


def test_a_run_that_has_not_ended_is_compared_as_far_as_it_is(finished: Path, run: Path) -> None:
    for path in (
        "receipt.json",
        "result.json",
        "outcome.json",
        "checkpoints/8.json",
        *_names(run, "ledger/6-*"),
    ):
        (run / path).unlink()
    comparison = comparison_of(finished, run)
    assert found(comparison) == {"steps": (None, "steps")}
    assert "not compared: weights: no final weights in both" in list(lines(comparison))


def _names(run: Path, pattern: str) -> list[str]:
    return [str(path.relative_to(run)) for path in run.glob(pattern)]


@pytest.mark.parametrize("path", ["receipt.json", "recipe.json", "ledger/3-6-*", "checkpoints/6.json", "evaluations/validation-4.json"])  # fmt: skip
def test_damage_is_one_line(finished: Path, run: Path, path: str) -> None:
    (name,) = _names(run, path)
    (run / name).write_bytes((run / name).read_bytes()[:-7])
    with pytest.raises(UserError) as caught:
        comparison_of(finished, run)
    assert ("receipt" if path == "receipt.json" else name) in caught.value.message


def test_neither_receipt_nor_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is neither receipt nor run"):
        open_run_record(str(tmp_path))
