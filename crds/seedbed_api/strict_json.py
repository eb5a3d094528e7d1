"""Parse JSON of strangers: stored objects, answers of servers, messages of user code.

Python's parser accepts more than JSON and fails with more than one exception: repeated keys, NaN, numbers of
any length, lone surrogates, nesting up to the recursion limit. Here each is a `ValueError` of one line.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

MOST_BYTES: Final = 64 * 2**20
MOST_DEPTH: Final = 64
_MOST_DIGITS: Final = 40
"""More than any 64-bit integer or exact decimal needs."""


def parse_json(data: bytes | str, *, most_bytes: int = MOST_BYTES) -> Any:
    """Return the value of a JSON text; ValueError of one line where it is none or beyond the bounds."""
    if len(data) > most_bytes:
        raise ValueError(f"it has {len(data)} bytes, more than {most_bytes}")
    try:
        text = data if isinstance(data, str) else data.decode()
        value = json.loads(
            text,
            object_pairs_hook=_without_repeats,
            parse_constant=_no_constant,
            parse_int=_bounded_int,
            parse_float=_finite_float,
        )
    except RecursionError:
        raise ValueError(f"it is nested more than {MOST_DEPTH} deep") from None
    if text.count("{") + text.count("[") > MOST_DEPTH:
        _require_bounded_depth(value)
    if "\\u" in text:
        _require_encodable(value)
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("an object has a key twice")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _bounded_int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _require_bounded_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        if depth > MOST_DEPTH:
            raise ValueError(f"it is nested more than {MOST_DEPTH} deep")
        level = [child for each in level for child in _children(each)]
        depth += 1


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [child for child in value.values() if isinstance(child, dict | list)]
    return [child for child in value if isinstance(child, dict | list)] if isinstance(value, list) else []


def _require_encodable(value: Any) -> None:
    """Refuse lone surrogates: every later write or print of them would fail."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text has a lone surrogate") from None
