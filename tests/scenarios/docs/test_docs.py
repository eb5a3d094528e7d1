"""What the docs tell to type is typed, in their order, and does what they say; each fragment of a manifest trains."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from seedbed.dataset.reader import open_dataset
from seedbed.storage import open_storage
from seedbed_api.manifest_loader import training_job
from support.datasets.image_files import two_classes
from support.docs.pages import commands, fences
from support.docs.terminal import Terminal, a_clone
from support.runs.command_line import Typed, typed

STORY = ("docs/guide.md", "docs/reproducibility.md")


@dataclass(kw_only=True)
class Reader:
    """Somebody who types what the docs say, in a clone."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    def does(self, line: str) -> Typed:
        """Type one command that succeeds: one of ours in this process, another into a shell."""
        program, *words = shlex.split(line)
        if program.removeprefix(".venv/bin/") != "seedbed":
            shell = Terminal(folder=self.folder, programs=self.folder / ".venv/bin").types(line)
            return Typed(exit_code=0, stdout=shell.stdout, stderr=shell.stderr)
        done = typed(self.capture, *(found for word in words for found in self._globbed(word)))
        assert done.exit_code == 0, (line, done)
        return done

    def _globbed(self, word: str) -> list[str]:
        found = (
            sorted(str(path.relative_to(self.folder)) for path in self.folder.glob(word))
            if "*" in word
            else []
        )
        return found or [word]


def a_reader(folder: Path, capture: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Return a reader in a clone, which is where this process is too."""
    clone = a_clone(folder / "clone")
    monkeypatch.chdir(clone)
    return Reader(folder=clone, capture=capture)


def test_the_guide_does_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first command to the last, and the page after it."""
    reader = a_reader(tmp_path, capsys, monkeypatch)
    said: list[tuple[str, Typed]] = []
    for page in STORY:
        for fence in fences(page):
            if fence.kind == "yaml":
                name = fence.text.splitlines()[0].removeprefix("# ")
                (reader.folder / name).write_text(fence.text, encoding="utf-8")
        said += [(line, reader.does(line)) for line in commands(page, "bash")]
    check_story(said)


def check_story(said: list[tuple[str, Typed]]) -> None:
    """Check that the commands did what the pages say of them."""
    everything = "\n".join(told.stdout + told.stderr for _, told in said)
    digests = re.findall(r"weights digest +(sha256:[0-9a-f]{64})", everything)
    assert len(digests) >= 4
    assert len(set(digests)) == 1, "one recipe, one model"
    assert everything.count("this run was complete already; nothing was trained") == 1
    last = dict(said)
    sweep = last["seedbed run -f sweep.yaml -o json"].status
    assert (sweep["trials"]["succeeded"], sweep["trials"]["reused"]) == (2, 1), "one trial was trained before"
    assert last["seedbed runs prune runs"].stdout == "", "the sweep needs both runs"
    assert last["seedbed verify elsewhere/runs/* --workers 2 -o json"].status["result"] == "reproduced"


def test_the_page_about_datasets_does_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = a_reader(tmp_path, capsys, monkeypatch)
    two_classes(reader.folder / "photos")
    said = {line: reader.does(line) for line in commands("docs/datasets.md", "bash")}
    assert "damage" not in said["seedbed dataset check data"].stdout
    assert list((reader.folder / "table").glob("**/*.parquet"))
    assert list((reader.folder / "tar").glob("**/*.tar"))


def test_the_seedlings_are_built_as_their_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = a_reader(tmp_path, capsys, monkeypatch)
    two_classes(reader.folder / "nonsegmentedv2")
    for line in commands("examples/seedlings/README.md", "bash"):
        reader.does(line)
    built = [open_dataset(open_storage(str(reader.folder / name))) for name in SEEDLINGS]
    assert [len(dataset.manifest.classes) for dataset in built] == [2, 12]


SEEDLINGS = ("seedlings", "build/seedlings")


def test_the_manifest_of_the_readme_is_valid() -> None:
    (fragment,) = (fence.text for fence in fences("README.md") if fence.kind == "yaml")
    about = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "readme"}}
    assert training_job({**about, **yaml.safe_load(fragment)}).spec.model.name == "resnet18"
