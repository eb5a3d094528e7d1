"""Small datasets for the feeds, written straight in the dataset's format: many shards, many record batches."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import simplejpeg

from seedbed.dataset.dataset_digest import DatasetDigest
from seedbed.dataset.file_format import BuildRecipe, Manifest, Shard, dump_manifest
from seedbed.dataset.shard_io import Row, ShardEncoder
from seedbed.feed import StreamSpec
from seedbed.storage import Storage, open_storage

RECIPE = BuildRecipe(split={"train": "1"}, image_size=None, encoding="source", group_by=None, pillow="0")


def photo(seed: int, *, width: int = 40, height: int = 32) -> bytes:
    """Return a JPEG with smooth colours and some texture."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3)).repeat(-(-height // 4), 0).repeat(-(-width // 5), 1)
    noisy = coarse[:height, :width] + rng.integers(-9, 9, (height, width, 1))
    return simplejpeg.encode_jpeg(np.ascontiguousarray(noisy.clip(0, 255), dtype=np.uint8), 85)


def write_dataset(
    storage: Storage,
    *,
    rows: dict[str, int],
    shard_rows: int = 10,
    batch_bytes: int = 4000,
    image=photo,
    classes: int = 3,
) -> str:
    """Write a dataset with so many rows per split; return its digest."""
    digest = DatasetDigest([f"class{c}" for c in range(classes)])
    shards: list[Shard] = []
    first = 0
    for split, count in rows.items():
        for start in range(0, count, shard_rows):
            size = min(shard_rows, count - start)
            shards.append(_write_shard(storage, digest, split, first, size, batch_bytes, image, classes))
            first += size
    counts = {split: _counts(shards, split, classes) for split in rows}
    manifest = Manifest(
        schema_version=1,
        version=1,
        parent=None,
        classes=tuple(f"class{c}" for c in range(classes)),
        counts=counts,
        recipe=RECIPE,
        contents="",
        shards=tuple(shards),
        digest=digest.finish(),
    )
    storage.put("manifest.json", dump_manifest(manifest))
    return manifest.digest


def _counts(shards, split, classes):
    numbers = [n for s in shards if s.split == split for n in range(s.first_row, s.first_row + s.rows)]
    return tuple(sum(n % classes == c for n in numbers) for c in range(classes))


def _write_shard(storage, digest, split, first, size, batch_bytes, image, classes) -> Shard:
    encoder = ShardEncoder(batch_bytes=batch_bytes)
    for number in range(first, first + size):
        data = image(number)
        identity = hashlib.sha256(data).digest()
        encoder.add(Row(image=data, label=number % classes, id=identity, key=identity))
    encoded = encoder.finish()
    digest.update(split, encoded.row_digests)
    path = f"shards/{first:06d}.arrow"
    storage.put(path, encoded.data)
    storage.put(path + ".index", encoded.index)
    return Shard(
        path=path,
        split=split,
        first_row=first,
        rows=size,
        bytes=len(encoded.data),
        sha256=hashlib.sha256(encoded.data).hexdigest(),
        batches=encoded.batches,
        index_path=path + ".index",
        index_sha256=hashlib.sha256(encoded.index).hexdigest(),
        rows_sha256=hashlib.sha256(encoded.row_digests).hexdigest(),
    )


def a_stream(url: str | Path, **changes) -> StreamSpec:
    """Return the specification of a stream over a dataset of `write_dataset`."""
    from seedbed.augmentation import HorizontalFlip, RandomResizedCrop

    fields = {
        "dataset_url": str(url),
        "digest": None,
        "seed": 11,
        "leaves": 4,
        "leaf_rows": 3,
        "total_steps": 9,
        "transforms": (RandomResizedCrop(size=16), HorizontalFlip()),
        "window": 2,
        "retry_seconds": 0.0,
    }
    return StreamSpec(**(fields | changes))


def a_dataset(folder: Path, *, train: int = 37, validation: int = 11, **options) -> str:
    """Write a local dataset of a few shards; return its digest."""
    return write_dataset(
        open_storage(str(folder)), rows={"train": train, "validation": validation}, **options
    )
