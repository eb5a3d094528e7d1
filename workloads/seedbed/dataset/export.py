"""Export a dataset as Parquet or WebDataset, one file per shard."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from seedbed.dataset.reader import Dataset
from seedbed.dataset.targets import REGRESSION, decode_targets
from seedbed.storage import Storage
from seedbed_api.errors import UserError, refusal

_PNG = b"\x89PNG"


def export_dataset(
    dataset: Dataset,
    dest: Storage,
    *,
    layout: str,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> int:
    """Write all rows as `parquet` or `webdataset`, verifying them; returns the number of files."""
    if dest.list():
        raise UserError(
            "OutputExists", refusal("DEST", dest.url, "the folder is not empty", "choose another one")
        )
    encode, suffix = {"parquet": (_parquet, "parquet"), "webdataset": (_tar, "tar")}[layout]
    done = 0
    for number, shard in enumerate(dataset.manifest.shards):
        dest.put(f"{shard.split}-{number:05d}.{suffix}", encode(dataset, number))
        done += shard.rows
        progress("exporting", done, dataset.manifest.total)
    document = {"classes": list(dataset.classes), "digest": dataset.digest, "layout": layout}
    if dataset.manifest.task is not None:
        document["task"] = dataset.task
    dest.put("dataset.json", json.dumps(document, indent=1).encode() + b"\n")
    return len(dataset.manifest.shards)


def _rows(dataset: Dataset, number: int) -> Iterator[tuple[bytes, Any, str]]:
    """Yield image, target and id in hex of a shard's rows; each has its digest.

    A target is a class index, a list of label indices, or a list of numbers.
    """
    index = dataset.index(number)
    targets = index.label.tolist()
    if index.target is not None:
        decoded = decode_targets(dataset.task, index.target, len(dataset.classes))
        numbers = dataset.task == REGRESSION
        targets = [row.tolist() if numbers else row.nonzero()[0].tolist() for row in decoded]
    for at, image in dataset.images(number):
        yield image, targets[at], index.id[at].tobytes().hex()


def _parquet(dataset: Dataset, number: int) -> bytes:
    rows = list(_rows(dataset, number))
    targets = [target for _, target, _ in rows]
    table = pa.table(
        {
            "image": pa.array([image for image, _, _ in rows], pa.binary()),
            **_target_columns(dataset, targets),
            "id": pa.array([row_id for _, _, row_id in rows], pa.string()),
        }
    )
    packed = {name: "none" if name == "image" else "zstd" for name in table.column_names}
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression=packed)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _target_columns(dataset: Dataset, targets: list[Any]) -> dict[str, pa.Array]:
    """Return label and class; or labels and their names; or one column of float64 per number."""
    names = dataset.classes
    if dataset.manifest.task is None:
        classes = [names[label] for label in targets]
        return {"label": pa.array(targets, pa.int32()), "class": pa.array(classes, pa.string())}
    if dataset.task == REGRESSION:
        columns = zip(*targets, strict=True)
        return {name: pa.array(values, pa.float64()) for name, values in zip(names, columns, strict=True)}
    words = [[names[label] for label in labels] for labels in targets]
    return {
        "labels": pa.array(targets, pa.list_(pa.int32())),
        "classes": pa.array(words, pa.list_(pa.string())),
    }


def _tar(dataset: Dataset, number: int) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for image, target, row_id in _rows(dataset, number):
            _add(tar, f"{row_id}.{'png' if image.startswith(_PNG) else 'jpg'}", image)
            suffix = "cls" if dataset.manifest.task is None else "json"
            _add(tar, f"{row_id}.{suffix}", json.dumps(target).encode())
    return sink.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # mtime, owner and mode are fixed: equal datasets give equal files
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
