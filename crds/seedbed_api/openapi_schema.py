"""The structural OpenAPI v3 schema of a block, as a CRD needs it.

It has no $ref or anyOf, and types everywhere; lists, maps and strings have bounds; rules are CEL.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic.fields import FieldInfo

from seedbed_api.base_model import Block, Rule, block_in
from seedbed_api.field_lookup import is_list, named_fields

Json: TypeAlias = dict[str, Any]
_DROPPED = ("title", "additionalProperties", "default", "properties", "required", "$defs")


def structural_schema(block: type[Block]) -> Json:
    """Return the structural schema of a block with the descriptions, defaults and rules of its fields."""
    raw = block.model_json_schema(by_alias=True, mode="validation")
    return _object(block, raw, raw.get("$defs", {}))


def _object(block: type[Block], raw: Json, definitions: Json, *, listed: bool = False) -> Json:
    """Return the schema of a block. Within the entries of a list (`listed`) there are no defaults.

    The API server would write them into each entry, and a client that applies the list again (Argo CD,
    kubectl) would see a difference: lists are compared as a whole. The models fill in the defaults.
    """
    named = named_fields(block)
    schema: Json = {"type": "object", "description": _line(block.__doc__)}
    schema["properties"] = {
        name: _property(field, raw["properties"][name], definitions, listed=listed)
        for name, field in named.items()
    }
    required = [name for name, field in named.items() if field.is_required()]
    rules = [validation(rule) for rule in block.all_rules()]
    return schema | _present({"required": required, "x-kubernetes-validations": rules})


def _property(field: FieldInfo, raw: Json, definitions: Json, *, listed: bool) -> Json:
    block = block_in(field.annotation)
    schema = _plain(_without_null(raw), definitions)
    if block is not None and is_list(field.annotation):
        schema["items"] = _object(block, _definition(schema["items"], definitions), definitions, listed=True)
    elif block is not None:
        schema = _object(block, _definition(schema, definitions), definitions, listed=listed)
    default, meaning = _default(field), _line(field.description)
    if listed and default not in (None, "", []):
        meaning = f"{meaning} Default: {default}."
    filled = {} if listed or default is None else {"default": default}
    return {**schema, "description": meaning, **filled}


def _plain(raw: Json, definitions: Json) -> Json:
    schema = {key: value for key, value in raw.items() if key not in _DROPPED or key == "properties"}
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if isinstance(raw.get("additionalProperties"), dict):
        schema["additionalProperties"] = _plain(raw["additionalProperties"], definitions)
    if "items" in raw and "$ref" not in raw["items"]:
        schema["items"] = _plain(raw["items"], definitions)
    if schema.get("type") == "integer":
        schema["format"] = "int64"
    return schema


def _without_null(raw: Json) -> Json:
    if "anyOf" not in raw:
        return raw
    (inner,) = (part for part in raw["anyOf"] if part.get("type") != "null")
    return {**{key: value for key, value in raw.items() if key != "anyOf"}, **inner}


def _definition(raw: Json, definitions: Json) -> Json:
    definition: Json = definitions[raw["$ref"].rsplit("/", 1)[-1]] if "$ref" in raw else raw
    return definition


def _default(field: FieldInfo) -> Any:
    if field.is_required():
        return None
    return plain_default(field.get_default(call_default_factory=True))


def plain_default(value: Any) -> Any:
    """Return a default as JSON, a block with its own defaults, since validation does not fill them."""
    if isinstance(value, Block):
        return value.plain()
    return [plain_default(entry) for entry in value] if isinstance(value, tuple) else value


def validation(rule: Rule) -> Json:
    """Return a rule as an entry of x-kubernetes-validations."""
    entry = {"rule": rule.cel, "message": f"{rule.problem}; {rule.fix}"}
    return {**entry, "fieldPath": f".{rule.field}"} if rule.field else entry


def _present(entries: Json) -> Json:
    return {key: value for key, value in entries.items() if value is not None and value not in ([], "")}


def _line(text: str | None) -> str:
    return " ".join((text or "").split())
