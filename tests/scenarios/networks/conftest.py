"""One dataset for all networks of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.runs.command_line import dataset


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("networks") / "data", train=8, validation=4)
