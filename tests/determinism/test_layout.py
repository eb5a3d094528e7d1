"""Narrow convolutions: trained in a process of their own, because what is guarded against is a damaged heap."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

TRAIN = """
import os, sys
from seedbed.environment.environment_pins import pin_environment
pin_environment(os.environ)
import torch
from seedbed.arithmetic.torch_determinism import enforce_determinism
from seedbed.models.model_registry import build_model
enforce_determinism(threads=1)
name, width, layout = sys.argv[1:]
network = build_model(name, {"width": width} | ({"stem": "small"} if name != "simple-cnn" else {}), 10, seed=1)
if layout == "forced":
    network = network.to(memory_format=torch.channels_last)
for _ in range(30):
    images = torch.randn(4, 3, 16, 16)
    if not all(p.is_contiguous() for p in network.parameters()):
        images = images.contiguous(memory_format=torch.channels_last)
    network(images).square().mean().backward()
    network.zero_grad()
"""


def train(name: str, width: int, layout: str = "chosen") -> int:
    arguments = [sys.executable, "-c", TRAIN, name, str(width), layout]
    return subprocess.run(arguments, capture_output=True, timeout=600, check=False).returncode


@pytest.mark.parametrize("width", [4, 5, 7, 8, 12])
@pytest.mark.parametrize("name", ["simple-cnn", "resnet18"])
def test_a_network_of_any_width_trains(name: str, width: int) -> None:
    assert train(name, width) == 0
