"""One small dataset for the whole tier: scikit-learn's digits as PNG files, in several shards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the dataset with the commands that a user would type."""
    folder = tmp_path_factory.mktemp("digits")
    subprocess.run([sys.executable, ROOT / "examples/digits/write_digits.py", folder / "images"], check=True)
    build = ["dataset", "build", folder / "images", folder / "data", "--shard-bytes", "200000"]
    small_batches = ["--batch-bytes", "20000", "--parallelism", "1"]
    subprocess.run([sys.executable, "-m", "seedbed.cli", *build, *small_batches], check=True)
    return folder / "data"
