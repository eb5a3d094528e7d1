"""What data sets of Hugging Face say of their columns: in schemas, in `dataset_info.json` and in cards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import yaml

from seedbed.storage import ObjectLimit, OversizedObject, Storage
from seedbed_api.strict_json import parse_json

_DOCUMENT = ObjectLimit(kind="the description of a data set", most_bytes=4 << 20)
Features = tuple[dict[str, tuple[str, ...]], tuple[str, ...]]
"""Class names by column, and the image columns."""
_NOTHING: Features = ({}, ())


def features_of_schema(schema: pa.Schema) -> Features:
    """Return what `datasets` writes into the metadata of a schema."""
    try:
        info = parse_json((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return _NOTHING
    return _features(info)


def described_features(storage: Storage) -> Features:
    """Return what files beside the rows say: of Hugging Face, or of an export of Seedbed."""
    for name, parse in (
        ("dataset.json", _of_export),
        ("dataset_info.json", _of_info),
        ("README.md", _of_card),
    ):
        try:
            found = parse(storage.read(name, _DOCUMENT))
        except (FileNotFoundError, OversizedObject, ValueError, yaml.YAMLError, RecursionError):
            continue
        if found[0]:
            return found
    return _NOTHING


def _of_export(data: bytes) -> Features:
    document = parse_json(data)
    if not isinstance(document, dict) or not {"classes", "digest", "layout"} <= document.keys():
        return _NOTHING
    return {"label": tuple(map(str, document["classes"]))}, ("image",)


def _of_info(data: bytes) -> Features:
    document = parse_json(data)
    return _features(document.get("features")) if isinstance(document, dict) else _NOTHING


def _of_card(data: bytes) -> Features:
    """Read the YAML at the head of a card; one of several configurations must be called default."""
    parts = data.decode("utf-8", "replace").split("---\n")
    card = yaml.safe_load(parts[1]) if len(parts) > 2 and not parts[0].strip() else None
    infos = card.get("dataset_info") if isinstance(card, dict) else None
    infos = [infos] if isinstance(infos, dict) else infos if isinstance(infos, list) else []
    infos = [info for info in infos if isinstance(info, dict)]
    default = [info for info in infos if info.get("config_name") == "default"] or infos
    features = default[0].get("features") if len(default) == 1 else None
    if not isinstance(features, list):
        return _NOTHING
    described = {str(one.get("name")): one.get("dtype") for one in features if isinstance(one, dict)}
    names = {name: _card_names(kind) for name, kind in described.items()}
    images = tuple(name for name, kind in described.items() if kind == "image")
    return {name: found for name, found in names.items() if found}, images


def _card_names(kind: Any) -> tuple[str, ...]:
    """Return the names of `{class_label: {names: {'0': cat, '1': dog}}}`, in the order of the numbers."""
    names = kind.get("class_label", {}).get("names") if isinstance(kind, dict) else None
    if isinstance(names, Mapping):
        numbers = {int(number): str(name) for number, name in names.items()}
        whole = sorted(numbers) == list(range(len(numbers)))
        return tuple(numbers[number] for number in sorted(numbers)) if whole else ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _features(features: Any) -> Features:
    if not isinstance(features, dict):
        return _NOTHING
    kinds = {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    names = {
        name: tuple(map(str, feature["names"]))
        for name, feature in kinds.items()
        if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }
    return names, tuple(name for name, feature in kinds.items() if feature.get("_type") == "Image")
