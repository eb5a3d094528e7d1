"""BatchNorm's running statistics of a model, in one vector: restored and kept by one copy per leaf."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

# kernels may choose their path by alignment: keep what the allocators give (512 bytes on CUDA)
_ALIGNMENT = 128


class RunningStatistics:
    """Owns running_mean, running_var and num_batches_tracked of every BatchNorm of a model."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        layers = [layer for layer in model.modules() if _tracks(layer)]
        names = [(layer, name) for layer in layers for name in ("running_mean", "running_var")]
        sizes = [getattr(layer, name).numel() for layer, name in names]
        self.values = torch.zeros(sum(_padded(size) for size in sizes), device=device)
        self._counts = torch.zeros(len(layers), dtype=torch.int64, device=device)
        start = 0
        for (layer, name), size in zip(names, sizes, strict=True):
            _move(layer, name, self.values[start : start + size])
            start += _padded(size)
        for layer, count in zip(layers, self._counts.unbind(), strict=True):
            _move(layer, "num_batches_tracked", count)
        self.remember()

    def remember(self) -> None:
        """Take the present values as those before the next step."""
        self._values_before = self.values.clone()
        self._counts_before = self._counts.clone()

    def restore(self) -> None:
        """Go back to the values before the step."""
        self.values.copy_(self._values_before)

    def replace(self, values: torch.Tensor) -> None:
        """End the step: take `values`, and count one batch more than before it."""
        self.values.copy_(values)
        torch.add(self._counts_before, 1, out=self._counts)
        self.remember()


def _tracks(layer: nn.Module) -> bool:
    return isinstance(layer, _BatchNorm) and layer.running_mean is not None


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _move(layer: nn.Module, name: str, place: torch.Tensor) -> None:
    place.copy_(getattr(layer, name))
    setattr(layer, name, place)
