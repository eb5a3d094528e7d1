"""Look-up of fields of the models by path, and the nearest names to an unknown one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from seedbed_api.base_model import Block, block_in
from seedbed_api.scalar_types import Sweepable


def named_fields(block: type[Block]) -> dict[str, FieldInfo]:
    """Return the fields of a block by their names in a manifest."""
    return {field.alias or name: field for name, field in block.model_fields.items()}


def is_list(annotation: Any) -> bool:
    """Return whether a field holds a list, which may be optional."""
    return get_origin(annotation) is tuple or any(map(is_list, get_args(annotation)))


def is_string(annotation: Any) -> bool:
    """Return whether a field, or each entry of a list, is a string."""
    if annotation is str or isinstance(annotation, str):
        return True
    return any(is_string(part) for part in get_args(annotation))


def block_at(model: type[Block], location: Sequence[int | str]) -> type[Block] | None:
    """Return the block at a location of names and indices below a model; None where there is none."""
    block: type[Block] | None = model
    for name in location:
        if isinstance(name, int):
            continue
        field = named_fields(block).get(name) if block else None
        block = block_in(field.annotation) if field else None
    return block


def every_path(model: type[Block], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the dotted path and the field of everything below a model; lists are written with []."""
    for name, field in named_fields(model).items():
        path = f"{prefix}{name}{'[]' if is_list(field.annotation) else ''}"
        yield path, field
        block = block_in(field.annotation)
        if block is not None:
            yield from every_path(block, f"{path}.")


def is_sweepable(field: FieldInfo) -> bool:
    """Return whether a SweepJob may vary a field."""
    return any(isinstance(mark, Sweepable) for mark in marks(field))


def marks(field: FieldInfo) -> Iterator[Any]:
    """Yield what annotates a field: bounds, patterns, and marks as `Sweepable`."""
    yield from field.metadata
    yield from _marks_in(field.annotation)


def _marks_in(annotation: Any) -> Iterator[Any]:
    yield from getattr(annotation, "__metadata__", ())
    for part in get_args(annotation):
        yield from _marks_in(part)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the fix for an unknown name: the closest known one, else all of them."""
    names = list(known)
    lower = {entry.lower(): entry for entry in names}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean {lower[close[0]]}?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"known are {shown}"
