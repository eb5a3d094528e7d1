"""Immutable fields of a spec: the recipe never changes, its URLs only while the job is suspended.

Each field has one transition rule: CEL for the API server, `rejected_changes` for all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic.fields import FieldInfo

from seedbed_api.base_model import Block, block_in, camel
from seedbed_api.field_lookup import named_fields
from seedbed_api.recipe import Recipe
from seedbed_api.run_identity import EXCLUDED

_MISSING = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImmutableField:
    """A field below `spec` that may not change, or only while the object is and was suspended."""

    path: str
    optional: bool
    guards: tuple[str, ...] = ()
    """Optional blocks above it; a change of their presence is a rule of its own."""
    while_suspended: bool = False
    presence_only: bool = False

    def cel(self) -> str:
        """Return the rule on `spec`."""
        there, before = f"has(self.{self.path})", f"has(oldSelf.{self.path})"
        equal = f"self.{self.path} == oldSelf.{self.path}"
        same = equal if not self.optional else f"{there} == {before} && (!{there} || {equal})"
        if self.presence_only:
            same = f"{there} == {before}"
        absent = [f"!has(self.{guard}) || !has(oldSelf.{guard})" for guard in self.guards]
        suspended = ["oldSelf.suspend"] if self.while_suspended else []
        alternatives = [*absent, *suspended]
        return " || ".join([*alternatives, f"({same})" if alternatives and "&&" in same else same])

    def message(self) -> str:
        """Return what is wrong with a change, and the fix."""
        if self.while_suspended:
            return "may change only while the job is suspended; set suspend: true first"
        return "is part of the recipe and immutable; create another object"

    def refuses(self, old: dict[str, Any], new: dict[str, Any]) -> bool:
        """Return whether a change of `spec` breaks the rule."""
        if self.while_suspended and old.get("suspend"):
            return False
        if any(_MISSING in (_at(old, guard), _at(new, guard)) for guard in self.guards):
            return False
        before, after = _at(old, self.path), _at(new, self.path)
        if self.presence_only:
            return (before is _MISSING) != (after is _MISSING)
        return bool(before != after)


def immutable_recipe_fields() -> tuple[ImmutableField, ...]:
    """Return the rules of a TrainingJob's spec."""
    return (*_of_the_recipe(), *EXECUTION)


def immutable_sweep_fields() -> tuple[ImmutableField, ...]:
    """Return the rules of a SweepJob's spec: its recipe and the fields that decide about trials."""
    return (*SEARCH, *(_below_the_template(rule) for rule in _of_the_recipe()), *EXECUTION)


def _of_the_recipe() -> tuple[ImmutableField, ...]:
    return tuple(rule for name in Recipe.model_fields for rule in _of_field(Recipe, camel(name)))


def _below_the_template(rule: ImmutableField) -> ImmutableField:
    guards = tuple(f"{_TEMPLATE}.{guard}" for guard in rule.guards)
    return replace(rule, path=f"{_TEMPLATE}.{rule.path}", guards=guards)


EXECUTION = (
    ImmutableField(path="output", optional=False, while_suspended=True),
    ImmutableField(path="cluster.profile", optional=False, while_suspended=True),
    ImmutableField(path="cluster.overrides", optional=True, while_suspended=True),
    ImmutableField(path="managedBy", optional=False),
)
_TEMPLATE = "trialTemplate.spec"
SEARCH = (
    *(ImmutableField(path=path, optional=False) for path in ("objective", "algorithm", "parameters")),
    *(ImmutableField(path=path, optional=True) for path in ("crossValidation", "earlyStopping")),
    *(ImmutableField(path=path, optional=False) for path in ("maxTrialCount", "maxFailedTrialCount")),
)


def rejected_changes(rules: tuple[ImmutableField, ...], old: Block, new: Block) -> list[str]:
    """Return one line for each change of a spec that is not allowed."""
    before, after = old.plain(), new.plain()
    return [f"spec.{rule.path}: {rule.message()}" for rule in rules if rule.refuses(before, after)]


def _of_field(block: type[Block], path: str, guards: tuple[str, ...] = ()) -> Iterator[ImmutableField]:
    field = named_fields(block)[path.rsplit(".", 1)[-1]]
    optional = _may_be_absent(field)
    if path in EXCLUDED:
        yield ImmutableField(path=path, optional=optional, guards=guards, while_suspended=True)
    elif any(excluded.startswith(f"{path}.") for excluded in EXCLUDED):
        yield from _below(field, path, (*guards, path) if optional else guards)
    else:
        yield ImmutableField(path=path, optional=optional, guards=guards)


def _below(field: FieldInfo, path: str, guards: tuple[str, ...]) -> Iterator[ImmutableField]:
    if _may_be_absent(field):
        yield ImmutableField(path=path, optional=True, guards=guards[:-1], presence_only=True)
    inner = block_in(field.annotation)
    assert inner is not None
    for name in named_fields(inner):
        yield from _of_field(inner, f"{path}.{name}", guards)


def _may_be_absent(field: FieldInfo) -> bool:
    return not field.is_required() and field.default is None and field.default_factory is None


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(document, dict) or name not in document:
            return _MISSING
        document = document[name]
    return document
