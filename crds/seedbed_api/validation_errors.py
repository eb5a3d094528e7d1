"""Error messages of invalid documents: one line per mistake with field, problem, value and fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from seedbed_api.base_model import Block, Rule
from seedbed_api.errors import refusal
from seedbed_api.field_lookup import block_at, is_string, named_fields, nearest

_PLAIN: Mapping[str, tuple[str, str]] = {
    "int_type": ("must be an integer", "write a whole number without quotes"),
    "int_from_float": ("must be an integer", "write a whole number"),
    "bool_type": ("must be true or false", "write true or false without quotes"),
    "string_type": ("must be a string", "put it in quotes"),
    "model_type": ("must be a block of fields", "write its fields below it, indented"),
    "model_attributes_type": ("must be a block of fields", "write its fields below it, indented"),
    "dict_type": ("must be a map", "write key: value pairs below it, indented"),
    "tuple_type": ("must be a list", "write its entries below it, each with a dash"),
    "greater_than_equal": ("must be at least {ge}", "choose a larger value"),
    "less_than_equal": ("must be at most {le}", "choose a smaller value"),
    "string_too_long": ("must have at most {max_length} characters", "shorten it"),
    "too_long": ("must have at most {max_length} entries", "remove some"),
    "refused": ("{problem}", "{fix}"),
}


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


def error_lines(error: ValidationError, model: type[Block]) -> Iterator[str]:
    """Yield one line for each mistake that pydantic found in a document of a model."""
    for found in error.errors(include_url=False):
        location, kind, value = found["loc"], found["type"], found["input"]
        context = found.get("ctx", {})
        if kind == "rules":
            yield from (_rule_line(rule, location, context["block"]) for rule in context["broken"])
        elif kind == "missing":
            yield refusal(field_path(location), _Missing(), "is missing", "write it")
        elif kind == "extra_forbidden":
            yield _unknown_field_line(location, value, model)
        elif kind == "literal_error":
            yield _not_a_choice_line(location, value, context["expected"])
        else:
            problem, fix = _PLAIN.get(kind, (found["msg"], "correct it"))
            yield refusal(field_path(location), value, problem.format(**context), fix.format(**context))


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Return field and problem of the first mistake, in pydantic's words; the value is not shown.

    For documents that programs write, where no fix is worth a line.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    return ".".join(map(str, first["loc"])), first["msg"]


def field_path(location: Sequence[int | str]) -> str:
    """Return a location as it is written in a message: spec.training.augmentation[0].type."""
    path = "".join(f"[{name}]" if isinstance(name, int) else f".{_shown(name)}" for name in location)
    return path.removeprefix(".") or "manifest"


def _shown(name: str) -> str:
    return name if name.isprintable() and len(name) <= 80 else repr(name[:80])


def value_at(document: Any, path: str) -> Any:
    """Return the value at a dotted path; an object that prints as `nothing` if there is none."""
    for name in filter(None, path.split(".")):
        if not isinstance(document, Mapping) or name not in document:
            return _Missing()
        document = document[name]
    return document


def _rule_line(rule: Rule, location: Sequence[int | str], block: Any) -> str:
    names = [*location, *filter(None, rule.field.split("."))]
    return refusal(field_path(names), value_at(block, rule.field), rule.problem, rule.fix)


def _unknown_field_line(location: Sequence[int | str], value: Any, model: type[Block]) -> str:
    block = block_at(model, location[:-1])
    known = named_fields(block) if block else {}
    return refusal(field_path(location), value, "is not a field", nearest(str(location[-1]), known))


def _not_a_choice_line(location: Sequence[int | str], value: Any, expected: str) -> str:
    names = [name.strip(" '") for name in expected.replace(" or ", ", ").split(",")]
    fix = nearest(value, names) if isinstance(value, str) else f"write {expected}"
    return refusal(field_path(location), value, f"must be {expected}", fix)


def quoted_if_string(annotation: Any, text: str, value: Any) -> Any:
    """Return the text if the field is a string and its YAML value a number or a flag."""
    scalar = isinstance(value, bool | int | float)
    return text if scalar and is_string(annotation) else value
