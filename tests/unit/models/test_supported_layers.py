"""What a network may contain is checked by name, without changing the network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from seedbed.models.model_registry import MODELS, build_model
from seedbed.models.supported_layers import UnsupportedModelError, check_supported

EXAMPLE = torch.randn(2, 3, 16, 16)


class Counter(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self, *, persistent: bool = True) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1), persistent=persistent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x


class Moved(nn.Module):
    """Replaces its buffer instead of writing into it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mean = 0.9 * self.mean + x.mean()
        return x


@pytest.mark.parametrize("name", MODELS)
def test_the_built_in_networks_are_supported_and_left_as_they_were(name: str) -> None:
    model = build_model(name, {"width": "4"}, 5)
    before = [tensor.clone() for tensor in model.state_dict().values()]
    random_state = torch.get_rng_state()
    check_supported(model, EXAMPLE)
    assert all(torch.equal(b, a) for b, a in zip(before, model.state_dict().values(), strict=True))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.training


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: nn.SyncBatchNorm(3), "1: SyncBatchNorm"),
        (lambda: nn.BatchNorm2d(3, momentum=None), "1: BatchNorm with momentum=None"),
        (lambda: nn.Conv2d(3, 3, 1).half(), "1.weight: parameters are float32, not float16"),
        (lambda: nn.Conv2d(3, 3, 1).double(), "1.weight: parameters are float32, not float64"),
        (lambda: nn.LazyConv2d(3, 1), "1.weight: a lazy layer"),
        (lambda: nn.InstanceNorm2d(3, track_running_stats=True), "1.running_mean: a forward pass changes it"),
        (Counter, "1.calls: a forward pass changes it"),
        (lambda: Counter(persistent=False), "1.calls: a forward pass changes it"),
        (Moved, "1.mean: a forward pass changes it"),
    ],
    ids=[
        "SyncBatchNorm",
        "BatchNorm without momentum",
        "float16",
        "float64",
        "lazy",
        "InstanceNorm that tracks",
        "buffer",
        "buffer that is not saved",
        "buffer replaced",
    ],
)
def test_refuses_by_name(make: Callable[[], nn.Module], complaint: str) -> None:
    with pytest.raises(UnsupportedModelError, match=complaint):
        check_supported(nn.Sequential(nn.Conv2d(3, 3, 1), make()), EXAMPLE)
