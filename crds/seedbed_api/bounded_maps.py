"""Maps of the API: each has a bound and one pattern for its keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from seedbed_api.bounded_lists import ListRule
from seedbed_api.scalar_types import invalid_value


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundedMap:
    """A map of at most `most` entries whose keys match a pattern.

    The API server cannot check the pattern, since keys have no length bound; it checks `rules`.
    """

    most: int
    pattern: str
    problem: str
    fix: str
    rules: tuple[ListRule, ...] = ()

    def check(self, entries: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the map, sorted by key; reject an invalid one."""
        if len(entries) > self.most:
            raise invalid_value(f"must have at most {self.most} entries", "remove some")
        for rule in self.rules:
            if not rule.holds(list(entries)):
                raise invalid_value(rule.problem, rule.fix)
        if not all(re.fullmatch(self.pattern, key) for key in entries):
            raise invalid_value(self.problem, self.fix)
        return dict(sorted(entries.items()))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        rules = [{"rule": rule.cel, "message": f"{rule.problem}; {rule.fix}"} for rule in self.rules]
        bounds = {"x-kubernetes-validations": rules} if rules else {}  # the API server drops an empty list
        return {**handler(schema), "maxProperties": self.most, **bounds}
