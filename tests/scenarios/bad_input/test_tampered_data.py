"""A job pins its dataset, and somebody who may write to the dataset's store changes it and renews all hashes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios.bad_input.answers import refused, trained
from seedbed.storage import open_storage
from support.datasets.image_files import png
from support.datasets.tampering import CHANGES, load, on_index, set_row, version_of, without_row_digests
from support.runs.command_line import Scene, dataset, images
from support.runs.sweep_commands import Desk

AT_THE_FIRST_LOOK = ("labels, row digests renewed", "labels, all digests renewed", "the order of two shards")
AT_THE_ROW = ("labels of two rows", "an image")


def pinned(scene: Scene, **changes: object) -> tuple[Path, str]:
    """Write a job that pins a dataset of its own; return the dataset's folder and digest."""
    data = scene.copied()
    digest = load(data)["digest"]
    scene.job(dataset__uri=str(data), dataset__digest=digest, **changes)
    return data, digest


def weights_of(scene: Scene) -> str:
    answer = scene.run("-o", "json")
    assert answer.exit_code == 0, answer.stderr
    return str(answer.status["model"]["weightsDigest"])


@pytest.mark.parametrize("name", [*AT_THE_FIRST_LOOK, *AT_THE_ROW])
def test_neither_a_run_nor_a_verification_takes_a_changed_dataset(scene: Scene, name: str) -> None:
    data, _ = pinned(scene)
    trained(scene.run())
    run = scene.run_folder()
    change, says = CHANGES[name]
    change(data)
    answer = scene.type("verify", run)
    assert "reproduced" not in answer.stdout + answer.stderr
    refused(answer, "InvalidDataset", *says)
    pinned_again = json.loads(scene.manifest.read_text())
    pinned_again["spec"]["output"]["uri"] = str(scene.folder / "others")
    scene.manifest.write_text(json.dumps(pinned_again))
    refused(scene.run(), "InvalidDataset: spec.dataset.uri: ", *says)
    assert not list((scene.folder / "others").rglob("result.json"))


def test_keys_are_checked_before_a_subset_is_drawn_by_them(scene: Scene) -> None:
    data, _ = pinned(scene, dataset__subset={"fraction": "0.9"}, training__steps=1)
    on_index(set_row(1, key=b"k" * 32))(data)
    refused(scene.run(), "InvalidDataset: spec.dataset.uri: ", "row 1 of shard shards/train-", "row digest")
    assert not list(scene.folder.rglob("events.jsonl")), "it did not begin"


@pytest.mark.parametrize("name", ["labels, row digests renewed", "an image"])
def test_no_command_takes_a_changed_dataset(scene: Scene, name: str) -> None:
    data = scene.copied()
    change, says = CHANGES[name]
    change(data)
    source = images(scene.folder / "more")
    (source / "train" / "class0" / "new.png").write_bytes(png(1, height=12, width=12))
    for words in (
        ("dataset", "check", data),
        ("dataset", "export", data, scene.folder / "table", "--format", "parquet"),
        ("dataset", "export", data, scene.folder / "tar", "--format", "webdataset"),
    ):
        refused(scene.type(*words), "InvalidDataset", *says)
    if "row digests" in says:
        answer = scene.type("dataset", "build", source, data, "--append", "--parallelism", "1")
        refused(answer, "InvalidDataset", *says)


def test_a_sweep_takes_no_changed_dataset(desk: Desk, tmp_path: Path) -> None:
    data = dataset(tmp_path / "own")
    digest = load(data)["digest"]
    CHANGES["labels, all digests renewed"][0](data)
    manifest = desk.manifest(dataset={"uri": str(data), "digest": digest})
    refused(desk.type("run", "-f", manifest), "InvalidDataset", "states digest")


def test_a_dataset_of_before_trains_the_same_weights_and_is_renewed_by_one_command(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    data, digest = pinned(scene)
    weights = weights_of(scene)
    run = scene.run_folder()
    without_row_digests(data)
    answer = scene.type("verify", run)
    assert answer.stdout.splitlines()[-1].startswith("reproduced: "), answer.stderr
    assert ["seedbed dataset renew" in record.getMessage() for record in caplog.records] == [True]
    scene.job(dataset__uri=str(data), dataset__digest=digest, output__uri=str(scene.folder / "others"))
    assert weights_of(scene) == weights
    shown = scene.type("dataset", "show", data)
    assert digest in shown.stdout
    assert "seedbed dataset renew" in shown.stderr
    renewed = scene.type("dataset", "renew", data)
    assert renewed.exit_code == 0, renewed.stderr
    assert "renewed: " in renewed.stdout
    assert version_of(load(data)) in renewed.stdout
    assert scene.type("dataset", "show", data).stderr == ""
    assert "already current" in scene.type("dataset", "renew", data).stdout
    caplog.clear()
    assert scene.type("verify", run).exit_code == 0
    assert caplog.records == []
    assert open_storage(str(data)).list("versions") == [version_of(load(data))]
