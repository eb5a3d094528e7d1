"""Export a dataset as Parquet or WebDataset, one file per shard."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet

from seedbed.dataset.reader import Dataset
from seedbed.storage import Storage
from seedbed_api.errors import UserError, refusal

_SCHEMA = pa.schema(
    [("image", pa.binary()), ("label", pa.int32()), ("class", pa.string()), ("id", pa.string())]
)
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
    dest.put("dataset.json", json.dumps(document, indent=1).encode() + b"\n")
    return len(dataset.manifest.shards)


def _rows(dataset: Dataset, number: int) -> Iterator[tuple[bytes, int, str]]:
    """Yield image, label and id in hex of a shard's rows; each has its digest."""
    index = dataset.index(number)
    for at, image in dataset.images(number):
        yield image, int(index.label[at]), index.id[at].tobytes().hex()


def _parquet(dataset: Dataset, number: int) -> bytes:
    rows = list(_rows(dataset, number))
    columns = ([image for image, _, _ in rows], [label for _, label, _ in rows])
    names, ids = [dataset.classes[label] for label in columns[1]], [row_id for _, _, row_id in rows]
    sink = pa.BufferOutputStream()
    table = pa.table([*columns, names, ids], schema=_SCHEMA)
    pa.parquet.write_table(
        table, sink, compression={"label": "zstd", "class": "zstd", "id": "zstd", "image": "none"}
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _tar(dataset: Dataset, number: int) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for image, label, row_id in _rows(dataset, number):
            _add(tar, f"{row_id}.{'png' if image.startswith(_PNG) else 'jpg'}", image)
            _add(tar, f"{row_id}.cls", str(label).encode())
    return sink.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # mtime, owner and mode are fixed: equal datasets give equal files
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
