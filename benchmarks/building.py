"""Peak resident memory and CPU time of dataset builds with a growing number of small images.

Each build runs in a separate process, from folders and from a CSV file; `--against FOLDER` runs the code of
another checkout on the same images, interleaved. Shards of 4 MiB: with the default of 64 MiB, the shard in
memory would be most of the peak.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

from process_tree import machine

ROOT = Path(__file__).parents[1]
SIDE, CLASSES = 16, 10
CODE = """
import json, resource, sys, time
from seedbed.dataset.builder import BuildOptions, build_dataset
from seedbed.storage import open_storage
source, dest, csv, shard_bytes = sys.argv[1:]
options = BuildOptions(parallelism=2, engine="local", csv=csv or None, shard_bytes=int(shard_bytes))
began = time.process_time()
result = build_dataset(open_storage(source), open_storage(dest), options=options)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
print(json.dumps({"digest": result.manifest.digest, "peak": peak, "cpu": time.process_time() - began}))
"""


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(number: int) -> bytes:
    """Return a picture of noise, another one for each number."""
    noise = random.Random(number)
    lines = b"".join(b"\0" + noise.randbytes(3 * SIDE) for _ in range(SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(lines, 1)),
            chunk(b"IEND", b""),
        )
    )


def write_pictures(folder: Path, rows: int) -> None:
    """Write pictures into class folders, and a CSV file that names them."""
    lines = ["image,label"]
    for number in range(rows):
        path = folder / f"class{number % CLASSES}" / f"{number:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
        lines.append(f"{path.relative_to(folder)},{path.parent.name}")
    (folder / "rows.csv").write_text("\n".join(lines), encoding="utf-8")


def build(code: Path, source: Path, dest: Path, *, csv: str, shard_bytes: int) -> dict[str, Any]:
    """Build in a process that runs the code of a checkout."""
    path = os.pathsep.join(str(code / part) for part in ("workloads", "crds"))
    words = [sys.executable, "-c", CODE, str(source), str(dest), csv, str(shard_bytes)]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": path}, check=True, capture_output=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Build everything; returns one row of the page per build."""
    versions = {"this": ROOT} | ({"other": arguments.against.resolve()} if arguments.against else {})
    found = []
    for rows in arguments.rows:
        source = folder / f"pictures-{rows}"
        write_pictures(source, rows)
        for kind, csv in (("folders", ""), ("CSV", "rows.csv")):
            for name, code in versions.items():
                dest = folder / f"{rows}-{kind}-{name}"
                seen = build(code, source, dest, csv=csv, shard_bytes=arguments.shard_mib << 20)
                found.append({"rows": rows, "source": kind, "version": name} | seen)
                print(json.dumps(found[-1]), flush=True)
        assert len({row["digest"] for row in found if row["rows"] == rows}) == 1, "one digest"
    return found


def page(found: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """Return the page as Markdown."""
    lines = [
        "| source | rows | version | peak MiB | CPU s | dataset |",
        "| --- | ---: | --- | ---: | ---: | --- |",
    ]
    for row in sorted(found, key=lambda row: (row["source"] == "CSV", row["version"], row["rows"])):
        peak, digest = row["peak"] >> 20, row["digest"][7:15]
        cells = (row["source"], f"{row['rows']:,}", row["version"], peak, f"{row['cpu']:.1f}", f"`{digest}`")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    rows = " ".join(map(str, arguments.rows))
    against = " --against OTHER" if arguments.against else ""
    return f"""# Memory of a dataset build

This page shows how much memory a dataset build needs.
`python benchmarks/building.py --rows {rows} --shard-mib {arguments.shard_mib}{against}` builds PNG images of
{SIDE} x {SIDE} pixels in {CLASSES} classes with two threads of a separate process and measures the peak of
resident memory, libraries included. *other* is the version that kept
metadata in memory; both write the same bytes.

{chr(10).join(lines)}

A build holds some of the metadata and one shard in memory, for any number of rows. The default
`--shard-bytes` of 64 MiB adds about 130 MiB from the first full shard. A CSV file is held as text.

{machine()}
"""


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--shard-mib", type=int, default=4)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results" / "building.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seedbed-building-") as folder:
        arguments.page.write_text(page(measure(arguments, Path(folder)), arguments), encoding="utf-8")


if __name__ == "__main__":
    main()
