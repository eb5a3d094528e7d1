"""The images: what the Dockerfiles promise, the archive writer, and the operator's image as it was built."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

import build
import ociarchive
from build import IMAGES, REPOSITORY, CannotBuild, Image

images = pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES.keys())
PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


@images
def test_dockerfiles_pin_their_base_and_run_as_user_1000(image: Image) -> None:
    lines = image.dockerfile.read_text(encoding="utf-8").splitlines()
    (base, *others) = (line.split()[1] for line in lines if line.startswith("FROM "))
    assert re.fullmatch(r"debian:bookworm-slim@sha256:[0-9a-f]{64}", base)
    assert others == ["base", "base"]
    config = build.config(image.dockerfile)
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["seedbed-operator" if image.name == "operator" else "seedbed"]
    assert "PYTHONDONTWRITEBYTECODE=1" in config["Env"]
    assert config["Env"][0].startswith("PATH=/opt/seedbed/bin:")


@images
def test_dockerfiles_copy_what_the_build_without_an_engine_takes(image: Image) -> None:
    copied = re.findall(r"^COPY (.*) /src\S*$", image.dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for line in copied for name in line.split()}
    assert named == {"LICENSE", "README.md", "pyproject.toml", "requirements", *image.packages}
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for name in named - {"requirements"}} <= set(ignored)


@images
def test_images_install_the_versions_that_the_tests_run_on(image: Image) -> None:
    lock = image.lock.read_text(encoding="utf-8")
    tested = dict(PIN.findall((REPOSITORY / "requirements/dev.lock").read_text(encoding="utf-8")))
    pins = dict(PIN.findall(lock))
    assert pins
    assert {name: tested.get(name) for name in pins} == pins
    assert lock.count("--hash=sha256:") >= len(pins)
    assert "://" not in lock, "a lock names no index"


def test_the_operators_image_has_no_torch_and_no_ray() -> None:
    pins = dict(PIN.findall(IMAGES["operator"].lock.read_text(encoding="utf-8")))
    assert not {"torch", "ray", "numpy", "pyarrow"} & pins.keys()
    assert {"kopf", "kubernetes", "pydantic"} <= pins.keys()


@pytest.fixture
def small_root(tmp_path: Path) -> Path:
    """Return a root with every sort of entry."""
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_bytes(b"#!/bin/sh\n")
    (root / "bin/tool").chmod(0o755)
    (root / "bin/alias").symlink_to("tool")
    (root / "bin/twin").hardlink_to(root / "bin/tool")
    (root / "empty").mkdir(mode=0o700)
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text("not this machine's")
    return root


def packed(root: Path, target: Path) -> bytes:
    folders = (
        ociarchive.Folder(path=root, without=frozenset({"proc"})),
        ociarchive.Folder(path=root / "bin", place="opt/tools"),
    )
    target.parent.mkdir(exist_ok=True)
    ociarchive.write_archive(target, name="localhost/a:1", config={"User": "1000:1000"}, folders=folders)
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name], "nothing is left beside it"
    return target.read_bytes()


def test_the_same_files_give_the_same_archive(small_root: Path, tmp_path: Path) -> None:
    first = packed(small_root, tmp_path / "a/image.tar")
    os.utime(small_root / "bin/tool", (1, 1))
    assert packed(small_root, tmp_path / "b/image.tar") == first
    (small_root / "bin/tool").write_bytes(b"#!/bin/sh\ntrue\n")
    assert packed(small_root, tmp_path / "c/image.tar") != first


def blobs(archive: Path) -> dict[str, bytes]:
    """Return the members of an archive by name."""
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


def test_every_digest_of_the_archive_holds(small_root: Path, tmp_path: Path) -> None:
    packed(small_root, tmp_path / "a/image.tar")
    members = blobs(tmp_path / "a/image.tar")
    assert json.loads(members["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for name, content in members.items():
        if name.startswith("blobs/"):
            assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]

    def blob(descriptor):
        content = members["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
        assert len(content) == descriptor["size"]
        return content

    (entry,) = json.loads(members["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/a:1"
    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest["config"]))
    layers = [gzip.decompress(blob(layer)) for layer in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    assert config["config"] == {"User": "1000:1000"}


def test_layers_unpack_to_what_was_packed(small_root: Path, tmp_path: Path) -> None:
    packed(small_root, tmp_path / "a/image.tar")
    root = unpacked(tmp_path / "a/image.tar", tmp_path / "again")
    assert (root / "bin/alias").readlink() == Path("tool")
    assert (root / "bin/twin").samefile(root / "bin/tool")
    assert (root / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert (root / "empty").stat().st_mode & 0o777 == 0o700
    assert (root / "proc").is_dir()
    assert not (root / "proc/cpuinfo").exists()
    assert (root / "opt/tools/tool").read_bytes() == b"#!/bin/sh\n"


def unpacked(archive: Path, root: Path) -> Path:
    """Return a root made of an archive's layers."""
    root.mkdir()
    members = blobs(archive)
    digest = json.loads(members["index.json"])["manifests"][0]["digest"]
    manifest = json.loads(members[f"blobs/sha256/{digest.removeprefix('sha256:')}"])
    for layer in manifest["layers"]:
        file = root.parent / "layer.tar.gz"
        file.write_bytes(members[f"blobs/sha256/{layer['digest'].removeprefix('sha256:')}"])
        subprocess.run(["tar", "-xzpf", str(file), "-C", str(root)], check=True)
    return root


@pytest.fixture(scope="module")
def operator_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the operator's image, built for real and unpacked."""
    try:
        archive = build.built(IMAGES["operator"])
    except CannotBuild as missing:
        pytest.skip(f"not run: {missing}")
    return unpacked(archive, tmp_path_factory.mktemp("image") / "root")


def in_image(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the image would: user 1000, its environment, and a root that cannot be written."""
    env = dict(entry.split("=", 1) for entry in build.config(IMAGES["operator"].dockerfile)["Env"])
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec chroot --userspec=1000:1000 "$0" "$@"'
    return subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            script,
            str(root),
            "/usr/bin/env",
            "-i",
            *(f"{k}={v}" for k, v in env.items()),
            *command,
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_operator_starts_from_a_read_only_root_as_user_1000(operator_root: Path) -> None:
    done = in_image(operator_root, "seedbed-operator", "run", "--help")
    assert done.returncode == 0, done.stderr
    assert "--lease-namespace" in done.stdout
    done = in_image(operator_root, "python3", "-c", "import os; print(os.getuid()); open('/opt/x', 'w')")
    assert done.stdout == "1000\n"
    assert "Read-only file system" in done.stderr


@pytest.mark.slow
def test_the_image_holds_the_operator_and_nothing_to_install_more(operator_root: Path) -> None:
    packages = operator_root / "opt/seedbed/lib/python3.11/site-packages"
    names = {path.name for path in packages.iterdir()}
    assert {"seedbed_operator", "seedbed_api", "kopf", "kubernetes"} <= names
    assert not {"seedbed", "pip", "setuptools", "torch", "ray"} & names
    assert not (operator_root / "opt/seedbed/bin/seedbed").exists()
    assert not any((operator_root / "var/lib/apt/lists").rglob("*"))


@pytest.mark.slow
def test_bytecode_is_there_and_never_looks_at_times(operator_root: Path) -> None:
    for folder in ("opt/seedbed/lib/python3.11/site-packages", "usr/lib/python3.11/asyncio"):
        sources = [path for path in (operator_root / folder).rglob("*.py") if "templates" not in path.parts]
        compiled = [path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc" for path in sources]
        missing = [str(path) for path in compiled if not path.exists()]
        assert len(compiled) > 10
        assert missing == []
        assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\x00\x00\x00"}, "unchecked hash"


@pytest.mark.slow
def test_the_image_is_small(operator_root: Path) -> None:
    size = sum(
        path.lstat().st_size for path in operator_root.rglob("*") if path.is_file() and not path.is_symlink()
    )
    assert size < 350 * 2**20, f"{size / 2**20:.0f} MiB unpacked"
