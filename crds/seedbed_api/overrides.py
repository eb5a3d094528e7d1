"""`path=value` overrides of a document, as `--set` takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from pydantic.fields import FieldInfo

from seedbed_api.base_model import Block, block_in
from seedbed_api.bounded_lists import BoundedList
from seedbed_api.errors import UserError, refusal
from seedbed_api.field_lookup import every_path, marks, named_fields, nearest
from seedbed_api.trainingjob import TrainingJob
from seedbed_api.validation_errors import quoted_if_string
from seedbed_api.yaml_documents import REASON, parse_value, without_nulls

_PART = re.compile(r"([A-Za-z0-9_]+)(?:\[([^\[\]]+)\])?")


def apply_overrides(
    document: dict[str, Any], assignments: Iterable[str], model: type[Block] = TrainingJob
) -> dict[str, Any]:
    """Return a copy of the document with each `path=value` set; `path=null` removes a field.

    A path is dotted; entries of lists are named by index or, in list-maps, by key, as in
    spec.model.args[width].value.
    Raises UserError InvalidSpec for a path that the model does not have, naming the closest.
    """
    changed = deepcopy(document)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            fix = "write for example spec.training.epochs=3"
            raise UserError(REASON, refusal("--set", assignment, "must be path=value", fix))
        _assign(changed, path.strip(), text.strip(), model)
    cleaned = without_nulls(changed)
    assert isinstance(cleaned, dict)
    return cleaned


def _assign(document: dict[str, Any], path: str, text: str, model: type[Block]) -> None:
    place: Any = document
    block: type[Block] | None = model
    *parents, last = path.split(".")
    for part in parents:
        name, selector = _split(part, path, model)
        field = _field(block, place, name, path, model)
        place = _below(place, name) if selector is None else _entry(place, name, selector, field, path)
        block = block_in(field.annotation)
    name, selector = _split(last, path, model)
    field = _field(block, place, name, path, model)
    value = quoted_if_string(field.annotation, text, parse_value(text))
    if selector is None:
        place[name] = value
    else:
        entries = _list(place, name, path)
        entries[_index(entries, name, selector, path)] = value


def _field(block: type[Block] | None, place: Any, name: str, path: str, model: type[Block]) -> FieldInfo:
    field = named_fields(block).get(name) if block else None
    if field is None or not isinstance(place, dict):
        raise _unknown(path, model)
    return field


def _split(part: str, path: str, model: type[Block]) -> tuple[str, str | None]:
    match = _PART.fullmatch(part)
    if match is None:
        raise _unknown(path, model)
    return match[1], match[2]


def _below(place: dict[str, Any], name: str) -> Any:
    if place.get(name) is None:
        place[name] = {}
    return place[name]


def _entry(place: dict[str, Any], name: str, selector: str, field: FieldInfo, path: str) -> Any:
    entries = _list(place, name, path)
    key = next((mark.key for mark in marks(field) if isinstance(mark, BoundedList)), None)
    if key is not None and not selector.isdecimal():
        return _entry_by_key(entries, key, selector)
    return entries[_index(entries, name, selector, path)]


def _list(place: dict[str, Any], name: str, path: str) -> list[Any]:
    entries = place.setdefault(name, [])
    if not isinstance(entries, list):
        fix = f"correct {name} in the manifest"
        raise UserError(REASON, refusal("--set", path, f"names an entry of {name}, which is no list", fix))
    return entries


def _index(entries: list[Any], name: str, selector: str, path: str) -> int:
    if selector.isdecimal() and int(selector) < len(entries):
        return int(selector)
    fix = f"it has {len(entries)} entries, counted from 0"
    raise UserError(REASON, refusal("--set", path, f"names no entry {selector} of {name}", fix))


def _entry_by_key(entries: list[Any], key: str, selector: str) -> Any:
    for entry in entries:
        if isinstance(entry, dict) and entry.get(key) == selector:
            return entry
    entries.append({key: selector})
    return entries[-1]


def _unknown(path: str, model: type[Block]) -> UserError:
    known = [name.replace("[]", "[0]") for name, _ in every_path(model)]
    return UserError(REASON, refusal("--set", path, "is not a field", nearest(path, known)))
