"""Differences between two records of the same steps: rows, pixels, tensors, loss, checkpoints, evaluations.

Messages count steps as checkpoints do: after step s, s steps are completed. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seedbed.environment import document_differences
from seedbed.runs import LedgerStep
from seedbed.runs.tensor_serialization import TensorDocument

Names = Sequence[str] | None
Labels = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The first difference of one kind."""

    kind: str
    """`rows`, `pixels`, `loss`, `tensor`, `evaluation`, `checkpoint`, `weights`, `recipe` …"""
    step: int | None
    """Completed steps; None where the difference belongs to no step."""
    subject: str
    """What differs: a tensor's name, a leaf, a field."""
    text: str

    @property
    def line(self) -> str:
        """Return the difference as a line of text with its step."""
        return self.text if self.step is None else f"step {self.step}: {self.text}"

    def document(self) -> dict[str, Any]:
        """Return the difference as JSON."""
        return {"kind": self.kind, "step": self.step, "subject": self.subject, "text": self.text}


def step_difference(a: LedgerStep, b: LedgerStep, *, names: Names, labels: Labels) -> Difference | None:
    """Return the first difference in a step: in the data, then the tensors, then the loss."""
    loss = loss_difference(a, b, labels=labels)
    tensor = tensor_difference(a, b, names=names, labels=labels)
    if tensor is not None and loss is not None:
        tensor = replace(tensor, text=f"{tensor.text}; {loss.text}")
    return rows_difference(a, b, labels=labels) or pixels_difference(a, b) or tensor or loss


def rows_difference(a: LedgerStep, b: LedgerStep, *, labels: Labels) -> Difference | None:
    """Return the first leaf that consumed other rows."""
    if a.rows.shape != b.rows.shape:
        shapes = [f"{leaves} leaves of {rows} rows" for leaves, rows in (a.rows.shape, b.rows.shape)]
        return _of(a, "rows", "leaves", f"{shapes[0]} {labels[0]}, {shapes[1]} {labels[1]}")
    other = np.argwhere(a.rows != b.rows)
    if not len(other):
        return None
    leaf, place = (int(index) for index in other[0])
    first, second = int(a.rows[leaf, place]), int(b.rows[leaf, place])
    detail = f"row {first} {labels[0]}, row {second} {labels[1]}"
    return _of(a, "rows", f"leaf {leaf}", f"leaf {leaf} consumed other rows ({detail})")


def pixels_difference(a: LedgerStep, b: LedgerStep) -> Difference | None:
    """Return the first leaf that consumed the same rows with other pixels or labels."""
    if a.rows.shape != b.rows.shape:
        return None
    for leaf, (ours, theirs) in enumerate(zip(a.leaf_digests, b.leaf_digests, strict=True)):
        if ours != theirs and np.array_equal(a.rows[leaf], b.rows[leaf]):
            text = f"leaf {leaf} consumed the same rows with other pixels or labels"
            return _of(a, "pixels", f"leaf {leaf}", text)
    return None


def loss_difference(a: LedgerStep, b: LedgerStep, *, labels: Labels) -> Difference | None:
    """Return the difference of the losses, bit for bit."""
    if np.float64(a.loss).tobytes() == np.float64(b.loss).tobytes():
        return None
    return _of(a, "loss", "loss", f"loss {a.loss!r} {labels[0]}, {b.loss!r} {labels[1]}")


def tensor_difference(a: LedgerStep, b: LedgerStep, *, names: Names, labels: Labels) -> Difference | None:
    """Return the first tensor whose witness differs, in the order of the model."""
    if a.witness.shape != b.witness.shape:
        counts = f"{len(a.witness)} tensors {labels[0]}, {len(b.witness)} {labels[1]}"
        return _of(a, "tensor", "number of tensors", f"the models have {counts}")
    other = np.flatnonzero(a.witness != b.witness)
    if not len(other):
        return None
    name = tensor_name(int(other[0]), len(a.witness), names)
    more = f" (and {len(other) - 1} more of {len(a.witness)} tensors)" if len(other) > 1 else ""
    return _of(a, "tensor", name, f"tensor {name} differs after the update{more}")


def tensor_name(index: int, count: int, names: Names) -> str:
    """Return a tensor's name, or its number where the names are not known."""
    if names is None or len(names) != count:
        return f"number {index + 1} of {count} (names unknown)"
    return names[index]


def checkpoint_difference(
    a: Mapping[str, TensorDocument], b: Mapping[str, TensorDocument], *, step: int
) -> Difference | None:
    """Return the first tensor of a checkpoint that differs or is in one of the two only, by name."""
    other = [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
    if not other:
        return None
    more = f" (and {len(other) - 1} more of {len({*a, *b})} tensors)" if len(other) > 1 else ""
    text = f"tensor {other[0]} of the checkpoint differs{more}"
    return Difference(kind="checkpoint", step=step, subject=other[0], text=text)


def evaluation_difference(
    a: Mapping[str, Any], b: Mapping[str, Any], *, split: str, step: int, labels: Labels
) -> Difference | None:
    """Return the first differing field of two evaluation records; counts come before weights."""
    known = ("samples", "correct", "loss", "nonFinite")
    counted = sorted({*a, *b} - {*known, "weightsDigest"})
    names = (*known, *counted, "weightsDigest")
    other = [name for name in names if a.get(name) != b.get(name)]
    if not other:
        return None
    name = other[0]
    values = "" if name in counted else f" ({a.get(name)} {labels[0]}, {b.get(name)} {labels[1]})"
    weights = " of other weights" if "weightsDigest" in other[1:] else ""
    text = f"{split} evaluation{weights}: {name} differs{values}"
    return Difference(kind="evaluation", step=step, subject=f"{split}/{name}", text=text)


def environment_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Return the fields in which two environments differ; those of the probe only if no other differs."""
    fields = document_differences(a, b)
    return [field for field in fields if not field.startswith("probe.")] or fields


def field_differences(a: Any, b: Any, *, path: str = "") -> list[tuple[str, str, str]]:
    """Return (path, one value, other value) of every field in which two JSON documents differ."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return [
            line
            for key in sorted({*a, *b})
            for line in field_differences(a.get(key), b.get(key), path=f"{path}.{key}" if path else key)
        ]
    return [] if a == b else [(path, _shown(a), _shown(b))]


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    text = str(value)
    return text if len(text) <= 90 else text[:87] + "..."


def _of(entry: LedgerStep, kind: str, subject: str, text: str) -> Difference:
    return Difference(kind=kind, step=entry.step + 1, subject=subject, text=text)
