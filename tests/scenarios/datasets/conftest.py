"""The dataset that the tests of datasets train on."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.runs.command_line import dataset


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("reuse") / "data")
