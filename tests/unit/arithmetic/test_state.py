"""What a model keeps between leaves, steps and evaluations: BatchNorm's statistics, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seedbed.arithmetic.arithmetic_config import Arithmetic
from seedbed.arithmetic.evaluation import evaluate
from seedbed.arithmetic.evaluation_counts import Counts
from seedbed.arithmetic.leaf_gradient import ModelOutputError, leaf_contribution
from seedbed.arithmetic.learning_rate import LearningRate
from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.optimizer_step import run_step
from seedbed.arithmetic.subtree_exchange import SingleProcessExchange

CLASSES = 3


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A leaf, or a batch of an evaluation."""

    index: int
    labels_m: npt.NDArray[np.int64]
    pixels_mhwc: npt.NDArray[np.uint8]

    @property
    def leaf(self) -> int:
        return self.index

    @property
    def count(self) -> int:
        return len(self.labels_m)

    @property
    def labels_b(self) -> npt.NDArray[np.int64]:
        return self.labels_m

    @property
    def pixels_bhwc(self) -> npt.NDArray[np.uint8]:
        return self.pixels_mhwc


def rows(index: int) -> Rows:
    draw = np.random.Generator(np.random.Philox(key=index))
    pixels = draw.integers(0, 256, (4, 6, 6, 3), dtype=np.uint8)
    return Rows(index=index, labels_m=draw.integers(0, CLASSES, 4), pixels_mhwc=pixels)


def a_replica(model: nn.Module, *, leaves: int = 3) -> Replica:
    arithmetic = Arithmetic(
        leaves=leaves, leaf_rows=4, classes=CLASSES, seed=5, learning_rate=LearningRate(base=0.1)
    )
    return Replica(arithmetic, model)


def step(replica: Replica, index: int = 0) -> None:
    batches = [rows(leaf) for leaf in range(replica.arithmetic.leaves)]
    run_step(replica, index, batches, SingleProcessExchange(), total_steps=10)


def evaluated(replica: Replica, *batches: int, split: str = "test") -> Counts:
    return evaluate(replica, [rows(index) for index in batches], SingleProcessExchange(), split=split)


class Net(nn.Module):
    """A convolution, two BatchNorm layers and a head; `act` is called with it in each forward pass."""

    def __init__(self, act: Callable[[Any], object] = lambda _: None) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, CLASSES)
        self.norm, self.other = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.register_buffer("seen", torch.zeros(2))
        self.act = act
        self.skips_other = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.act(self)
        x = F.relu(self.norm(self.conv(x)))
        x = x if self.skips_other else self.other(x)
        result: torch.Tensor = self.head(x.mean((2, 3)))
        return result


class Thawing(Net):
    """Freezes a layer whenever train() is called."""

    def train(self, mode: bool = True) -> Thawing:
        super().train(mode)
        self.norm.eval()
        return self


def statistics(layer: nn.Module) -> list[bytes]:
    return [buffer.numpy().tobytes() for buffer in layer.buffers()]


def frozen_when_built(model: Net) -> None:
    model.norm.eval()


def skipped(model: Net) -> None:
    """A layer in training mode that no leaf runs; its parameters are fixed, or they would miss a gradient."""
    model.norm, model.other, model.skips_other = model.other, model.norm, True
    model.other.requires_grad_(False)


@pytest.mark.parametrize(
    ("make", "change", "layer"),
    [
        pytest.param(Net, frozen_when_built, "norm", id="frozen when it was built"),
        pytest.param(Thawing, lambda _: None, "norm", id="frozen by train()"),
        pytest.param(Net, skipped, "other", id="a layer that no leaf runs"),
    ],
)
@pytest.mark.parametrize("leaves", [2, 3, 5, 7])
def test_a_layer_that_no_leaf_changes_stays_bit_for_bit(
    make: type[Net], change: Callable[[Net], None], layer: str, leaves: int
) -> None:
    model = make()
    with torch.no_grad():
        for name in ("running_mean", "running_var"):
            getattr(model.norm, name).copy_(torch.rand(8) + 0.3)
            getattr(model.other, name).copy_(torch.rand(8) + 0.3)
    change(model)
    before = statistics(getattr(model, layer))
    replica = a_replica(model, leaves=leaves)
    step(replica)
    evaluated(replica, 0)
    step(replica, 1)
    assert statistics(getattr(model, layer)) == before
    (changed,) = {"norm", "other"} - {layer}
    assert getattr(model, changed).num_batches_tracked == 2


def test_every_leaf_finds_the_count_of_the_step_before() -> None:
    counts: list[int] = []
    replica = a_replica(Net(lambda model: counts.append(int(model.norm.num_batches_tracked))))
    step(replica)
    step(replica, 1)
    assert counts == [0, 0, 0, 1, 1, 1]


def replace_statistics(model: Any) -> None:
    model.norm.running_mean = 0.5 * model.norm.running_mean + 1.0


def test_statistics_that_are_replaced_are_averaged_as_those_written_in_place() -> None:
    replica = a_replica(Net(replace_statistics))
    for leaf in range(3):
        first = leaf_contribution(replica, 0, rows(leaf))[-2].clone()
        assert torch.equal(leaf_contribution(replica, 0, rows(leaf))[-2], first)
    before = replica.named_weights()["norm.running_mean"].clone()
    step(replica)
    after = replica.named_weights()["norm.running_mean"]
    assert replica.model.norm.running_mean.data_ptr() == after.data_ptr()
    assert not torch.equal(after, before)


WRITES: dict[str, Callable[[Any], object]] = {
    "in place": lambda model: model.seen.add_(1),
    "by assignment": lambda model: setattr(model, "seen", model.seen + 1),
    "to another shape": lambda model: setattr(model, "seen", torch.zeros(3)),
    "away": lambda model: model._buffers.pop("seen", None),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
@pytest.mark.parametrize("first", [0, 4], ids=["from the beginning", "late"])
def test_a_leaf_that_changes_a_buffer_is_named(write: Callable[[Any], object], first: int) -> None:
    calls: list[int] = []

    def act(model: Any) -> None:
        calls.append(0)
        if len(calls) > first:
            write(model)

    replica = a_replica(Net(act), leaves=1)
    for index in range(first):
        step(replica, index)
    with pytest.raises(ModelOutputError, match="seen: a forward or backward pass changes it"):
        step(replica, first)


def write_a_parameter(model: Any) -> None:
    with torch.no_grad():
        model.conv.weight.mul_(0.5)


def test_a_leaf_that_changes_a_parameter_is_named() -> None:
    with pytest.raises(ModelOutputError, match=r"conv\.weight: a forward or backward pass changes it"):
        step(a_replica(Net(write_a_parameter)))


@pytest.mark.parametrize(
    "write",
    [lambda model: model.seen.fill_(0.0), lambda model: setattr(model, "seen", torch.zeros(2))],
    ids=["in place", "by assignment"],
)
def test_a_buffer_may_be_written_with_what_it_holds(write: Callable[[Any], object]) -> None:
    replica = a_replica(Net(write))
    step(replica)
    assert replica.model.seen.data_ptr() == replica.named_weights()["seen"].data_ptr()


@pytest.mark.parametrize(
    ("act", "name"),
    [
        pytest.param(lambda model: model.counted.append(1), None, id="nothing that acts"),
        pytest.param(lambda model: torch.rand(1), None, id="draws"),
        pytest.param(lambda model: setattr(model, "scale", model.scale * 1.01), "gradient of conv", id="a factor"),
    ],
)  # fmt: skip
def test_a_leaf_that_is_computed_twice_gives_the_same_bits(act: Callable[[Any], object], name: str) -> None:
    model: Any = Net(act)
    model.counted, model.scale = [], 1.0
    model.head.register_forward_hook(lambda layer, _, scores: scores * model.scale)
    replica, plain = a_replica(model), a_replica(Net())
    batches = [rows(leaf) for leaf in range(3)]
    if name is None:
        run_step(replica, 0, batches, SingleProcessExchange(), total_steps=10, twice=True)
        step(plain)
        ours, theirs = replica.named_weights(), plain.named_weights()
        assert all(torch.equal(ours[each], theirs[each]) for each in ours)
        return
    with pytest.raises(ModelOutputError, match=f"not deterministic: {name}"):
        run_step(replica, 0, batches, SingleProcessExchange(), total_steps=10, twice=True)


class Recording(Net):
    """Notes which calls it sees."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        super().__init__(lambda model: model.calls.append("forward"))

    def train(self, mode: bool = True) -> Recording:
        self.calls.append(f"train({mode})")
        super().train(mode)
        return self

    def eval(self) -> Recording:
        self.calls.append("eval()")
        super().eval()
        return self


def test_a_model_sees_the_calls_of_plain_torch() -> None:
    model = Recording()
    replica = a_replica(model, leaves=1)
    step(replica)
    evaluated(replica, 0, 1)
    step(replica, 1)
    assert model.calls == [
        "train(True)", "forward",
        "eval()", "train(False)", "forward", "forward",
        "train(True)", "forward",
    ]  # fmt: skip


DRAWS: dict[str, Callable[[], float]] = {
    "torch": lambda: float(torch.rand(1)),
    "numpy": lambda: float(np.random.rand()),
    "Python": random.random,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_draws_are_those_of_the_batch_alone(draw: Callable[[], float]) -> None:
    drawn: list[float] = []
    replica = a_replica(Net(lambda _: drawn.append(draw())))
    before = random.getstate()
    evaluated(replica, 0, 1, 2)
    evaluated(replica, 2, 0, 1)
    evaluated(replica, 0, split="validation")
    assert drawn[:3] == [drawn[4], drawn[5], drawn[3]]
    assert len(set(drawn)) == 4
    assert random.getstate() == before


def test_an_evaluation_that_changes_a_buffer_is_named() -> None:
    replica = a_replica(Net(lambda model: model.seen.add_(not model.training)))
    with pytest.raises(ModelOutputError, match="seen: a forward pass in evaluation mode changes it"):
        evaluated(replica, 0)
    assert replica.named_weights()["seen"].tolist() == [0.0, 0.0]


class NormalisingByBatch(Net):
    """Keeps BatchNorm in training mode when evaluated."""

    def eval(self) -> NormalisingByBatch:
        super().eval()
        self.norm.train()
        return self


def test_statistics_that_an_evaluation_changes_are_put_back() -> None:
    replica = a_replica(NormalisingByBatch())
    before = statistics(replica.model.norm)
    assert evaluated(replica, 0, 1) == evaluated(replica, 1, 0)
    assert statistics(replica.model.norm) == before


class Averaged(Net):
    """Evaluates rounded weights, in new memory, and does not take the old memory back."""

    def train(self, mode: bool = True) -> Averaged:
        super().train(mode)
        for parameter in self.parameters():
            parameter.data = (parameter.data * 3.0) / 3.0 if mode else parameter.data * 0.9
        return self


def test_parameters_come_back_bit_for_bit_and_in_their_memory() -> None:
    replica = a_replica(Averaged())
    before = {name: (t.data_ptr(), t.numpy().tobytes()) for name, t in replica.named_weights().items()}
    evaluated(replica, 0)
    after = {name: (t.data_ptr(), t.numpy().tobytes()) for name, t in replica.named_weights().items()}
    live = {name: p.data_ptr() for name, p in replica.model.named_parameters()}
    assert after == before
    assert {name: before[name][0] for name in live} == live
