"""Local files when the disk is full, the folder is closed, or the process is killed in the middle of a write."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed.storage import LocalStorage, open_storage
from seedbed_api.errors import InfrastructureError, UserError

ENVIRONMENT = {**os.environ, "PYTHONPATH": ":".join(sys.path)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a tmpfs of 64 KiB, where this machine lets us."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("not run: no right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_full_disk_is_one_line_and_leaves_the_old_object(small_disk: Path) -> None:
    store = open_storage(str(small_disk))
    store.put("a", b"old")
    for operation, path in ((store.put, "a"), (store.create, "b")):
        with pytest.raises(UserError, match="no space left") as caught:
            operation(path, bytes(1 << 20))
        assert caught.value.reason == "OutputUnwritable"
        assert "\n" not in caught.value.message
    assert store.read("a") == b"old"
    assert store.list() == ["a"]
    assert [entry.name for entry in small_disk.iterdir()] == ["a"], "nothing is left aside"


def test_file_size_limit_is_one_line_and_leaves_the_old_object(tmp_path: Path) -> None:
    store = open_storage(str(tmp_path))
    store.put("a", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(UserError) as caught:
            store.put("a", bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.reason == "OutputUnwritable"
    assert store.read("a") == b"old"
    assert len(list(tmp_path.iterdir())) == 1


AS_NOBODY = """
import os, sys
from seedbed.storage import open_storage
from seedbed_api.errors import SeedbedError
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    getattr(open_storage(sys.argv[1]), sys.argv[2])(*[sys.argv[3], b"new"][: 2 if sys.argv[2] in {"put", "create"} else 1])
except SeedbedError as error:
    print(error.exit_code, error.reason, error.message)
"""


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that may be entered and not written, holding a file that may not be read."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "mine").write_bytes(b"mine")
    (folder / "mine").chmod(0o000)
    (folder / "hidden").mkdir()
    (folder / "hidden").chmod(0o000)
    for above in (*tmp_path.parents[:2], tmp_path):
        above.chmod(above.stat().st_mode | 0o055)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    (folder / "hidden").chmod(0o755)


@pytest.mark.parametrize(
    ("operation", "path", "expected"),
    [
        ("create", "new", "2 OutputUnwritable"),
        ("put", "mine", "2 OutputUnwritable"),
        ("put", "below/new", "2 OutputUnwritable"),
        ("delete", "mine", "2 OutputUnwritable"),
        ("read", "mine", "2 StorageDenied"),
        ("list", "hidden", "2 StorageDenied"),
        ("list", "hidden/below", "2 StorageDenied"),
        ("list", "", "2 StorageDenied"),
    ],
)
def test_closed_folder_is_the_users_to_mend(
    closed_folder: Path, operation: str, path: str, expected: str
) -> None:
    command = [sys.executable, "-c", AS_NOBODY, str(closed_folder), operation, path]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.stdout.startswith(expected), done.stdout + done.stderr
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("broken", ["", "a", "a/b"], ids=["the root", "a folder", "a folder below"])
def test_listing_that_the_disk_fails_is_never_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    store = open_storage(str(tmp_path))
    store.put("a/b/c", b"1")
    scan, folder = os.scandir, str(tmp_path / broken)

    def failing(path: str) -> object:
        if str(path) == folder:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(InfrastructureError) as caught:
        store.list()
    assert caught.value.reason == "StorageUnavailable"
    assert folder in caught.value.message


def test_folder_that_goes_away_during_a_listing_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_storage(str(tmp_path))
    store.put("a/gone/b", b"1")
    store.put("c", b"2")
    scan = os.scandir

    def late(path: str) -> object:
        if str(path).endswith("/gone"):
            (tmp_path / "a/gone/b").unlink()
            (tmp_path / "a/gone").rmdir()
        return scan(path)

    monkeypatch.setattr(os, "scandir", late)
    assert store.list() == ["c"]
    assert store.list("a/gone") == store.list("c/below") == []


def test_file_in_the_way_of_a_folder_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        open_storage(str(tmp_path / "file")).create("a", b"")
    assert caught.value.reason == "OutputUnwritable"


def test_file_systems_without_unnamed_files_serve_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    store = open_storage(str(tmp_path))
    assert store.create("a", b"1")
    assert not store.create("a", b"2")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_new_objects_get_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        open_storage(str(tmp_path)).create("a", b"1")
        open_storage(str(tmp_path)).put("b", b"1")
    finally:
        os.umask(before)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in "ab"} == {0o640}


WRITER = """
import sys
from seedbed.storage import open_storage
store = open_storage(sys.argv[1])
print("ready", flush=True)
number = 0
while True:
    number += 1
    data = bytes([number % 251]) * 300_000
    store.put("same", data)
    store.create(f"new/{number}", data)
"""


@pytest.mark.parametrize("after", [0.0, 0.003, 0.01, 0.02, 0.05])
def test_kill_leaves_whole_objects_or_none(tmp_path: Path, after: float) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(after)
        assert child.poll() is None, "the victim lived"
        child.send_signal(signal.SIGKILL)
    assert not list((tmp_path / "new").glob(".*")), "new objects have no name before they are whole"
    store = LocalStorage(root=tmp_path)
    for path in store.list():
        data = store.read(path)
        assert len(data) == 300_000
        assert len(set(data)) == 1
