"""The API server's rules for a structural schema, as far as they can be checked without one.

Each function yields the path and the complaint of everything that a schema gets wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
FORBIDDEN = (
    "$ref", "anyOf", "oneOf", "allOf", "not", "const", "title", "definitions", "$defs", "uniqueItems",
    "exclusiveMinimum", "exclusiveMaximum", "patternProperties", "prefixItems", "nullable",
)  # fmt: skip
ALLOWED = {
    "type", "description", "properties", "required", "items", "additionalProperties", "default", "enum",
    "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems",
    "minProperties", "maxProperties", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    "x-kubernetes-validations", "x-kubernetes-int-or-string",
}  # fmt: skip
SERVERS_OWN = {".apiVersion", ".kind", ".metadata"}


def complaints(schema: Schema, path: str = "") -> Iterator[str]:
    """Yield everything that is wrong with a schema and what lies below it."""
    yield from _of_node(schema, path)
    for name, entry in schema.get("properties", {}).items():
        if f"{path}.{name}" not in SERVERS_OWN:
            yield from complaints(entry, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from complaints(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from complaints(schema["additionalProperties"], f"{path}{{}}")


def _of_node(schema: Schema, path: str) -> Iterator[str]:
    either = schema.get("x-kubernetes-int-or-string") is True and "type" not in schema
    if not either and schema.get("type") not in ("object", "array", "string", "integer", "boolean"):
        yield f"{path}: has no type that a manifest may hold"
    for key in schema:
        if key in FORBIDDEN or key not in ALLOWED:
            yield f"{path}: has {key}"
    yield from _unbounded(schema, path)
    yield from _wrong_list(schema, path)
    yield from _wrong_object(schema, path)
    yield from _wrong_rules(schema, path)


def _unbounded(schema: Schema, path: str) -> Iterator[str]:
    kind = "string" if schema.get("x-kubernetes-int-or-string") else schema.get("type")
    if kind == "string" and "maxLength" not in schema and "enum" not in schema:
        yield f"{path}: is a string without maxLength"
    if kind == "array" and "maxItems" not in schema:
        yield f"{path}: is a list without maxItems"
    if kind == "integer" and not {"minimum", "maximum"} <= schema.keys():
        yield f"{path}: is an integer without minimum or maximum"
    if "additionalProperties" in schema and "maxProperties" not in schema:
        yield f"{path}: is a map without maxProperties"


def _wrong_list(schema: Schema, path: str) -> Iterator[str]:
    if schema.get("type") != "array":
        return
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("atomic", "set", "map"):
        yield f"{path}: has no list type"
    entry = schema.get("items", {})
    if kind == "map" and not set(schema.get("x-kubernetes-list-map-keys", "?")) <= set(
        entry.get("required", ())
    ):
        yield f"{path}: has a key that may be missing in an entry"
    if kind == "set" and entry.get("type") != "string":
        yield f"{path}: is a set of something else than strings"


def _wrong_object(schema: Schema, path: str) -> Iterator[str]:
    if schema.get("type") != "object":
        return
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{path}: is both a map and a block"
    if not ("properties" in schema or "additionalProperties" in schema):
        yield f"{path}: is an object of anything"
    for name in schema.get("required", ()):
        if name not in schema.get("properties", {}):
            yield f"{path}: needs {name}, which is no field"
        elif "default" in schema["properties"][name]:
            yield f"{path}.{name}: is needed and has a default"


def _wrong_rules(schema: Schema, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if not rule.get("message") or "\n" in rule["message"]:
            yield f"{path}: has a rule without a message of one line"
        if "fieldPath" in rule and not _has(schema, rule["fieldPath"]):
            yield f"{path}: has a rule about {rule['fieldPath']}, which is no field"


def careless_reads(schema: Schema) -> Iterator[str]:
    """Yield each rule that reads a field which may be absent, without asking `has` of it, and the field."""
    for path, node in nodes(schema):
        for rule in node.get("x-kubernetes-validations", ()):
            for this, read in set(re.findall(r"\b(self|oldSelf)((?:\.[A-Za-z]\w*)+)\b(?!\()", rule["rule"])):
                for field in _may_be_absent(node, read):
                    if f"has({this}{field})" not in rule["rule"]:
                        yield f"{path}: {rule['rule']} reads {this}{field}"


def _may_be_absent(schema: Schema, read: str) -> Iterator[str]:
    names = read.removeprefix(".").split(".")
    for depth, name in enumerate(names, start=1):
        entry = schema.get("properties", {}).get(name)
        if entry is None or name == "metadata":
            return
        if name not in schema.get("required", ()) and "default" not in entry:
            yield "." + ".".join(names[:depth])
        schema = entry


def _has(schema: Schema, field_path: str) -> bool:
    for name in field_path.removeprefix(".").split("."):
        if name not in schema.get("properties", {}):
            return False
        schema = schema["properties"][name]
    return True


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every schema below one, itself included, with its path."""
    yield path, schema
    for name, entry in schema.get("properties", {}).items():
        yield from nodes(entry, f"{path}.{name}")
    for word, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(word), dict):
            yield from nodes(schema[word], f"{path}{mark}")
