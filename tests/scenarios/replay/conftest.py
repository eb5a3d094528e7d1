"""One dataset and one finished run, made once; tests that change them take copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.runs.small_run import a_dataset, a_manifest, train_run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_dataset(tmp_path_factory.mktemp("replay") / "data")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return train_run(a_manifest(data, tmp_path_factory.mktemp("runs")))


@pytest.fixture
def run(tmp_path: Path, finished: Path) -> Path:
    """Return a copy that may be changed."""
    return Path(shutil.copytree(finished, tmp_path / finished.name))
