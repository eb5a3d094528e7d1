"""Speed of loaders: both feeds against plain Ray Data and a tuned torch DataLoader.

The same JPEG bytes, the same random resized crop and flip, batches of 16. Every measurement is a separate
process, repetitions are interleaved, CPU seconds are those of the whole process tree. The first epoch is a
warm-up.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from process_tree import cpu_seconds, machine

SIDE, BATCH, LEAVES = 96, 16, 8
SEED = 5
ROOT = Path(__file__).parents[1]


def write_images(folder: Path, share: Fraction) -> None:
    """Draw plant-like photos with the sizes of the seedlings set as JPEG, one folder per species."""
    spec = importlib.util.spec_from_file_location(
        "seedlings", ROOT / "examples/seedlings/generate_seedlings.py"
    )
    assert spec is not None
    assert spec.loader is not None
    seedlings = importlib.util.module_from_spec(spec)
    sys.modules["seedlings"] = seedlings
    spec.loader.exec_module(seedlings)
    for label, (name, species) in enumerate(seedlings.SPECIES.items()):
        (folder / name).mkdir(parents=True)
        for number in range(int(species.count * share)):
            plant = seedlings.plant(species, np.random.default_rng([SEED, label, number]), Fraction(1))
            plant.save(folder / name / f"{number}.jpg", quality=90)


def write_forms(folder: Path) -> None:
    """Write the same bytes as a dataset of ours and as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from seedbed.dataset.builder import BuildOptions, build_dataset
    from seedbed.storage import open_storage

    options = BuildOptions(split="train=1", engine="local", shard_bytes=16 << 20, batch_bytes=1 << 20)
    build_dataset(
        open_storage(str(folder / "images")), open_storage(str(folder / "dataset")), options=options
    )
    files = sorted((folder / "images").glob("*/*.jpg"))
    classes = sorted({file.parent.name for file in files})
    rows = [{"image": file.read_bytes(), "label": classes.index(file.parent.name)} for file in files]
    (folder / "parquet").mkdir()
    for part in range(8):
        table = pa.Table.from_pylist(
            rows[part::8], pa.schema([("image", pa.binary()), ("label", pa.int64())])
        )
        pq.write_table(table, folder / "parquet" / f"{part}.parquet", row_group_size=64)


def _augment(pixels: Any, row: int, epoch: int) -> Any:
    from seedbed.augmentation import HorizontalFlip, RandomResizedCrop, apply

    return apply((RandomResizedCrop(size=SIDE), HorizontalFlip()), pixels, seed=SEED, epoch=epoch, row=row)


def _start_ray() -> None:
    import ray

    ray.init(
        address="local", include_dashboard=False, log_to_driver=False, object_store_memory=1 << 30, num_cpus=2
    )
    ray.data.DataContext.get_current().enable_progress_bars = False


def feed(kind: str) -> Callable[[Path], Callable[[int], Iterator[int]]]:
    """Return the loader of one of our feeds."""

    def prepare(folder: Path) -> Callable[[int], Iterator[int]]:
        from seedbed.augmentation import HorizontalFlip, RandomResizedCrop
        from seedbed.dataset import open_dataset
        from seedbed.feed import StreamSpec, open_feed
        from seedbed.order import total_steps
        from seedbed.storage import open_storage

        if kind == "RayData":
            _start_ray()
        url = str(folder / "dataset")
        count = open_dataset(open_storage(url)).manifest.total
        steps = total_steps(epochs=100, count=count, leaves=LEAVES, leaf_rows=BATCH)
        spec = StreamSpec(
            dataset_url=url,
            digest=None,
            seed=SEED,
            leaves=LEAVES,
            leaf_rows=BATCH,
            total_steps=steps,
            transforms=(RandomResizedCrop(size=SIDE), HorizontalFlip()),
        )

        def run(epochs: int) -> Iterator[int]:
            span = range(total_steps(epochs=epochs, count=count, leaves=LEAVES, leaf_rows=BATCH))
            with open_feed(kind, spec, leaves=range(LEAVES), steps=span) as batches:  # type: ignore[arg-type]
                for batch in batches:
                    yield len(batch.pixels_mhwc)

        return run

    return prepare


def ray_images(folder: Path) -> Callable[[int], Iterator[int]]:
    """Plain Ray Data: read_images, then map_batches."""
    import ray

    _start_ray()

    def augment(batch: dict[str, Any]) -> dict[str, Any]:
        pixels = [_augment(np.ascontiguousarray(image), row, 0) for row, image in enumerate(batch["image"])]
        return {"image": np.stack(pixels)}

    def run(epochs: int) -> Iterator[int]:
        for _ in range(epochs):
            files = ray.data.read_images(str(folder / "images"), mode="RGB", shuffle="files")
            data = files.map_batches(augment, batch_size=BATCH)
            for batch in data.iter_batches(batch_size=BATCH, prefetch_batches=4):
                yield len(batch["image"])

    return run


def ray_parquet(folder: Path) -> Callable[[int], Iterator[int]]:
    """Plain Ray Data: read_parquet, then map_batches that decodes with libjpeg-turbo."""
    import ray

    _start_ray()

    def augment(batch: dict[str, Any]) -> dict[str, Any]:
        import simplejpeg

        images = [simplejpeg.decode_jpeg(image) for image in batch["image"]]
        return {"image": np.stack([_augment(pixels, row, 0) for row, pixels in enumerate(images)])}

    def run(epochs: int) -> Iterator[int]:
        for _ in range(epochs):
            files = ray.data.read_parquet(str(folder / "parquet"), shuffle="files")
            data = files.map_batches(augment, batch_size=BATCH)
            for batch in data.iter_batches(batch_size=BATCH, prefetch_batches=4):
                yield len(batch["image"])

    return run


class Files:
    """A map-style dataset over files, decoded with libjpeg-turbo."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted((folder / "images").glob("*/*.jpg"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> Any:
        import simplejpeg

        return np.ascontiguousarray(_augment(simplejpeg.decode_jpeg(self.files[row].read_bytes()), row, 0))


class PillowFiles(Files):
    """The same, decoded with Pillow, as most tutorials do."""

    def __getitem__(self, row: int) -> Any:
        from PIL import Image

        image = Image.open(io.BytesIO(self.files[row].read_bytes())).convert("RGB")
        return np.ascontiguousarray(_augment(np.asarray(image), row, 0))


def torch_loader(kind: type[Files]) -> Callable[[Path], Callable[[int], Iterator[int]]]:
    """Return a torch DataLoader with persistent workers."""

    def prepare(folder: Path) -> Callable[[int], Iterator[int]]:
        from torch.utils.data import DataLoader

        loader: Any = DataLoader(
            kind(folder),  # type: ignore[arg-type]
            batch_size=BATCH,
            shuffle=True,
            num_workers=2,
            persistent_workers=True,
            prefetch_factor=4,
        )

        def run(epochs: int) -> Iterator[int]:
            for _ in range(epochs):
                for batch in loader:
                    yield len(batch)

        return run

    return prepare


LOADERS: dict[str, Callable[[Path], Callable[[int], Iterator[int]]]] = {
    "Seedbed, feed Local (2 threads)": feed("Local"),
    "Seedbed, feed RayData (2 tasks)": feed("RayData"),
    "Ray Data read_images + map_batches": ray_images,
    "Ray Data read_parquet + map_batches (libjpeg-turbo)": ray_parquet,
    "torch DataLoader, 2 persistent workers (libjpeg-turbo)": torch_loader(Files),
    "torch DataLoader, 2 persistent workers (Pillow)": torch_loader(PillowFiles),
}
BASE = "Ray Data read_images + map_batches"


def measure(name: str, folder: Path, epochs: int) -> None:
    """Warm up for an epoch, measure, print one JSON line."""
    run = LOADERS[name](folder)
    assert sum(run(1)) > 0
    cpu, start = cpu_seconds(), time.perf_counter()
    images = sum(run(epochs))
    figures = {"images": images, "seconds": time.perf_counter() - start, "cpu": cpu_seconds() - cpu}
    print("FIGURES " + json.dumps(figures), flush=True)
    os._exit(0)  # Ray takes seconds to end; it goes with its parent


def _in_process(name: str, folder: Path, epochs: int) -> dict[str, float] | None:
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder), "--epochs", str(epochs)]
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | quiet, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    if not lines:
        print(f"{name} failed: {done.stderr[-2000:]}", file=sys.stderr)
        return None
    return dict(json.loads(lines[-1].removeprefix("FIGURES ")))


def report(results: dict[str, list[dict[str, float]]], *, epochs: int, images: int, pixels: str) -> str:
    """Return the Markdown page of a benchmark."""
    per_cpu = {name: [run["images"] / run["cpu"] for run in runs] for name, runs in results.items()}
    per_second = {name: [run["images"] / run["seconds"] for run in runs] for name, runs in results.items()}
    base = statistics.median(per_cpu[BASE])
    lines = [
        "# Speed of loaders",
        "",
        "This page compares how fast loaders deliver decoded, augmented images.",
        f"`make bench-loader`: {images} plant-like JPEGs ({pixels}), random resized crop to {SIDE} px, flip,",
        f"batches of {BATCH}, {epochs} epochs after a warm-up epoch,",
        f"n = {len(per_cpu[BASE])}, interleaved; medians, range in brackets.",
        "",
        "| loader | images per CPU-second | ratio | images per second |",
        "| --- | --- | --- | --- |",
    ]
    for name in sorted(results, key=lambda name: -statistics.median(per_cpu[name])):
        ratio = statistics.median(per_cpu[name]) / base
        lines.append(f"| {name} | {_spread(per_cpu[name])} | {ratio:.2f} | {_spread(per_second[name])} |")
    lines += [
        "",
        "The ratio is relative to plain Ray Data `read_images`. The feeds decode a JPEG at 1/2, 1/4 or 1/8",
        "scale if the crop allows it; the other loaders decode in full. The feeds also verify bytes and keep",
        "an order. The machine was shared: CPU seconds are more reliable than images per second.",
        "",
        machine(),
    ]
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} [{min(values):.0f}–{max(values):.0f}]"


def _pixels(folder: Path) -> str:
    from PIL import Image

    sides = sorted(max(Image.open(file).size) for file in (folder / "images").glob("*/*.jpg"))
    return f"{sides[0]} to {sides[-1]} px, median {sides[len(sides) // 2]}"


def main() -> None:
    """Write images, measure every loader in turn, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench-loader")
    parser.add_argument("--share", type=Fraction, default=Fraction(1, 10), help="share of the 5,539 images")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--one", choices=list(LOADERS))
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "loader.md")
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.folder, options.epochs)
    if not (options.folder / "parquet").exists():
        write_images(options.folder / "images", options.share)
        write_forms(options.folder)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in LOADERS}
    for _ in range(options.repetitions):
        for name, runs in results.items():
            figures = _in_process(name, options.folder, options.epochs)
            print(f"{name}: {figures}", file=sys.stderr, flush=True)
            runs.extend([figures] if figures else [])
    failed = [name for name, runs in results.items() if not runs]
    assert not failed, f"never succeeded: {failed}"
    images = len(list((options.folder / "images").glob("*/*.jpg")))
    page = report(results, epochs=options.epochs, images=images, pixels=_pixels(options.folder))
    options.output.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
