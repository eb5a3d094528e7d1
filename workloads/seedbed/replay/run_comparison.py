"""Comparison of two runs: their inputs, then the first step and tensor at which they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from seedbed.replay.run_differences import (
    Difference,
    Names,
    checkpoint_difference,
    environment_differences,
    evaluation_difference,
    field_differences,
    loss_difference,
    pixels_difference,
    rows_difference,
    tensor_difference,
)
from seedbed.replay.run_record import RunRecord
from seedbed.replay.stored_integrity import run_length
from seedbed.runs import CheckpointRecord, DamagedCheckpoint, LedgerStep, read_record
from seedbed_api.errors import UserError

LABELS = ("in A", "in B")


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedPart:
    """One category of a comparison."""

    category: str
    extent: str
    """How much was compared, as text; empty if nothing could be."""
    found: tuple[Difference, ...] = ()
    why_not: str = ""
    """Why nothing could be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunComparison:
    """Result of a comparison of two runs."""

    a: str
    b: str
    categories: tuple[ComparedPart, ...]

    @property
    def equal(self) -> bool:
        """Return whether nothing differs."""
        return not any(category.found for category in self.categories)

    def document(self) -> dict[str, Any]:
        """Return the comparison as JSON."""
        return {
            "result": "equal" if self.equal else "different",
            "a": self.a,
            "b": self.b,
            "differences": [
                {"category": c.category, **d.document()} for c in self.categories for d in c.found
            ],
            "compared": {c.category: c.extent for c in self.categories if c.extent},
            "notCompared": {c.category: c.why_not for c in self.categories if c.why_not},
        }


def compare_runs(a: RunRecord, b: RunRecord) -> RunComparison:
    """Compare two runs by category: the first difference of each, all fields of recipe and environment."""
    categories = (
        _recipe(a, b),
        _dataset(a, b),
        _environment(a, b),
        *_ledger(a, b),
        _checkpoints(a, b),
        _evaluations(a, b),
        _weights(a, b),
    )
    return RunComparison(a=a.shown, b=b.shown, categories=categories)


def _recipe(a: RunRecord, b: RunRecord) -> ComparedPart:
    fields = [f for f in field_differences(a.recipe, b.recipe) if f[0] != "dataset.digest"]
    found = tuple(_of("recipe", path, f"{path}: {one} in A, {other} in B") for path, one, other in fields)
    return ComparedPart(category="recipe", extent="all fields", found=found)


def _dataset(a: RunRecord, b: RunRecord) -> ComparedPart:
    one, other = (run.recipe["dataset"]["digest"] for run in (a, b))
    found = () if one == other else (_of("dataset", "digest", f"{one} in A, {other} in B"),)
    return ComparedPart(category="dataset", extent="digest", found=found)


def _environment(a: RunRecord, b: RunRecord) -> ComparedPart:
    if a.environment_class == b.environment_class:
        return ComparedPart(category="environment", extent="class")
    if a.environment is None or b.environment is None:
        text = f"class {a.environment_class} in A, {b.environment_class} in B"
        return ComparedPart(
            category="environment", extent="class", found=(_of("environment", "class", text),)
        )
    lines = environment_differences(a.environment, b.environment)
    found = tuple(_of("environment", line.partition(":")[0], line) for line in lines)
    return ComparedPart(category="environment", extent="document", found=found)


def _ledger(a: RunRecord, b: RunRecord) -> list[ComparedPart]:
    """Compare step by step; return the first differing step of rows, pixels, tensors and loss."""
    if a.ledger is None or b.ledger is None or not min(a.ledger.stop, b.ledger.stop):
        return [_chain(a, b)]
    ledgers = _LedgerComparison()
    common = min(a.ledger.stop, b.ledger.stop)
    for step in range(common):
        ledgers.add(a.ledger.step(step), b.ledger.step(step), names=a.names or b.names)
    if a.ledger.stop != b.ledger.stop:
        text = f"{a.ledger.stop} steps in A, {b.ledger.stop} in B; {common} were compared"
        ledgers.first["steps"] = _of("steps", "steps", text)
    return ledgers.compared()


@dataclass(kw_only=True, slots=True)
class _LedgerComparison:
    """The first differences over the steps so far."""

    first: dict[str, Difference] = field(default_factory=dict)
    steps: int = 0
    missing: int = 0
    comparable: int = 0
    """Leaves that consumed the same rows."""

    def add(self, a: LedgerStep | None, b: LedgerStep | None, *, names: Names) -> None:
        """Compare a step; None counts as missing."""
        if a is None or b is None:
            self.missing += 1
            return
        self.steps += 1
        if a.rows.shape == b.rows.shape:
            self.comparable += int((a.rows == b.rows).all(axis=1).sum())
        for difference in (
            rows_difference(a, b, labels=LABELS),
            pixels_difference(a, b),
            tensor_difference(a, b, names=names, labels=LABELS),
            loss_difference(a, b, labels=LABELS),
        ):
            if difference is not None:
                self.first.setdefault(difference.kind, difference)

    def compared(self) -> list[ComparedPart]:
        """Return one category for each kind of difference."""
        extent = f"{self.steps} steps" + (f" ({self.missing} are missing)" if self.missing else "")
        kinds = {"rows": "rows", "pixels": "pixels", "tensor": "tensors", "loss": "loss", "steps": "steps"}
        return [
            ComparedPart(category="pixels", extent="", why_not="no leaf consumed the same rows in both")
            if kind == "pixels" and not self.comparable
            else ComparedPart(category=name, extent=extent, found=_as_tuple(self.first.get(kind)))
            for kind, name in kinds.items()
        ]


def _as_tuple(found: Difference | None) -> tuple[Difference, ...]:
    return () if found is None else (found,)


def _chain(a: RunRecord, b: RunRecord) -> ComparedPart:
    """Compare the ledger chains of two receipts, for runs without stored ledgers."""
    if a.receipt is None or b.receipt is None:
        return ComparedPart(category="ledger", extent="", why_not=_lacking(a, b, "ledger"))
    one, other = a.receipt.decided, b.receipt.decided
    text = (
        f"the chain over {run_length(one)} steps in A differs from the one over {run_length(other)} in B; "
        "compare the run folders to find the step"
    )
    found = () if one.ledger_chain == other.ledger_chain else (_of("ledger", "chain", text),)
    return ComparedPart(
        category="ledger", extent=f"the receipts' chain over {run_length(one)} steps", found=found
    )


def _checkpoints(a: RunRecord, b: RunRecord) -> ComparedPart:
    common = sorted({*a.checkpoints()} & {*b.checkpoints()})
    if not common:
        named = a.evaluated_weights(), b.evaluated_weights()
        return _receipts(named[0], named[1], _lacking(a, b, "checkpoint of a common step"))
    for step in common:
        one, other = _record(a, step), _record(b, step)
        difference = checkpoint_difference(one.tensors, other.tensors, step=step)
        if difference is not None:
            return ComparedPart(category="checkpoints", extent=_steps(common), found=(difference,))
    return ComparedPart(category="checkpoints", extent=_steps(common))


def _receipts(a: dict[int, str], b: dict[int, str], why_not: str) -> ComparedPart:
    common = sorted({*a} & {*b})
    if not common:
        return ComparedPart(category="checkpoints", extent="", why_not=why_not)
    other = [step for step in common if a[step] != b[step]]
    text = f"weights {a[other[0]]} in A, {b[other[0]]} in B" if other else ""
    found = tuple(Difference(kind="weights", step=step, subject="weights", text=text) for step in other[:1])
    return ComparedPart(category="checkpoints", extent=f"{_steps(common)} of the receipts", found=found)


def _evaluations(a: RunRecord, b: RunRecord) -> ComparedPart:
    ours, theirs = a.evaluations(), b.evaluations()
    common = sorted({*ours} & {*theirs})
    if not common:
        return ComparedPart(
            category="evaluations", extent="", why_not=_lacking(a, b, "evaluation of a common step")
        )
    for step, split in common:
        difference = evaluation_difference(
            ours[step, split].document, theirs[step, split].document, split=split, step=step, labels=LABELS
        )
        if difference is not None:
            return ComparedPart(category="evaluations", extent=f"{len(common)} records", found=(difference,))
    return ComparedPart(category="evaluations", extent=f"{len(common)} records")


def _weights(a: RunRecord, b: RunRecord) -> ComparedPart:
    one, other = a.weights(), b.weights()
    if one is None or other is None:
        return ComparedPart(category="weights", extent="", why_not=_lacking(a, b, "final weights"))
    found = () if one == other else (_of("weights", "weights", f"{one} in A, {other} in B"),)
    return ComparedPart(category="weights", extent=one if one == other else "final weights", found=found)


def _record(run: RunRecord, step: int) -> CheckpointRecord:
    assert run.folder is not None
    try:
        return read_record(run.folder, step)
    except DamagedCheckpoint as damage:
        raise UserError("RunFolderDamaged", str(damage)) from damage


def _lacking(a: RunRecord, b: RunRecord, what: str) -> str:
    without = [name for name, run in (("A", a), ("B", b)) if run.folder is None]
    if without:
        return f"no {what}: {' and '.join(without)} {'has' if len(without) == 1 else 'have'} no run folder"
    return f"no {what} in both"


def _steps(common: list[int]) -> str:
    shown = ", ".join(str(step) for step in common[:8])
    return f"step{'s' if len(common) > 1 else ''} {shown}{', …' if len(common) > 8 else ''}"


def _of(kind: str, subject: str, text: str) -> Difference:
    return Difference(kind=kind, step=None, subject=subject, text=text)


def lines(comparison: RunComparison) -> Iterator[str]:
    """Yield the comparison as lines of text."""
    if comparison.equal:
        yield f"equal: {'; '.join(_extents(comparison))}"
    else:
        for category in comparison.categories:
            yield from (f"differs: {category.category}: {difference.line}" for difference in category.found)
        same = [c.category for c in comparison.categories if c.extent and not c.found]
        if same:
            yield f"equal: {', '.join(same)}"
    for category in comparison.categories:
        if category.why_not:
            yield f"not compared: {category.category}: {category.why_not}"


def _extents(comparison: RunComparison) -> Iterator[str]:
    """Yield what was compared, with categories of the same extent in one item."""
    together: dict[str, list[str]] = {}
    for category in comparison.categories:
        together.setdefault(category.extent, []).append(category.category)
    for extent, names in together.items():
        if extent:
            yield f"{', '.join(names)} ({extent})"
