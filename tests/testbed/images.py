"""Container images without a builder: a few files in a docker archive, the programs mounted from this machine."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nseedbed:x:1000:1000:seedbed:/tmp:/bin/sh\n",
    "etc/group": "root:x:0:\nseedbed:x:1000:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image that nodes of the testbed hold; there is no registry."""

    name: str
    """Such as `localhost/seedbed-workload:testbed`."""
    archive: Path

    @property
    def repository(self) -> str:
        """The name without its tag."""
        return self.name.rpartition(":")[0]


def write_image(
    folder: Path,
    name: str,
    *,
    command: Sequence[str],
    files: Mapping[str, bytes] | None = None,
    folders: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Image:
    """Write a docker archive of one layer; `files` are executable."""
    assert name.startswith("localhost/")
    layer = _layer({**{path: text.encode() for path, text in ACCOUNTS.items()}, **(files or {})}, folders)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Cmd": list(command),
            "Env": [f"{key}={value}" for key, value in (environment or {}).items()],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.tar"
    with tarfile.open(archive, "w") as tar:
        _add(tar, "config.json", json.dumps(config).encode())
        _add(tar, "layer.tar", layer)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return Image(name=name, archive=archive)


def _layer(files: Mapping[str, bytes], folders: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in sorted({"etc", "tmp", *folders}):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        for name, content in sorted(files.items()):
            _add(tar, name, content)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))
