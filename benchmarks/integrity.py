"""What it costs to compare each image with its row digest, each time it is read.

CPU time of one thread, per image: the comparison, all of the feed (read in place, decode, augment), and the
rest of a step as `determinism.py` runs it (forward, backward, reduction, update).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from seedbed.environment.environment_pins import pin_environment

pin_environment(os.environ)  # read when torch is imported

# ruff: noqa: E402
import numpy as np

from determinism import Workload, our_steps
from loader import write_images
from seedbed.arithmetic.subtree_exchange import SingleProcessExchange
from seedbed.arithmetic.torch_determinism import enforce_determinism
from seedbed.augmentation import HorizontalFlip, RandomResizedCrop
from seedbed.dataset.builder import BuildOptions, build_dataset
from seedbed.feed import StreamSpec
from seedbed.feed.batch_reader import read_image
from seedbed.feed.sample_stream import SampleStream, open_stream
from seedbed.storage import open_storage

CASES = {"photos, cropped to 96 px": ("photos", "resnet18", 96), "PNG of 32 px": ("small", "simple-cnn", 32)}


def prepare(folder: Path) -> None:
    """Write the photos of `loader.py`, fewer of them, and two datasets of them."""
    write_images(folder / "images", Fraction(1, 12))
    for name, size in (("photos", None), ("small", 32)):
        options = BuildOptions(split="train=1", engine="local", image_size=size, shard_bytes=16 << 20)
        build_dataset(open_storage(str(folder / "images")), open_storage(str(folder / name)), options=options)


def opened(folder: Path, side: int) -> SampleStream:
    """Open a stream without caches."""
    spec = StreamSpec(
        dataset_url=str(folder),
        digest=None,
        seed=5,
        leaves=1,
        leaf_rows=16,
        total_steps=10**6,
        transforms=(RandomResizedCrop(size=side), HorizontalFlip()),
    )
    return open_stream(spec)


def measured(work: Callable[[int], object], *, images: int, repetitions: int) -> list[float]:
    """Return the CPU microseconds of this thread per image, once per repetition, after a first one."""
    taken = []
    for repetition in range(repetitions + 1):
        began = time.thread_time()
        work(repetition)
        taken.append(1e6 * (time.thread_time() - began) / images)
    return taken[1:]


def report(folder: Path, repetitions: int) -> Iterator[str]:
    """Yield the table: a line per dataset."""
    yield "| images | mean size | comparison, µs | feed, µs | rest of a step, µs | of the feed | of a step |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for case, (name, model, side) in CASES.items():
        stream = opened(folder / name, side)
        rows = np.arange(stream.dataset.manifest.total)
        places = stream.indices.locate(rows)
        images = [read_image(stream.dataset, stream.renderer._batches, place) for place in places]
        pairs = list(zip(places, images, strict=True))
        size = sum(map(len, images)) / len(images)
        compare = measured(
            lambda _, pairs=pairs: [place.holds(image) for place, image in pairs],  # type: ignore[misc]
            images=len(rows),
            repetitions=repetitions,
        )
        feed = measured(
            lambda epoch, stream=stream, rows=rows: stream.images(  # type: ignore[misc]
                rows, np.full_like(rows, epoch), stream.spec.transforms
            ),
            images=len(rows),
            repetitions=repetitions,
        )
        steps = our_steps(
            Workload(model=model, pixels=side, leaf_rows=16, leaves=2, steps=1), SingleProcessExchange()
        )
        rest = measured(lambda _, steps=steps: steps(1), images=32, repetitions=repetitions)  # type: ignore[misc]
        one, of_feed, of_rest = map(statistics.median, (compare, feed, rest))
        figures = [f"{statistics.median(v):.1f} [{min(v):.1f}–{max(v):.1f}]" for v in (compare, feed, rest)]
        bare = of_feed - one
        shares = f"{100 * one / bare:.1f} % | {100 * one / (bare + of_rest):.2f} %"
        yield f"| {case}; {model} | {size:.0f} B | {' | '.join(figures)} | {shares} |"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where the datasets of an earlier measurement are kept")
    options = parser.parse_args()
    enforce_determinism(threads=1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "small").exists():
            prepare(folder)
        for line in report(folder, options.repetitions):
            print(line, flush=True)


if __name__ == "__main__":
    main()
