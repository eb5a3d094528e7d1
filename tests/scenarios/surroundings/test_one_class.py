"""One manifest gives one model whatever the shell had set: hash seeds, preloaded libraries, limits of threads."""

from __future__ import annotations

import pytest

from scenarios.bad_input.scene import Scene
from scenarios.surroundings.conftest import Typed, model_of

pytestmark = [pytest.mark.scenario, pytest.mark.slow]

SETS = """
import torch
from torch import nn

LAYERS = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus, "elu": nn.ELU}

class Net:
    def build(self, args):
        middle = [LAYERS[name]() for name in set(LAYERS)]
        heads = nn.ModuleDict({name: nn.Linear(3, 3) for name in frozenset(LAYERS)})
        return Sum(nn.Sequential(nn.Conv2d(3, 3, 3), *middle), heads)

class Sum(nn.Module):
    def __init__(self, body, heads):
        super().__init__()
        self.body, self.heads = body, heads
    def forward(self, images):
        hidden = self.body(images).mean((2, 3))
        return sum(head(hidden) for head in self.heads.values())
"""


def test_layers_in_the_order_of_a_set_are_the_same_in_every_process(scene: Scene, run: Typed) -> None:
    scene.job(model={"entrypoint": "mine:Net"})
    code = ["--code", str(scene.code(SETS))]
    found = {model_of(run(*code, environ={"PYTHONHASHSEED": seed})) for seed in ("1", "2", "random")}
    assert len(found) == 1
