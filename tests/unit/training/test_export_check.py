"""The export is tried before the training: a new network must take it as plain torch loads it, and answer alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seedbed.arithmetic.arithmetic_config import Arithmetic
from seedbed.arithmetic.learning_rate import LearningRate
from seedbed.feed import MicroBatch
from seedbed.runs.tensor_serialization import serialize
from seedbed.training.export_check import check_builds, check_export, load_export
from seedbed.usercode import UserModel
from seedbed_api.errors import UserError
from support.networks import tensor_layouts

ARITHMETIC = Arithmetic(leaves=2, leaf_rows=2, classes=3, seed=3, learning_rate=LearningRate(base=0.1))
ROWS = MicroBatch(
    step=0,
    leaf=0,
    rows_m=np.arange(2),
    labels_m=np.arange(2),
    pixels_mhwc=np.random.Generator(np.random.Philox(key=1)).integers(0, 256, (2, 12, 12, 3), dtype=np.uint8),
)


def user_of(case: str) -> UserModel:
    return UserModel(
        entrypoint="networks:Net",
        subject=tensor_layouts.Net(),
        args={"case": case},
        source_digest="sha256:0",
        root=Path(tensor_layouts.__file__).parent,
    )


def checked(user: UserModel) -> None:
    network = user.build(classes=3, seed=3)
    check_export(user, network, check_builds(user, network, ARITHMETIC), ARITHMETIC, ROWS, device="cpu")


def refusal_of(case: str) -> str:
    with pytest.raises(UserError) as caught:
        checked(user_of(case))
    assert caught.value.reason == "ModelError"
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("case", tensor_layouts.KEPT)
def test_what_is_accepted_loads_strictly_into_a_new_network(case: str) -> None:
    checked(user_of(case))


@pytest.mark.parametrize("case", tensor_layouts.LOST)
def test_what_a_new_network_would_not_get_back_is_named(case: str) -> None:
    _, says = tensor_layouts.LOST[case]
    message = refusal_of(case)
    assert [words for words in says if words not in message] == [], message


@pytest.mark.parametrize("kind", ["a parameter", "a buffer", "a buffer that is not saved"])
def test_memory_that_nobody_has_written_to_is_named(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def make(classes: int) -> nn.Module:
        network = tensor_layouts.Network(classes)
        if kind == "a parameter":
            network.head.bias = nn.Parameter(memory(classes))
        else:
            network.register_buffer("bias", memory(classes), persistent=kind == "a buffer")
        return network

    monkeypatch.setitem(tensor_layouts.KEPT, "empty", (make, 9))
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)
    torch.set_deterministic_debug_mode("error")
    try:
        assert "bias holds uninitialised memory" in refusal_of("empty")
    finally:
        torch.set_deterministic_debug_mode("default")


def memory(size: int) -> torch.Tensor:
    """Return what torch.empty gives in a fresh process: zeros, unless torch fills it."""
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    return torch.empty(size) if filled else torch.zeros(size)


ONE = nn.Conv2d(8, 8, 1)
NORM = nn.BatchNorm2d(8, affine=False)
WEIGHT = torch.ones(8, 8, 1, 1)
MEAN = torch.ones(8, 1, 1)
WHOLE = tensor_layouts.Network(3)


def wrapped() -> nn.Module:
    layer = nn.Conv2d(8, 8, 1)
    layer.weight = nn.Parameter(WEIGHT)
    return layer


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda _: WHOLE, "conv.weight"),
        (tensor_layouts.middle(lambda: ONE), "middle.weight"),
        (tensor_layouts.middle(wrapped), "middle.weight"),
        (tensor_layouts.middle(lambda: NORM), "middle.running_mean"),
    ],
    ids=["the network itself", "a layer of the module", "a parameter around one tensor", "statistics"],
)
def test_what_two_builds_share_is_named(monkeypatch: pytest.MonkeyPatch, make: Any, name: str) -> None:
    monkeypatch.setitem(tensor_layouts.KEPT, "shared", (make, 9))
    assert f"{name} is one tensor in every network" in refusal_of("shared")


def test_constants_may_be_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    make = tensor_layouts.middle(lambda: tensor_layouts.Scale(MEAN, used=True))
    monkeypatch.setitem(tensor_layouts.KEPT, "constant", (make, 10))
    checked(user_of("constant"))


@pytest.mark.parametrize(
    "outside", [nn.Linear(3, 3), nn.Parameter(torch.ones(3, 3))], ids=["layer", "tensor"]
)
def test_parameters_of_a_loss_that_nothing_trains_are_named(outside: Any) -> None:
    user = user_of("plain")
    user.subject.outside = outside
    checked(user)
    weight = outside.weight if isinstance(outside, nn.Linear) else outside
    weight.grad = torch.ones(3, 3)  # as the probe's backward pass leaves it
    with pytest.raises(UserError, match=r"outside.* of the entrypoint gets a gradient"):
        checked(user)


def test_a_network_that_changed_its_mind_is_refused_when_it_is_exported() -> None:
    user = user_of("plain")
    weights = user.build(classes=3, seed=3).state_dict()
    weights.pop("head.bias")
    with pytest.raises(
        UserError, match=r"load_state_dict\(\) does not take the exported model: .*head\.bias"
    ):
        load_export(user, ARITHMETIC, serialize(weights))
