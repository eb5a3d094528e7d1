"""Fractions as decimal strings: exact in every language, with one canonical spelling for hashing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from seedbed_api.scalar_types import invalid_value

PATTERN = r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?$"
LONGEST = 26
_MOST_DECIMALS = 12
_LARGEST_EXPONENT = 99


def canonical(spelling: str) -> str:
    """Return the canonical spelling of a decimal string; 0.10, 1e-1 and 0.1 give "0.1".

    It uses plain digits if they fit the pattern, else mantissa and exponent; it is idempotent.
    Raises ValueError for what does not match the pattern or lies outside 1e-99..1e99.
    """
    if not re.fullmatch(PATTERN, spelling):
        raise ValueError(f"not a fraction: {spelling!r}")
    _, digits, exponent = Decimal(spelling).normalize().as_tuple()
    assert isinstance(exponent, int)
    plain = format(Decimal((0, digits, exponent)), "f")
    return plain if re.fullmatch(PATTERN, plain) else _scientific("".join(map(str, digits)), exponent)


def _scientific(digits: str, exponent: int) -> str:
    whole = max(1, len(digits) - _MOST_DECIMALS)
    power = exponent + len(digits) - whole
    if abs(power) > _LARGEST_EXPONENT:
        raise ValueError(f"out of range: {digits}e{exponent}")
    mantissa = digits[:whole] + ("." + digits[whole:] if digits[whole:] else "")
    return f"{mantissa}e{power}"


@dataclass(frozen=True, kw_only=True, slots=True)
class DecimalRange:
    """A decimal string between two values, given canonical; each end may be left out of the range."""

    low: str
    high: str
    low_open: bool = False
    high_open: bool = False

    def check(self, value: str) -> str:
        """Return the canonical spelling; reject what is no decimal string or out of range."""
        try:
            spelling = canonical(value)
        except ValueError:
            raise invalid_value(
                "must be a decimal number in quotes",
                'write at most 9 digits, 12 decimals and an exponent, for example "0.1" or "5e-4"',
            ) from None
        if not self.contains(Decimal(spelling)):
            raise invalid_value(f"must be {self.words()}", "choose a value in that range")
        return spelling

    def contains(self, value: Decimal) -> bool:
        """Return whether the value is in the range."""
        low, high = Decimal(self.low), Decimal(self.high)
        above = value > low if self.low_open else value >= low
        return above and (value < high if self.high_open else value <= high)

    def words(self) -> str:
        """Return the range in words, for messages."""
        low = "more than" if self.low_open else "at least"
        return f"{low} {self.low} and {'less than' if self.high_open else 'at most'} {self.high}"

    def cel(self) -> str:
        """Return the range as a rule on the string `self`."""
        low = ">" if self.low_open else ">="
        high = "<" if self.high_open else "<="
        return f"double(self) {low} double('{self.low}') && double(self) {high} double('{self.high}')"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        rule = {"rule": self.cel(), "message": f"must be {self.words()}"}
        bounds = {"pattern": PATTERN, "maxLength": LONGEST, "x-kubernetes-validations": [rule]}
        return {**handler(schema), **bounds}


Share = Annotated[str, DecimalRange(low="0", high="1", low_open=True)]
"""A part of a whole, not nothing."""
Probability = Annotated[str, DecimalRange(low="0", high="1")]
Decay = Annotated[str, DecimalRange(low="0", high="1", high_open=True)]
"""A factor of a running mean: momentum, beta, label smoothing."""
Positive = Annotated[str, DecimalRange(low="0", high="1000000", low_open=True)]
NotNegative = Annotated[str, DecimalRange(low="0", high="1000000")]
Number = Annotated[str, DecimalRange(low="0", high="1e99")]
