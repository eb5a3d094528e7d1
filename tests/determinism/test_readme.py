"""What the README says of a run and of a sweep, typed and tried."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.datasets.image_files import two_classes
from support.docs.pages import commands, fences, text_of
from support.docs.terminal import A_JOB, Terminal, a_clone
from support.runs.job_builder import RECIPES, Way, a_job, digest_of, run

DIGEST = "\nfrom seedbed.arithmetic.tensor_digests import weights_digest\nprint(weights_digest(model.state_dict()))\n"
WEIGHTS = re.compile(r"weights digest +(sha256:[0-9a-f]{64})")


@pytest.mark.ray
@pytest.mark.exhaustive  # minutes: a demo, four trainings and a sweep
def test_the_readme_takes_a_reader_from_the_demo_to_a_sweep(tmp_path: Path) -> None:
    """Its commands and those of examples/digits, in a clone, by somebody with photos of two classes and a job.yaml."""
    clone = a_clone(tmp_path / "clone")
    (clone / "job.yaml").write_text(A_JOB, encoding="utf-8")
    two_classes(clone / "photos")
    terminal = Terminal(folder=clone, programs=clone / ".venv/bin")
    said = {line: terminal.types(line) for page in PAGES for line in commands(page, "bash")}

    assert len({digest_in(told) for line, told in said.items() if "-f job.yaml" in line}) == 1
    assert (
        len({digest_in(told) for line, told in said.items() if line == "make demo" or "digits.yaml" in line})
        == 1
    )
    (verified,) = (told.stdout for line, told in said.items() if line.startswith("seedbed verify"))
    assert "reproduced" in verified
    listed = said["seedbed runs list build/demo/runs"].stdout.splitlines()
    assert len(listed) > 12, "the demo and twelve trials"


PAGES = ("README.md", "examples/digits/README.md")


def digest_in(told: subprocess.CompletedProcess[str]) -> str:
    """Return the digest that a run has printed at its end."""
    return WEIGHTS.findall(told.stderr)[-1]


@pytest.mark.slow
def test_five_lines_of_torch_load_the_model(digits: Path, tmp_path: Path) -> None:
    ended = run(a_job(RECIPES["resnet18 L=8 m=3 augmented"], Way(), data=digits, output=tmp_path))
    (folder,) = (tmp_path / "runs").iterdir()
    (block,) = (fence.text for fence in fences("README.md") if fence.kind == "python")
    assert block.count("\n") == 5
    shown = subprocess.run(
        [sys.executable, "-c", block + DIGEST], cwd=folder, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == digest_of(ended)


@pytest.mark.slow
def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 150
