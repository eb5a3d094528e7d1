"""Folds, subsets and splits that leave a class without training rows: refused, or the failure of one trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seedbed.dataset.builder import BuildOptions, build_dataset
from seedbed.storage import open_storage
from support.runs.command_line import images
from support.runs.sweep_commands import Desk


def with_a_rare_class(folder: Path, *, split: str) -> Path:
    """Build a dataset whose class2 has one image, in this split."""
    source = images(folder / "images", train=12, validation=6, test=6)
    for top in ("train", "validation", "test"):
        for file in sorted((source / top / "class2").iterdir())[1 if top == split else 0 :]:
            file.unlink()
        if top != split:
            (source / top / "class2").rmdir()
    options = BuildOptions(parallelism=1, engine="local")
    build_dataset(open_storage(str(source)), open_storage(str(folder / "rare")), options=options)
    return folder / "rare"


CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "the fold that holds its one row": ("train", {"crossValidation": {"folds": 3}}, "spec.crossValidation.folds: class 'class2'"),
    "the same, in validation": ("validation", {"crossValidation": {"folds": 2}}, "spec.crossValidation.folds: class 'class2'"),
    "it is in test alone": ("test", {"crossValidation": {"folds": 2}}, "spec.trialTemplate.spec.dataset.uri: class 'class2'"),
    "without folds it is in validation alone": ("validation", {}, "spec.trialTemplate.spec.dataset.uri: class 'class2'"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_sweep_names_the_class_before_anything_is_written(case: str, desk: Desk) -> None:
    split, changes, line = CASES[case]
    data = with_a_rare_class(desk.folder, split=split)
    refused = desk.sweep(dataset={"uri": str(data)}, **changes)
    assert refused.exit_code == 2
    assert [f"EmptyClass: {line}" in error for error in refused.errors] == [True], refused.stderr
    assert not (desk.folder / "runs").exists()


@pytest.mark.parametrize("fraction", ["0.06", "0.0001"], ids=["some classes", "all rows"])
def test_a_trial_whose_subset_lacks_a_class_fails_by_its_values(fraction: str, desk: Desk) -> None:
    values = {"categorical": {"values": ["1", fraction]}}
    subset = {"name": "subset", "fieldPath": "spec.dataset.subset.fraction", "searchSpace": values}
    done = desk.sweep(
        dataset={"subset": {"fraction": "1"}},
        training={"batch": {"globalSize": 2, "microSize": 1}},
        parameters=[subset],
        maxTrialCount=4,
    )
    assert done.exit_code == 0, done.stderr
    reasons = [trial.get("reason") for trial in desk.sweep_record()["trials"] if trial["state"] == "Failed"]
    assert reasons
    assert set(reasons) == {"EmptyClass"}
    assert done.status["bestTrial"]["parameters"] == [{"name": "subset", "value": "1"}]
