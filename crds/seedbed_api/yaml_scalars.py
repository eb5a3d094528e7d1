"""Plain scalars of YAML as kubectl reads them: YAML 1.1 without dates and numbers of base 60.

Follows `resolve` of go.yaml.in/yaml/v2, through which sigs.k8s.io/yaml turns manifests into JSON.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import Any

STR, BOOL, INT, FLOAT, NULL, TIMESTAMP, BINARY, MERGE = (
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "bool", "int", "float", "null", "timestamp", "binary", "merge")
)
_WORDS: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"), (BOOL, True)),
    **dict.fromkeys(("true", "True", "TRUE"), (BOOL, True)),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF"), (BOOL, False)),
    **dict.fromkeys(("false", "False", "FALSE"), (BOOL, False)),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), (NULL, None)),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), (FLOAT, math.nan)),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), (FLOAT, math.inf)),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), (FLOAT, -math.inf)),
    "<<": (MERGE, "<<"),
}
_BASES = ((re.compile(r"0[xX]([0-9a-fA-F]+)"), 16), (re.compile(r"0[bB]([01]+)"), 2))
_OCTAL, _DECIMAL = re.compile(r"0[oO]?([0-7]+)"), re.compile(r"(0|[1-9][0-9]*)")
_INTEGERS = (*_BASES, (_OCTAL, 8), (_DECIMAL, 10))
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")


def resolved(text: str) -> tuple[str, Any]:
    """Return tag and value of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return STR, text
    if text[0] != ".":
        if _DATE.fullmatch(text):
            return TIMESTAMP, text
        text, written = text.replace("_", ""), text
        number = _integer(text)
        if number is not None:
            return INT, number
        text, plain = written, text
    else:
        plain = text
    if _NUMBER.fullmatch(plain) and math.isfinite(float(plain)):
        return FLOAT, float(plain)
    return STR, text


def of_tag(tag: str, text: str) -> Any:
    """Return the value of a scalar with an explicit tag; ValueError where it is none of that tag."""
    if tag == BINARY:
        try:
            return base64.b64decode(text, validate=False).decode(errors="replace")
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"is no base64: {text}") from error
    if tag not in (BOOL, INT, FLOAT, NULL, TIMESTAMP):
        return text
    found, value = resolved(text)
    if found == tag:
        return value
    if (found, tag) == (INT, FLOAT):
        return float(value)
    raise ValueError(f"cannot decode {_short(found)} `{text}` as {_short(tag)}")


def as_json(value: Any) -> Any:
    """Return a number as JSON would carry it: a float without a fraction is an integer there.

    ValueError for what JSON has no number for.
    """
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        raise ValueError(f"{value} is no number of JSON")
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def as_key(value: Any) -> str:
    """Return a key of a map as text; ValueError for null."""
    if value is None:
        raise ValueError("null cannot be a key")
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, ".9g").rstrip() if isinstance(value, float) else str(value)


def _integer(plain: str) -> int | None:
    digits = plain.lstrip("+-") if plain[:1] in ("+", "-") else plain
    if len(plain) - len(digits) > 1:
        return None
    for pattern, base in _INTEGERS:
        match = pattern.fullmatch(digits)
        if match is not None:
            value = int(match[1], base) * (-1 if plain[0] == "-" else 1)
            most = 2**63 if plain[0] in "+-" else 2**64
            return value if -(2**63) <= value < most else None
    return None


def _short(tag: str) -> str:
    return "!!" + tag.rpartition(":")[2]
