"""Targets of rows: the task of a dataset, and how a target is parsed, named, encoded and decoded. No I/O.

Every source of another task than single-label makes a *target text* per row by `TargetColumns.text`: a JSON
list of label names, or of decimal numbers. A build turns it into the *target*, the bytes that row digests
commit to:

- `multi-label`: the class indices of its labels, ascending, int32 LE; none for a row without labels
- `regression`: one float64 LE per column; `-0.0` is stored as `0.0`, and no number is NaN or infinite

Shapes: n rows, k classes, labels or numbers.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from seedbed.dataset.source_listing import nfc
from seedbed_api.strict_json import parse_json

SINGLE_LABEL: Final = "single-label"
MULTI_LABEL: Final = "multi-label"
REGRESSION: Final = "regression"
TASKS: Final = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)
SEPARATOR: Final = "|"
"""Between the labels of a cell."""

_LARGEST: Final = 1 << 40
"""What the scores of an evaluation can hold: `NUMBER_LIMIT` of arithmetic."""
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FLAGS: Final = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


class BadTargetError(ValueError):
    """A cell that is no target; `kind` is that of the build report, the text says column, value and fix."""

    def __init__(self, kind: str, detail: str) -> None:
        self.kind, self.detail = kind, detail
        super().__init__(f"{kind}: {detail}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetColumns:
    """Which columns of a table hold the target, and of which task it is."""

    task: str
    columns: tuple[str, ...]
    """Multi-label: one column of labels, or a column of 0 and 1 per label. Regression: the numbers."""
    flags: bool = False
    """Multi-label: the columns hold 0 and 1, and their names are the labels."""

    def text(self, values: Sequence[object]) -> str:
        """Return the target text of a row from its cells, in the order of `columns`.

        A cell is text, a number, a truth value, None, or a list of labels. Raises BadTargetError.
        """
        cells = zip(self.columns, values, strict=True)
        if self.task == REGRESSION:
            return _dumped([repr(_number(column, value)) for column, value in cells])
        if self.flags:
            return _dumped([column for column, value in cells if _flag(column, value)])
        return _dumped(sorted({label for column, value in cells for label in _labels(column, value)}))

    def marks_one_label(self, texts: Iterable[str]) -> bool:
        """Return whether one column of labels holds 0 or 1 (or nothing) in each row: it marks one label."""
        if self.task != MULTI_LABEL or self.flags:
            return False
        found = False
        for text in texts:
            labels = parse_json(text)
            if len(labels) > 1 or not all(label.lower() in _FLAGS for label in labels):
                return False
            found = found or bool(labels)
        return found

    def names(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return the names of what a network outputs: the labels by code point, or the columns in order."""
        if self.task == REGRESSION:
            return self.columns
        if self.flags:
            return tuple(sorted(self.columns))
        return tuple(sorted({label for text in texts for label in parse_json(text)}))


def encode_target(task: str, text: str, names: dict[str, int]) -> bytes:
    """Return the target of a target text; `names` gives the index of each label."""
    values: list[str] = parse_json(text)
    if task == REGRESSION:
        return struct.pack(f"<{len(values)}d", *map(float, values))
    indices = sorted(names[value] for value in values)
    return struct.pack(f"<{len(indices)}i", *indices)


def target_problem(task: str, target: bytes, names: int) -> str | None:
    """Return what is wrong with a stored target, None where nothing is."""
    if task == REGRESSION:
        if len(target) != 8 * names:
            return f"a target of {len(target)} bytes instead of {8 * names}"
        numbers = np.frombuffer(target, "<f8")
        plain = bool(np.isfinite(numbers).all()) and not bool((np.signbit(numbers) & (numbers == 0)).any())
        return None if plain else "a target that is not finite, or -0.0"
    if len(target) % 4:
        return f"a target of {len(target)} bytes, which is no multiple of 4"
    indices = np.frombuffer(target, "<i4")
    inside = not len(indices) or (indices[0] >= 0 and indices[-1] < names)
    ascending = bool((np.diff(indices.astype(np.int64)) > 0).all())
    return None if inside and ascending else f"labels {indices.tolist()[:8]}, not ascending or not of {names}"


def decode_targets(task: str, targets: Sequence[bytes], names: int) -> npt.NDArray[Any]:
    """Return the targets of n rows as an own array (n, k): uint8 0 and 1 of labels, float64 of numbers."""
    if task == REGRESSION:
        return np.frombuffer(b"".join(targets), "<f8").reshape(len(targets), names).copy()
    marked = np.zeros((len(targets), names), np.uint8)
    for row, target in enumerate(targets):
        marked[row, np.frombuffer(target, "<i4")] = 1
    return marked


def target_counts(task: str, targets: Sequence[bytes], names: int) -> npt.NDArray[np.int64]:
    """Return how many of the rows have each label, or each number; shape (k,)."""
    if task == REGRESSION:
        return np.full(names, len(targets), np.int64)
    return np.bincount(np.frombuffer(b"".join(targets), "<i4"), minlength=names).astype(np.int64)


def describe_target(task: str, target: bytes, names: Sequence[str]) -> str:
    """Return a target in words, for messages and exports."""
    if task == REGRESSION:
        return ", ".join(repr(value) for value in np.frombuffer(target, "<f8").tolist())
    return SEPARATOR.join(names[index] for index in np.frombuffer(target, "<i4").tolist()) or "no label"


def _dumped(values: list[str]) -> str:
    return json.dumps(values, ensure_ascii=False)


def _labels(column: str, value: object) -> list[str]:
    parts = _parts(value)
    if parts is None:
        raise BadTargetError("bad-label", f"column {column!r} holds {value!r}, not labels")
    if "" in parts:
        fix = f"separate labels by one {SEPARATOR}, as in a{SEPARATOR}b"
        raise BadTargetError("bad-label", f"column {column!r} holds {value!r}, with an empty label; {fix}")
    return parts


def _parts(value: object) -> list[str] | None:
    """Return the labels of a cell; None where it holds something else."""
    if value is None:
        return []
    if isinstance(value, str):
        return [nfc(part.strip()) for part in value.split(SEPARATOR)] if value.strip() else []
    if isinstance(value, int) and not isinstance(value, bool):
        return [str(value)]
    if isinstance(value, Sequence) and all(isinstance(part, str) for part in value):
        return [nfc(part.strip()) for part in value]
    return None


def _flag(column: str, value: object) -> bool:
    flag = _FLAGS.get(str(value).strip().lower())
    if flag is None:
        shown = "nothing" if value is None or not str(value).strip() else repr(value)
        raise BadTargetError("bad-label", f"column {column!r} holds {shown}; write 0 or 1")
    return flag


def _number(column: str, value: object) -> float:
    text = "" if value is None else str(value).strip()
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        shown = repr(text) if text else "nothing"
        fix = "write a finite decimal number such as 12.5, or leave the row out"
        raise BadTargetError("bad-number", f"column {column!r} holds {shown}; {fix}")
    if abs(number) > _LARGEST:
        fix = f"numbers have at most {_LARGEST:,}: divide the column by a power of ten"
        raise BadTargetError("bad-number", f"column {column!r} holds {text!r}; {fix}")
    return number + 0.0  # -0.0 becomes 0.0: equal numbers have equal bits
