"""A dataset grows, is tagged, compared and looked at by the commands that a user types."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from support.datasets.image_files import png, two_classes, write_files
from support.runs.command_line import Scene, Typed, typed


class Desk:
    """A folder with a dataset, and the command line."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture
        self.source = two_classes(folder / "source")
        assert self.type("build", self.source, self.data, "--parallelism", 1).exit_code == 0

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def type(self, *words: object) -> Typed:
        """Type `seedbed dataset …`."""
        return typed(self._capture, "dataset", *words)

    def json(self, *words: object) -> dict:
        return json.loads(self.type(*words, "-o", "json").stdout)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_a_dataset_grows_and_its_versions_are_named_and_compared(desk: Desk) -> None:
    assert desk.type("tag", desk.data, "v1").stdout.startswith("set: v1: sha256:")
    more = two_classes(desk.folder / "more", per_class=4, first_seed=500)
    added = desk.json("add", more, desk.data)
    assert (added["outcome"], sum(added["addition"]["added"].values())) == ("extended", 8)
    assert added["addition"]["source"] == more.as_uri()

    again = desk.json("add", more, desk.data)
    assert (again["outcome"], again["digest"], again["addition"]) == ("already there", added["digest"], None)
    newest, first = desk.json("versions", desk.data)
    assert (newest["parent"], first["tags"]) == (first["digest"], ["v1"])

    compared = desk.type("diff", f"{desk.data}@v1", desk.data)
    assert (compared.exit_code, "added: 8 (in B alone)" in compared.stdout) == (2, True)
    document = desk.json("diff", desk.data, first["digest"][:20])
    assert (document["rows"]["removed"], document["rows"]["same"]) == (8, 40)
    assert desk.type("diff", desk.data, desk.data).exit_code == 0
    assert desk.json("show", f"{desk.data}@v1")["digest"] == first["digest"]
    assert desk.type("check", f"{desk.data}@v1").exit_code == 0


REFUSED = {
    "diff {data} {data}@v9": "InvalidDataset",
    "diff {data} {data}@sha256:12": "InvalidOption",
    "diff {data} sha256:000000": "DatasetChanged",
    "diff {data} {folder}/nothing": "InvalidDataset",
    "add {folder}/source {folder}/nothing": "InvalidDataset",
    "add {folder}/nothing {data}": "NoImages",
    "tag {data} a/b": "InvalidOption",
    "tag {folder}/nothing v1": "InvalidDataset",
    "tag {folder}/nothing": "InvalidDataset",
    "tag {data} --move": "InvalidOption",
    "tag {data} v9 --delete": "InvalidDataset",
    "versions {folder}/nothing": "InvalidDataset",
    "stats {folder}/nothing": "InvalidDataset",
    "stats {data}@v9": "InvalidDataset",
    "stats {data} --distance 8": "InvalidUsage",
    "sample {data} {folder}/source": "OutputExists",
    "sample {data} {folder}/out --class bird": "UnknownClass",
    "sample {data} {folder}/out --split dev": "InvalidUsage",
    "sample {data} {folder}/out -n 0": "InvalidUsage",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_mistake_is_one_line(desk: Desk, line: str) -> None:
    done = desk.type(*(word.format(data=desk.data, folder=desk.folder) for word in line.split()))
    assert done.exit_code == 2, done
    (error,) = done.stderr.splitlines()
    assert error.startswith(f"error: {REFUSED[line]}: "), error
    assert "; " in error, "it has a fix"


def test_an_older_version_of_the_schema_is_refused(desk: Desk) -> None:
    copy = Path(shutil.copytree(desk.data, desk.folder / "copy"))
    document = json.loads((copy / "manifest.json").read_bytes()) | {"schema_version": 7}
    (copy / "manifest.json").write_text(json.dumps(document))
    done = desk.type("diff", desk.data, copy)
    assert (done.exit_code, "schema_version" in done.stderr) == (2, True)


def test_a_terminal_is_not_controlled_by_names(desk: Desk) -> None:
    evil = write_files(desk.folder / "evil", {"x\x1b[31m\x07y/1.png": png(1), "x\x1b[31m\x07y/2.png": png(2)})
    for words in (
        ("add", evil, desk.data),
        ("versions", desk.data),
        ("diff", f"{desk.data}@v1", desk.data),
        ("stats", desk.data),
        ("sample", desk.data, desk.folder / "out", "--class", "x\x1b[31m\x07y"),
        ("sample", desk.data, desk.folder / "out2", "--class", "z\x1b[31m\x07y"),
    ):
        if words[0] == "add":
            desk.type("tag", desk.data, "v1")
        done = desk.type(*words)
        assert not {"\x1b", "\x07"} & {*done.stdout, *done.stderr}, words


def test_statistics_name_leakage_and_can_fail_by_it(desk: Desk) -> None:
    assert desk.type("stats", desk.data, "--fail-on-leakage").exit_code == 0
    picture = Image.open(desk.source / "cat/0.png")
    copies = desk.folder / "copies"
    for split, kind in (("train", "bmp"), ("test", "tiff")):
        for name in ("cat", "dog"):
            (copies / split / name).mkdir(parents=True, exist_ok=True)
            picture.rotate(90 if name == "dog" else 0).save(copies / split / name / f"copy.{kind}")
    assert desk.type("add", copies, desk.data).exit_code == 0
    done = desk.type("stats", desk.data, "--fail-on-leakage")
    assert (done.exit_code, done.stderr.split(": ")[1]) == (2, "Leakage")
    assert "leakage: " in done.stdout
    document = desk.json("stats", desk.data, "--limit", 1)
    assert document["sameBytes"]["groups"] >= 1
    assert len(document["sameBytes"]["listed"]) == 1
    assert document["digest"] == desk.json("show", desk.data)["digest"]


def test_a_sample_is_a_folder_or_a_sheet_and_equal_for_equal_seeds(desk: Desk) -> None:
    for name in ("one", "two"):
        done = desk.type("sample", desk.data, desk.folder / name, "--seed", 7, "-n", 5, "--split", "train")
        assert "sampled 5 of 40 rows" in done.stdout
    files = [
        sorted(p.relative_to(desk.folder / n) for p in (desk.folder / n).rglob("*")) for n in ("one", "two")
    ]
    assert files[0] == files[1]
    for sheet, start in (("a.html", b"<!doctype html>"), ("a.png", b"\x89PNG")):
        assert desk.type("sample", desk.data, desk.folder / sheet).exit_code == 0
        assert (desk.folder / sheet).read_bytes().startswith(start)
        assert desk.type("sample", desk.data, desk.folder / sheet).exit_code == 2


def test_a_manifest_names_a_tag_and_the_run_is_that_of_its_digest(scene: Scene) -> None:
    data = scene.copied()
    scene.type("dataset", "tag", data, "v1")
    scene.job(dataset__uri=str(data))
    newest = scene.run("-o", "json").status
    more = two_classes(scene.folder / "more", per_class=4, first_seed=700)
    for name in ("cat", "dog"):
        (more / name).rename(more / f"class{('cat', 'dog').index(name)}")
    assert scene.type("dataset", "add", more, data).exit_code == 0

    scene.job(dataset__uri=str(data), dataset__tag="v1")
    tagged = scene.run("-o", "json")
    assert tagged.exit_code == 0, tagged
    assert (tagged.status["runID"], tagged.status["dataset"]) == (newest["runID"], newest["dataset"])
    scene.type("dataset", "tag", data, "v1", "--move")
    moved = scene.run("-o", "json").status
    assert moved["dataset"]["digest"] != newest["dataset"]["digest"]
    assert moved["runID"] != newest["runID"]

    scene.job(dataset__uri=str(data), dataset__tag="v2")
    refused = scene.run()
    assert refused.exit_code == 2
    assert refused.errors[-1].startswith("error: InvalidDataset: spec.dataset.tag: "), refused.errors
    scene.job(dataset__uri=str(data), dataset__tag="v1", dataset__digest=moved["dataset"]["digest"])
    assert "spec.dataset.tag" in scene.run().errors[-1]
