"""User code that misbehaves in ways that its author cannot see: refused in one line that says what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scenarios.bad_input.answers import refused
from support.runs.command_line import Scene

LIBRARY = """
import torch
from torch import nn
class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
    def forward(self, x):
        assert {holds}
        return x.flatten(1) * self.scale
"""
CODE = """
import sys
import torch
from torch import nn
class Middle(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
    def forward(self, x):
        {middle}
        return x * self.scale
class Net:
    def build(self, args):
        network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), Middle(), nn.Flatten(), nn.LazyLinear(3))
        network(torch.zeros(1, 3, 12, 12))
        return {built}
    {more}
"""
LATE = "if abs(float(self.scale.detach()) - 1.0) > 0.02: raise {}"
"""After a step, not in the probe, which moves weights by less."""
FAST = {"training__optimizer": {"type": "SGD", "learningRate": "0.5"}}
LOSS = "def loss(self, model, batch):\n        return {}(nn.functional.cross_entropy(model(batch.images_mchw), batch.labels_m))"
POOLED = "nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))"

CASES: dict[str, tuple[dict[str, str], dict[str, Any], tuple[str, ...]]] = {
    "exits in mid-training": ({"middle": LATE.format("SystemExit(0)")}, FAST, ("training raised at mine.py:10", "SystemExit: 0")),
    "raises what is no Exception": ({"middle": LATE.format("BaseException('now')")}, FAST, ("training raised at mine.py:10", "BaseException: now")),
    "a loss that is a float": ({"more": LOSS.format("float")}, {}, ("of type float", "without .item()")),
    "evaluation mode": ({"built": "network.eval()"}, {}, ("evaluation mode", ".train()")),
    "BatchNorm with one row": ({"built": POOLED}, {"training__batch": {"globalSize": 2, "microSize": 1}}, ("more than 1 value", "microSize to 2")),
    "a picture too small": ({"middle": "x = nn.functional.max_pool2d(x, 3)"}, {"training__augmentation": [{"type": "Resize", "resize": {"size": 6}}]}, ("set the size in spec.training.augmentation", "(now 6)")),
    "a layer of the module": ({"built": "nn.Sequential(network, SHARED)", "more": "pass\nSHARED = nn.Linear(3, 3)"}, {}, ("1.weight is one tensor in every network", "make it anew within build")),
    "a loss with a layer": ({"more": "def __init__(self):\n        self.top = nn.Linear(3, 3)\n    " + LOSS.format("self.top.bias.sum() + ")}, {}, ("top.bias of the entrypoint gets a gradient", "a layer of what build returns")),
    "auxiliary outputs": ({"built": "Two(network)", "more": "pass\nclass Two(nn.Sequential):\n    def forward(self, x):\n        y = super().forward(x)\n        return (y, y) if self.training else y"}, {}, ("in training mode the model returned tuple", "auxiliary outputs")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_line_says_what_to_change(scene: Scene, name: str) -> None:
    parts, changes, says = CASES[name]
    source = CODE.format(**{"middle": "pass", "built": "network", "more": "pass"} | parts)
    scene.job(model={"entrypoint": "mine:Net"}, **changes)
    refused(scene.run("--code", scene.code(source)), "ModelError: spec.model.entrypoint: ", *says)
    assert not list(scene.folder.rglob("result.json"))


@pytest.mark.parametrize(
    ("holds", "action"),
    [("x.shape[-1] > 99", "forward"), ("0.98 < float(self.scale.detach()) < 1.02", "training")],
)
def test_an_assert_of_a_library_is_the_models_fault_also_in_mid_training(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, holds: str, action: str
) -> None:
    library: Path = scene.folder / "site"
    library.mkdir()
    (library / f"gates_{action}.py").write_text(LIBRARY.format(holds=holds), encoding="utf-8")
    monkeypatch.syspath_prepend(library)
    source = (
        f"from gates_{action} import Gate\nfrom torch import nn\nclass Net:\n    def build(self, args):\n"
        "        return nn.Sequential(Gate(), nn.Linear(432, 3))\n"
    )
    scene.job(model={"entrypoint": "mine:Net"}, **FAST)
    answer = scene.run("--code", scene.code(source))
    refused(answer, f"{action} raised AssertionError: assert {holds}", f", in gates_{action}.py:9")


def test_memory_that_runs_out_in_the_probe_is_the_machines(scene: Scene) -> None:
    source = CODE.format(middle="if len(x) > 1: raise MemoryError", built="network", more="pass")
    scene.job(model={"entrypoint": "mine:Net"})
    refused(scene.run("--code", scene.code(source)), "OutOfMemory", "microSize", code=75)
