"""Layers that stay as they are: which patterns freeze what, and that a training leaves it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from seedbed.arithmetic.arithmetic_config import SGD, AdamW, Arithmetic, OptimizerConfig, ParameterGroup
from seedbed.arithmetic.learning_rate import LearningRate
from seedbed.arithmetic.optimizers import build_optimizer
from seedbed.models.frozen_layers import freeze_layers
from seedbed.models.name_patterns import unused_patterns
from seedbed.training.replica_builder import check_patterns
from seedbed_api.errors import UserError


def network() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.BatchNorm2d(8, affine=False))
    return nn.ModuleDict({"body": body, "head": nn.Linear(8, 3)})


def arithmetic(**changes: Any) -> Arithmetic:
    return Arithmetic(
        leaves=2, leaf_rows=2, classes=3, seed=1, learning_rate=LearningRate(base=0.1), **changes
    )


FROZEN = {
    "the whole body": (["body.*"], {"head.weight", "head.bias"}, {"body.1", "body.2"}),
    "a BatchNorm": (["body.1.*"], {"body.0.weight", "body.0.bias", "head.weight", "head.bias"}, {"body.1"}),
    "half a BatchNorm still counts": (["body.1.weight"], {"body.0.weight", "body.0.bias", "body.1.bias", "head.weight", "head.bias"}, set()),
    "all biases": (["*.bias"], {"body.0.weight", "body.1.weight", "head.weight"}, set()),
    "one without parameters": (["body.2.running_*"], {"body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "head.weight", "head.bias"}, {"body.2"}),
    "one character": (["body.?.weight"], {"body.0.bias", "body.1.bias", "head.weight", "head.bias"}, set()),
}  # fmt: skip


@pytest.mark.parametrize("case", FROZEN)
def test_patterns_freeze_parameters_and_statistics(case: str) -> None:
    patterns, trained, still = FROZEN[case]
    model = freeze_layers(network(), patterns)
    assert {name for name, each in model.named_parameters() if each.requires_grad} == trained
    assert {name for name, each in model.named_modules() if not each.training} == still


def test_a_parameter_with_two_names_is_frozen_by_either() -> None:
    tied = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2), "c": nn.Linear(2, 2)})
    tied["b"].weight = tied["a"].weight
    freeze_layers(tied, ["b.weight"])
    assert not tied["a"].weight.requires_grad


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"frozen": ("body.*", "heads.*")}, "spec.training.freeze: matches no parameter of the model (got 'heads.*'); names are for example body.0.weight"),
        ({"groups": (ParameterGroup(match="neck"),)}, "spec.training.parameterGroups: matches no parameter of the model (got 'neck')"),
        ({"groups": (ParameterGroup(match="body.1.running_mean"),)}, "spec.training.parameterGroups: matches no parameter"),
        ({"frozen": ("body.*", "head.*")}, "spec.training.freeze: leaves no parameter to train (got 'body.*, head.*'); leave out the last layers"),
    ],
)  # fmt: skip
def test_patterns_that_do_nothing_or_freeze_all_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        check_patterns(network(), arithmetic(**changes))
    assert says in caught.value.message
    assert caught.value.reason == "ModelError"


def test_unused_patterns_are_those_without_a_name() -> None:
    assert unused_patterns(["a.b", "c"], ["a.*", "d", "?"]) == ["d"]


@pytest.mark.slow  # torch.optim imports torch's compiler
@pytest.mark.parametrize("config", [SGD(momentum=0.9, weight_decay=0.01), SGD(), AdamW()], ids=repr)
def test_groups_update_as_those_of_torch_do(config: OptimizerConfig) -> None:
    groups = (
        ParameterGroup(match="*.bias", weight_decay=0.0),
        ParameterGroup(match="body.*", learning_rate_factor=0.25),
    )
    model, peer = network(), network()
    own = build_optimizer(config, dict(model.named_parameters()), groups=groups)
    theirs = [
        {
            "params": [each for name, each in peer.named_parameters() if name.endswith("bias")],
            "weight_decay": 0.0,
        },
        {"params": [peer["body"][0].weight, peer["body"][1].weight], "lr": 0.1 * 0.25},
        {"params": [peer["head"].weight]},
    ]
    names = list(dict(model.named_parameters()))
    options = {"momentum": config.momentum} if isinstance(config, SGD) else {}
    kind = torch.optim.SGD if isinstance(config, SGD) else torch.optim.AdamW
    optimizer = kind(theirs, lr=0.1, weight_decay=config.weight_decay, fused=True, **options)
    draw = torch.Generator().manual_seed(1)
    for step in range(4):
        gradients = [torch.randn(each.shape, generator=draw) for each in model.parameters()]
        for parameter, gradient in zip(peer.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        own.step([each.clone() for each in gradients], rate=0.1, step=step)
        optimizer.step()
    for name in names:
        assert torch.equal(dict(model.named_parameters())[name], dict(peer.named_parameters())[name]), name


def test_groups_that_change_nothing_keep_every_bit_and_name() -> None:
    config = SGD(momentum=0.9, weight_decay=0.01)
    one, other = network(), network()
    plain = build_optimizer(config, dict(one.named_parameters()))
    grouped = build_optimizer(
        config, dict(other.named_parameters()), groups=(ParameterGroup(match="*.bias"),)
    )
    gradients = [torch.ones_like(each) for each in one.parameters()]
    plain.step([each.clone() for each in gradients], rate=0.1, step=0)
    grouped.step([each.clone() for each in gradients], rate=0.1, step=0)
    assert plain.named_state().keys() == grouped.named_state().keys()
    assert all(map(torch.equal, one.parameters(), other.parameters()))
