"""What the docs tell to type is typed, in their order, and does what they say; each fragment of a manifest trains."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from scenarios.bad_input.scene import Typed, dataset, spec, typed
from seedbed_api.manifests import training_job

REPOSITORY = Path(__file__).parents[3]
DOCS = REPOSITORY / "docs"
BLOCK = re.compile(r"```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)
STORY = ("guide.md", "reproducibility.md")


def blocks(page: str) -> Iterator[tuple[str, str]]:
    for match in BLOCK.finditer((DOCS / page).read_text(encoding="utf-8")):
        yield match["kind"], match["text"]


@dataclass(kw_only=True)
class Reader:
    """Somebody who types what the docs say, in a clone."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    def types(self, line: str) -> Typed:
        """Type one command: those of ours in this process, others into a shell."""
        if line.startswith("seedbed "):
            words = [found for word in shlex.split(line)[1:] for found in self._globbed(word)]
            return typed(self.capture, *words)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        shell = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            check=False,
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        return Typed(exit_code=shell.returncode, stdout=shell.stdout, stderr=shell.stderr)

    def _globbed(self, word: str) -> list[str]:
        found = (
            sorted(str(path.relative_to(self.folder)) for path in self.folder.glob(word))
            if "*" in word
            else []
        )
        return found or [word]


def test_the_guide_does_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first command to the last, and the page after it."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    reader = Reader(folder=tmp_path, capture=capsys)
    said: list[tuple[str, Typed]] = []
    for page in STORY:
        for kind, text in blocks(page):
            if kind == "yaml":
                (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
            elif kind == "bash":
                for line in text.splitlines():
                    said.append((line, reader.types(line)))
                    assert said[-1][1].exit_code == 0, said[-1]
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


def test_every_local_link_of_the_docs_leads_somewhere() -> None:
    for page in [*DOCS.glob("*.md"), REPOSITORY / "README.md", REPOSITORY / "charts/seedbed/README.md"]:
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


FRAGMENTS = [text for kind, text in blocks("methods.md") if kind == "yaml"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("methods") / "data", train=16, validation=4)


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda text: text.splitlines()[0].strip("# ")[:40])
def test_every_method_of_the_list_trains(
    fragment: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = laid_over(spec(data, tmp_path / "runs"), yaml.safe_load(fragment))
    manifest = {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "method"},
        "spec": changed,
    }
    job = training_job(manifest)
    assert (
        job.spec != training_job({**manifest, "spec": spec(data, tmp_path / "runs")}).spec
        or "feed" in fragment
    )
    path = tmp_path / "job.json"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    status = typed(capsys, "run", "-f", path, "-o", "json").status
    assert status["model"]["weightsDigest"].startswith("sha256:")
    assert status["progress"]["step"] > 0


def laid_over(base: dict[str, Any], fragment: dict[str, Any]) -> dict[str, Any]:
    """Return a spec with the fields of a fragment, blocks merged, lists replaced."""
    merged = deepcopy(base)
    for name, value in fragment.items():
        inner = merged.get(name)
        both = isinstance(inner, dict) and isinstance(value, dict) and "type" not in value
        merged[name] = laid_over(inner, value) if both else value
    return merged
