"""What it costs to compare each image with its row digest, each time it is read.

The feed Local reads JPEG photos and small PNG images in place, with and without the comparison; the rest of a
step is that of `determinism.py`. Every measurement is a separate process, repetitions are interleaved, CPU
seconds are those of the process. `--against CHECKOUT` also measures the feed of another checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LEAVES, EPOCHS = 8, 3
CASES = {"photos (JPEG), crop to 96 px": ("photos", 96, 16), "PNG of 32 px": ("small", 32, 16)}
STEPS = {"photos": ("resnet18", 96), "small": ("simple-cnn", 32)}


def prepare(folder: Path) -> None:
    """Write the photos of `loader.py` and two datasets of them."""
    from loader import write_images
    from seedbed.dataset.builder import BuildOptions, build_dataset
    from seedbed.storage import open_storage

    write_images(folder / "images", Fraction(1, 4))
    for name, size in (("photos", None), ("small", 32)):
        options = BuildOptions(split="train=1", engine="local", image_size=size, shard_bytes=16 << 20)
        build_dataset(open_storage(str(folder / "images")), open_storage(str(folder / name)), options=options)


def measure_feed(folder: Path, *, side: int, leaf_rows: int, checked: bool) -> dict[str, float]:
    """Return CPU seconds per image of some epochs after a first one."""
    from seedbed.augmentation import HorizontalFlip, RandomResizedCrop
    from seedbed.dataset import open_dataset
    from seedbed.feed import StreamSpec, open_feed
    from seedbed.feed.shard_index_cache import ImageLocation
    from seedbed.order import total_steps
    from seedbed.storage import open_storage

    if not checked:
        ImageLocation.holds = lambda _self, _image: True  # type: ignore[method-assign]
    count = open_dataset(open_storage(str(folder))).manifest.total
    epoch = total_steps(epochs=1, count=count, leaves=LEAVES, leaf_rows=leaf_rows)
    spec = StreamSpec(
        dataset_url=str(folder),
        digest=None,
        seed=5,
        leaves=LEAVES,
        leaf_rows=leaf_rows,
        total_steps=100 * epoch,
        transforms=(RandomResizedCrop(size=side), HorizontalFlip()),
    )
    seen, began = 0, 0.0
    with open_feed("Local", spec, leaves=range(LEAVES), steps=range((1 + EPOCHS) * epoch)) as batches:
        for number, batch in enumerate(batches):
            if number == epoch * LEAVES:
                began = time.process_time()
            seen += len(batch.pixels_mhwc) * (number >= epoch * LEAVES)
    return {"cpu": (time.process_time() - began) / seen}


def measure_step(model: str, side: int) -> dict[str, float]:
    """Return CPU seconds per image of forward, backward, reduction and update."""
    from seedbed.environment.environment_pins import pin_environment

    pin_environment(os.environ)
    from determinism import Workload, our_steps
    from seedbed.arithmetic.subtree_exchange import SingleProcessExchange
    from seedbed.arithmetic.torch_determinism import enforce_determinism

    enforce_determinism(threads=1)
    workload = Workload(model=model, pixels=side, leaf_rows=16, leaves=2, steps=2)
    run = our_steps(workload, SingleProcessExchange())
    run(1)
    began = time.process_time()
    run(workload.steps)
    return {"cpu": (time.process_time() - began) / (workload.steps * workload.leaves * workload.leaf_rows)}


def in_process(work: dict[str, Any], checkout: Path = ROOT) -> float:
    """Run one measurement in a process of its own, with the sources of a checkout."""
    paths = os.pathsep.join(str(checkout / name) for name in ("workloads", "crds"))
    command = [sys.executable, __file__, "--measure", json.dumps(work)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout.splitlines()[-1])["cpu"])


def report(folder: Path, repetitions: int, against: Path | None) -> Iterator[str]:
    """Yield the table: a line per dataset and variant."""
    yield "| dataset | variant | CPU ms per image of the feed | CPU ms per image of the rest | of a step |"
    yield "| --- | --- | --- | --- | --- |"
    for case, (name, side, leaf_rows) in CASES.items():
        model, pixels = STEPS[name]
        work = {"folder": str(folder / name), "side": side, "leaf_rows": leaf_rows}
        variants: dict[str, tuple[dict[str, Any], Path]] = {
            "compared each time": (work | {"checked": True}, ROOT),
            "never compared": (work | {"checked": False}, ROOT),
        }
        if against is not None:
            variants["the checkout before"] = (work | {"checked": True}, against)
        taken: dict[str, list[float]] = {variant: [] for variant in variants}
        rest: list[float] = []
        for repetition in range(repetitions):
            names = list(variants)
            for variant in names[repetition % len(names) :] + names[: repetition % len(names)]:
                taken[variant].append(1000 * in_process(*variants[variant]))
            rest.append(1000 * in_process({"model": model, "pixels": pixels}))
        yield from _lines(f"{case}, {model}", taken, statistics.median(rest))


def _lines(case: str, taken: dict[str, list[float]], rest: float) -> Iterator[str]:
    bare = statistics.median(taken["never compared"])
    for variant, values in taken.items():
        middle = statistics.median(values)
        spread = f"{middle:.3f} [{min(values):.3f}–{max(values):.3f}]"
        share = 100 * (middle - bare) / (bare + rest)
        yield f"| {case} | {variant} | {spread} | {rest:.3f} | {share:+.2f} % |"


def main() -> None:
    """Measure, print the table, and write it into the page with --write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        work = options.measure
        if "model" in work:
            print(json.dumps(measure_step(work["model"], work["pixels"])))
        else:
            folder = Path(work.pop("folder"))
            print(json.dumps(measure_feed(folder, **work)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for line in report(Path(folder), options.repetitions, options.against):
            print(line, flush=True)


if __name__ == "__main__":
    main()
