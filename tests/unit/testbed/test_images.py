"""Images without a builder: what a container runtime will read from the archive."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from testbed.images import write_image


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {each.name: tar.extractfile(each) for each in tar.getmembers() if each.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


def test_the_manifest_names_a_config_whose_layer_digest_is_right(tmp_path: Path) -> None:
    image = write_image(tmp_path, "localhost/tiny:1", command=["/run"], files={"run": b"program"})
    outer = members(image.archive.read_bytes())
    (manifest,) = json.loads(outer["manifest.json"])
    config = json.loads(outer[manifest["Config"]])
    (layer,) = (outer[name] for name in manifest["Layers"])
    assert manifest["RepoTags"] == ["localhost/tiny:1"]
    assert config["config"]["Cmd"] == ["/run"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert members(layer)["run"] == b"program"


def test_the_user_of_restricted_pods_has_a_name(tmp_path: Path) -> None:
    image = write_image(tmp_path, "localhost/tiny:1", command=["/run"])
    layer = members(members(image.archive.read_bytes())["layer.tar"])
    assert b"seedbed:x:1000:1000" in layer["etc/passwd"]


def test_equal_content_is_an_equal_archive(tmp_path: Path) -> None:
    one = write_image(tmp_path / "a", "localhost/tiny:1", command=["/run"], files={"b": b"1", "a": b"2"})
    two = write_image(tmp_path / "b", "localhost/tiny:1", command=["/run"], files={"a": b"2", "b": b"1"})
    assert one.archive.read_bytes() == two.archive.read_bytes()
