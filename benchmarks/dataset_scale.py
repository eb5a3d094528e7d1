"""CPU time and peak memory of index, order, feed, ledger and verbs as the rows of a dataset grow.

The dataset has real shards of PNG images of 8 x 8 pixels, written by the encoder of builds. Each stage runs
in a process of its own, which reports its CPU seconds and peak resident memory; an empty stage shows what
the libraries take.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from building import chunk
from process_tree import machine

CLASSES, SIDE, LEAVES, LEAF_ROWS, STEPS = 10, 8, 8, 16, 50
ROWS_PER_SHARD = 10_000
STAGES = ("nothing", "open", "index", "order", "feed", "ledger", "diff", "stats", "add")


def png(number: int) -> bytes:
    """Return an image of noise, another one for each number."""
    noise = hashlib.shake_128(str(number).encode()).digest(3 * SIDE * SIDE)
    lines = b"".join(b"\0" + noise[3 * SIDE * line : 3 * SIDE * (line + 1)] for line in range(SIDE))
    size = SIDE.to_bytes(4, "big")
    header = chunk(b"IHDR", size + size + b"\x08\x02\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b"")


def write_dataset(folder: Path, rows: int, *, shard_rows: int = ROWS_PER_SHARD) -> None:
    """Write a dataset, a tenth of it validation, through the same code as the second pass of a build."""
    from seedbed.dataset.dataset_digest import DatasetDigest
    from seedbed.dataset.deduplication import hex_contents, shard_contents
    from seedbed.dataset.file_format import SPLITS, BuildRecipe, Manifest, dump_manifest
    from seedbed.dataset.ingest_passes import ShardTask
    from seedbed.dataset.manifest_reader import version_path
    from seedbed.dataset.shard_io import decode_index
    from seedbed.storage import open_storage

    storage, shards, first, contents = open_storage(str(folder)), [], 0, 0
    classes = tuple(f"class{label}" for label in range(CLASSES))
    digest = DatasetDigest(classes)
    counts = {split: [0] * CLASSES for split in SPLITS}
    for split, stop in (("train", rows * 9 // 10), ("validation", rows)):
        while first < stop:
            size = min(shard_rows, stop - first)
            encoded = encode(first, size)
            task = ShardTask(split=split, number=len(shards), first_row=first, rows=range_table(size))
            shards.append(stored(storage, task, encoded))
            digest.update(split, encoded.row_digests)
            contents += shard_contents(decode_index(encoded.index), split)
            for label in range(CLASSES):
                counts[split][label] += int((encoded.labels == label).sum())
            first += size
    manifest = Manifest(
        schema_version=1,
        version=1,
        parent=None,
        classes=classes,
        counts={split: tuple(found) for split, found in counts.items()},
        recipe=BuildRecipe(
            split={"train": "1"}, image_size=None, encoding="source", group_by=None, pillow="0"
        ),
        contents=hex_contents(contents),
        shards=tuple(shards),
        digest=digest.finish(),
    )
    storage.put(version_path(manifest.digest), dump_manifest(manifest))
    storage.put("manifest.json", dump_manifest(manifest))


def range_table(rows: int) -> Any:
    """Return a table of so many rows, as a planned shard has."""
    import pyarrow as pa

    return pa.table({"row": pa.nulls(rows)})


def encode(first: int, rows: int) -> Any:
    """Encode the images of some rows as a shard."""
    from seedbed.dataset.shard_io import Row, ShardEncoder

    encoder = ShardEncoder(batch_bytes=2 << 20)
    for number in range(first, first + rows):
        image = png(number)
        row_id = hashlib.sha256(image).digest()
        encoder.add(Row(image=image, label=number % CLASSES, id=row_id, key=row_id))
    return encoder.finish()


def stored(storage: Any, task: Any, encoded: Any) -> Any:
    """Store a shard and its index; return its entry in the manifest."""
    from seedbed.dataset.ingest_passes import _shard

    shard = _shard(task, encoded)
    storage.put(shard.path, encoded.data)
    storage.put(shard.index_path, encoded.index)
    return shard


def opened(folder: Path) -> Any:
    """Open the dataset."""
    from seedbed.dataset import open_dataset
    from seedbed.storage import open_storage

    return open_dataset(open_storage(str(folder)))


def nothing(folder: Path) -> None:  # noqa: ARG001 - all stages have one signature
    """Import what the others import."""
    import seedbed.dataset.comparison
    import seedbed.dataset.extension
    import seedbed.dataset.statistics_report
    import seedbed.feed
    import seedbed.order  # noqa: F401


def read_indices(folder: Path) -> None:
    """Count the rows per class: reads and checks all indices."""
    opened(folder).rows_per_class(split="train")


def order_rows(folder: Path) -> None:
    """Compute 50 steps in the middle of the fourth epoch, as after a resume."""
    from seedbed.order import BatchPlan, EpochShuffle

    order = EpochShuffle(seed=1, view=opened(folder).view())
    middle = int(3.5 * order.count) // (LEAVES * LEAF_ROWS)
    plan = BatchPlan(order=order, leaves=LEAVES, leaf_rows=LEAF_ROWS, total_steps=middle + STEPS)
    for step in range(middle, middle + STEPS):
        for leaf in range(LEAVES):
            plan.rows(step, leaf)


def feed_steps(folder: Path) -> None:
    """Read, check and decode 50 steps in the middle of the fourth epoch, as after a resume."""
    from seedbed.feed import StreamSpec
    from seedbed.feed.sample_stream import open_stream

    count = opened(folder).view().count
    middle = int(3.5 * count) // (LEAVES * LEAF_ROWS)
    spec = StreamSpec(
        dataset_url=str(folder),
        digest=None,
        seed=1,
        leaves=LEAVES,
        leaf_rows=LEAF_ROWS,
        total_steps=middle + STEPS,
    )
    stream = open_stream(spec)
    plan = stream.plan()
    for step in range(middle, middle + STEPS):
        for leaf in range(LEAVES):
            stream.micro_batch(plan, step, leaf)


def keep_ledger(folder: Path) -> None:
    """Join and encode the ledger of one epoch in segments of 200 steps, and list the stored segments."""
    import numpy as np

    from seedbed.runs.ledger import CHAIN_START, LedgerBuffer, join_ledger_parts
    from seedbed.storage import open_storage

    count = opened(folder).view().count
    with tempfile.TemporaryDirectory(prefix="scale-") as kept:
        storage, chain, size = open_storage(kept), CHAIN_START, 0
        for first in range(0, count // (LEAVES * LEAF_ROWS), 200):
            buffer = LedgerBuffer()
            for step in range(first, first + 200):
                for leaf in range(LEAVES):
                    buffer.add_leaf(step, leaf, rows_m=np.arange(LEAF_ROWS), digest=bytes(32))
                buffer.add_step(step, loss=1.0, witness=[1, 2, 3])
            segment = join_ledger_parts([buffer.drain()], first=first, leaves=LEAVES, chain_before=chain)
            chain, data = segment.chain, segment.to_bytes()
            storage.put(segment.path, data)
            size += len(data)
        storage.list("ledger")
    print(json.dumps({"bytes": size}))


def compare_rows(folder: Path) -> None:
    """Compare with the same rows in other shards: every row is sorted on disk."""
    from seedbed.dataset.comparison import compare_datasets

    found = compare_datasets(opened(folder), opened(folder.with_name(f"{folder.name}-other")))
    assert not found.counts.total()
    assert found.same_rows == found.a.manifest.total


def measure_rows(folder: Path) -> None:
    """Read all images, and search near-duplicates."""
    from seedbed.dataset.row_statistics import measure_dataset
    from seedbed.dataset.statistics_report import statistics_document

    statistics_document(measure_dataset(opened(folder), distance=3), listed=20)


def add_rows(folder: Path) -> None:
    """Add 100 new rows to a copy that shares the files of the shards."""
    from seedbed.dataset.builder import BuildOptions
    from seedbed.dataset.extension import extend_dataset
    from seedbed.storage import open_storage

    with tempfile.TemporaryDirectory(prefix="scale-", dir=folder.parent) as kept:
        copy = Path(kept) / "data"
        shutil.copytree(folder, copy, copy_function=lambda source, dest: Path(dest).hardlink_to(source))
        for number in range(100):
            file = Path(kept) / "more" / f"class{number % CLASSES}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(10**9 + number))
        options = BuildOptions(parallelism=1, engine="local")
        extend_dataset(open_storage(str(file.parents[1])), open_storage(str(copy)), options=options)


WORK: dict[str, Callable[[Path], object]] = {
    "nothing": nothing,
    "open": opened,
    "index": read_indices,
    "order": order_rows,
    "feed": feed_steps,
    "ledger": keep_ledger,
    "diff": compare_rows,
    "stats": measure_rows,
    "add": add_rows,
}


def run_stage(stage: str, folder: Path) -> None:
    """Run a stage in this process and print what it took."""
    nothing(folder)
    began = time.process_time()
    WORK[stage](folder)
    cpu = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(json.dumps({"cpu": cpu, "peak": peak}))


def measured(stage: str, folder: Path) -> dict[str, float]:
    """Run a stage in another process and return what it printed."""
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = {}
    for line in done.stdout.splitlines():
        found |= json.loads(line)
    return found


def main() -> None:
    """Write the datasets, run the stages and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--stages", nargs="+", default=STAGES)
    chosen = parser.parse_args()
    if chosen.stage:
        run_stage(chosen.stage, chosen.folder)
        return
    print("| rows | stage | CPU s | peak MiB | bytes |\n| ---: | --- | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory(prefix="scale-", dir=chosen.folder) as kept:
        for rows in chosen.rows:
            folder = Path(kept) / str(rows)
            began = time.process_time()
            write_dataset(folder, rows)
            print(f"| {rows:,} | write | {time.process_time() - began:.1f} |  |  |", flush=True)
            if "diff" in chosen.stages:
                write_dataset(folder.with_name(f"{rows}-other"), rows, shard_rows=7_000)
            for stage in chosen.stages:
                found = measured(stage, folder)
                size = f"{found['bytes']:,.0f}" if "bytes" in found else ""
                peak = found["peak"] / (1 << 20)
                print(f"| {rows:,} | {stage} | {found['cpu']:.2f} | {peak:.0f} | {size} |", flush=True)
    print(machine())


if __name__ == "__main__":
    main()
