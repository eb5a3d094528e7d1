"""The desk of a user, in a folder of each test's own, with the dataset of the test's module or folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.runs.command_line import Scene
from support.runs.sweep_commands import Desk


@pytest.fixture
def scene(small_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Scene:
    return Scene(folder=tmp_path, shared=small_data, capture=capfd)


@pytest.fixture
def desk(small_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Desk:
    return Desk(folder=tmp_path, data=small_data, capture=capfd)
