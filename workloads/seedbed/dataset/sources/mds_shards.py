"""Shards of MosaicML (MDS) as tables: `index.json` says the columns, and offsets where each sample lies."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from seedbed.dataset.sources.pixel_arrays import png_of, shape_problem
from seedbed.dataset.sources.storage_file import open_file
from seedbed.dataset.sources.table_file import DamagedTable, TableFile
from seedbed.storage import ObjectLimit, OversizedObject, ShortRead, Storage
from seedbed_api.strict_json import parse_json

SUFFIXES = (".mds",)
_INDEX = ObjectLimit(kind="the index of MDS shards", most_bytes=256 << 20)
_MOST_SAMPLE_BYTES = 1 << 30
_ROWS = 64
_NUMBERS = {
    **{f"{kind}{bits}": f"<{kind[0]}{bits // 8}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    "int": "<i8",
}
_BYTES = ("bytes", "jpeg", "png")
_PIXELS = ("pil",)
_IMAGES = ("jpeg", "png", "pil")


def open_mds(storage: Storage, path: str) -> TableFile:
    """Open a shard; reads the index beside it. Raises DamagedTable."""
    shard = _entry(storage, path)
    names, encodings = shard["column_names"], shard["column_encodings"]
    known = {name: _type(encoding) for name, encoding in zip(names, encodings, strict=True)}
    schema = pa.schema([(name, kind) for name, kind in known.items() if kind is not None])
    return TableFile(
        path=path,
        schema=schema,
        read=lambda columns: _tables(storage, path, shard, schema, columns),
        image_columns=tuple(n for n, e in zip(names, encodings, strict=True) if e.startswith(_IMAGES)),
    )


def _entry(storage: Storage, path: str) -> dict[str, Any]:
    """Return what the index says of a shard."""
    folder, _, name = path.rpartition("/")
    try:
        index = parse_json(
            storage.read(f"{folder}/index.json".lstrip("/"), _INDEX), most_bytes=_INDEX.most_bytes
        )
        shard = next(one for one in index["shards"] if one["raw_data"]["basename"] == name)
        names, encodings, sizes = (shard[f"column_{what}"] for what in ("names", "encodings", "sizes"))
        zip(names, encodings, sizes, strict=True)
        assert shard["format"] == "mds"
        assert all(isinstance(text, str) for text in (*names, *encodings))
        assert all(size is None or (isinstance(size, int) and size >= 0) for size in sizes)
    except FileNotFoundError:
        raise DamagedTable("there is no index.json beside it") from None
    except StopIteration:
        raise DamagedTable("index.json beside it does not name it") from None
    except (ValueError, KeyError, TypeError, AssertionError, RecursionError, OversizedObject) as error:
        raise DamagedTable(f"index.json beside it is damaged ({type(error).__name__})") from None
    return dict(shard)


def _type(encoding: str) -> pa.DataType | None:
    """Return the type of a column; None for one that is not read, as it is pickled, for example."""
    if encoding in _NUMBERS:
        return pa.int64() if "int" in encoding else pa.float64()
    if encoding == "str":
        return pa.string()
    return pa.binary() if encoding in _BYTES or encoding in _PIXELS else None


def _tables(
    storage: Storage, path: str, shard: dict[str, Any], schema: pa.Schema, columns: list[str]
) -> Iterator[pa.Table]:
    wanted = pa.schema([schema.field(name) for name in columns])
    samples = _samples(storage, path, shard)
    while rows := list(islice(samples, _ROWS)):
        try:
            yield pa.table(
                [pa.array([row[n] for row in rows], wanted.field(n).type) for n in columns], wanted
            )
        except (pa.ArrowException, OverflowError) as error:
            raise DamagedTable(f"it holds a value that does not fit its column ({error})") from None


def _samples(storage: Storage, path: str, shard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    try:
        file = open_file(storage, path)
    except FileNotFoundError:
        fix = "it is compressed" if shard.get("zip_data") else "it is missing"
        raise DamagedTable(fix) from None
    (count,) = struct.unpack("<I", _read(file, 4))
    if count != shard.get("samples"):
        raise DamagedTable(f"it has {count} samples, and index.json says {shard.get('samples')}")
    at = 4
    for start in range(0, count, 4096):
        take = min(4096, count - start)
        file.seek(at + 4 * start)
        offsets = np.frombuffer(_read(file, 4 * (take + 1)), "<u4").astype(np.int64)
        file.seek(int(offsets[0]))
        for length in np.diff(offsets).tolist():
            if not 0 <= length <= _MOST_SAMPLE_BYTES:
                raise DamagedTable(f"a sample has {length:,} bytes")
            yield _decoded(_read(file, length), shard)


def _read(file: Any, size: int) -> bytes:
    try:
        data: bytes = file.read(size)
    except ShortRead:
        data = b""
    if len(data) < size:
        raise DamagedTable("it is truncated")
    return data


def _decoded(data: bytes, shard: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a sample: the lengths of columns without a fixed size come first."""
    sizes: Sequence[int | None] = shard["column_sizes"]
    at, row = 4 * sum(size is None for size in sizes), {}
    if len(data) < at:
        raise DamagedTable("a sample is shorter than its lengths")
    lengths = iter(struct.unpack(f"<{at // 4}I", data[:at]))
    for name, encoding, size in zip(shard["column_names"], shard["column_encodings"], sizes, strict=True):
        length = next(lengths) if size is None else size
        value = data[at : at + length]
        if len(value) < length:
            raise DamagedTable(f"column {name!r} of a sample is longer than the sample")
        row[name] = _value(encoding, value)
        at += length
    return row


def _value(encoding: str, data: bytes) -> Any:
    if encoding in _NUMBERS:
        found = np.frombuffer(data, _NUMBERS[encoding])
        if len(found) != 1:
            raise DamagedTable(f"a value of {encoding} has {len(data)} bytes")
        return found[0].item()
    read: Callable[[bytes], Any] | None = {"str": _text, "pil": _picture}.get(encoding)
    return read(data) if read is not None else data


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DamagedTable("a text is not UTF-8") from None


def _picture(data: bytes) -> bytes:
    """Return the PNG of raw pixels: width, height, length of the mode, mode, rows."""
    if len(data) < 12:
        raise DamagedTable("an image is shorter than its header")
    width, height, length = struct.unpack("<3I", data[:12])
    mode, raw = data[12 : 12 + length], data[12 + length :]
    channels = {b"L": 1, b"RGB": 3, b"RGBA": 4}.get(mode)
    if channels is None:
        raise DamagedTable(f"an image has mode {mode[:20]!r}; L, RGB and RGBA are read")
    problem = shape_problem((height, width, channels), np.dtype(np.uint8))
    if problem is not None or len(raw) != width * height * channels:
        raise DamagedTable(problem or "an image has another number of bytes than pixels")
    return png_of(np.frombuffer(raw, np.uint8).reshape(height, width, channels))
