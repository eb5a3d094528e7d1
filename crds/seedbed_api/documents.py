"""YAML as the API server reads it: no duplicate keys, `5e-4` a number, no dates, null means left out."""

from __future__ import annotations

import re
from collections.abc import Hashable
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from seedbed_api.errors import UserError

Document: TypeAlias = dict[str, Any]
REASON = "InvalidSpec"
MOST_BYTES = 3 * 2**20
MOST_ENTRIES = 200_000
DEEPEST = 100
_NUMBER = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$")


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {name}", key.start_mark)
            seen.add(name)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))


def read_text(path: Path) -> str:
    """Return a manifest's text; raises UserError InvalidSpec in one line where it cannot be had."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(REASON, f"{path}: cannot be read ({error.strerror}); name a manifest file") from error
    if len(content) > MOST_BYTES:
        raise UserError(REASON, f"{path}: has more than {MOST_BYTES} bytes; a manifest is much smaller")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(REASON, f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8") from error


def parse(text: str, name: str) -> list[Document]:
    """Return the documents of a YAML text, empty ones left out; raises UserError InvalidSpec in one line."""
    try:
        loaded = yaml.load_all(text, _Loader)
        documents = [without_nulls(document) for document in loaded if document is not None]
    except yaml.YAMLError as error:
        raise UserError(REASON, f"{name}: is no YAML: {_told(error)}; correct the syntax") from error
    except (RecursionError, ValueError) as error:
        raise UserError(REASON, f"{name}: is no YAML manifest: {error}; correct the syntax") from error
    if not documents:
        raise UserError(REASON, f"{name}: holds no document; write a manifest into it")
    return [_document(document, f"{name}:{index}") for index, document in enumerate(documents, start=1)]


def parse_value(text: str) -> Any:
    """Return the value of one YAML scalar or flow collection; a text that is no YAML stays text."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError):
        return text


def _told(error: yaml.YAMLError) -> str:
    problem = str(getattr(error, "problem", None) or error).splitlines()[0]
    mark = getattr(error, "problem_mark", None)
    return f"{problem} at line {mark.line + 1}, column {mark.column + 1}" if mark else problem


def _document(content: Any, where: str) -> Document:
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise UserError(REASON, f"{where}: is a {kind}, not a manifest; begin it with apiVersion and kind")
    return content


def without_nulls(value: Any) -> Any:
    """Return a value whose empty fields are left out, as the API server does.

    Raises ValueError where aliases make the value larger than a manifest can be.
    """
    return _copied(value, count(1), 0)


def _copied(value: Any, copied: count[int], depth: int) -> Any:
    if next(copied) > MOST_ENTRIES or depth > DEEPEST:
        raise ValueError(f"more than {MOST_ENTRIES} entries, or blocks more than {DEEPEST} deep")
    if isinstance(value, dict):
        kept = {str(key): entry for key, entry in value.items() if entry is not None}
        return {key: _copied(entry, copied, depth + 1) for key, entry in kept.items()}
    return [_copied(entry, copied, depth + 1) for entry in value] if isinstance(value, list) else value
