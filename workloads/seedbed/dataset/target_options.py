"""The options of a build that say what its rows are labelled with, checked before anything is listed."""

from __future__ import annotations

from seedbed.dataset.source_listing import nfc
from seedbed.dataset.targets import MULTI_LABEL, REGRESSION, SINGLE_LABEL, TargetColumns
from seedbed_api.errors import UserError, refusal

_OWN_COLUMNS = ("image", "split", "group", "id")


def target_columns(
    task: str,
    columns: tuple[str, ...],
    *,
    csv: str | None,
    classes: tuple[str, ...] | None = None,
    label_column: str | None = None,
) -> TargetColumns | None:
    """Return the columns of the target, None for single-label; `UserError` where the options do not fit.

    Several labels: one column of labels, by default `labels`, or two and more columns of 0 and 1. The task
    alone orders its outputs, so `classes` and `label_column` are of single-label.
    """
    names = tuple(nfc(name.strip()) for name in columns)
    if task == SINGLE_LABEL:
        if names:
            fix = f"add --task {MULTI_LABEL} or --task {REGRESSION}, or name the column label"
            raise _refused("--target", ",".join(names), f"does not go with --task {task}", fix)
        return None
    if csv is None:
        fix = "add --csv FILE with a line for each image"
        raise _refused("--task", task, "needs a table with the targets", fix)
    _require_unordered(task, classes=classes, label_column=label_column)
    _require_distinct(names)
    if task == REGRESSION and not names:
        fix = "name the columns of the numbers, as in --target height --target width"
        raise _refused("--task", task, "needs columns of numbers", fix)
    return TargetColumns(
        task=task, columns=names or ("labels",), flags=task == MULTI_LABEL and len(names) > 1
    )


def _require_unordered(task: str, *, classes: tuple[str, ...] | None, label_column: str | None) -> None:
    """Refuse options that would give labels another order than targets have, or another column."""
    if classes is not None:
        order = "the labels by code point" if task == MULTI_LABEL else "the columns of --target in order"
        fix = f"leave it away: the outputs are {order}"
        raise _refused("--classes", ",".join(classes), f"does not go with --task {task}", fix)
    if label_column is not None:
        fix = f"write --target {label_column}"
        raise _refused("--label-column", label_column, f"does not go with --task {task}", fix)


def require_single_label(task: str) -> None:
    """Refuse another task of rows that come from Python: their listing has one class per row."""
    if task != SINGLE_LABEL:
        fix = "build it from a CSV file with seedbed dataset build --csv"
        raise _refused("task", task, "does not go with rows of Python", fix)


def _require_distinct(names: tuple[str, ...]) -> None:
    for name in names:
        if not name or name in _OWN_COLUMNS:
            fix = "name a column that holds targets"
            raise _refused("--target", name, "is the column of something else", fix)
        if names.count(name) > 1:
            raise _refused("--target", name, "is given more than once", "name each column once")


def require_same_columns(targets: TargetColumns, names: tuple[str, ...]) -> None:
    """Refuse to extend a dataset of numbers with other numbers: rows that are there would lack them."""
    if targets.task == REGRESSION and targets.columns != names:
        fix = f"write {' '.join(f'--target {name}' for name in names)}"
        problem = "the dataset at DEST has other numbers, or in another order"
        raise _refused("--target", ",".join(targets.columns), problem, fix)


def _refused(field: str, value: str, problem: str, fix: str) -> UserError:
    return UserError("InvalidOption", refusal(field, value, problem, fix))
