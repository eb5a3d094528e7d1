"""Somebody at a terminal in a clone, who types what the docs say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.docs.pages import REPOSITORY

LEFT_OPEN = re.compile(r"(?P<name>\w+)=…")
A_JOB = """
apiVersion: seedbed.dev/v1alpha1
kind: TrainingJob
metadata: {name: photos}
spec:
  dataset: {uri: data}
  model: {name: simple-cnn, args: [{name: width, value: "4"}]}
  training:
    steps: 210
    seed: 1
    batch: {globalSize: 8, microSize: 2}
    optimizer: {type: SGD, learningRate: "0.05"}
    augmentation: [{type: Resize, resize: {size: 12}}]
  output: {uri: runs}
  checkpoint: {everySteps: 50}
  cluster: {feed: Local}
"""
"""What a reader has as job.yaml where a page does not show one: two classes, 210 steps."""
_NOT_CLONED = (".git", ".venv", "build", ".*_cache", "__pycache__")


def a_clone(folder: Path) -> Path:
    """Make a folder that is like a clone after `make install`; its .venv is the one here, which make shall not renew."""
    shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns(*_NOT_CLONED), symlinks=True)
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    for path in (folder / "pyproject.toml", *folder.glob("requirements/*.lock")):
        os.utime(path, (0, 0))
    return folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminal:
    """A shell, and what its user knows."""

    folder: Path
    """The clone."""
    programs: Path
    """Where `seedbed` is, with whatever else the user has."""
    environment: Mapping[str, str] = field(default_factory=dict)
    knows: Mapping[str, str] = field(default_factory=dict)
    """What the reader writes where a page says NAME or leaves a value open."""

    def types(self, line: str, *, seconds: float = 900) -> subprocess.CompletedProcess[str]:
        """Type a line that succeeds and return what it prints; `AssertionError` with all of it where it fails."""
        path = os.pathsep.join((str(self.programs), str(self.folder / ".venv/bin"), os.environ["PATH"]))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.filled_in(line)],
            cwd=self.folder,
            env={**os.environ, **self.environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done

    def filled_in(self, line: str) -> str:
        """Return the line as the reader types it."""
        told = LEFT_OPEN.sub(lambda found: f"{found['name']}={self.knows[found['name']]}", line)
        names = "|".join(map(re.escape, self.knows)) or "(?!)"
        return re.sub(rf"(?<![\w.])(?:{names})(?![\w.=:])", lambda found: self.knows[found[0]], told)


def add_program(programs: Path, name: str, *command: str) -> None:
    """Let a name stand for a command, for whoever has the folder on the PATH."""
    programs.mkdir(parents=True, exist_ok=True)
    script = programs / name
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    script.chmod(0o755)
