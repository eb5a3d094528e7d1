"""The commands of docs/methods.md, typed with a real S3 server: chunks, Ray Data, a cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.dataset.reader import open_dataset
from seedbed.storage import open_storage
from support.datasets.image_files import two_classes
from support.docs.pages import commands
from support.docs.terminal import A_JOB, Terminal, a_clone
from testbed.gateway import Gateway

pytestmark = [pytest.mark.s3, pytest.mark.ray]


def test_the_commands_of_the_methods_do_what_their_comments_say(s3: Gateway, tmp_path: Path) -> None:
    clone = a_clone(tmp_path / "clone")
    (clone / "job.yaml").write_text(A_JOB, encoding="utf-8")
    two_classes(clone / "pictures", per_class=200)
    (s3.root / "data").mkdir(exist_ok=True)
    terminal = Terminal(folder=clone, programs=clone / ".venv/bin", environment=s3.environment())
    for line in commands("docs/methods.md", "bash"):
        terminal.types(line)

    secret = s3.secret(tmp_path / "secret")
    chunks, by_ray = (
        open_dataset(open_storage(f"s3://data/{name}", secret=secret)).manifest
        for name in ("chunks", "by-ray")
    )
    train = [shard for shard in chunks.shards if shard.split == "train"]
    assert len(train) > 2
    assert all(len(shard.batches) > 2 for shard in train[:-1])
    assert chunks.classes == by_ray.classes
    assert sum(shard.rows for shard in chunks.shards) == sum(shard.rows for shard in by_ray.shards) == 400
    assert any(path.is_file() for path in (clone / "cache").rglob("*"))
