"""Write folders as an OCI image archive, without a container engine; the same input gives the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

Json = dict[str, Any]
EPOCH = 1577836800
"""2020-01-01, the time of every file: some tools fail on older times."""
_MEDIA = "application/vnd.oci.image"


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """A folder that becomes a layer at a path in the image, without the names in `without`."""

    path: Path
    place: str = ""
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """A blob of the archive, in a file beside it until it is written."""

    media_type: str
    file: Path
    digest: str
    diff_id: str = ""

    def descriptor(self) -> Json:
        """Return how other blobs refer to it."""
        size = self.file.stat().st_size
        return {"mediaType": self.media_type, "digest": f"sha256:{self.digest}", "size": size}


def write_archive(target: Path, *, name: str, config: Json, folders: Sequence[Folder]) -> str:
    """Write an image of one layer per folder; return the digest of its manifest."""
    aside = target.parent
    layers = [write_layer(folder, aside / f"layer-{n}.building") for n, folder in enumerate(folders)]
    image = json_blob(aside, f"{_MEDIA}.config.v1+json", image_config(config, layers))
    manifest = json_blob(aside, f"{_MEDIA}.manifest.v1+json", image_manifest(image, layers))
    index = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.index.v1+json",
        "manifests": [{**manifest.descriptor(), "annotations": _names(name)}],
    }
    blobs = {blob.digest: blob.file for blob in (*layers, image, manifest)}
    _write_tar(target, blobs, {"index.json": index, "oci-layout": {"imageLayoutVersion": "1.0.0"}})
    for file in blobs.values():
        file.unlink()
    return f"sha256:{manifest.digest}"


def image_config(config: Json, layers: Sequence[Blob]) -> Json:
    """Return the image's configuration: how it runs, and its layers as unpacked."""
    return {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "created": "2020-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers]},
    }


def image_manifest(config: Blob, layers: Sequence[Blob]) -> Json:
    """Return the image's manifest."""
    return {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    }


def write_layer(folder: Folder, file: Path) -> Blob:
    """Write a folder as a compressed layer, in the order of names, with one time for all."""
    with file.open("wb") as raw:
        packed = _Hashing(raw)
        with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=6, mtime=0) as stream:  # type: ignore[arg-type]
            plain = _Hashing(stream)
            with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
                _add_folder(tar, folder)
    media_type = f"{_MEDIA}.layer.v1.tar+gzip"
    return Blob(media_type=media_type, file=file, digest=packed.hexdigest(), diff_id=plain.hexdigest())


def json_blob(aside: Path, media_type: str, content: Json) -> Blob:
    """Write a JSON document as a blob."""
    data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    file = aside / f"{digest}.building"
    file.write_bytes(data)
    return Blob(media_type=media_type, file=file, digest=digest)


class _Hashing:
    """An output stream that hashes what is written."""

    def __init__(self, target: IO[bytes] | gzip.GzipFile) -> None:
        self._target, self._hash = target, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._target.write(data)

    def flush(self) -> None:
        self._target.flush()

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _names(name: str) -> dict[str, str]:
    return {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}


def _add_folder(tar: tarfile.TarFile, folder: Folder) -> None:
    for part in _parents(folder.place):
        tar.addfile(_entry(part, 0o755))
    links: dict[tuple[int, int], str] = {}
    for path, name in _walk(folder):
        info = tar.gettarinfo(path, arcname=name)
        state = path.lstat()
        if state.st_nlink > 1 and stat.S_ISREG(state.st_mode):
            first = links.setdefault((state.st_dev, state.st_ino), info.name)
            info.type, info.linkname = (
                (tarfile.REGTYPE, "") if first == info.name else (tarfile.LNKTYPE, first)
            )
            info.size = state.st_size if first == info.name else 0
        info.mtime, info.uname, info.gname = EPOCH, "", ""
        with path.open("rb") if info.isreg() else io.BytesIO() as content:
            tar.addfile(info, content)


def _walk(folder: Folder) -> Iterator[tuple[Path, str]]:
    """Yield the entries below a folder, sorted, with their names in the image, without devices."""
    for root, folders, files in os.walk(folder.path):
        folders.sort()
        inside = os.path.relpath(root, folder.path)
        base = Path(folder.place) / ("" if inside == "." else inside)
        kept = [name for name in folders if str(base / name) not in folder.without]
        for name in sorted((*folders, *files)):
            path = Path(root) / name
            if path.is_symlink() or path.is_dir() or path.is_file():
                yield path, str(base / name)
        folders[:] = kept


def _parents(place: str) -> list[str]:
    parts = Path(place).parts
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _entry(name: str, mode: int, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.REGTYPE if size else tarfile.DIRTYPE
    info.mode, info.size, info.mtime = mode, size, EPOCH
    return info


def _write_tar(target: Path, blobs: dict[str, Path], documents: dict[str, Json]) -> None:
    aside = target.with_suffix(".building")
    with tarfile.open(aside, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(documents.items()):
            data = json.dumps(content, sort_keys=True).encode()
            tar.addfile(_entry(name, 0o644, len(data)), io.BytesIO(data))
        for name in ("blobs", "blobs/sha256"):
            tar.addfile(_entry(name, 0o755))
        for digest, file in sorted(blobs.items()):
            with file.open("rb") as content:
                tar.addfile(_entry(f"blobs/sha256/{digest}", 0o644, file.stat().st_size), content)
    aside.replace(target)
