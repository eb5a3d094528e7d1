"""List tar files of WebDataset: an image, and a class in `.cls` or in a field of `.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from seedbed.dataset.source_listing import SourceListing
from seedbed.dataset.sources.column_options import FLAGS, ColumnOptions
from seedbed.dataset.sources.hugging_face import described_features
from seedbed.dataset.sources.key_check import KeyCheck
from seedbed.dataset.sources.label_names import BadLabel, LabelNames
from seedbed.dataset.sources.row_collector import RowCollector, SourceRow
from seedbed.dataset.sources.stored_file import StoredFile
from seedbed.dataset.sources.table_file import DamagedTable
from seedbed.dataset.sources.tar_samples import TarSample, read_samples
from seedbed.images.image_conversion import has_image_suffix
from seedbed.storage import Storage
from seedbed_api.errors import UserError, refusal

_LABELS = ("cls", "class", "label")
_NUMBER_DIGITS = 18


def list_webdataset(
    storage: Storage,
    paths: Sequence[str],
    *,
    columns: ColumnOptions,
    classes: tuple[str, ...] | None,
    splits: Sequence[int],
    ignored: int = 0,
) -> SourceListing:
    """List the samples of tar files, whose splits have these codes; `UserError` for bad ones."""
    if columns.key is not None:
        fix = "leave it away: the keys are those of the members"
        raise UserError(
            "InvalidOption", refusal(FLAGS["key"], columns.key, "does not go with tar files", fix)
        )
    names, _ = described_features(storage)
    labels = LabelNames(names.get("label"), chosen=classes)
    collector = RowCollector(labels, grouped=columns.group is not None)
    keys = KeyCheck("SOURCE")
    for path, split in zip(paths, splits, strict=True):
        container = collector.add_container(StoredFile(storage=storage, path=path))
        for sample in _samples(storage, path):
            keys.add(f"{path}/{sample.key}", path)
            _add(collector, _row(sample, path, container, split, columns), columns)
    keys.require_unique()
    return collector.finish(ignored=ignored)


def _samples(storage: Storage, path: str) -> Any:
    try:
        yield from read_samples(storage, path, is_image=_is_image)
    except DamagedTable as error:
        fix = "write or copy it again, or move it away"
        raise UserError("InvalidSource", refusal("SOURCE", path, str(error), fix)) from None
    except FileNotFoundError:
        line = refusal("SOURCE", path, "there is no such file", "correct the name or the pattern")
        raise UserError("InvalidSource", line) from None


def _add(collector: RowCollector, row: SourceRow, columns: ColumnOptions) -> None:
    try:
        collector.add(row)
    except BadLabel as error:
        fix = f"name the member or the field of the class with {FLAGS['label']}"
        problem = f"the value of {row.place} {error}"
        raise UserError(
            "InvalidSource", refusal(FLAGS["label"], columns.label or "cls", problem, fix)
        ) from None


def _is_image(suffix: str) -> bool:
    return has_image_suffix(f"x.{suffix}")


def _row(sample: TarSample, path: str, container: int, split: int, columns: ColumnOptions) -> SourceRow:
    fields = _fields(sample)
    suffix, reason = _image_suffix(sample, columns.image)
    label, bad_label = _label(sample, fields, columns.label)
    named = fields.get(columns.split or "split")
    return SourceRow(
        place=f"{path}/{sample.key}" + (f".{suffix}" if suffix else ""),
        label=label,
        split=named if isinstance(named, str) else split,
        group=fields.get(columns.group or "group"),
        range=(container, *sample.members[suffix]) if suffix is not None else None,
        reason=reason or bad_label,
    )


def _image_suffix(sample: TarSample, wanted: str | None) -> tuple[str | None, str | None]:
    images = [suffix for suffix in sample.members if _is_image(suffix)]
    if wanted is not None:
        suffix = wanted.lower().lstrip(".")
        found = suffix in sample.members
        return (suffix, None) if found else (None, f"missing-file: the sample has no member .{suffix}")
    if len(images) == 1:
        return images[0], None
    if not images:
        return None, f"missing-file: the sample has no image; it has {', '.join(sorted(sample.members))}"
    return None, f"several-images: {', '.join(sorted(images))}; name one with {FLAGS['image']}"


def _fields(sample: TarSample) -> dict[str, Any]:
    """Return the fields of the JSON member of a sample."""
    try:
        fields = json.loads(sample.values["json"])
    except (KeyError, ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _label(sample: TarSample, fields: dict[str, Any], wanted: str | None) -> tuple[object, str | None]:
    """Return the label of a sample, and why it has none."""
    suffix = next((name for name in ([wanted] if wanted else _LABELS) if name in sample.members), None)
    if suffix is not None:
        return _text_value(sample.values.get(suffix))
    field = wanted or next((name for name in ("label", "cls", "class") if name in fields), "label")
    if field in fields:
        return fields[field], None
    there = sorted({*sample.members, *(f"json: {name}" for name in fields)})
    return None, f"no-label: the sample has no {wanted or 'cls'}; it has {', '.join(there)[:200]}"


def _text_value(data: bytes | None) -> tuple[object, str | None]:
    if data is None:
        return None, "no-label: the label is larger than any name"
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        return None, "no-label: the label is no text in UTF-8"
    digits = text.removeprefix("-")
    number = digits.isascii() and digits.isdigit() and len(digits) <= _NUMBER_DIGITS
    return (int(text) if number else text or None), None
