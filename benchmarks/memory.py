"""Resident memory of both feeds while they stream a dataset ten times larger than their cache.

The dataset is local and treated as remote: range reads through the bounded cache, each delayed like a read
from an object store. Memory must depend on caches and prefetch, not on the dataset.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from process_tree import machine, private_bytes

ROOT = Path(__file__).parents[1]
MIB = 1 << 20
LEAVES, BATCH, SIDE = 8, 16, 96
DELAY_SECONDS = 0.02


def write_dataset(folder: Path, mebibytes: int) -> None:
    """Write a dataset of about so many MiB of JPEGs: a few hundred photos, each made unlike by a trailer."""
    import simplejpeg

    from seedbed.dataset.builder import BuildOptions, build_dataset
    from seedbed.storage import open_storage

    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (32, 320, 320, 3), dtype=np.uint8)
    photos = [simplejpeg.encode_jpeg(np.ascontiguousarray(picture), 60) for picture in noise // 2]
    for name in ("even", "odd"):
        (folder / "images" / name).mkdir(parents=True)
    for number in range(mebibytes * MIB // len(photos[0])):
        comment = hashlib.sha256(str(number).encode()).digest()
        photo = photos[number % len(photos)]
        marked = photo[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + photo[2:]
        (folder / "images" / ("even", "odd")[number % 2] / f"{number}.jpg").write_bytes(marked)
    options = BuildOptions(split="train=1", engine="local", shard_bytes=8 * MIB, batch_bytes=MIB)
    build_dataset(
        open_storage(str(folder / "images")), open_storage(str(folder / "dataset")), options=options
    )
    shutil.rmtree(folder / "images")


def stream(kind: str, folder: Path, cache_bytes: int, epochs: int) -> None:
    """Stream epochs through one feed and print a JSON line every so often."""
    from seedbed.augmentation import RandomResizedCrop
    from seedbed.dataset import open_dataset
    from seedbed.feed import StreamSpec, open_feed
    from seedbed.order import total_steps
    from seedbed.storage import LocalStorage, open_storage

    prompt = LocalStorage.read_range

    def slow(self: LocalStorage, path: str, start: int, length: int) -> bytes:
        time.sleep(DELAY_SECONDS)
        return prompt(self, path, start, length)

    LocalStorage.read_range = slow  # type: ignore[method-assign]
    if kind == "RayData":
        import ray

        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            num_cpus=2,
            object_store_memory=300 * MIB,
        )
    count = open_dataset(open_storage(str(folder / "dataset"))).manifest.total
    steps = total_steps(epochs=epochs, count=count, leaves=LEAVES, leaf_rows=BATCH)
    cache = folder / f"cache-{kind}"
    shutil.rmtree(cache, ignore_errors=True)
    spec = StreamSpec(
        dataset_url=str(folder / "dataset"),
        digest=None,
        seed=1,
        leaves=LEAVES,
        leaf_rows=BATCH,
        total_steps=steps,
        window=2,
        transforms=(RandomResizedCrop(size=SIDE),),
        read_in_place=False,
        cache_folder=cache,
        cache_bytes=cache_bytes,
    )
    start = time.monotonic()
    with open_feed(kind, spec, leaves=range(LEAVES), steps=range(steps)) as batches:  # type: ignore[arg-type]
        for number, _ in enumerate(batches):
            if number % max(1, steps * LEAVES // 10) == 0:
                _print_sample(number * BATCH, time.monotonic() - start, cache)
    _print_sample(steps * LEAVES * BATCH, time.monotonic() - start, cache)
    sys.stdout.flush()
    os._exit(0)


def _print_sample(images: int, seconds: float, cache: Path) -> None:
    held = sum(file.stat().st_size for file in cache.glob("[ea]*/**/*") if file.is_file())
    sample = {"images": images, "seconds": seconds, "cache": held} | private_bytes()
    print("SAMPLE " + json.dumps(sample), flush=True)


def report(samples: dict[str, list[dict[str, Any]]], *, dataset: int, cache: int, rows: int) -> str:
    """Return the Markdown page."""
    lines = [
        "# Memory of the feeds",
        "",
        "This page shows that memory does not grow with the dataset.",
        f"`python benchmarks/memory.py`: {rows} JPEGs, {dataset / MIB:.0f} MiB, streamed through a cache of",
        f"at most {cache / MIB:.0f} MiB, each range read delayed by {DELAY_SECONDS * 1000:.0f} ms. Private",
        "memory is that of the whole process tree (with Ray's processes), shared memory its largest mapping",
        "(libraries, object store).",
        "",
    ]
    for kind, taken in samples.items():
        lines += [f"## Feed {kind}", "", "| images | s | private MiB | shared MiB | cache MiB |"]
        lines.append("| --- | --- | --- | --- | --- |")
        for one in taken:
            sizes = " | ".join(f"{one[name] / MIB:.0f}" for name in ("private", "shared", "cache"))
            lines.append(f"| {one['images']} | {one['seconds']:.1f} | {sizes} |")
        lines.append("")
    lines.append(machine())
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the dataset, stream it through both feeds, each in its own process, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench-memory")
    parser.add_argument("--mebibytes", type=int, default=320)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--one", choices=["Local", "RayData"])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "memory.md")
    options = parser.parse_args()
    cache = options.mebibytes * MIB // 10
    if options.one:
        stream(options.one, options.folder, cache, options.epochs)
    if not (options.folder / "dataset").exists():
        write_dataset(options.folder, options.mebibytes)
    samples = {kind: _samples(kind, options) for kind in ("Local", "RayData")}
    shards = json.loads((options.folder / "dataset" / "manifest.json").read_text())["shards"]
    total = sum(shard["bytes"] for shard in shards)
    page = report(samples, dataset=total, cache=cache, rows=sum(shard["rows"] for shard in shards))
    options.output.write_text(page)
    print(page)


def _samples(kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    command = [sys.executable, __file__, "--one", kind, "--folder", str(options.folder)]
    command += ["--mebibytes", str(options.mebibytes), "--epochs", str(options.epochs)]
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | quiet, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("SAMPLE ")]
    assert lines, done.stderr[-2000:]
    return [json.loads(line.removeprefix("SAMPLE ")) for line in lines]


if __name__ == "__main__":
    main()
