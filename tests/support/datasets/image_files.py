"""Builders of sources for the dataset tests: real files in a folder, small enough for hundreds of builds."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from seedbed.dataset.builder import BuildOptions, BuildResult, build_dataset
from seedbed.dataset.reader import Dataset, open_dataset
from seedbed.storage import open_storage


def pixels(seed: int, *, height: int = 6, width: int = 8, channels: int = 3) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, kind, **options)
    return sink.getvalue()


def png(seed: int, **shape: int) -> bytes:
    return encoded(Image.fromarray(pixels(seed, **shape)))


def jpeg(seed: int, **options: object) -> bytes:
    return encoded(Image.fromarray(pixels(seed, height=24, width=24)), "JPEG", **options)


def png_16_bit_rgb() -> bytes:
    """Pillow cannot write 16-bit RGB, and reads it as 8 bits: the file is put together by hand."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    rows = zlib.compress((b"\0" + bytes(range(12))) * 2)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def two_classes(folder: Path, *, per_class: int = 20, first_seed: int = 0) -> Path:
    files = {
        f"{name}/{number}.png": png(first_seed + 1000 * label + number)
        for label, name in enumerate(("cat", "dog"))
        for number in range(per_class)
    }
    return write_files(folder, files)


def build(source: Path, dest: Path, **options: object) -> BuildResult:
    wanted = {"parallelism": 1, "shard_bytes": 2_000, "batch_bytes": 500} | options
    return build_dataset(open_storage(str(source)), open_storage(str(dest)), options=BuildOptions(**wanted))


def opened(folder: Path) -> Dataset:
    """Return the built dataset of a folder."""
    return open_dataset(open_storage(str(folder)))
