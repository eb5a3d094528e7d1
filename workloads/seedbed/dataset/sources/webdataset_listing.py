"""List tar files of WebDataset: an image, and a class in `.cls` or in a field of `.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seedbed.dataset.source_listing import SourceListing
from seedbed.dataset.sources.column_options import FLAGS, ColumnOptions
from seedbed.dataset.sources.hugging_face import described_features
from seedbed.dataset.sources.key_check import KeyCheck
from seedbed.dataset.sources.label_names import BadLabel, LabelNames, number_or_text
from seedbed.dataset.sources.row_collector import RowCollector, SourceRow
from seedbed.dataset.sources.stored_file import StoredFile
from seedbed.dataset.sources.table_file import DamagedTable
from seedbed.dataset.sources.tar_samples import SMALL_BYTES, TarSample, read_samples
from seedbed.images.image_conversion import has_image_suffix
from seedbed.storage import Storage
from seedbed_api.errors import UserError, refusal
from seedbed_api.strict_json import parse_json

_LABELS = ("cls", "class", "label")


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
    fields, bad_json = _fields(sample)
    suffix, reason = _image_suffix(sample, columns.image)
    label, bad_label = _label(sample, fields, columns.label)
    named, bad_split = _named(sample, fields, columns.split, role="split")
    group, bad_group = _named(sample, fields, columns.group, role="group")
    return SourceRow(
        place=f"{path}/{sample.key}" + (f".{suffix}" if suffix else ""),
        label=label,
        split=named,
        file_split=split,
        group=group,
        range=(container, *sample.members[suffix]) if suffix is not None else None,
        reason=reason or bad_json or bad_label or bad_split or bad_group,
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


def _fields(sample: TarSample) -> tuple[dict[str, Any], str | None]:
    """Return the fields of the JSON member of a sample, and why it has none where it should."""
    if "json" not in sample.members:
        return {}, None
    data = sample.values.get("json")
    if data is None:
        return {}, f"bad-json: it has {sample.members['json'][1]:,} bytes, more than {SMALL_BYTES:,}"
    try:
        fields = parse_json(data)
    except ValueError as error:
        return {}, f"bad-json: {' '.join(str(error).split())[:200]}"
    if not isinstance(fields, dict):
        return {}, f"bad-json: it holds a {type(fields).__name__}, not fields with names"
    return fields, None


def _named(
    sample: TarSample, fields: dict[str, Any], wanted: str | None, *, role: str
) -> tuple[object, str | None]:
    """Return the split or group of a sample, and why it lacks the one that the user names."""
    if wanted is None:
        return fields.get(role), None
    suffix = wanted.lower().lstrip(".")
    kind = {"split": "unknown-split", "group": "no-group"}[role]
    if suffix in sample.members:
        return _member_text(sample, suffix, kind)
    if wanted in fields:
        return fields[wanted], None
    return None, f"{kind}: the sample has no {wanted}; it has {_there(sample, fields)}"


def _there(sample: TarSample, fields: dict[str, Any]) -> str:
    return ", ".join(sorted({*sample.members, *(f"json: {name}" for name in fields)}))[:200]


def _label(sample: TarSample, fields: dict[str, Any], wanted: str | None) -> tuple[object, str | None]:
    """Return the label of a sample, and why it has none."""
    suffixes = [wanted.lower().lstrip(".")] if wanted else _LABELS
    suffix = next((name for name in suffixes if name in sample.members), None)
    if suffix is not None:
        text, problem = _member_text(sample, suffix, "no-label")
        return (None if text is None else number_or_text(text)), problem
    field = wanted or next((name for name in ("label", "cls", "class") if name in fields), "label")
    if field in fields:
        return fields[field], None
    return None, f"no-label: the sample has no {wanted or 'cls'}; it has {_there(sample, fields)}"


def _member_text(sample: TarSample, suffix: str, kind: str) -> tuple[str | None, str | None]:
    """Return the text of a member, None for an empty one, and why it has none."""
    data = sample.values.get(suffix)
    if data is None:
        return None, f"{kind}: member .{suffix} is an image, or larger than any name"
    try:
        return data.decode().strip() or None, None
    except UnicodeDecodeError:
        return None, f"{kind}: member .{suffix} is no text in UTF-8"
