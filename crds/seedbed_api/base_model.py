"""The base models of every block: camelCase names, unknown fields rejected, frozen values, validation rules.

Each rule is a predicate for the models and CEL for the API server, with one message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

_ACRONYMS = {"id": "ID", "uri": "URI", "url": "URL", "asha": "ASHA"}


def camel(name: str) -> str:
    """Return the manifest's spelling of a Python attribute: run_id -> runID."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A condition on a block: `holds` for the models, `cel` for the API server, one message for both."""

    field: str
    """Path below the block that the message names; empty for the block itself."""
    cel: str
    holds: Callable[[Any], bool]
    problem: str
    fix: str


class Block(BaseModel):
    """A part of a resource as a user writes it."""

    model_config = ConfigDict(
        alias_generator=camel,
        defer_build=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def all_rules(cls) -> Iterator[Rule]:
        """Yield the rules of this block and of the blocks it extends."""
        for base in reversed(cls.__mro__):
            yield from base.__dict__.get("rules", ())

    @model_validator(mode="after")
    def _refuse_broken_rules(self) -> Self:
        broken = [rule for rule in self.all_rules() if not rule.holds(self)]
        if broken:
            text = ", ".join(rule.problem for rule in broken)
            context = {"text": text, "broken": broken, "block": self.plain()}
            raise PydanticCustomError("rules", "{text}", context)
        return self

    def plain(self) -> dict[str, Any]:
        """Return the block as JSON values under the manifest's names, without unset fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusBlock(Block):
    """A part of a status: written by our own code, under either spelling of a name.

    What another version of our code has added is passed over, so that the rest can be read.
    """

    model_config = ConfigDict(extra="ignore", validate_by_name=True, validate_by_alias=True)


class Choice(Block):
    """A union: `type` names the member that may be there; fields outside the members are shared.

    The member of the chosen type is filled with its defaults when it is left out.
    """

    members: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _fill_chosen_member(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kind = value.get("type", cls.model_fields["type"].default)
        member = cls.members.get(kind) if isinstance(kind, str) else None
        return {**value, camel(member): {}} if member and value.get(camel(member)) is None else value

    @classmethod
    def all_rules(cls) -> Iterator[Rule]:
        """Yield the rules, and one per member: it is allowed only with its own type."""
        yield from super().all_rules()
        for kind, member in cls.members.items():
            yield _only_under(kind, member)
            if needs_values(cls, member):
                yield _needed_under(kind, member)


def needs_values(cls: type[Block], member: str) -> bool:
    """Return whether a member has a required field and so must be written."""
    block = block_in(cls.model_fields[member].annotation)
    assert block is not None
    return any(field.is_required() for field in block.model_fields.values())


def block_in(annotation: Any) -> type[Block] | None:
    """Return the block in an annotation: plain, optional, or as entry of a list."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return annotation
    return next(filter(None, map(block_in, get_args(annotation))), None)


def _only_under(kind: str, member: str) -> Rule:
    name = camel(member)
    return Rule(
        field=name,
        cel=f"!has(self.{name}) || self.type == '{kind}'",
        holds=lambda block: getattr(block, member) is None or block.type == kind,
        problem=f"is only allowed with type {kind}",
        fix=f"remove it or set type: {kind}",
    )


def _needed_under(kind: str, member: str) -> Rule:
    name = camel(member)
    return Rule(
        field=name,
        cel=f"self.type != '{kind}' || has(self.{name})",
        holds=lambda block: block.type != kind or getattr(block, member) is not None,
        problem=f"is needed with type {kind}",
        fix=f"write {name}: with its fields",
    )
