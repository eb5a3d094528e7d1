"""What is hashed, kept and exported are the tensors of state_dict(), all of them; what cannot be kept is named."""

from __future__ import annotations

import pytest
import torch

from seedbed.arithmetic.arithmetic_config import Arithmetic
from seedbed.arithmetic.learning_rate import LearningRate
from seedbed.arithmetic.model_replica import Replica
from seedbed.models.state_dict import non_persistent_buffers, same_bits, stored_tensors
from seedbed.models.supported_layers import UnsupportedModelError, check_supported
from support.networks.tensor_layouts import KEPT, LOST, REFUSED

EXAMPLE = torch.randn(2, 3, 12, 12)
ARITHMETIC = Arithmetic(leaves=2, leaf_rows=2, classes=3, seed=3, learning_rate=LearningRate(base=0.1))

COMPILED = "compiled"
"""Cases whose name begins so import torch's compiler."""


@pytest.mark.parametrize("name", KEPT)
def test_all_tensors_of_a_state_dict_are_kept_under_all_their_names(name: str) -> None:
    make, count = KEPT[name]
    network = make(3)
    check_supported(network, EXAMPLE)
    replica = Replica(ARITHMETIC, network)
    weights, state = replica.named_weights(), network.state_dict()
    assert len(weights) == count
    assert weights.keys() == state.keys() == stored_tensors(network).keys()
    assert all(same_bits(weights[each], state[each]) for each in state)


@pytest.mark.parametrize("name", KEPT)
def test_a_state_comes_back_into_another_replica(name: str) -> None:
    make, _ = KEPT[name]
    one, other = Replica(ARITHMETIC, make(3)), Replica(ARITHMETIC, make(3))
    other.load({name: tensor.clone() for name, tensor in one.named_state().items()})
    theirs = other.model.state_dict()
    assert all(same_bits(tensor, theirs[name]) for name, tensor in one.model.state_dict().items())


def test_shared_tensors_stay_shared() -> None:
    replica = Replica(ARITHMETIC, KEPT["one BatchNorm under two names"][0](3))
    weights = replica.named_weights()
    weights["middle.a.running_mean"].fill_(7.0)
    assert weights["middle.b.running_mean"].unique().tolist() == [7.0]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * name.startswith(COMPILED)) for name in REFUSED],
)
def test_what_cannot_be_kept_is_named(name: str) -> None:
    make, says = REFUSED[name]
    with pytest.raises(UnsupportedModelError) as caught:
        check_supported(make(3), EXAMPLE)
    assert [words for words in says if words not in str(caught.value)] == [], str(caught.value)
    assert "; " in str(caught.value), "no fix"


@pytest.mark.parametrize("name", LOST)
def test_what_shows_when_it_is_loaded_alone_passes_here(name: str) -> None:
    check_supported(LOST[name][0](3), EXAMPLE)


def test_buffers_that_are_not_saved_are_none_of_the_weights() -> None:
    network = KEPT["a constant buffer that is not saved"][0](3)
    assert list(non_persistent_buffers(network)) == ["middle.value"]
    assert "middle.value" not in stored_tensors(network)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ([0.0], [-0.0], False),
        ([float("nan")], [float("nan")], True),
        ([1.0], [[1.0]], False),
        ([], [], True),
        ([1], [1.0], False),
        ([True], [1], False),
    ],
)
def test_bits_are_compared_with_type_and_shape(a: list[object], b: list[object], same: bool) -> None:
    assert same_bits(torch.tensor(a), torch.tensor(b)) is same
