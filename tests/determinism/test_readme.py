"""What the README says of a run, tried on a run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from determinism.jobs import RECIPES, Way, a_job, digest_of, run

pytestmark = pytest.mark.slow

README = Path(__file__).parents[2] / "README.md"
DIGEST = (
    "\nfrom seedbed.arithmetic.digests import weights_digest\nprint(weights_digest(model.state_dict()))\n"
)


def test_five_lines_of_torch_load_the_model(digits: Path, tmp_path: Path) -> None:
    ended = run(a_job(RECIPES["resnet18 L=8 m=3 augmented"], Way(), data=digits, output=tmp_path))
    (folder,) = (tmp_path / "runs").iterdir()
    block = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    assert block[1].count("\n") == 5
    shown = subprocess.run(
        [sys.executable, "-c", block[1] + DIGEST],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == digest_of(ended)


def test_the_readme_is_short_and_names_only_targets_that_exist() -> None:
    text = README.read_text(encoding="utf-8")
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    named = {
        word for line in re.findall(r"make ([a-z][a-z0-9 -]*)", text) for word in line.split() if "-" in word
    }
    assert len(text.splitlines()) <= 150
    assert named <= targets
