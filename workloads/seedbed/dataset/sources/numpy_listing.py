"""List arrays of images and labels: `images.npy` beside `labels.npy`, or both in one `.npz`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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
        except FileNotFoundError:
            raise _bad(path, "there is no such file", "correct the name or the pattern") from None
        for name, array in arrays.items():
            whole = f"{path.rpartition('/')[0]}/{name}".lstrip("/")
            if whole in found:
                fix = "put the files into folders of their own, or name one of them as SOURCE"
                raise _bad(array.place, f"has the name of {found[whole].place}", fix)
            found[whole] = array
    return found


def _pairs(arrays: dict[str, StoredArray], columns: ColumnOptions) -> list[_Pair]:
    """Return the images with their labels, by names that are equal but for `images` and `labels`."""
    named = {name: _parts(name) for name in arrays}
    wanted = {"image": _wanted(columns.image, _IMAGES), "label": _wanted(columns.label, _LABELS)}
    images = [name for name, (_, _, base) in named.items() if base in wanted["image"]]
    labels = [name for name, (_, _, base) in named.items() if base in wanted["label"]]
    pairs = []
    for name in images:
        beside = [other for other in labels if named[other][:2] == named[name][:2]]
        if not beside:
            raise missing_column(
                "label", columns.label or "labels", there=list(arrays), where=f"beside {name!r} SOURCE"
            )
        _require_one(beside, "label")
        _require_one([other for other in images if named[other][:2] == named[name][:2]], "image")
        pairs.append(_Pair(images=arrays[name], labels=arrays[beside[0]], split=named[name][1]))
    if not pairs:
        raise missing_column("image", columns.image or "images", there=list(arrays), where="SOURCE")
    for pair in pairs:
        _require_fit(pair)
    _require_paired(labels, pairs, arrays)
    _require_all_splits(pairs)
    return pairs


def _require_one(names: list[str], role: str) -> None:
    if len(names) > 1:
        fix = f"name one of them with {FLAGS[role]}, or move the others away"
        raise _bad(names[0], f"several arrays may be the {role}s: {sorted(names)}", fix)


def _require_paired(labels: list[str], pairs: list[_Pair], arrays: dict[str, StoredArray]) -> None:
    paired = {pair.labels.place for pair in pairs}
    alone = next((arrays[name].place for name in labels if arrays[name].place not in paired), None)
    if alone is not None:
        raise _bad(alone, "holds labels, and no images are beside it", "copy its images, or move it away")


def _require_all_splits(pairs: list[_Pair]) -> None:
    """Refuse arrays whose names say no split beside those that do, as with the names of files."""
    drawn = next((pair for pair in pairs if pair.split == DRAWN_SPLIT), None)
    named = next((pair for pair in pairs if pair.split != DRAWN_SPLIT), None)
    if drawn is not None and named is not None:
        problem = f"its name says no split, and that of {named.images.place} does"
        fix = "rename it, as train_images, or move it away"
        raise UserError("UnclearSplits", refusal("SOURCE", drawn.images.place, problem, fix))


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
            yield SourceRow(place=place, label=next(labels), file_split=pair.split, image=png_of(pixels))
            number += 1


def _labels(array: StoredArray) -> Iterator[Any]:
    for piece in array.rows():
        if array.dtype.kind == "U" and (_code_points(piece) > sys.maxunicode).any():
            raise BadLabel("has numbers that are no characters")
        values = piece.reshape(len(piece)).tolist()
        text = array.dtype.kind == "S"
        yield from (value.decode("utf-8", "surrogateescape") for value in values) if text else values


def _code_points(texts: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    return texts.view(np.dtype(np.uint32).newbyteorder(texts.dtype.byteorder))
