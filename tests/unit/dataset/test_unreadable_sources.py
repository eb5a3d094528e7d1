"""Sources of which something cannot be read: named in one line, or left out and named; never missing in silence."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seedbed.storage import DamagedObject, LocalStorage, UnreadableObject
from seedbed.storage.object_limits import DOCUMENT, ObjectLimit
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError
from support.datasets.image_files import build, png, two_classes, write_files

BUILD = """
import json, sys
from pathlib import Path
from seedbed_api.errors import SeedbedError
from support.datasets.image_files import build

def answer(source, dest, on_error):
    try:
        result = build(Path(source), Path(dest), on_error=on_error)
    except SeedbedError as error:
        return [error.exit_code, error.reason, error.message]
    report = result.report.document()["refused"]
    return [0, result.manifest.total, {file["path"]: file["kind"] for file in report["files"]}]

for line in sys.stdin:
    print(json.dumps(answer(**json.loads(line))), flush=True)
"""
AS_OTHERS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
BuildAsOthers = Callable[..., list[object]]


@pytest.fixture(scope="module")
def built_as_others() -> Iterator[BuildAsOthers]:
    """Build in a process to which modes of files apply, as they do to everyone but root."""
    drop = AS_OTHERS if os.geteuid() == 0 else []
    if drop and (not shutil.which("setpriv") or subprocess.run([*drop, "true"], check=False).returncode):
        pytest.skip("not run: no setpriv that takes root's right to read everything")
    command = [*drop, sys.executable, "-c", BUILD]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def built(source: Path, dest: Path, *, on_error: str) -> list[object]:
            request = {"source": str(source), "dest": str(dest), "on_error": on_error}
            print(json.dumps(request), file=requests, flush=True)
            answer: list[object] = json.loads(answers.readline())
            return answer

        yield built
        requests.close()


CLOSED = {
    "a file": ("cat/0.png", 39, "unreadable"),
    "a folder of a class": ("cat/more", 40, "unreadable"),
    "a folder deep below a class": ("cat/more/and/more", 40, "unreadable"),
    "a folder that may be listed and not entered": ("cat/more/listed", 40, "unreadable"),
}


@pytest.mark.parametrize("name", CLOSED)
def test_what_modes_forbid_is_refused_by_name_or_left_out_and_named(
    built_as_others: BuildAsOthers, name: str, tmp_path: Path
) -> None:
    path, left, kind = CLOSED[name]
    source = write_files(
        two_classes(tmp_path / "source"),
        {
            "cat/more/and/more/9.png": png(99),
            **({"cat/more/listed/8.png": png(98)} if "listed" in path else {}),
        },
    )
    mode = source / path
    before = mode.stat().st_mode
    mode.chmod(0o444 if "listed" in path else 0)
    try:
        code, reason, message = built_as_others(source, tmp_path / "ds", on_error="fail")
        skipped = built_as_others(source, tmp_path / "ds", on_error="skip")
    finally:
        mode.chmod(before)
    named = f"{path}/8.png" if "listed" in path else path
    assert (code, reason) == (2, "BadImages")
    assert f"{named} ({kind})" in str(message)
    extra = 1 if path in {"cat/0.png", "cat/more/listed"} else 0
    assert skipped == [0, left + extra, {named: kind}]


def test_a_class_folder_that_cannot_be_read_does_not_vanish_when_it_is_skipped(
    built_as_others: BuildAsOthers, tmp_path: Path
) -> None:
    source = write_files(two_classes(tmp_path / "source"), {"emu/0.png": png(99)})
    (source / "emu").chmod(0)
    try:
        answer = built_as_others(source, tmp_path / "ds", on_error="skip")
    finally:
        (source / "emu").chmod(0o755)
    assert answer[:2] == [2, "EmptyClass"]
    assert "'emu'" in str(answer[2])


def test_a_source_that_cannot_be_read_at_all_is_refused_whatever_is_skipped(
    built_as_others: BuildAsOthers, tmp_path: Path
) -> None:
    source = two_classes(tmp_path / "source")
    source.chmod(0)
    try:
        answer = built_as_others(source, tmp_path / "ds", on_error="skip")
    finally:
        source.chmod(0o755)
    assert answer[:2] == [2, "StorageDenied"]
    assert str(source) in str(answer[2])


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


ODD: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a socket": _socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link into a loop of folders": lambda path: path.symlink_to(Path("loop") / "x"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_file_is_refused_by_name_or_left_out_and_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = two_classes(tmp_path / "source")
    (source / "cat/loop").symlink_to("loop")
    ODD[name](source / "cat/odd.png")
    with pytest.raises(UserError, match=r"cat/odd\.png \(unreadable\)"):
        build(source, tmp_path / "ds")
    result = build(source, tmp_path / "ds", on_error="skip")
    assert (result.manifest.total, dict(result.report.refused.counts)) == (40, {"unreadable": 2})
    assert result.manifest.digest == build(two_classes(tmp_path / "clean"), tmp_path / "ds2").manifest.digest


@pytest.mark.parametrize("top", ["file", "nothing", "loop"])
def test_a_source_that_is_no_folder_is_refused_with_what_it_is(top: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"PK")
    (tmp_path / "loop").symlink_to("loop")
    says = {
        "file": "is a file, not a folder",
        "nothing": "there is no such folder",
        "loop": "symbolic links",
    }[top]
    with pytest.raises(UserError, match=says) as caught:
        build(tmp_path / top, tmp_path / "ds")
    assert top in caught.value.message


@pytest.mark.parametrize("above", ["", "train/"])
@pytest.mark.parametrize("target", ["gone", "loop", "closed/emu"])
def test_a_class_that_is_a_link_to_nothing_is_named(
    built_as_others: BuildAsOthers, target: str, above: str, tmp_path: Path
) -> None:
    """A disk that is not mounted must not make a class vanish."""
    files = {
        f"{above}{name}/{n}.png": png(10 * at + n) for at, name in enumerate(("cat", "dog")) for n in range(4)
    }
    source = write_files(tmp_path / "source", files)
    write_files(tmp_path, {"closed/emu/0.png": png(99)})
    (tmp_path / "loop").symlink_to("loop")
    (source / above / "emu").symlink_to(tmp_path / target)
    (tmp_path / "closed").chmod(0)
    try:
        refused = built_as_others(source, tmp_path / "ds", on_error="fail")
        skipped = built_as_others(source, tmp_path / "ds", on_error="skip")
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert refused[:2] == [2, "BadImages"]
    assert f"{above}emu (unreadable)" in str(refused[2])
    assert skipped == [0, 8, {f"{above}emu": "unreadable"}]


FAULTS = {
    "the disk fails": (OSError(errno.EIO, "Input/output error"), InfrastructureError),
    "the mount is stale": (OSError(errno.ESTALE, "Stale file handle"), InfrastructureError),
    "no more open files": (OSError(errno.EMFILE, "Too many open files"), InfrastructureError),
    "no more memory": (OSError(errno.ENOMEM, "Cannot allocate memory"), InfrastructureError),
}


@pytest.mark.parametrize("where", ["a file", "a folder", "a folder, the second time"])
@pytest.mark.parametrize("name", FAULTS)
def test_what_a_retry_may_mend_is_never_left_out(
    name: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, expected = FAULTS[name]
    source = two_classes(tmp_path / "source")
    opened, scan, scans = os.open, os.scandir, []

    def failing_open(path: Path, *arguments: int, **options: int) -> int:
        if where == "a file" and str(path).endswith("cat/7.png"):
            raise error
        return opened(path, *arguments, **options)

    def failing_scan(path: Path) -> object:
        if str(path).endswith("/cat"):
            scans.append(path)
            if len(scans) == {"a folder": 1, "a folder, the second time": 2}.get(where):
                raise error
        return scan(path)

    monkeypatch.setattr(os, "open", failing_open)
    monkeypatch.setattr(os, "scandir", failing_scan)
    with pytest.raises(expected) as caught:
        build(source, tmp_path / "ds", on_error="skip")
    assert "/cat" in caught.value.message
    assert not (tmp_path / "ds").exists()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UnreadableObject("StorageDenied", "uri: access denied", "access denied (403)"), "unreadable"),
        (DamagedObject("s3://bucket/cat/7.png"), "damaged"),
    ],
    ids=["one object is denied", "the store finds one object damaged"],
)
def test_one_object_that_a_store_does_not_give_is_left_out_and_named(
    error: Exception, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, read = two_classes(tmp_path / "source"), LocalStorage.read

    def refusing(store: LocalStorage, path: str, limit: ObjectLimit = DOCUMENT) -> bytes:
        if path == "cat/7.png":
            raise error
        return read(store, path, limit)

    monkeypatch.setattr(LocalStorage, "read", refusing)
    with pytest.raises(UserError, match=rf"cat/7\.png \({kind}\)"):
        build(source, tmp_path / "ds")
    result = build(source, tmp_path / "ds", on_error="skip")
    assert (result.manifest.total, dict(result.report.refused.counts)) == (39, {kind: 1})


def test_keys_that_the_store_does_not_know_end_the_build_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_arguments: object) -> bytes:
        raise UserError("StorageDenied", "uri: access denied (ExpiredToken)")

    source = two_classes(tmp_path / "source")
    monkeypatch.setattr(LocalStorage, "read", refusing)
    with pytest.raises(UserError, match="ExpiredToken"):
        build(source, tmp_path / "ds", on_error="skip")


@pytest.mark.parametrize(
    ("number", "exit_code", "says"),
    [
        (errno.ENOSPC, 2, "TMPDIR"),
        (errno.EROFS, 2, "TMPDIR"),
        (errno.EMFILE, 75, "ulimit -n"),
        (errno.EIO, 75, "/"),
    ],
    ids=["full", "read-only", "too many open files", "a disk that fails"],
)
def test_a_temporary_folder_that_fails_is_one_line(
    number: int, exit_code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(number, "Error writing bytes to file")

    monkeypatch.setattr(tempfile, "TemporaryFile", failing)
    with pytest.raises(SeedbedError, match=says) as caught:
        build(two_classes(tmp_path / "source"), tmp_path / "ds")
    assert caught.value.exit_code == exit_code
    assert "\n" not in caught.value.message


@pytest.mark.slow
def test_no_temporary_folder_at_all_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="TMPDIR"):
        build(two_classes(tmp_path / "source"), tmp_path / "ds")
