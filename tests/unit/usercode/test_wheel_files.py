"""Packing is deterministic, digests are over source files, and what cannot run is refused by name."""

import io
import os
import stat
import struct
import tracemalloc
import warnings
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.usercode.code_source import fetch_code, installed_sources
from seedbed.usercode.source_digest import SourceFiles, read_folder
from seedbed.usercode.wheel_files import pack_wheel, read_wheel
from seedbed_api.errors import UserError

NAMES = st.from_regex(r"\A[a-z]{1,8}(/[a-z]{1,8})?\.py\Z")
FILES = st.dictionaries(NAMES, st.binary(max_size=60), min_size=1, max_size=5)


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def a_wheel(files, *, metadata="Name: x\n", wheel="Root-Is-Purelib: true\nTag: py3-none-any\n"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in {"x-1.dist-info/METADATA": metadata, "x-1.dist-info/WHEEL": wheel, **files}.items():
            archive.writestr(name, text)
    return packed.getvalue()


@given(files=FILES)
@settings(max_examples=40, deadline=None)
def test_packing_and_reading_give_the_files_back_and_the_same_bytes_each_time(files):
    sources = SourceFiles(files=files)
    backwards = SourceFiles(files=dict(reversed(files.items())))
    assert pack_wheel(sources) == pack_wheel(backwards)
    assert read_wheel(pack_wheel(sources), name="w").files == files
    assert read_wheel(pack_wheel(sources), name="w").digest == backwards.digest


@given(files=FILES, data=st.data())
@settings(max_examples=40, deadline=None)
def test_one_byte_more_or_another_path_is_another_digest(files, data):
    path = data.draw(st.sampled_from(sorted(files)))
    longer = SourceFiles(files=files | {path: files[path] + b" "})
    moved = SourceFiles(
        files={name if name != path else "moved_" + name: text for name, text in files.items()}
    )
    assert len({SourceFiles(files=files).digest, longer.digest, moved.digest}) == 3


def test_content_cannot_pose_as_a_path():
    assert (
        SourceFiles(files={"a.py": b"", "b.py": b"x"}).digest
        != SourceFiles(files={"a.py": b"b.py\0x"}).digest
    )


def packed(*files: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a wheel with these entries, whatever they are."""
    data = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(data, "w", method) as archive:
        warnings.simplefilter("ignore")  # of two files of one name
        archive.writestr("x-1.dist-info/METADATA", "Name: x\n")
        archive.writestr("x-1.dist-info/WHEEL", "Root-Is-Purelib: true\nTag: py3-none-any\n")
        for name, content in files:
            archive.writestr(name, content)
    return data.getvalue()


def a_link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("net.py")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return entry


def a_bomb() -> bytes:
    """Return a wheel whose file of 100 MiB states that it has ten bytes, in both of its headers."""
    zeros = bytes(100 << 20)
    content = packed(("net.py", zeros))
    size = struct.pack("<I", len(zeros))
    assert content.count(size) == 2
    return content.replace(size, struct.pack("<I", 10))


def encrypted() -> bytes:
    content = bytearray(packed(("net.py", b"x = 1")))
    place = content.rindex(b"PK\x01\x02")
    content[place + 8] |= 1
    return bytes(content)


def many_files() -> bytes:
    return packed(*((f"f{n}.py", b"") for n in range(10_001)), method=zipfile.ZIP_STORED)


def flipped() -> bytes:
    content = bytearray(packed(("net.py", bytes(range(256)) * 40)))
    place = content.index(b"net.py") + 30
    content[place : place + 4] = bytes(byte ^ 255 for byte in content[place : place + 4])
    return bytes(content)


HOSTILE = {
    "a link": (lambda: packed((a_link(), b"/etc/passwd")), "holds a link: net.py"),
    "two files of one name": (lambda: packed(("net.py", b"a"), ("net.py", b"b")), "two files of one name"),
    "many files": (many_files, "has 10003 files, more than 10000"),
    "another compression": (
        lambda: packed(("net.py", b"x"), method=zipfile.ZIP_BZIP2),
        "of another compression",
    ),
    "a false size": (a_bomb, "is no wheel"),
    "an encrypted file": (encrypted, "is no wheel"),
    "flipped bytes in what is compressed": (flipped, "is no wheel"),
}


@pytest.mark.parametrize(("make", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_wheels_are_refused_in_one_line_and_little_memory(make, problem):
    content = make()
    tracemalloc.start()
    with pytest.raises(UserError) as caught:
        read_wheel(content, name="net.whl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problem in caught.value.message
    assert "\n" not in caught.value.message
    assert peak < 64 << 20


@given(data=st.data())
def test_a_changed_wheel_is_read_or_refused(data):
    content = bytearray(packed(("net.py", b"x = 1\n" * 50), ("net/data.txt", b"y" * 300)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_wheel(bytes(content[: data.draw(st.integers(0, len(content)))]), name="net.whl")
    except UserError as error:
        assert "\n" not in error.message  # noqa: PT017 - it may also be read


def test_a_wheel_made_by_others_has_the_digest_of_its_sources():
    ours = SourceFiles(files={"net/__init__.py": b"x = 1"})
    assert read_wheel(a_wheel({"net/__init__.py": "x = 1"}), name="w").digest == ours.digest


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"PK nonsense", "is no wheel", id="not a zip"),
        pytest.param(a_wheel({"net.py": "", "net/ops.so": ""}), "native code: net/ops.so", id="native code"),
        pytest.param(a_wheel({"net.py": "", "x.pth": ""}), "native code: x.pth", id="a path hook"),
        pytest.param(a_wheel({"../net.py": ""}), "leads out", id="a path that leads out"),
        pytest.param(a_wheel({"/etc/net.py": ""}), "leads out", id="an absolute path"),
        pytest.param(
            a_wheel({"net.py": ""}, wheel="Root-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\n"),
            "platform wheel (cp311-cp311-linux_x86_64)",
            id="a platform wheel",
        ),
        pytest.param(
            a_wheel({"net.py": ""}, metadata="Name: x\nRequires-Dist: timm (>=1)\n"),
            "dependencies (timm",
            id="dependencies",
        ),
        pytest.param(
            pack_wheel(SourceFiles(files={"net.py": b"x" * (17 << 20)})),
            "more than 16 MiB",
            id="a bomb or a data set",
        ),
    ],
)
def test_what_cannot_run_is_refused(content, words):
    with pytest.raises(UserError) as caught:
        read_wheel(content, name="net.whl")
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_optional_extras_are_no_dependencies():
    metadata = 'Name: x\nRequires-Dist: pytest ; extra == "dev"\n'
    assert read_wheel(a_wheel({"net.py": ""}, metadata=metadata), name="w").files == {"net.py": b""}


def test_a_folder_gives_python_and_the_data_of_packages_and_nothing_else(tmp_path):
    write(
        tmp_path,
        {
            "net.py": "", "notes.txt": "", "pkg/__init__.py": "", "pkg/table.json": "{}", "scripts/run.py": "", "scripts/big.bin": "",
            ".git/config.py": "", "pkg/__pycache__/x.py": "", ".hidden.py": "", "pkg/old.pyc": "", "x.egg-info/y.py": "",
        },
    )  # fmt: skip
    assert sorted(read_folder(tmp_path).files) == [
        "net.py",
        "pkg/__init__.py",
        "pkg/table.json",
        "scripts/run.py",
    ]


def test_a_file_of_code_that_cannot_be_read_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "net.py").write_text("")
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(UserError, match=r"pipe\.py.*FIFO|FIFO.*pipe\.py"):
        read_folder(tmp_path)


def test_a_folder_of_code_that_cannot_be_listed_is_not_left_out(tmp_path, monkeypatch):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "net.py").write_text("")
    scan = os.scandir

    def denying(path):
        if str(path).endswith("/pkg"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", denying)
    with pytest.raises(UserError, match="pkg"):
        read_folder(tmp_path)


def test_links_and_native_code_in_a_folder_are_refused(tmp_path):
    write(tmp_path, {"pkg/__init__.py": ""})
    (tmp_path / "pkg" / "net.py").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="is a link"):
        read_folder(tmp_path)
    (tmp_path / "pkg" / "net.py").unlink()
    write(tmp_path, {"pkg/fast.so": ""})
    with pytest.raises(UserError, match="native code"):
        read_folder(tmp_path)


def test_folder_and_wheel_are_the_same_code(tmp_path):
    write(tmp_path / "src", {"net.py": "x = 1"})
    folder = fetch_code(str(tmp_path / "src"))
    (tmp_path / "net-1-py3-none-any.whl").write_bytes(a_wheel({"net.py": "x = 1"}))
    wheel = fetch_code(str(tmp_path / "net-1-py3-none-any.whl"), digest=folder.digest)
    assert folder == wheel


@pytest.mark.parametrize(
    ("uri", "digest", "words"),
    [
        pytest.param("missing.whl", None, "no such wheel", id="a wheel that is not there"),
        pytest.param("missing", None, "neither a folder nor a wheel", id="a folder that is not there"),
        pytest.param("src/net.py", None, "neither .*; name the folder that holds it", id="a Python file"),
        pytest.param("net.zip", None, "neither .*; unpack it and name the folder", id="a zip"),
        pytest.param("net.tar.gz", None, "neither .*; unpack it .*pip wheel", id="a source distribution"),
        pytest.param("net.txt", None, "neither .*; name a folder or a .whl", id="any other file"),
        pytest.param("src", "sha256:" + "0" * 64, "have digest sha256:", id="other code than pinned"),
        pytest.param("empty", None, "holds no Python file", id="a folder without code"),
    ],
)
def test_code_that_is_not_what_the_manifest_says(tmp_path, uri, digest, words):
    write(tmp_path / "src", {"net.py": "x = 1"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=words) as caught:
        fetch_code(str(tmp_path / uri), digest=digest)
    assert caught.value.reason == "ModelError"


def test_an_installed_package_is_read_whole_and_alone():
    sources, root = installed_sources("rfc8785._impl")
    assert all(path.startswith("rfc8785/") for path in sources.files)
    assert (root / "rfc8785" / "__init__.py").is_file()
