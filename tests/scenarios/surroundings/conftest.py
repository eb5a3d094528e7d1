"""One dataset for all commands of this folder, and the command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scenarios.surroundings.run_command import Typed
from support.runs.command_line import Scene, dataset


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("surroundings") / "data")


@pytest.fixture
def run(scene: Scene) -> Typed:
    """Type `seedbed run -f job.yaml …` with an output of its own each time, as a shell without pins would."""
    unpinned = {"PYTHONHASHSEED", "GLIBC_TUNABLES"}
    bare = {k: v for k, v in os.environ.items() if k not in unpinned}
    count = 0

    def typed(
        *words: str, environ: Mapping[str, str] | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        nonlocal count
        count += 1
        command = [sys.executable, "-m", "seedbed.cli", "run", "-f", str(scene.manifest), "-o", "json"]
        output = ["--output", str(scene.folder / f"runs{count}")]
        return subprocess.run(
            [*command, *output, *words],
            **{"env": bare | dict(environ or {}), "capture_output": True, "text": True, "timeout": 300}
            | more,
            check=False,
        )

    return typed
