"""Loaders of YAML: one that reads what kubectl reads, and a strict one for local runs."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.constructor import ConstructorError

from seedbed_api.yaml_scalars import MERGE, STR, as_json, as_key, of_tag, resolved

DEEPEST = 100
"""Most blocks and lists within each other."""
_BLANKS = " \t"


class KubectlLoader(yaml.SafeLoader):
    """Reads a document as kubectl does: with tabs between tokens, unknown tags, and repeated keys."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[tuple[str, int]] = []
        """Repeated keys of a block with their lines; the last one counts."""
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return a node; ValueError where it lies too deep, before PyYAML takes a second to find that."""
        if self._depth > DEEPEST:
            raise ValueError(f"blocks more than {DEEPEST} deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """Return the tag of a node that has none."""
        if kind is yaml.ScalarNode:
            return resolved(value)[0] if implicit[0] else STR
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]

    def construct_scalar(self, node: Any) -> Any:
        """Return the value of a scalar, whatever its tag."""
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_scalar(node)
        try:
            return as_json(of_tag(node.tag, node.value))
        except ValueError as error:
            raise ConstructorError(None, None, str(error), node.start_mark) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return a map with keys of text."""
        if not isinstance(node, yaml.MappingNode):
            return super().construct_mapping(node, deep)
        self._note_repeated(node)
        self.flatten_mapping(node)
        return {self._key(key): self.construct_object(value, deep=deep) for key, value in node.value}

    def scan_to_next_token(self) -> None:
        """Skip what separates tokens; tabs too, but for those that would indent."""
        while self._skipped_blank() or self._skipped_line():
            pass

    def scan_plain_spaces(self, indent: int, start_mark: Any) -> Any:
        """Return the white space within a plain scalar."""
        length = 0
        while self.peek(length) in _BLANKS:
            length += 1
        if length and self.prefix(length) != " " * length:
            blanks = self.prefix(length)
            self.forward(length)
            if self.peek() in "\r\n\x85\u2028\u2029":
                return super().scan_plain_spaces(indent, start_mark)
            return [blanks]
        return super().scan_plain_spaces(indent, start_mark)

    def _key(self, node: Any) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise ConstructorError(None, None, "a list or a block cannot be a key", node.start_mark)
        try:
            return as_key(of_tag(node.tag, node.value))
        except ValueError as error:
            raise ConstructorError(None, None, str(error), node.start_mark) from error

    def _note_repeated(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen and key.tag != MERGE:
                self.note_repeated(name, key.start_mark)
            seen.add(name)

    def note_repeated(self, name: str, mark: Any) -> None:
        """Record a repeated key."""
        self.repeated.append((name, mark.line + 1))

    def _skipped_blank(self) -> bool:
        if self.index == 0 and self.peek() == "\ufeff":
            self.forward()
            return True
        if self.peek() == " " or (self.peek() == "\t" and (self.flow_level or not self.allow_simple_key)):
            self.forward()
            return True
        return False

    def _skipped_line(self) -> bool:
        if self.peek() == "#":
            while self.peek() not in "\0\r\n\x85\u2028\u2029":
                self.forward()
        if not self.scan_line_break():  # type: ignore[no-untyped-call]
            return False
        if not self.flow_level:
            self.allow_simple_key = True
        return True


class StrictLoader(KubectlLoader):
    """Rejects what kubectl ignores and is hardly intended: repeated keys, unknown tags."""

    def note_repeated(self, name: str, mark: Any) -> None:
        """Reject a repeated key."""
        raise ConstructorError(None, None, f"duplicate key {name}", mark)


def _by_kind(loader: KubectlLoader, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    build = loader.construct_yaml_seq if isinstance(node, yaml.SequenceNode) else loader.construct_yaml_map
    return build(node)


_CORE = ("bool", "int", "float", "null", "timestamp", "binary", "str", "merge")
for _loader in (KubectlLoader, StrictLoader):
    for _name in _CORE:
        _loader.add_constructor(f"tag:yaml.org,2002:{_name}", _by_kind)
for _name in ("set", "omap", "pairs"):
    KubectlLoader.add_constructor(f"tag:yaml.org,2002:{_name}", _by_kind)
KubectlLoader.add_constructor(None, _by_kind)
