"""What a build holds in memory does not grow with the number of rows."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from support.datasets.encoded_images import chunk

pytestmark = pytest.mark.slow

FEW, MANY = 2_000, 12_000
BYTES_PER_ROW = 200
"""What each row more may add, noise of allocators included; it was 500 to 600 with pictures of a pixel."""
BUILD = """
import resource, sys
from seedbed.dataset import class_folders, disk_spill
from seedbed.dataset.builder import BuildOptions, build_dataset
from seedbed.storage import open_storage
disk_spill.ROWS_PER_BLOCK = class_folders.ROWS_PER_BLOCK = 512
source, dest, csv = sys.argv[1:]
options = BuildOptions(parallelism=1, engine="local", csv=csv or None, shard_bytes=60_000, batch_bytes=20_000)
build_dataset(open_storage(source), open_storage(dest), options=options)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
"""


def pixel(number: int) -> bytes:
    """Return a PNG of one pixel with a number in it."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + number.to_bytes(3, "big"), 0))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def peak(source: Path, csv: str) -> int:
    """Return the highest resident memory of a build in a process of its own."""
    dest = source.with_name(f"{source.name}-built-{csv}")
    environment = {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    words = [sys.executable, "-c", BUILD, str(source), str(dest), csv]
    done = subprocess.run(words, env=os.environ | environment, check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[-1])


def sources(folder: Path) -> tuple[Path, Path]:
    """Write few and many pictures, as folders and with a CSV file."""
    few, many = folder / "few", folder / "many"
    for top, rows in ((few, FEW), (many, MANY)):
        lines = ["image,label"]
        for number in range(rows):
            path = top / "ab"[number % 2] / f"picture-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pixel(number))
            lines.append(f"{path.relative_to(top)},{path.parent.name}")
        (top / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    return few, many


def test_more_rows_take_no_more_memory(tmp_path: Path) -> None:
    few, many = sources(tmp_path)
    for csv in ("", "rows.csv"):
        growth = peak(many, csv) - peak(few, csv)
        assert growth < BYTES_PER_ROW * (MANY - FEW), (
            f"{growth / (MANY - FEW):.0f} bytes a row, {csv or 'folders'}"
        )
