"""No object of a bucket takes more memory than its kind may: an oversized one of each kind, on a real S3 server."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from seedbed.storage import ObjectLimit, OversizedObject, Storage, open_storage
from support.storage.oversized_objects import KINDS, check_is_refused
from testbed.gateway import Gateway

pytestmark = pytest.mark.s3


@pytest.fixture
def bucket(s3: Gateway, tmp_path: Path) -> tuple[Storage, Path]:
    """A store and the folder behind it."""
    url = s3.bucket()
    return open_storage(url, secret=s3.secret(tmp_path / "secret")), s3.root / url.removeprefix("s3://")


@pytest.mark.parametrize("kind", KINDS)
def test_one_byte_too_many_is_refused_by_name_before_it_is_read(
    kind: str, bucket: tuple[Storage, Path]
) -> None:
    store, folder = bucket
    store.put(KINDS[kind].path, b"")
    with (folder / KINDS[kind].path).open("r+b") as hole:
        hole.truncate(KINDS[kind].limit.most_bytes + 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check_is_refused(kind, store)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "KiB"


def test_a_limit_is_exact(bucket: tuple[Storage, Path]) -> None:
    store, limit = bucket[0], ObjectLimit(kind="a small object", most_bytes=1_000)
    for size in (0, 1, 999, 1_000):
        store.put("a", bytes(size))
        assert store.read("a", limit) == bytes(size)
    store.put("a", bytes(1_001))
    with pytest.raises(OversizedObject, match=r"has 1,001 bytes, a small object has at most 1,000"):
        store.read("a", limit)
