"""Sources as tables: the rows of a folder of images, for files of Parquet and Arrow."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def rows_of(folder: Path) -> list[dict[str, object]]:
    """Return path, class, split and bytes of every image of a folder of classes, or of splits with classes."""
    rows = []
    for path in sorted(folder.rglob("*.*")):
        *split, name, _ = path.relative_to(folder).parts
        row = {"path": str(path.relative_to(folder)), "label": name, "image": path.read_bytes()}
        rows.append(row | {"split": split[0] if split else None})
    return rows


def hugging_face_metadata(names: list[str]) -> dict[str, str]:
    """Return what `datasets` writes into the metadata of a schema."""
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def table(rows: list[dict[str, object]], **columns: object) -> pa.Table:
    """Return a table with image and label, or with other columns: arrays, or names of a row's values."""
    wanted = columns or {"image": "image", "label": "label"}
    return pa.table(
        {
            name: pa.array([row[of] for row in rows]) if isinstance(of, str) else of
            for name, of in wanted.items()
        }
    )


def structs(rows: list[dict[str, object]]) -> pa.Array:
    """Return the images as a struct of bytes and path."""
    return pa.array([{"bytes": row["image"], "path": row["path"]} for row in rows], STRUCT)


def numbers(rows: list[dict[str, object]], names: list[str]) -> pa.Array:
    """Return the labels as positions in `names`."""
    return pa.array([names.index(str(row["label"])) for row in rows], pa.int64())


def write_parquet(path: Path, rows: pa.Table, **options: object) -> Path:
    """Write a Parquet file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, **options)
    return path
