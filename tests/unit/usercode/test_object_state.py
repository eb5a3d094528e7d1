"""What Python objects hold, by path: every place where a count may hide, and objects that do not let themselves be read."""

from __future__ import annotations

import array
import collections
import enum
import functools
import itertools
import random
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seedbed.usercode.object_state import first_difference, object_state


def state_of(value: object) -> Mapping[str, str]:
    return object_state({"it": value}, own_modules={__name__})


class Slotted:
    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def add(self) -> None:
        self.number += 1


class Counted:
    number = 0


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def count_default(seen: list[int] = [0]) -> None:  # noqa: B006
    seen[0] += 1


def closure() -> tuple[Callable[[], None], Callable[[], None]]:
    seen = 0

    def act() -> None:
        nonlocal seen
        seen += 1

    return act, act


def a_generator() -> Iterator[int]:
    yield from range(9)


def holding(
    make: Callable[[], Any], act: Callable[[Any], object]
) -> Callable[[], tuple[Any, Callable[[], Any]]]:
    def made() -> tuple[Any, Callable[[], Any]]:
        value = make()
        return value, lambda: act(value)

    return made


def hooked() -> tuple[nn.Module, Callable[[], object]]:
    layer, (act, _) = nn.Linear(1, 1), closure()
    layer.weight.register_hook(lambda gradient: act())
    return layer, act


CHANGES: dict[str, Callable[[], tuple[Any, Callable[[], Any]]]] = {
    "list": holding(lambda: [1], lambda it: it.append(2)),
    "nested dict": holding(lambda: {"a": {"b": 1}}, lambda it: it["a"].update(b=2)),
    "set": holding(lambda: {1}, lambda it: it.add(2)),
    "deque": holding(lambda: collections.deque([1, 2], maxlen=2), lambda it: it.append(1)),
    "Counter": holding(collections.Counter, lambda it: it.update("a")),
    "bytearray": holding(lambda: bytearray(b"a"), lambda it: it.extend(b"b")),
    "array.array": holding(lambda: array.array("i", [1]), lambda it: it.append(2)),
    "numpy array": holding(lambda: np.zeros(2), lambda it: it.__setitem__(0, 1)),
    "sign of a zero": holding(lambda: [0.0], lambda it: it.__setitem__(0, -0.0)),
    "array of objects": holding(lambda: np.array([[1], "a"], dtype=object), lambda it: it[0].append(2)),
    "tensor": holding(lambda: [torch.zeros(2)], lambda it: it[0].add_(1)),
    "bfloat16 tensor": holding(lambda: [torch.zeros(2).bfloat16()], lambda it: it[0].add_(1)),
    "complex tensor": holding(lambda: [torch.zeros(2, dtype=torch.complex64)], lambda it: it[0].add_(1j)),
    "attribute of a tensor": holding(lambda: torch.zeros(1), lambda it: setattr(it, "calls", 1)),
    "torch.Generator": holding(torch.Generator, lambda it: torch.rand(1, generator=it)),
    "numpy Generator": holding(lambda: np.random.default_rng(1), lambda it: it.random()),
    "RandomState": holding(lambda: np.random.RandomState(1), lambda it: it.rand()),
    "random.Random": holding(lambda: random.Random(1), lambda it: it.random()),
    "itertools.count": holding(itertools.count, next),
    "itertools.cycle": holding(lambda: itertools.cycle([1, 2, 3]), next),
    "iterator": holding(lambda: iter([1, 2]), next),
    "generator": holding(a_generator, next),
    "SimpleNamespace": holding(lambda: types.SimpleNamespace(n=0), lambda it: setattr(it, "n", 1)),
    "slots": holding(Slotted, lambda it: it.add()),
    "method": lambda: (method := Slotted().add, method),
    "partial": lambda: (functools.partial(method := Slotted().add), method),
    "enum": holding(lambda: {"colour": Colour.RED}, lambda it: it.update(colour=Colour.BLUE)),
    "class attribute": lambda: (Counted, lambda: setattr(Counted, "number", Counted.number + 1)),
    "default of a function": lambda: (count_default, count_default),
    "attribute of a function": lambda: (
        count_default,
        lambda: setattr(count_default, "calls", random.random()),
    ),
    "closure": closure,
    "hook of a gradient": hooked,
    "module of a network": holding(lambda: nn.Sequential(nn.ReLU()), lambda it: setattr(it[0], "calls", 1)),
    "mode of a layer": holding(lambda: nn.Sequential(nn.ReLU()), lambda it: it[0].eval()),
    "which object": holding(lambda: [[1], [1], None], lambda it: it.__setitem__(2, it[1])),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_and_nothing_else(name: str) -> None:
    value, act = CHANGES[name]()
    before = state_of(value)
    assert first_difference(before, state_of(value)) is None
    act()
    assert first_difference(before, state_of(value)) is not None


def test_globals_of_the_users_modules_are_looked_into_and_those_of_others_are_not() -> None:
    module = types.ModuleType("users")
    module.__dict__["GLOBAL"] = [0]
    roots = {"module": module, "other": threading}
    before = object_state(roots, own_modules={"users"})
    module.__dict__["GLOBAL"][0] += 1
    found = first_difference(before, object_state(roots, own_modules={"users"}))
    assert found == "module.GLOBAL[0] (0 became 1)"
    assert [path for path in before if path.startswith("other.")] == []


def test_registered_tensors_are_left_to_the_arithmetic() -> None:
    layer = nn.BatchNorm1d(2)
    before = state_of(layer)
    layer.running_mean.add_(1)
    layer.weight.data.add_(1)
    assert first_difference(before, state_of(layer)) is None


class Unreadable:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError


class BrokenMapping(Mapping[str, int]):
    def __len__(self) -> int:
        raise RuntimeError

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    def __getitem__(self, key: str) -> int:
        raise RuntimeError


def recursive() -> list[Any]:
    own: list[Any] = []
    own.append(own)
    return own


@pytest.mark.parametrize(
    "value",
    [
        *(Unreadable(), BrokenMapping(), threading.Lock(), random.SystemRandom(), recursive()),
        *(torch.empty(2, device="meta"), torch.eye(2).to_sparse(), torch.jit.script(nn.Linear(1, 1))),
        *(
            torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
            torch.distributions.Normal(0.0, 1.0),
        ),
        *(functools.reduce(lambda inner, _: [inner], range(10_000), [1]), {frozenset(): 1}, np.float32(1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_of_every_kind_are_the_same_as_themselves(value: object) -> None:
    assert first_difference(state_of([value]), state_of([value])) is None
