"""Build a dataset from objects of Python: a torch `Dataset`, a Ray Dataset, or any images and labels."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from seedbed.dataset.builder import BuildOptions, BuildResult, OnProgress, build_dataset
from seedbed.dataset.source_listing import DRAWN_SPLIT, SPLIT_CODES, SourceListing
from seedbed.dataset.sources.label_names import BadLabel, LabelNames
from seedbed.dataset.sources.pixel_arrays import png_of, shape_problem
from seedbed.dataset.sources.row_collector import RowCollector, SourceRow
from seedbed.storage import Storage, open_storage
from seedbed_api.errors import UserError, refusal

Rows = Any
"""`__len__` and `__getitem__` as a torch Dataset has, `iter_rows` as one of Ray has, or an iterable."""

_OF_SOURCES = (
    "csv",
    "target",
    "top_folders",
    "source_format",
    "image_column",
    "label_column",
    "split_column",
    "key_column",
    "source_files",
)
"""`group_by` is not one of them: it must be that of a dataset which the rows extend."""


def build_from_rows(
    rows: Rows | Mapping[str, Rows],
    dest: str | Storage,
    *,
    classes: tuple[str, ...] | None = None,
    options: BuildOptions | None = None,
    progress: OnProgress = lambda *_: None,
) -> BuildResult:
    """Build the dataset at `dest` from rows, or from rows by split (`train`, `validation`, `test`).

    A row is a pair of image and label, or a mapping with `image`, `label` and optionally `split` and `group`.
    An image is the bytes of a file, a Pillow image, or pixels: uint8, (H, W), (H, W, C) as NumPy array or
    (C, H, W) as tensor; all but bytes become PNG. Rows are read once, in this process. `classes` names the
    labels that are numbers; default: the attribute `classes` of the rows. `UserError` for bad rows.
    """
    options = options or BuildOptions()
    _require_no_source(options)
    listing = _listing(rows if isinstance(rows, Mapping) else {"": rows}, classes or options.classes)
    opened = open_storage(dest) if isinstance(dest, str) else dest
    place = open_storage("memory://rows")
    return build_dataset(place, opened, options=options, progress=progress, rows=listing)


def _require_no_source(options: BuildOptions) -> None:
    """Refuse options that say where in a SOURCE rows are: nothing would read them."""
    plain = BuildOptions()
    for name in _OF_SOURCES:
        value = getattr(options, name)
        if value != getattr(plain, name):
            fix = "leave it away: rows say image, label, split and group themselves"
            raise UserError("InvalidOption", refusal(name, value, "does not go with rows of Python", fix))


def _listing(splits: Mapping[str, Rows], classes: tuple[str, ...] | None) -> SourceListing:
    first = next(iter(splits.values()), ())
    names = getattr(first, "classes", None)
    names = names if isinstance(names, list | tuple) else None
    odd = next((name for name in names or () if not isinstance(name, str)), None)
    if odd is not None and classes is not None:
        names = None
    elif odd is not None:
        line = refusal("classes", odd, f"of the rows holds a {type(odd).__name__}", "pass classes=(name, …)")
        raise UserError("InvalidSource", line)
    collector = RowCollector(LabelNames(names, chosen=classes))
    for split, rows in splits.items():
        if split and split not in SPLIT_CODES:
            fix = "call the splits train, validation and test"
            raise UserError("InvalidSource", refusal("rows", split, "is no split", fix))
        for number, row in enumerate(_each(rows)):
            place = f"{split or 'row'} {number}"
            try:
                collector.add(_source_row(row, place, SPLIT_CODES[split] if split else DRAWN_SPLIT))
            except BadLabel as error:
                raise _bad(place, f"its label {error}", "pass a class number or name") from None
    return collector.finish()


def _each(rows: Rows) -> Iterator[Any]:
    if hasattr(rows, "iter_rows"):
        return iter(rows.iter_rows())
    if hasattr(rows, "__getitem__") and hasattr(rows, "__len__"):
        return (rows[number] for number in range(len(rows)))
    if isinstance(rows, Iterable):
        return iter(rows)
    raise _bad("rows", f"is a {type(rows).__name__}", "pass a Dataset or an iterable of (image, label)")


def _source_row(row: Any, place: str, split: int) -> SourceRow:
    if isinstance(row, Mapping):
        missing = next((name for name in ("image", "label") if name not in row), None)
        if missing is not None:
            raise _bad(place, f"has no {missing!r}; there are {sorted(map(str, row))}", f"add {missing!r}")
        image, label = row["image"], row["label"]
        named, group = row.get("split"), _plain(row.get("group"))
    elif isinstance(row, tuple | list) and len(row) == 2:
        (image, label), named, group = row, None, None
    else:
        raise _bad(place, f"is a {type(row).__name__}", "pass (image, label), or a mapping with both")
    return SourceRow(
        place=place,
        image=_bytes_of(image, place),
        label=_plain(label),
        split=None if isinstance(named, str) and not named else named,
        file_split=split,
        group=group,
    )


def _plain(label: Any) -> Any:
    """Return a number of NumPy or torch as one of Python."""
    return label.item() if hasattr(label, "item") and getattr(label, "ndim", 1) == 0 else label


def _bytes_of(image: Any, place: str) -> bytes | None:
    if image is None or isinstance(image, bytes):
        return image
    if isinstance(image, Image.Image):
        sink = io.BytesIO()
        image.save(sink, "PNG", compress_level=6)
        return sink.getvalue()
    pixels = np.asarray(image)
    if not isinstance(image, np.ndarray) and pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0)  # a tensor has its channels first
    problem = shape_problem(pixels.shape, pixels.dtype)
    if problem is not None:
        raise _bad(place, f"its image {problem}", "pass the image before it is transformed")
    return png_of(pixels)


def _bad(place: str, problem: str, fix: str) -> UserError:
    return UserError("InvalidSource", refusal("rows", place, problem, fix))
