"""The folder below both disk caches: its bound holds, its count recovers, its locks end."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.feed import bounded_folder
from seedbed.feed.bounded_folder import BoundedFolder, FolderUsage, folder_usage, open_for_writing, touch


def a_folder(path: Path, *, bound: int = 1000, stopped: threading.Event | None = None) -> BoundedFolder:
    return BoundedFolder(path, label="test folder", bound=bound, patterns=("files/*",), stopped=stopped)


def write(folder: BoundedFolder, name: str, size: int) -> bool:
    with folder.reservation(size) as granted:
        if granted:
            (folder.folder / "files").mkdir(exist_ok=True)
            (folder.folder / "files" / name).write_bytes(bytes(size))
    return granted


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 1200), min_size=1, max_size=30), st.integers(0, 29))
def test_whatever_is_written_the_bound_holds(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], torn: int
) -> None:
    folder = a_folder(tmp_path_factory.mktemp("folder"))
    for number, size in enumerate(sizes):
        if number == torn:
            (folder.folder / "ledger").write_bytes(b"torn")
        if folder.fits(size):
            assert write(folder, str(number), size)
        assert folder.size() <= folder.usage().bytes <= 1000


def test_threads_and_instances_share_one_bound(tmp_path: Path) -> None:
    def fill(writer: int) -> int:
        folder = a_folder(tmp_path)
        assert all(write(folder, f"{writer}-{number}", 90) for number in range(40))
        return folder.size()

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(fill, range(4))) <= 1000
    assert folder_usage(tmp_path).writes == 160


def test_a_smaller_bound_evicts_the_least_recently_used_at_once(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    for number in range(8):
        assert write(folder, str(number), 100)
        os.utime(tmp_path / "files" / str(number), (1000 + number, 1000 + number))
    handle = open_for_writing(tmp_path / "files" / "0")
    touch(handle)
    os.close(handle)
    a_folder(tmp_path, bound=400).shrink()
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == ["0", "6", "7"]
    assert folder_usage(tmp_path) == FolderUsage(bytes=300, writes=8)


@pytest.mark.parametrize("bytewise", [True, False], ids=["bytes", "whole files"])
def test_a_lock_excludes_other_handles_until_its_file_is_closed(
    tmp_path: Path, bytewise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not bytewise:
        monkeypatch.setattr(bounded_folder, "_SET_LOCK", None)
    folder = a_folder(tmp_path)
    first, second = (open_for_writing(tmp_path / "locks") for _ in range(2))
    assert folder.lock(first, 7, seconds=0)
    assert not folder.lock(second, 7, seconds=0.02)
    assert folder.lock(second, 8, seconds=0) is bytewise
    os.close(first)
    assert folder.lock(second, 7, seconds=0)
    os.close(second)


def test_a_wait_for_a_lock_ends_when_the_owner_is_stopped(tmp_path: Path) -> None:
    stopped = threading.Event()
    folder = a_folder(tmp_path, stopped=stopped)
    first, second = (open_for_writing(tmp_path / "locks") for _ in range(2))
    assert folder.lock(first, 0, seconds=0)
    threading.Timer(0.05, stopped.set).start()
    began = time.monotonic()
    assert not folder.lock(second, 0, seconds=600)
    assert time.monotonic() - began < 300
    os.close(first)
    os.close(second)
