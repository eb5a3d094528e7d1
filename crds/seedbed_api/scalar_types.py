"""Strings and integers of the API with their bounds and messages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, StrictBool, StrictInt
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from seedbed_api.timestamps import LONGEST_TIME, parse_time


def invalid_value(problem: str, fix: str) -> PydanticCustomError:
    """Return the error of an invalid value, with problem and fix for its message."""
    return PydanticCustomError("refused", "{problem}", {"problem": problem, "fix": fix})


@dataclass(frozen=True, slots=True)
class Matches:
    """A string that matches a pattern (the same in RE2 and Python) and has at most `longest` characters."""

    pattern: str
    longest: int
    problem: str
    fix: str
    near: tuple[str, ...] = ()
    """Values of which the closest is the fix."""

    def check(self, value: str) -> str:
        """Return the value; reject it if it is too long or does not match."""
        if len(value) > self.longest:
            raise invalid_value(f"must have at most {self.longest} characters", "shorten it")
        if not re.fullmatch(self.pattern, value):
            close = get_close_matches(value.lower(), self.near, n=1)
            raise invalid_value(self.problem, f"did you mean {close[0]}?" if close else self.fix)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern, "maxLength": self.longest}


@dataclass(frozen=True, slots=True)
class OneOf:
    """A string that is one of some values, known only when the module is loaded."""

    values: tuple[str, ...]

    def check(self, value: str) -> str:
        """Return the value; reject one that is not listed."""
        if value not in self.values:
            close = get_close_matches(value, self.values, n=1)
            fix = f"did you mean {close[0]}?" if close else f"write one of {', '.join(self.values)}"
            raise invalid_value("is not a value that is allowed here", fix)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A positive quantity of Kubernetes: an integer or a string.

    The value is a string. A fraction needs quotes, since a CRD allows only integers and strings.
    """

    problem: str
    fix: str
    fractions: str = ""
    """Suffixes of parts of one, each with a bar behind it: what has none has no thousandths."""
    longest: ClassVar[int] = 32

    @property
    def pattern(self) -> str:
        """Return the pattern of a quantity."""
        number = r"\+?(0*[1-9][0-9]*(\.[0-9]*)?|0*\.0*[1-9][0-9]*)"
        return rf"^{number}({self.fractions}k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][-+]?[0-9]{{1,2}})?$"

    def check(self, value: Any) -> str:
        """Return the value as a string; reject what is no quantity, and zero."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise invalid_value(self.problem, self.fix)
        written = str(value)
        if len(written) > self.longest or not re.fullmatch(self.pattern, written):
            raise invalid_value(self.problem, self.fix)
        return written

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = {name: value for name, value in handler(schema).items() if name != "type"}
        bounds = {"pattern": self.pattern, "maxLength": self.longest, "minimum": 1}
        return {**described, "x-kubernetes-int-or-string": True, **bounds}


class Sweepable:
    """Marks a field that a SweepJob may vary."""


def text(longest: int) -> Any:
    """Return the bound of a free text of at most `longest` characters."""
    return Field(max_length=longest)


Flag = StrictBool
Integer = StrictInt

Count = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]
"""How many of something."""
Whole = Annotated[StrictInt, Field(ge=0, le=2**53 - 1)]
"""A count that may be large: rows, steps, milliseconds."""
Generation = Annotated[StrictInt, Field(ge=0, le=2**53 - 1)]
"""A generation of the API server."""
ObservedGeneration = Annotated[StrictInt, Field(ge=-1, le=2**53 - 1)]
"""A generation of the API server, or -1 where nobody has looked at the object yet."""
Seconds = Annotated[StrictInt, Field(ge=1, le=31_536_000)]
"""A time limit of at most a year."""
Steps = Annotated[StrictInt, Field(ge=1, le=2_000_000_000)]
"""A number of optimizer steps, at least one."""
Epochs = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
"""A number of epochs, at least one."""
Seed = Annotated[StrictInt, Field(ge=0, le=2**53 - 1)]
"""A seed that JSON carries exactly."""

Digest = Annotated[
    str,
    Matches(
        r"^sha256:[0-9a-f]{64}$",
        71,
        "must be sha256: and 64 lower case hexadecimal digits",
        "copy the digest that `seedbed dataset show` or the receipt prints",
    ),
]

DatasetTag = Annotated[
    str,
    Matches(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        64,
        "must be 1 to 64 letters, digits, dots, dashes and underscores",
        "write a tag that `seedbed dataset tag URL` lists",
    ),
]


def _uri(longest: int) -> Matches:
    return Matches(
        r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$",
        longest,
        "must be a URL or a path without control characters or blanks around it",
        "write for example s3://bucket/folder, file:///folder, pvc://claim/folder or a path",
    )


Uri = Annotated[str, _uri(1024)]
StoredUri = Annotated[str, _uri(2048)]
"""Something below a `Uri`: as long, and a path that Seedbed chose."""
Label = Annotated[
    str,
    Matches(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        63,
        "must be an RFC 1123 label: lower case letters, digits and inner dashes",
        "use lower case letters, digits and dashes",
    ),
]
ResourceName = Annotated[
    str,
    Matches(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        253,
        "must be the name of an object: lower case letters, digits, inner dashes and dots",
        "use lower case letters, digits, dashes and dots",
    ),
]
Identifier = Annotated[
    str,
    Matches(
        r"^[A-Za-z_][A-Za-z0-9_]*$",
        63,
        "must be an identifier: letters, digits and underscores, no digit first",
        "rename it",
    ),
]
Entrypoint = Annotated[
    str,
    Matches(
        r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$",
        253,
        "must be module:Object",
        "write for example mypackage.network:Network",
    ),
]
ParameterPattern = Annotated[
    str,
    Matches(
        r"^[A-Za-z0-9_.*?]+$",
        253,
        "must be a pattern of parameter names: letters, digits, dots, underscores, * and ?",
        "write for example features.* or *.bias",
    ),
]
"""A pattern of names as in the model's state_dict; `*` also matches dots."""
CamelReason = Annotated[
    str,
    Matches(r"^[A-Z][A-Za-z0-9]*$", 64, "must be a CamelCase reason", "write for example InvalidDataset"),
]
Cpu = Annotated[
    str, Quantity("must be CPU cores in quotes", 'write for example "4", "1.5" or 500m', fractions="n|u|m|")
]
Bytes = Annotated[
    str,
    Quantity("must be an amount of bytes as Kubernetes writes it", "write for example 512Mi or 16Gi"),
]
Image = Annotated[
    str,
    Matches(
        r"^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*"
        r"(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?@sha256:[0-9a-f]{64}$",
        512,
        "must be an image by digest",
        "write for example registry.example/seedbed@sha256:<64 hexadecimal digits>",
    ),
]
MetricId = Annotated[
    str,
    Matches(
        r"^[a-z0-9]([-a-z0-9_./]*[a-z0-9])?$",
        128,
        "must be the lower case name of a metric",
        "write for example validation/accuracy",
    ),
]
Measured = Annotated[
    str,
    Matches(
        r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$",
        40,
        "must be a decimal number in quotes",
        'write for example "0.98"',
    ),
]
"""A measured value; unlike a fraction of a recipe it may be negative, and is not hashed."""


def _readable_time(value: str) -> str:
    """Return a time; reject what the pattern lets through: a zone of +99:99, the year 0000."""
    if parse_time(value) is None:
        raise invalid_value("must be a time from 1970 to 8999", "write for example 2030-01-02T03:04:05Z")
    return value


Time = Annotated[
    str,
    Matches(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$",
        LONGEST_TIME,
        "must be an RFC 3339 time",
        "write for example 2030-01-02T03:04:05Z",
    ),
    AfterValidator(_readable_time),
    Field(json_schema_extra={"format": "date-time"}),
]
