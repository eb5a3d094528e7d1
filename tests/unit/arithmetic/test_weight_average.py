"""Moving averages of weights: what they are, that training does not see them, and that evaluations do."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seedbed.arithmetic.arithmetic_config import MovingAverage
from seedbed.arithmetic.evaluation import evaluation_logits
from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.optimizer_step import run_step
from seedbed.arithmetic.subtree_exchange import SingleProcessExchange
from seedbed.arithmetic.tensor_digests import weights_digest
from seedbed.arithmetic.weight_average import WeightAverage
from seedbed.models.state_dict import same_bits
from seedbed.runs.tensor_serialization import AVERAGE, model_of
from unit.arithmetic.replicas import CLASSES, Rows, a_replica, rows

STEPS = 6
DECAYS = ("0", "0.3", "0.5", "0.9", "0.999", "0.999999")
Named = dict[str, torch.Tensor]


class Tied(nn.Module):
    """One layer under two names, a frozen layer, and BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.still = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.norm, self.last = nn.BatchNorm2d(3), nn.Linear(3, CLASSES)
        self.again = self.first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.again(self.still(self.first(x)).relu()))
        result: torch.Tensor = self.last(x.mean((2, 3)))
        return result


FREEZES = {"frozen": ("still.*",)}


@dataclass(frozen=True, kw_only=True)
class Batch:
    index: int
    labels_b: npt.NDArray[np.int64]
    pixels_bhwc: npt.NDArray[np.uint8]

    @property
    def count(self) -> int:
        return len(self.labels_b)


def averaging(decay: str, *, start_step: int = 0, **changes: Any) -> Replica:
    average = MovingAverage(decay=float(decay), start_step=start_step)
    return a_replica(Tied(), average=average, **FREEZES, **changes)


def train(replica: Replica, steps: Iterable[int] = range(STEPS)) -> list[Named]:
    """Return copies of the weights after each step."""
    after = []
    for step in steps:
        leaves: list[Rows] = [replace(rows(2 * step + leaf), leaf=leaf) for leaf in range(2)]
        run_step(replica, step, leaves, SingleProcessExchange(), total_steps=STEPS)
        after.append(copied(replica.named_weights()))
    return after


def copied(tensors: Named) -> Named:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def logits(replica: Replica) -> torch.Tensor:
    drawn = rows(77, count=4)
    batch = Batch(index=0, labels_b=drawn.labels_m, pixels_bhwc=drawn.pixels_mhwc)
    with closing(evaluation_logits(replica, [batch], split="test")) as evaluated:
        return next(found for _, found in evaluated)


def differing(one: Named, other: Named) -> set[str]:
    assert one.keys() == other.keys()
    return {name for name in one if not same_bits(one[name], other[name])}


@pytest.mark.parametrize("decay", DECAYS)
def test_training_does_not_see_the_averages(decay: str) -> None:
    plain, own = train(a_replica(Tied(), **FREEZES)), train(averaging(decay))
    assert not any(differing(*pair) for pair in zip(plain, own, strict=True))


def test_a_decay_of_0_is_the_plain_weights_bit_for_bit() -> None:
    replica = averaging("0")
    (*_, last) = train(replica)
    assert not differing(replica.model_weights(), last)


@pytest.mark.parametrize("start_step", [0, 2, STEPS, 99])
@pytest.mark.parametrize("decay", DECAYS)
def test_the_average_is_that_of_numpy_and_near_the_weighted_sum(decay: str, start_step: int) -> None:
    replica = averaging(decay, start_step=start_step)
    first = copied(replica.named_weights())
    values = [first, *train(replica)]
    begin = min(start_step, STEPS)
    kept = [float(decay) ** (STEPS - step) for step in range(begin, STEPS + 1)]
    shares = [kept[0], *((1.0 - float(decay)) * each for each in kept[1:])]
    for name, average in replica.average.named().items():  # type: ignore[union-attr]
        found = average.numpy()
        assert found.tobytes() == in_numpy(decay, begin, [each[name].numpy() for each in values]).tobytes()
        exact = sum(
            s * each[name].numpy().astype(np.float64) for s, each in zip(shares, values[begin:], strict=True)
        )
        np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-7)


def in_numpy(decay: str, begin: int, values: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    share, average = np.float32(1.0 - float(decay)), values[begin].copy()
    for value in values[begin + 1 :]:
        average = value if decay == "0" else (average + (value - average) * share)
    assert average.dtype == np.float32
    return average


@pytest.mark.slow
def test_it_is_the_average_of_torch_that_begins_after_the_first_step() -> None:
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn  # imports the compiler

    replica = averaging("0.9", start_step=1)
    model = Tied()
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for weights in train(replica):
        model.load_state_dict(weights)
        theirs.update_parameters(model)
    expected = theirs.module.state_dict()
    for name, value in replica.model_weights().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-7)


def test_buffers_and_frozen_parameters_are_not_averaged_and_tied_ones_are_one() -> None:
    replica = averaging("0.9")
    train(replica)
    weights, model = replica.named_weights(), replica.model_weights()
    assert differing(weights, model) == {
        *("first.weight", "first.bias", "again.weight", "again.bias"),
        *("norm.weight", "norm.bias", "last.weight", "last.bias"),
    }
    assert same_bits(model["first.weight"], model["again.weight"])
    averages = {name for name in replica.named_state() if name.startswith(AVERAGE)}
    assert averages == {f"{AVERAGE}.{name}" for name in differing(weights, model)}
    assert list(replica.witnessed()) == [*weights, *(f"{name} (average)" for name in replica.average.named())]  # type: ignore[union-attr]


@pytest.mark.parametrize("half", range(STEPS + 1))
def test_a_resumed_training_has_the_averages_of_one_without_a_break(half: int) -> None:
    straight, before, after = (averaging("0.9", start_step=2) for _ in range(3))
    train(straight)
    train(before, range(half))
    after.load(copied(before.named_state()))
    train(after, range(half, STEPS))
    assert not differing(straight.named_state(), after.named_state())


def test_a_state_without_averages_is_refused_and_other_averages_are_another_model() -> None:
    replica, other = averaging("0.9"), averaging("0.9")
    train(replica)
    state = copied(replica.named_state())
    without = {name: tensor for name, tensor in state.items() if not name.startswith(AVERAGE)}
    with pytest.raises(ValueError, match=r"^optimizer\.average\.again\.bias: missing in the state to load$"):
        other.load(without)
    other.load(without | {name: t for name, t in other.named_state().items() if name.startswith(AVERAGE)})
    assert weights_digest(other.named_weights()) == weights_digest(replica.named_weights())
    assert weights_digest(other.model_weights()) != weights_digest(replica.model_weights())


def test_an_evaluation_sees_the_averages_and_changes_nothing() -> None:
    replica = averaging("0.9")
    train(replica)
    before = copied(replica.named_state())
    plain = a_replica(Tied(), **FREEZES)
    plain.load(plain.named_state() | {f"model.{name}": t for name, t in replica.model_weights().items()})
    assert same_bits(logits(replica), logits(plain))
    assert not differing(before, replica.named_state())
    plain.load(plain.named_state() | {f"model.{name}": t for name, t in replica.named_weights().items()})
    assert not same_bits(logits(replica), logits(plain))
    straight = averaging("0.9")
    train(straight, range(STEPS + 2))
    train(replica, range(STEPS, STEPS + 2))
    assert not differing(straight.named_state(), replica.named_state())


def test_what_is_exported_of_a_stored_state_is_what_was_evaluated() -> None:
    replica = averaging("0.9")
    train(replica)
    assert not differing(model_of(replica.named_state()), replica.model_weights())


floats = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**60), max_value=2.0**60)


@given(
    decay=st.floats(min_value=0.0, max_value=1.0, exclude_max=True),
    values=st.lists(st.lists(floats, min_size=3, max_size=3), min_size=2, max_size=5),
)
def test_an_average_lies_between_the_values_and_stays_at_equal_ones(
    decay: float, values: list[list[float]]
) -> None:
    def after(series: list[list[float]]) -> npt.NDArray[np.float32]:
        model = nn.Linear(3, 1, bias=False)
        average = None
        for step, value in enumerate(series):
            with torch.no_grad():
                model.weight.copy_(torch.tensor([value]))
            if average is None:
                config = MovingAverage(decay=decay)
                average = WeightAverage(config, dict(model.named_parameters()), model)
            else:
                average.update(step, scratch=[torch.empty(1, 3)])
        assert average is not None
        return average.named()["weight"].numpy()[0]

    array = np.array(values, dtype=np.float32)
    spread = np.abs(array).max(0) * 1e-5
    found = after(values)
    assert (found >= array.min(0) - spread).all()
    assert (found <= array.max(0) + spread).all()
    same = np.float32(values[0])
    assert after([values[0]] * len(values)).tobytes() == same.tobytes() or (same == 0.0).any()


@pytest.mark.parametrize("wrong", [{"decay": 1.0}, {"decay": -0.1}, {"decay": 0.5, "start_step": -1}])
def test_a_wrong_average_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="decay must be in"):
        MovingAverage(**wrong)
