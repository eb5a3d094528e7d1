"""Lists of the API: each has a bound; a list-map has one entry per key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from seedbed_api.scalar_types import invalid_value


@dataclass(frozen=True, kw_only=True, slots=True)
class ListRule:
    """A condition on a whole list, for the models and in CEL."""

    cel: str
    holds: Callable[[Sequence[Any]], bool]
    problem: str
    fix: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundedList:
    """A list of `least` to `most` entries; with `key` a list-map, with `unique` a set of strings.

    With `ordered` False the entries are sorted, so that their order does not change an identity.
    """

    most: int
    least: int = 0
    key: str | None = None
    unique: bool = False
    ordered: bool = True
    rules: tuple[ListRule, ...] = field(default=())

    def check(self, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the entries, sorted if `ordered` is False; reject an invalid list."""
        if not self.least <= len(entries) <= self.most:
            raise invalid_value(f"must have {self._size()} entries", "add or remove entries")
        self._refuse_equal_keys(entries)
        for rule in self.rules:
            if not rule.holds(entries):
                raise invalid_value(rule.problem, rule.fix)
        if self.ordered:
            return entries
        return tuple(sorted(entries, key=self._name))

    def _size(self) -> str:
        return f"exactly {self.most}" if self.least == self.most else f"{self.least} to {self.most}"

    def _name(self, entry: Any) -> str:
        return str(getattr(entry, self.key) if self.key else entry)

    def _refuse_equal_keys(self, entries: tuple[Any, ...]) -> None:
        if self.key is None and not self.unique:
            return
        twice = [name for name, count in Counter(map(self._name, entries)).items() if count > 1]
        if twice:
            raise invalid_value(f"has {self.key or 'entry'} {twice[0]} more than once", "keep one of them")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        kind = "map" if self.key else "set" if self.unique else "atomic"
        bounds: dict[str, Any] = {"maxItems": self.most, "x-kubernetes-list-type": kind}
        if self.least:
            bounds["minItems"] = self.least
        if self.key:
            bounds["x-kubernetes-list-map-keys"] = [self.key]
        if self.rules:
            bounds["x-kubernetes-validations"] = [
                {"rule": rule.cel, "message": f"{rule.problem}; {rule.fix}"} for rule in self.rules
            ]
        return {**handler(schema), **bounds}
