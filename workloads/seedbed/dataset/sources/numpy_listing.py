"""List arrays of images and labels: `images.npy` beside `labels.npy`, or both in one `.npz`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seedbed.dataset.source_listing import DRAWN_SPLIT, SPLIT_CODES, SourceListing
from seedbed.dataset.sources.column_options import FLAGS, ColumnOptions, missing_column
from seedbed.dataset.sources.label_names import BadLabel, LabelNames
from seedbed.dataset.sources.numpy_arrays import StoredArray, arrays_of
from seedbed.dataset.sources.pixel_arrays import png_of, shape_problem
from seedbed.dataset.sources.row_collector import RowCollector, SourceRow
from seedbed.dataset.sources.table_file import DamagedTable
from seedbed.storage import Storage
from seedbed_api.errors import UserError, refusal

_IMAGES = ("images", "image", "x", "data")
_LABELS = ("labels", "label", "y", "targets")
_SPLIT = re.compile(r"^(train|validation|val|test)[_-]|[_-](train|validation|val|test)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pair:
    images: StoredArray
    labels: StoredArray
    split: int


def list_numpy(
    storage: Storage,
    paths: Sequence[str],
    *,
    columns: ColumnOptions,
    classes: tuple[str, ...] | None,
    ignored: int = 0,
) -> SourceListing:
    """List the rows of arrays; `UserError` for arrays that do not fit each other."""
    for role in ("split", "group", "key"):
        value = getattr(columns, role)
        if value is not None:
            line = refusal(FLAGS[role], value, "does not go with arrays of NumPy", "leave it away")
            raise UserError("InvalidOption", line)
    collector = RowCollector(LabelNames(chosen=classes))
    for pair in _pairs(_arrays(storage, paths), columns):
        try:
            for row in _rows(pair):
                collector.add(row)
        except DamagedTable as error:
            raise _bad(pair.images.place, str(error), "write or copy it again") from None
        except BadLabel as error:
            raise _bad(pair.labels.place, f"a label {error}", "save whole numbers or names") from None
    return collector.finish(ignored=ignored)


def _bad(place: str, problem: str, fix: str) -> UserError:
    return UserError("InvalidSource", refusal("SOURCE", place, problem, fix))


def _arrays(storage: Storage, paths: Sequence[str]) -> dict[str, StoredArray]:
    found: dict[str, StoredArray] = {}
    for path in paths:
        try:
            arrays = arrays_of(storage, path)
        except DamagedTable as error:
            raise _bad(path, str(error), "write or copy it again, or move it away") from None
        for name, array in arrays.items():
            folder = path.rpartition("/")[0]
            found[f"{folder}/{name}".lstrip("/")] = array
    return found


def _pairs(arrays: dict[str, StoredArray], columns: ColumnOptions) -> list[_Pair]:
    """Return the images with their labels, by names that are equal but for `images` and `labels`."""
    named = {name: _parts(name) for name in arrays}
    wanted = {"image": _wanted(columns.image, _IMAGES), "label": _wanted(columns.label, _LABELS)}
    images = [name for name, (_, _, base) in named.items() if base in wanted["image"]]
    pairs = []
    for name in images:
        where, split, _ = named[name]
        labels = [
            n for n, (w, s, base) in named.items() if (w, s) == (where, split) and base in wanted["label"]
        ]
        if len(labels) != 1:
            raise missing_column(
                "label", columns.label or "labels", there=list(arrays), where=f"beside {name!r} SOURCE"
            )
        pairs.append(_Pair(images=arrays[name], labels=arrays[labels[0]], split=split))
    if not pairs:
        raise missing_column("image", columns.image or "images", there=list(arrays), where="SOURCE")
    for pair in pairs:
        _require_fit(pair)
    return pairs


def _wanted(option: str | None, names: tuple[str, ...]) -> tuple[str, ...]:
    return names if option is None else (option.lower(),)


def _parts(name: str) -> tuple[str, int, str]:
    """Return folder, split and the rest of an array's name."""
    folder, _, last = name.rpartition("/")
    match = _SPLIT.search(last)
    if match is not None:
        code = SPLIT_CODES[(match[1] or match[2]).lower()]
        return folder, code, _SPLIT.sub("", last).lower()
    code = SPLIT_CODES.get(folder.rpartition("/")[2].lower(), DRAWN_SPLIT)
    return folder, code, last.lower()


def _require_fit(pair: _Pair) -> None:
    images, labels = pair.images, pair.labels
    problem = shape_problem(images.shape[1:], images.dtype)
    if problem is not None:
        fix = "save an array of shape (rows, height, width, channels) and type uint8"
        raise _bad(images.place, problem, fix)
    if labels.dtype.kind not in "iuUSfb":
        raise _bad(
            labels.place, f"has values of type {labels.dtype}, not numbers or text", "save class numbers"
        )
    if labels.shape != (labels.shape[0],) and labels.shape[1:] != (1,):
        fix = "save one number per row, for example by argmax of one-hot rows"
        raise _bad(labels.place, f"has shape {labels.shape}, not ({images.shape[0]},)", fix)
    if labels.shape[0] != images.shape[0]:
        fix = "save one label for each image"
        raise _bad(labels.place, f"has {labels.shape[0]} rows, and {images.place} has {images.shape[0]}", fix)


def _rows(pair: _Pair) -> Iterator[SourceRow]:
    labels = _labels(pair.labels)
    number = 0
    for piece in pair.images.rows():
        for pixels in piece:
            place = f"{pair.images.place}, row {number}"
            yield SourceRow(place=place, label=next(labels), split=pair.split, image=png_of(pixels))
            number += 1


def _labels(array: StoredArray) -> Iterator[Any]:
    for piece in array.rows():
        values = np.char.decode(piece, "utf-8") if array.dtype.kind == "S" else piece
        yield from values.reshape(len(piece)).tolist()
