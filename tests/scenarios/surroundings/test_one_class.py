"""One manifest gives one model whatever the shell had set: hash seeds, preloaded libraries, limits of threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.surroundings.run_command import Typed, model_of
from support.runs.command_line import Scene, spec
from support.runs.preloaded_library import FLUSH_TO_ZERO, built, preload

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


SMALL_NUMBERS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, classes)
    def forward(self, images):
        hidden = self.body(images).tanh() * 1e-40  # no normal number, and zero where these are flushed
        return self.head(hidden.mean((2, 3)) * 1e38)

class Small:
    def build(self, args):
        return Net(int(args["classes"]))
"""


def test_what_the_shell_had_set_changes_neither_identity_nor_weights(
    scene: Scene, run: Typed, tmp_path: Path
) -> None:
    decay = {"learningRateSchedule": {"type": "Cosine"}}
    scene.job(model={"entrypoint": "mine:Small"}, training=spec("", "")["training"] | {"steps": 61} | decay)
    code = ["--code", str(scene.code(SMALL_NUMBERS))]
    shells: list[dict[str, str]] = [
        {},
        {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA"},
        preload(built(tmp_path, FLUSH_TO_ZERO)),
        {"OMP_THREAD_LIMIT": "1", "MKL_DOMAIN_NUM_THREADS": "1", "ONEDNN_CPU_ISA_HINTS": "PREFER_YMM"},
    ]
    found = [model_of(run(*code, environ={"SEEDBED_THREADS": "2"} | shell)) for shell in shells]
    assert len(set(found)) == 1, dict(zip(map(str, shells), found, strict=True))
