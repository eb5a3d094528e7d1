"""Cost of decoding an image, of reading one that another run has decoded, and of storing one for others.

Per image, as a stream serves it: bytes read in place, decoded, resized. Every reader applies the rest of the
recipe (flips, colours), so it is left out. Then two runs in lockstep, in separate processes, over the same
images: CPU time and decodes of both. All times are CPU time, and only the fastest quarter of leaves of 16
images counts, to reduce the effect of other work on the machine.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from process_tree import machine
from seedbed.augmentation import RandomResizedCrop, Resize
from seedbed.dataset.builder import BuildOptions, build_dataset
from seedbed.feed import StreamSpec, open_stream
from seedbed.feed.io_counters import IO_COUNTERS
from seedbed.storage import open_storage

LEAF = 16
TRAIN: dict[str, tuple[str, int, int, tuple[Any, ...]]] = {
    "32 x 32 JPEG, as it is": ("jpg", 32, 32, ()),
    "32 x 32 PNG, as it is": ("png", 32, 32, ()),
    "224 x 224 JPEG, as it is": ("jpg", 224, 224, ()),
    "256 x 256 JPEG, RandomResizedCrop 224": ("jpg", 256, 256, (RandomResizedCrop(size=224),)),
    "500 x 375 JPEG, RandomResizedCrop 224": ("jpg", 500, 375, (RandomResizedCrop(size=224),)),
    "500 x 375 JPEG, Resize 224": ("jpg", 500, 375, (Resize(size=224),)),
}


def photo(kind: str, width: int, height: int, seed: int) -> bytes:
    """Return a picture with smooth colours and some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    pixels = (smooth + rng.integers(-6, 7, (height, width, 1))).clip(0, 255).astype(np.uint8)
    if kind == "jpg":
        return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), 85)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def a_spec(
    folder: Path, kind: str, size: tuple[int, int], transforms: tuple[Any, ...], count: int
) -> StreamSpec:
    """Write a dataset of so many pictures and return the stream of one epoch."""
    for number in range(count):
        target = folder / "images" / "ab"[number % 2] / f"{number}.{kind}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(photo(kind, *size, number))
    options = BuildOptions(split="train=1", engine="local")
    build_dataset(open_storage(str(folder / "images")), open_storage(str(folder / "data")), options=options)
    return StreamSpec(
        dataset_url=str(folder / "data"),
        digest=None,
        seed=1,
        leaves=1,
        leaf_rows=LEAF,
        total_steps=count // LEAF,
        transforms=transforms,
        shared=True,
    )


def read(spec: StreamSpec) -> list[float]:
    """Return the CPU seconds per picture of one thread that reads an epoch, leaf by leaf."""
    stream = open_stream(spec)
    plan = stream.plan()
    for step in range(2):  # indices are read, the first batch is verified
        stream.micro_batch(plan, step, 0)
    seconds = []
    for step in range(2, spec.total_steps):
        start = time.thread_time()
        stream.micro_batch(plan, step, 0)
        seconds.append((time.thread_time() - start) / LEAF)
    return seconds


def alone(spec: StreamSpec, repeats: int) -> dict[str, float]:
    """Return microseconds by the ways to get a picture, measured in turn."""
    read(spec)
    seconds: dict[str, list[float]] = {"decoded": [], "decoded and kept": [], "read": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            cached = replace(spec, cache_folder=Path(folder))
            for way, one in (("decoded", spec), ("decoded and kept", cached), ("read", cached)):
                seconds[way] += read(one)
    return {way: 1e6 * quantiles(values, n=4)[0] for way, values in seconds.items()}


def follow(spec: StreamSpec, start: Any, results: Any) -> None:
    """Read an epoch when all are ready."""
    stream = open_stream(spec)
    plan = stream.plan()
    start.wait()
    IO_COUNTERS.drain()
    used = time.process_time()
    for step in range(spec.total_steps):
        stream.micro_batch(plan, step, 0)
    results.put((time.process_time() - used, IO_COUNTERS.drain().decodes))


def in_lockstep(spec: StreamSpec, runs: int = 2) -> tuple[float, int]:
    """Return the CPU seconds and the decodes of some runs together."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(runs), context.Queue()
    processes = [context.Process(target=follow, args=(spec, start, results)) for _ in range(runs)]
    for process in processes:
        process.start()
    told = [results.get() for _ in processes]
    for process in processes:
        process.join()
    used, decodes = zip(*told, strict=True)
    return sum(used), sum(decodes)


def report(name: str, spec: StreamSpec, repeats: int) -> str:
    """Return a row of the table."""
    each = alone(spec, repeats)
    pairs: dict[str, list[tuple[float, int]]] = {"apart": [], "together": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            pairs["apart"].append(in_lockstep(spec))
            pairs["together"].append(in_lockstep(replace(spec, cache_folder=Path(folder))))
    cells = [f"{each[way]:.0f}" for way in ("decoded", "decoded and kept", "read")]
    for values in pairs.values():
        used, decodes = (median(column) for column in zip(*values, strict=True))
        cells.append(f"{used:.2f} s, {decodes:.0f}")
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(machine() + "\n")
    print(
        "| pictures | decoded, µs | decoded and kept, µs | read, µs | two runs: CPU, decodes | with a cache |"
    )
    print("| --- | ---: | ---: | ---: | --- | --- |")
    for name, (kind, width, height, transforms) in TRAIN.items():
        folder = Path(tempfile.mkdtemp(prefix="seedbed-bench-"))
        try:
            print(
                report(
                    name, a_spec(folder, kind, (width, height), transforms, options.pictures), options.repeats
                )
            )
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
