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
from seedbed.storage import ObjectLimit, ShortRead, Storage
from seedbed_api.errors import UserError, refusal
from seedbed_api.strict_json import parse_json

SUFFIXES = (".mds",)
_INDEX_NAME = "index.json"
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
        shards = _shards(storage, f"{folder}/{_INDEX_NAME}".lstrip("/"))
    except FileNotFoundError:
        raise DamagedTable("there is no index.json beside it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged_index(type(error).__name__) from None
    shard = next((one for one in shards if one["raw_data"]["basename"] == name), None)
    if shard is None:
        raise DamagedTable("index.json beside it does not name it")
    problem = _entry_problem(shard)
    if problem is not None:
        raise _damaged_index(problem)
    return shard


def _shards(storage: Storage, path: str) -> list[dict[str, Any]]:
    """Return the entries of an index. ValueError, KeyError or TypeError where it is none."""
    shards = parse_json(storage.read(path, _INDEX), most_bytes=_INDEX.most_bytes)["shards"]
    if not all(isinstance(one["raw_data"]["basename"], str) for one in shards):
        raise TypeError
    return list(shards)


def _damaged_index(problem: str) -> DamagedTable:
    return DamagedTable(f"index.json beside it is damaged ({problem})")


def _entry_problem(shard: dict[str, Any]) -> str | None:
    """Return what is wrong with the columns of an entry."""
    lists = [shard.get(f"column_{what}") for what in ("names", "encodings", "sizes")]
    names, encodings, sizes = lists
    if shard.get("format") != "mds":
        return f"format {str(shard.get('format'))[:40]!r} instead of 'mds'"
    if not isinstance(names, list) or not isinstance(encodings, list) or not isinstance(sizes, list):
        return "column_names, column_encodings or column_sizes is no list"
    if not len(names) == len(encodings) == len(sizes):
        return f"{len(names)} column_names, {len(encodings)} column_encodings, {len(sizes)} column_sizes"
    if not all(isinstance(text, str) for text in (*names, *encodings)):
        return "a name or an encoding is no text"
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        return f"column {twice[:40]!r} is named twice"
    if not all(size is None or (type(size) is int and size >= 0) for size in sizes):
        return "a size is no whole number"
    return None


def require_all_shards(storage: Storage, paths: Sequence[str]) -> None:
    """Refuse a folder that lacks a shard which its index names; `UserError` names the shard.

    `paths`: all files of the source. An index that is no MDS index, or is damaged, is told where it is read.
    """
    there = frozenset(paths)
    for path in sorted(there):
        folder, _, name = path.rpartition("/")
        if name != _INDEX_NAME:
            continue
        try:
            shards = [one for one in _shards(storage, path) if one.get("format") == "mds"]
        except (ValueError, KeyError, TypeError):
            continue
        for shard in shards:
            wanted = f"{folder}/{shard['raw_data']['basename']}".lstrip("/")
            if wanted in there:
                continue
            packed = next((other for other in there if other.startswith(f"{wanted}.")), None)
            problem = f"{path} names it, and it is not there" + (f", only {packed}" if packed else "")
            fix = "decompress it" if packed else "copy it, or name the files to take by SOURCE/PATTERN"
            raise UserError("InvalidSource", refusal("SOURCE", wanted, problem, fix))


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
        dtype = np.dtype(_NUMBERS[encoding])
        if len(data) != dtype.itemsize:
            raise DamagedTable(f"a value of {encoding} has {len(data)} bytes")
        return np.frombuffer(data, dtype)[0].item()
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
