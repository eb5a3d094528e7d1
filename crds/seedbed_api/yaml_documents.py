"""Documents of YAML and JSON as kubectl reads them; null means left out.

`parse` is for local runs and rejects what is hardly intended; `found_in` accepts what kubectl accepts, and
knows the line of every field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeAlias

import yaml

from seedbed_api.errors import UserError
from seedbed_api.kubectl_yaml_loader import DEEPEST, KubectlLoader, StrictLoader
from seedbed_api.yaml_scalars import as_json

Document: TypeAlias = dict[str, Any]
REASON = "InvalidSpec"
MOST_BYTES = 3 * 2**20
MOST_ENTRIES = 200_000
_STEP = re.compile(r"\.?([^.\[\]]+)|\[([0-9]+)\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A document and its position in a file."""

    content: Any
    line: int
    """Line of its first field, from 1."""
    node: yaml.Node | None = None
    """None where only a JSON decoder could read it."""
    repeated: tuple[tuple[str, int], ...] = ()
    """Repeated keys of a block with their lines."""

    def line_of(self, path: str) -> int:
        """Return the line of a field, or of the innermost block around it that is there."""
        line, node = self.line, self.node
        for match in _STEP.finditer(path):
            step = _entry(node, match[1], match[2])
            if step is None:
                break
            line, node = step
        return line

    def items(self) -> list[Found]:
        """Return the entries of a Kubernetes list as documents; any other document as it is."""
        if not _is_list(self.content):
            return [self]
        entries = self.content.get("items")
        if not isinstance(entries, list) or not entries or any(map(_is_list, entries)):
            raise UserError(REASON, "items: is no list of objects; write its entries, each with a dash")
        return [self._item(index, entry) for index, entry in enumerate(entries)]

    def _item(self, index: int, entry: Any) -> Found:
        """Return an entry; where it does not say its kind, that of the list is meant: `TrainingJobList`."""
        kind = str(self.content.get("kind", "")).removesuffix("List")
        if isinstance(entry, dict) and kind and "kind" not in entry:
            entry = {"apiVersion": self.content.get("apiVersion"), "kind": kind} | entry
        step = _entry(_entry_node(self.node, "items"), None, str(index))
        line, node = step or (self.line_of("items"), None)
        return Found(content=entry, line=line, node=node)


def _is_list(content: Any) -> bool:
    return isinstance(content, dict) and ("items" in content or content.get("kind") == "List")


def _entry_node(node: yaml.Node | None, name: str) -> yaml.Node | None:
    step = _entry(node, name, None)
    return None if step is None else step[1]


def _entry(node: yaml.Node | None, name: str | None, index: str | None) -> tuple[int, yaml.Node] | None:
    """Return line and value of an entry of a block or list; None where there is none."""
    if isinstance(node, yaml.MappingNode) and name is not None:
        named = [(key, value) for key, value in node.value if str(key.value) == name]
        return (named[-1][0].start_mark.line + 1, named[-1][1]) if named else None
    if isinstance(node, yaml.SequenceNode) and index is not None and int(index) < len(node.value):
        value = node.value[int(index)]
        return value.start_mark.line + 1, value
    return None


def read_text(path: Path) -> str:
    """Return a manifest's text; raises UserError InvalidSpec in one line where it cannot be had."""
    try:
        with path.open("rb") as file:
            return text_of(file, str(path))
    except OSError as error:
        raise UserError(REASON, f"{path}: cannot be read ({error.strerror}); name a manifest file") from error


def text_of(stream: BinaryIO | TextIO, name: str) -> str:
    """Return the text of a stream, of which never more than a manifest may have is read."""
    content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UserError(REASON, f"{name}: has more than {MOST_BYTES} bytes; a manifest is much smaller")
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(REASON, f"{name}: is not UTF-8 at byte {error.start}; save it as UTF-8") from error


def parse(text: str, name: str) -> list[Document]:
    """Return the documents of a text, empty ones left out; raises UserError InvalidSpec in one line.

    Unlike kubectl it rejects repeated keys and unknown tags.
    """
    found = _read(text, name, StrictLoader)
    return [_document(each.content, f"{name}:{index}") for index, each in enumerate(found, start=1)]


def found_in(text: str, name: str) -> list[Found]:
    """Return the documents that kubectl finds in a text; raises UserError InvalidSpec in one line."""
    return _read(text, name, KubectlLoader)


def _read(text: str, name: str, loader: type[KubectlLoader]) -> list[Found]:
    try:
        found = _json_stream(text, loader)
        if found is None:
            found = [each for line, chunk in _chunks(text) for each in _first_document(line, chunk, loader)]
    except yaml.YAMLError as error:
        raise UserError(REASON, f"{name}: is no YAML: {_told(error)}; correct the syntax") from error
    except RecursionError as error:
        problem = f"blocks more than {DEEPEST} deep"
        raise UserError(REASON, f"{name}: is no YAML manifest: {problem}; correct the syntax") from error
    except ValueError as error:
        raise UserError(REASON, f"{name}: is no YAML manifest: {error}; correct the syntax") from error
    if not found:
        raise UserError(REASON, f"{name}: holds no document; write a manifest into it")
    return found


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """Yield the parts between lines that begin with `---`, with the number of lines before each."""
    begin, lines = 0, text.split("\n")
    for number, line in enumerate(lines):
        if not line.startswith("---"):
            continue
        rest = line[3:].strip()
        if rest and not rest.startswith("#"):
            raise ValueError(f"--- at line {number + 1} must stand alone on its line, not before {rest[:40]}")
        yield begin, "\n".join(lines[begin:number])
        begin = number + 1
    yield begin, "\n".join(lines[begin:])


def _first_document(before: int, chunk: str, kind: type[KubectlLoader]) -> Iterator[Found]:
    """Yield the document of a part, unless it is empty; what follows a line `...` is not read."""
    loader = kind("\n" * before + chunk)
    try:
        if not loader.check_node():
            return
        node = loader.get_node()
        assert node is not None
        content = without_nulls(loader.construct_document(node))
        if content is not None:
            line = node.start_mark.line + 1
            yield Found(content=content, line=line, node=node, repeated=tuple(loader.repeated))
    finally:
        loader.dispose()


def _json_stream(text: str, kind: type[KubectlLoader]) -> list[Found] | None:
    """Return the documents of a stream of JSON objects; None where it is none, and to be read as YAML."""
    if not text.lstrip().startswith("{"):
        return None
    decoder = json.JSONDecoder(
        object_pairs_hook=_pairs_for(kind), parse_constant=_no_constant, parse_float=_float
    )
    found: list[Found] = []
    at = _next(text, 0)
    while at < len(text):
        try:
            content, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            if len(found) > 1:
                raise
            return None
        except _NotJsonError:
            return None
        before = text.count("\n", 0, at)
        node = _composed("\n" * before + text[at:end].replace("\t", " "))
        found.append(Found(content=without_nulls(content), line=before + 1, node=node))
        at = _next(text, end)
    return found


class _NotJsonError(Exception):
    """The text is no JSON that we read ourselves."""


def _pairs_for(kind: type[KubectlLoader]) -> Any:
    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        block = dict(entries)
        if len(block) < len(entries) and kind is StrictLoader:
            raise _NotJsonError  # the loader of YAML names the place
        return block

    return pairs


def _no_constant(_name: str) -> Any:
    raise _NotJsonError


def _float(text: str) -> Any:
    return as_json(float(text))


def _next(text: str, at: int) -> int:
    return len(text) - len(text[at:].lstrip())


def _composed(text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, KubectlLoader)
    except yaml.YAMLError:
        return None


def parse_value(text: str) -> Any:
    """Return the value of one YAML scalar or flow collection; a text that is no YAML stays text."""
    try:
        return yaml.load(text, StrictLoader)  # noqa: S506 - a SafeLoader that refuses more
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
