"""State of Python objects of a model, as text by path: attributes, counters, generators, closures, globals.

The determinism probe compares two states to find what leaves have changed. Excludes registered tensors, which
the arithmetic checks. Objects of other libraries are read as far as they are plain data.
"""

from __future__ import annotations

import array
import collections
import enum
import functools
import hashlib
import inspect
import pickle
import random
import sys
import types
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

ObjectState: TypeAlias = Mapping[str, str]
"""Path of an object, such as `middle.calls` -> text of its state; equal texts for equal states."""
Own: TypeAlias = frozenset[str]
"""Names of the user's modules."""

_MOST_ENTRIES = 200_000
_DEEPEST = 60
_PLAIN = (bool, int, float, complex, str, bytes, bytearray, range, slice, PurePath, torch.dtype, torch.device)
_READ_STDLIB = frozenset({"collections", "functools", "itertools", "random", "types"})
_OPAQUE = frozenset({"ray", "seedbed", "seedbed_api"}) | (sys.stdlib_module_names - _READ_STDLIB)
_REGISTRIES = frozenset({"_parameters", "_buffers", "_modules"})


def object_state(roots: Mapping[str, object], *, own_modules: Collection[str]) -> ObjectState:
    """Return the state of all that is reachable from `roots`, named by their keys.

    Includes closures, defaults and class attributes of functions and classes in `own_modules`, the user's.
    """
    walk = _Walk(frozenset(own_modules))
    for name, root in roots.items():
        walk.visit(name, root, depth=0)
    return walk.entries


def first_difference(before: ObjectState, after: ObjectState) -> str | None:
    """Return the first path whose state differs, with its values where they are short; None without one."""
    for path in [*before, *(path for path in after if path not in before)]:
        old, new = before.get(path, "absent"), after.get(path, "absent")
        if old != new:
            return f"{path} ({old} became {new})" if len(old) + len(new) < 60 else path
    return None


class _Walk:
    """A traversal of objects; each is read once, under the first path that reaches it."""

    def __init__(self, own_modules: frozenset[str]) -> None:
        self.entries: dict[str, str] = {}
        self._own_modules = own_modules
        self._met: dict[int, tuple[str, object]] = {}

    def visit(self, path: str, value: object, *, depth: int) -> None:
        """Record a value and its children."""
        if value is None or (isinstance(value, _PLAIN) and not isinstance(value, enum.Enum)):
            self.entries[path] = _short(repr(value))
        elif id(value) in self._met:
            self.entries[path] = f"the object at {self._met[id(value)][0] or 'the model'}"
        elif depth < _DEEPEST and len(self.entries) < _MOST_ENTRIES:
            # a reference, so that no later object gets its id
            self._met[id(value)] = (path, value)
            self.entries[path], children = self._read(value)
            for name, child in children:
                self.visit(_joined(path, name), child, depth=depth + 1)

    def _read(self, value: object) -> tuple[str, list[tuple[str, object]]]:
        """Return text and children of a value; one that cannot be read is opaque."""
        try:
            return _contents(value), list(self._children(value))
        except Exception:
            return f"opaque {type(value).__name__}", []

    def _children(self, value: Any) -> Iterator[tuple[str, object]]:
        for kind, read in _READERS:
            if isinstance(value, kind):
                yield from read(value, self._own_modules)
                break
        yield from _attributes(value)


def _of_mapping(value: Mapping[Any, object], _own: Own) -> Iterator[tuple[str, object]]:
    for index, (key, item) in enumerate(value.items()):
        yield f"[{key!r}]" if isinstance(key, _PLAIN) else f"[{index}]", item


def _of_sequence(value: Sequence[object], _own: Own) -> Iterator[tuple[str, object]]:
    yield from ((f"[{index}]", item) for index, item in enumerate(value))


def _of_array(value: npt.NDArray[Any], own: Own) -> Iterator[tuple[str, object]]:
    if value.dtype.hasobject:
        yield from _of_sequence(value.reshape(-1).tolist(), own)


def _of_method(value: types.MethodType, _own: Own) -> Iterator[tuple[str, object]]:
    yield from (("__self__", value.__self__), ("__func__", value.__func__))


def _of_partial(value: functools.partial[object], _own: Own) -> Iterator[tuple[str, object]]:
    yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))


def _of_function(value: types.FunctionType, own: Own) -> Iterator[tuple[str, object]]:
    if value.__module__ not in own:
        return
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    yield "__defaults__", value.__defaults__
    yield "__kwdefaults__", value.__kwdefaults__
    yield from value.__dict__.items()


def _of_namespace(value: type | types.ModuleType, own: Own) -> Iterator[tuple[str, object]]:
    module = value.__name__ if isinstance(value, types.ModuleType) else value.__module__
    if module in own:
        yield from ((name, item) for name, item in list(vars(value).items()) if not name.startswith("__"))


def _of_module(value: nn.Module, own: Own) -> Iterator[tuple[str, object]]:
    yield from ((name, item) for name, item in list(vars(value).items()) if name not in _REGISTRIES)
    for name, parameter in value._parameters.items():
        for what, item in _of_tensor(parameter, own) if parameter is not None else ():
            yield f"{name}.{what}", item
    yield from value._modules.items()


def _of_tensor(value: torch.Tensor, _own: Own) -> Iterator[tuple[str, object]]:
    if value.requires_grad:
        yield "hooks", value._backward_hooks
        yield "gradient hooks", getattr(value, "_post_accumulate_grad_hooks", None)
    yield from vars(value).items()


def _of_generator(value: types.GeneratorType[Any, Any, Any], _own: Own) -> Iterator[tuple[str, object]]:
    if value.gi_frame is not None:
        yield "position", value.gi_frame.f_lasti
        yield from inspect.getgeneratorlocals(value).items()


def _of_iterator(value: Any, _own: Own) -> Iterator[tuple[str, object]]:
    """Yield the position of an iterator, such as itertools.count, as pickling it would."""
    if type(value).__module__ not in {"builtins", "itertools"}:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            _, *rest = value.__reduce__()
    except TypeError:  # it cannot be pickled
        return
    yield "position", rest


_READERS: tuple[tuple[Any, Callable[[Any, Own], Iterator[tuple[str, object]]]], ...] = (
    (nn.Module, _of_module),
    (torch.Tensor, _of_tensor),
    (Mapping, _of_mapping),
    ((list, tuple, collections.deque), _of_sequence),
    (np.ndarray, _of_array),
    (types.FunctionType, _of_function),
    (types.MethodType, _of_method),
    (functools.partial, _of_partial),
    (types.GeneratorType, _of_generator),
    ((type, types.ModuleType), _of_namespace),
    (Iterator, _of_iterator),
)


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    """Yield attributes of instances, except of classes that hold clocks and locks in them."""
    if isinstance(value, nn.Module | torch.Tensor | type | types.ModuleType):
        return
    module = type(value).__module__
    if module.partition(".")[0] in _OPAQUE or module.startswith("torch._"):
        return
    yield from list(getattr(value, "__dict__", {}).items())
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if isinstance(vars(base).get(slot), types.MemberDescriptorType) and hasattr(value, slot):
                yield slot, getattr(value, slot)


def _contents(value: Any) -> str:
    """Return the text of a value without its children."""
    described = next((describe(value) for kind, describe in _CONTENTS if isinstance(value, kind)), "")
    return f"{type(value).__name__} {described}".rstrip()


def _array_digest(value: npt.NDArray[Any]) -> str:
    data = b"" if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
    return f"{value.dtype} {value.shape} {_digest(data)}"


def _set_elements(value: Set[object]) -> str:
    return f"{sorted(repr(item) for item in value if isinstance(item, _PLAIN))} of {len(value)}"


def _tensor_bytes(value: torch.Tensor) -> bytes:
    described = f"{value.dtype} {tuple(value.shape)} {value.layout}".encode()
    if value.is_meta or value.is_quantized:
        return described
    dense = value.detach().resolve_conj().resolve_neg()
    dense = dense.to_dense() if value.layout != torch.strided else dense
    dense = torch.view_as_real(dense) if dense.is_complex() else dense
    return described + dense.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


_NUMPY_GENERATORS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator)
_CONTENTS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (torch.Tensor, lambda value: _digest(_tensor_bytes(value))),
    ((np.ndarray, np.generic), _array_digest),
    (torch.Generator, lambda value: _digest(value.get_state().numpy().tobytes())),
    (random.SystemRandom, lambda _: ""),
    (random.Random, lambda value: _digest(repr(value.getstate()).encode())),
    (_NUMPY_GENERATORS, lambda value: _digest(pickle.dumps(value))),
    (enum.Enum, lambda value: value.name),
    ((array.array, memoryview), lambda value: _digest(bytes(value))),
    (Set, _set_elements),
    ((Mapping, list, tuple, collections.deque), lambda value: f"of {len(value)}"),
)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:20]}… {_digest(text.encode())}"


def _joined(path: str, name: str) -> str:
    return name if not path else path + name if name.startswith("[") else f"{path}.{name}"
